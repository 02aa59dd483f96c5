"""ingest: access logs become heat."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from storaged.cli.options import JsonOption, Options, of
from storaged.cli.progress import progress
from storaged.cli.render import Output, at, count, when
from storaged.cli.table import Table
from storaged.errors import StoreError, UsageError

if TYPE_CHECKING:
    from storaged.config.settings import HeatSource
    from storaged.work.context import Context
    from storaged.work.ingest import IngestReport

SPOOL: Final = "spool"  # the name of the source that our own reader writes


def ingest(
    ctx: typer.Context,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCE",
            help="Names under `heat:` in storaged.yaml, or spool (what was read through storaged). Left out: all.",
            show_default=False,
        ),
    ] = None,
    _json: JsonOption = False,
) -> None:
    """Read what is new in access logs: who read which object, when.

    A line counts once, whatever copies of a log there are, so this may be repeated at any time.

    Example: storagectl ingest reads
    """
    from storaged.cli.context import make_state_dir, opened

    options = of(ctx)
    out = Output(options)
    with opened(options) as context:
        make_state_dir(context.settings)
        reports = [_one(context, options, name) for name in _chosen(context.settings.heat, sources)]
    for report in reports:
        _warn(out, report)
    out.show({"sources": [_facts(r) for r in reports]}, _table(reports))
    broken = [r.source for r in reports if r.problems]
    if broken:
        raise StoreError(
            f"not all logs of {', '.join(broken)} could be read; what was read counts",
            hint="until they can be read, nothing counts as idle later than before",
        )


def _chosen(known: list[HeatSource], names: list[str] | None) -> list[str]:
    every = [*(source.name for source in known), SPOOL]
    for name in names or ():
        if name not in every:
            raise UsageError(f"there is no log source {name!r}", hint=f"sources are: {', '.join(every)}")
    return [name for name in every if not names or name in names]


def _one(context: Context, options: Options, name: str) -> IngestReport:
    from storaged.work.ingest.reads import ingest_spool
    from storaged.work.ingest.sources import ingest_source

    settings = context.settings
    if name == SPOOL:
        now_us = context.now_us()
        return ingest_spool(context.catalog, settings.state_dir, now_us=now_us, half_life_us=settings.half_life)
    with progress(options, f"ingest {name}", unit="lines") as bar:
        return ingest_source(context, name, progress=lambda report: bar(report.lines))


def _warn(out: Output, report: IngestReport) -> None:
    for problem in (*report.problems, *(f"{report.source}: {one}" for one in report.passed)):
        out.warn(problem)
    for kind in report.malformed_kinds:
        lines = count(kind.lines, "line")
        out.warn(f"{report.source}: {lines} could not be read as events: {kind.reason}, such as {kind.first}")
    for garbled in report.garbled:
        out.warn(f"{report.source}: {garbled}: nothing counts as idle later than that")
    if report.unknown:
        names = ", ".join(report.unknown_samples[:3])
        out.warn(
            f"{report.source}: {count(report.unknown, 'event')} of objects that the catalog does not have: {names}"
        )


def _facts(report: IngestReport) -> dict[str, Any]:
    told = dataclasses.asdict(report)
    told["coverage"] = {
        dataset: {"from": when(low), "until": when(high)} for dataset, (low, high) in report.coverage.items()
    }
    return told


def _table(reports: list[IngestReport]) -> Table:
    return Table(
        (
            "source",
            "files",
            "lines",
            "counted",
            "known already",
            "malformed",
            "our own",
            "ignored",
            "unknown",
            "too old",
            "covered until",
        ),
        [
            (
                r.source,
                r.files,
                r.lines,
                r.counted,
                r.duplicate,
                r.malformed,
                r.excluded,
                r.ignored,
                r.unknown,
                r.late,
                at(min((high for _, high in r.coverage.values()), default=None)),
            )
            for r in reports
        ],
    )
