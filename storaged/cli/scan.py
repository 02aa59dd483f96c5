"""scan: what is under the roots becomes what the catalog holds."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storaged.cli.options import DatasetsArgument, JsonOption, Options, of
from storaged.cli.progress import progress
from storaged.cli.render import Output, count, size
from storaged.cli.table import Table
from storaged.errors import StoragedError

if TYPE_CHECKING:
    from storaged.work.context import Context
    from storaged.work.scan.suspects import Scanned


def scan(
    ctx: typer.Context,
    datasets: DatasetsArgument = None,
    confirm_empty: Annotated[
        bool, typer.Option("--confirm-empty", help="The objects that are gone were deleted on purpose.")
    ] = False,
    no_resume: Annotated[
        bool, typer.Option("--no-resume", help="Begin anew where an earlier scan was interrupted.")
    ] = False,
    _json: JsonOption = False,
) -> None:
    """Bring the catalog up to date with what is under the datasets' roots.

    One dataset that fails does not keep the others from being scanned.

    Example: storagectl scan flights
    """
    from storaged.cli.context import make_state_dir, opened
    from storaged.decide.kinds import READABLE, shown, what_is

    options = of(ctx)
    out = Output(options)
    with opened(options) as context:
        names = chosen(context, datasets)
        make_state_dir(context.settings)
        context.register()
        unclaimed = dict(context.roots_away)
        done, failed = scan_all(context, options, names, confirm_empty=confirm_empty, resume=not no_resume)
    for found in done:
        if why := unclaimed.get(found.dataset):
            out.warn(f"the root of {found.dataset} carries no claim, so nothing of it is ever released: {why}")
        for one in found.new_collections:
            what = f"{found.dataset}: {shown(one.prefix)}: {what_is(one.kind)}"
            word = "whole" if one.kind in READABLE else "ignore"
            out.warn(f"{what}: moved only by policies that say `collections: {word}`")
        if found.unread_references:
            what = count(found.unread_references, "file")
            out.warn(f"{found.dataset}: {what} with references cannot be read: `storagectl references` tells why")
        if found.not_looked_into:
            out.warn(f"{found.dataset}: {found.not_looked_into:,} files were not looked into: the next scan does so")
        for skipped in found.skipped_samples:
            out.warn(f"{found.dataset}: skipped {skipped.key}: {skipped.reason}")
    if done:
        out.show({"scans": [facts(s) for s in done]}, table(done))
    end_with(out, failed)


def chosen(context: Context, names: list[str] | None) -> list[str]:
    """The datasets to work on: as named, else all. Raises UsageError for a name that the configuration lacks."""
    return [context.dataset(name).name for name in names] if names else list(context.datasets)


def scan_all(
    context: Context, options: Options, names: list[str], *, confirm_empty: bool = False, resume: bool = True
) -> tuple[list[Scanned], dict[str, StoragedError]]:
    """Scan these datasets one after the other. Returns what was found, and by name what failed."""
    from storaged.work.scan.run import scan as run_scan

    done: list[Scanned] = []
    failed: dict[str, StoragedError] = {}
    for name in names:
        with progress(options, f"scan {name}") as bar:

            def tell(scanned: Scanned, expected: int, bar: Any = bar) -> None:
                bar(scanned.seen, expected, scanned.bytes)

            try:
                done.append(run_scan(context, name, confirm_empty=confirm_empty, resume=resume, progress=tell))
            except StoragedError as error:
                failed[name] = error
    return done, failed


def end_with(out: Output, failed: dict[str, StoragedError]) -> None:
    """Raise the first failure; tell the others before it."""
    errors = list(failed.items())
    for name, error in errors[1:]:
        out.warn(f"{name}: {error.message}" + (f" ({error.hint})" if error.hint else ""))
    if errors:
        raise errors[0][1]


def facts(scanned: Scanned) -> dict[str, Any]:
    new = [one._asdict() for one in scanned.new_collections]
    return dataclasses.asdict(scanned) | {"new_collections": new}


def table(done: list[Scanned]) -> Table:
    return Table(
        ("dataset", "seen", "size", "new", "changed", "vanished", "back", "unchanged", "skipped"),
        [
            (
                s.dataset,
                s.seen,
                size(s.bytes),
                s.added,
                s.changed,
                s.vanished,
                s.reappeared,
                s.unchanged + s.touched,
                s.skipped,
            )
            for s in done
        ],
        right=frozenset({"size"}),
        details=frozenset({"vanished", "back", "skipped"}),
    )
