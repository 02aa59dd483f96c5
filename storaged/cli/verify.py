"""verify: read what is stored again, and compare."""

from __future__ import annotations

import dataclasses
from random import SystemRandom
from typing import TYPE_CHECKING, Annotated, Final

import typer

from storaged.cli.changes import pages_of
from storaged.cli.options import JsonOption, of
from storaged.cli.progress import progress
from storaged.cli.render import Output, count, size
from storaged.cli.table import Table
from storaged.errors import JobsFailed, UsageError, VerificationFailed

if TYPE_CHECKING:
    from storaged.work.doctor.verify import Verified

_ELSEWHERE: Final = (
    "`storagectl undo` takes back what is still in grace; `storagectl restage` and `eject` take elsewhere what is right"
)


def verify(
    ctx: typer.Context,
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET",
            help="DATASET, DATASET/NAME, or a glob over names in quotes. Left out: all datasets.",
            show_default=False,
        ),
    ] = None,
    sample: Annotated[
        str, typer.Option("--sample", metavar="SHARE", help="Read only so many of the objects, by chance: 5%.")
    ] = "100%",
    _json: JsonOption = False,
) -> None:
    """Read objects where they are now and compare them with their digests. Exits with 1 when something is damaged,
    with 3 when something could not be looked at.

    What is damaged is remembered: nothing of it is deleted, and plans leave it alone.

    Example: storagectl verify flights --sample 5%
    """
    from storaged.cli.context import opened
    from storaged.work.doctor.verify import verify as run_verify
    from storaged.work.targets import known

    options = of(ctx)
    share = _share(sample)
    with opened(options, tolerant=True) as context:
        wanted = targets or known(context)
        with progress(options, "verify") as bar:

            def tell(verified: Verified) -> None:
                bar(verified.checked, None, verified.bytes)

            found = run_verify(context, pages_of(context, wanted), sample=share, chance=SystemRandom(), progress=tell)
    facts = dataclasses.asdict(found) | {
        "damaged": [{"object": name, "reason": why} for name, why in found.damaged],
    }
    words = f"{count(found.checked, 'object')} read, {size(found.bytes)}: {len(found.damaged)} damaged"
    words += "".join(
        f", {number:,} {what}"
        for number, what in (
            (found.learnt, "read for the first time"),
            (found.adopted, "proved right under a new identity"),
            (found.healed, "right again"),
            (found.refused, "right in packs that are not what was proven"),
        )
        if number
    )
    if found.reasons:
        reasons = "; ".join(
            f"{number:,} {why}" + (f", such as {found.examples[why]}" if why in found.examples else "")
            for why, number in sorted(found.reasons.items())
        )
        words += f", {found.skipped:,} skipped ({reasons})"
    damaged = (
        [Table(("damaged", "how"), found.damaged, paths=frozenset({"damaged"}), prose="how")] if found.damaged else []
    )
    Output(options).show(facts, words, *damaged)
    if found.refused and not found.damaged:
        raise VerificationFailed(f"{count(found.refused, 'object')} in damaged packs", hint=_ELSEWHERE)
    if found.unseen and not found.damaged:
        raise JobsFailed(
            f"{count(found.unseen, 'object')} could not be looked at",
            hint="`storagectl doctor` names what is away; verify again when it is back",
        )
    if found.damaged:
        raise VerificationFailed(
            f"{count(len(found.damaged), 'object')} damaged",
            hint=_ELSEWHERE
            if found.refused
            else "an original that is still in grace can be taken back with `storagectl undo`",
        )


def _share(text: str) -> float:
    from storaged.config.quantities import BadValueError, parse_percent

    try:
        share = parse_percent(text)
    except BadValueError as error:
        raise UsageError(f"--sample: {error}", hint="such as 5%") from error
    if not share:
        raise UsageError("--sample: nothing would be read", hint="such as 5%")
    return share
