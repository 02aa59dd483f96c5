"""tier: bring a tier to another place."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from storaged.cli.options import DryRunOption, JsonOption, YesOption, confirm, of
from storaged.cli.progress import progress
from storaged.cli.render import Output, count, size
from storaged.cli.table import Table
from storaged.errors import UsageError, VerificationFailed


def move(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The tier.", show_default=False)],
    url: Annotated[str, typer.Argument(metavar="URL", help="Where it is from now on.", show_default=False)],
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    _json: JsonOption = False,
) -> None:
    """Make another place the tier, after everything in it was copied there by whatever means (rsync, rclone, a disk).

    Every blob of the tier is read at the new place and compared with what was proven when it was written. Nothing is
    changed unless all of them are right. Then write the new URL into storaged.yaml; whoever works with the old one is
    refused. Files at the old place are left as they are.

    Example: storagectl tier move cold file:///mnt/new/cold
    """
    from storaged.cli.context import opened
    from storaged.config.settings import at_another_place
    from storaged.work.context import Context
    from storaged.work.recover.tier_move import FEW, move_tier

    options = of(ctx)
    with opened(options) as context:
        was = context.recorded_url(name)
        if was == url.rstrip("/"):
            raise UsageError(f"tier {name!r} is at {was} already", hint="name the place that it was copied to")
        here, there = (
            Context(at_another_place(context.settings, name, at), context.catalog, context.clock, actor=context.actor)
            for at in (was, url)
        )
        if not dry_run:
            confirm(f"make {url} tier {name}, instead of {was}?", yes=yes)
        with progress(options, f"prove {name}", unit="blobs") as bar:
            found = move_tier(there, here, name, dry_run=dry_run, progress=lambda n, size_: bar(n, None, size_))
    facts = dataclasses.asdict(found) | {
        "dry_run": dry_run,
        "wrong": [{"key": key, "reason": why} for key, why in found.wrong],
    }
    words = [f"{count(found.blobs, 'blob')}, {size(found.bytes)}, are right at {found.url}"]
    if found.damaged:
        words.append(f"{count(found.damaged, 'blob')} that `storagectl verify` found damaged before: not looked at")
    if not found.wrong and not dry_run:
        words.append(f"tier {name} is there now: write `url: {found.url}` into storaged.yaml, if it does not say so")
        if not found.left:
            words.append(f"{found.was} could not be marked as left: see to it that nobody takes it for the tier")
    wrong = Table(("key", "what is wrong"), found.wrong[:FEW], paths=frozenset({"key"}), prose="what is wrong")
    Output(options).show(facts, *words, *([wrong] if found.wrong else []))
    if found.wrong:
        raise VerificationFailed(
            f"{count(len(found.wrong), 'blob')} of tier {name} are not right at {found.url}; nothing was changed",
            hint="copy them again, and move the tier then",
        )
