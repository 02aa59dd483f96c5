"""ingest: access logs become heat."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storaged.cli.options import of
from storaged.cli.progress import progress
from storaged.cli.render import Output, Table, count, when
from storaged.errors import StoreError, UsageError

if TYPE_CHECKING:
    from storaged.config.settings import HeatSource
    from storaged.work.ingest import IngestReport, LogSource


def ingest(
    ctx: typer.Context,
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE]...", help="Names under `heat:` in storaged.yaml. Left out: all.", show_default=False
        ),
    ] = None,
) -> None:
    """Read what is new in access logs: who read which object, when.

    A line counts once, whatever copies of a log there are, so this may be repeated at any time.

    Example: storagectl ingest reads
    """
    from storaged.cli.context import opened
    from storaged.work.ingest import ingest as run_ingest

    options = of(ctx)
    out = Output(options)
    reports: list[IngestReport] = []
    with opened(options) as context:
        settings = context.settings
        for source in _chosen(settings.heat, sources):
            with progress(options, f"ingest {source.name}", unit="lines") as bar:

                def tell(report: IngestReport, bar: Any = bar) -> None:
                    bar(report.lines)

                settings.state_dir.mkdir(parents=True, exist_ok=True)
                reports.append(
                    run_ingest(
                        context.catalog,
                        source,
                        now_us=context.now_us(),
                        half_life_us=settings.half_life,
                        state_dir=settings.state_dir,
                        progress=tell,
                    )
                )
    for report in reports:
        _warn(out, report)
    out.show({"sources": [_facts(r) for r in reports]}, _table(reports))
    broken = [r.source for r in reports if r.problems]
    if broken:
        raise StoreError(
            f"not all logs of {', '.join(broken)} could be read; what was read counts",
            hint="until they can be read, nothing counts as idle later than before",
        )


def _chosen(known: list[HeatSource], names: list[str] | None) -> list[LogSource]:
    from storaged.clock import from_datetime
    from storaged.work.ingest import LogSource

    if not known:
        raise UsageError("storaged.yaml names no logs", hint="`heat:` in it says where they are")
    by_name = {source.name: source for source in known}
    for name in names or ():
        if name not in by_name:
            raise UsageError(f"there is no log source {name!r}", hint=f"sources are: {', '.join(by_name)}")
    return [
        LogSource(s.name, s.format, s.path, s.lag, from_datetime(s.since) if s.since else None)
        for s in known
        if not names or s.name in names
    ]


def _warn(out: Output, report: IngestReport) -> None:
    for problem in report.problems:
        out.warn(problem)
    if report.malformed:
        lines = "; ".join(str(sample) for sample in report.malformed_samples[:3])
        out.warn(f"{report.source}: {count(report.malformed, 'line')} could not be read as events: {lines}")
    if report.unknown:
        names = ", ".join(report.unknown_samples[:3])
        out.warn(f"{report.source}: {count(report.unknown, 'event')} of objects that the catalog does not have: {names}")


def _facts(report: IngestReport) -> dict[str, Any]:
    told = dataclasses.asdict(report)
    told["coverage"] = {
        dataset: {"from": when(low), "until": when(high)} for dataset, (low, high) in report.coverage.items()
    }
    return told


def _table(reports: list[IngestReport]) -> Table:
    return Table(
        ("source", "files", "lines", "counted", "known already", "malformed", "our own", "ignored", "unknown", "covered until"),
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
                when(min((high for _, high in r.coverage.values()), default=None)),
            )
            for r in reports
        ],
    )
