"""doctor: what is not as it should be, and what mends it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from storaged.cli.options import JsonOption, of
from storaged.cli.render import Output, count, printable
from storaged.errors import NotEmpty

if TYPE_CHECKING:
    from storaged.work.doctor import Finding, Mended

SHOWN: Final = 100  # findings of each kind; the others are counted


def doctor(
    ctx: typer.Context,
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what is safely mended; nothing in a store is changed by it.")
    ] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep what is found in the catalog, where the daemon's pages show it.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also read the whole journal, and try to write to every tier.")
    ] = False,
    _json: JsonOption = False,
) -> None:
    """Compare catalog, stores and configuration; say what differs, what that means and what mends it.

    Without --fix, --keep and --deep nothing is written anywhere; --fix keeps what is left to be mended, too. Exits with
    4 where something is to be mended; what is only worth knowing (info) does not count.

    Example: storagectl doctor

    Example: storagectl doctor --fix
    """
    from storaged.catalog.engine import open_catalog
    from storaged.cli.context import context_of, load, place
    from storaged.work.doctor import examination, examine, mend

    options = of(ctx)
    settings = load(options)
    with open_catalog(place(settings), read_only=not (fix or keep), wait_s=options.lock_wait_s) as catalog:
        context = context_of(settings, catalog)
        mended = mend(context) if fix else None
        found = examination.gathered(examine(context, deep=deep), context.now_us(), most=SHOWN)
        if fix or keep:
            examination.keep(context, found)
    facts: dict[str, Any] = {
        "findings": [dataclasses.asdict(f) for f in found.findings],
        "counts": dict(found.numbers),
        "to_mend": found.to_mend,
    }
    if mended is not None:
        facts["mended"] = dataclasses.asdict(mended)
    lines = _text(found.findings, found.numbers)
    Output(options).show(facts, *_mended(mended), *(lines or ["all is well"]))
    if facts["to_mend"]:
        raise NotEmpty(f"{count(facts['to_mend'], 'finding')} to be mended")


def _mended(mended: Mended | None) -> Iterator[str]:
    if mended is not None:
        done = [count(number, what.removesuffix("s")) for what, number in dataclasses.asdict(mended).items() if number]
        yield f"mended: {', '.join(done) or 'nothing'}"


def _text(findings: Sequence[Finding], numbers: Mapping[str, int]) -> list[str]:
    """Findings of one kind below what they mean."""
    lines: list[str] = []
    check = ""
    for n, finding in enumerate(findings):
        if finding.check != check:
            check = finding.check
            lines += [*([""] if lines else []), f"{finding.severity} {check}: {finding.means}"]
        lines.append(printable(f"  {finding.subject}: {finding.says}"))
        last = n + 1 == len(findings) or findings[n + 1].check != check
        if last or findings[n + 1].mend != finding.mend:
            lines.append(printable(f"    mend: {finding.mend}"))
        if last and numbers[check] > SHOWN:
            lines.append(f"  and {numbers[check] - SHOWN:,} more")
    return lines
