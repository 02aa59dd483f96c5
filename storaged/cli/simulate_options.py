"""What commands that try policies on a past are asked with, and the past that they are asked about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from storaged.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storaged.cli.options import Options
    from storaged.cli.simulate_input import SimulationInput
    from storaged.decide.simulate.run import SimulatedOutcome
    from storaged.decide.simulate.trace import Trace

TiersOption = Annotated[
    str | None,
    typer.Option(
        "--tiers",
        metavar="CLASS,...",
        show_default=False,
        help="The tiers by price book ids, such as aws/us-east-1/standard; hot first. Left out: those of "
        "storaged.yaml.",
    ),
]
TraceOption = Annotated[
    str | None,
    typer.Option(
        "--trace",
        metavar="FILE|URL",
        show_default=False,
        help="Accesses, Parquet or CSV, of a file or such as s3://bucket/reads.parquet: ts (seconds or ISO 8601), "
        "object_id, op (read, write), size_bytes, count, bytes.",
    ),
]
HistoryOption = Annotated[
    str | None,
    typer.Option("--history", metavar="DAYS", show_default=False, help="Instead the catalog's own past, such as 180d."),
]
RatioOption = Annotated[
    list[str] | None,
    typer.Option(
        "--ratio",
        metavar="CODEC=SHARE",
        show_default=False,
        help="What is stored of the content in a codec, such as zstd=0.3, instead of what is known. Repeatable.",
    ),
]
SampleOption = Annotated[
    bool,
    typer.Option("--sample/--no-sample", help="Without --tiers: read a few objects to tell how they would shrink."),
]
PlotOption = Annotated[
    Path | None,
    typer.Option("--plot", metavar="FILE", show_default=False, help="Draw it too: .svg, .png or .pdf."),
]
WarmUpOption = Annotated[
    str | None,
    typer.Option(
        "--warm-up",
        metavar="DAYS",
        show_default=False,
        help="The first so many days are learnt from and not judged. Left out: a third.",
    ),
]


def asked(
    options: Options,
    tiers: str | None,
    trace: str | None,
    history: str | None,
    files: Sequence[Path],
    ratio: Sequence[str],
    *,
    sample: bool,
) -> SimulationInput:
    """The past, the tiers and the policies that were asked about. Raises UsageError and ConfigError."""
    from storaged.cli import simulate_input

    if (trace is None) == (history is None):
        raise UsageError("one of --trace and --history is wanted", hint="--trace FILE, or --history 180d")
    if tiers is None:
        return simulate_input.of_configuration(options, trace, history, files, ratio, sample=sample)
    if ratio:
        raise UsageError(
            "with --tiers there are no codecs", hint="remove --ratio, or --tiers: then storaged.yaml counts"
        )
    return simulate_input.of_classes(options, tiers, trace, history, files)


def replayed(options: Options, word: str, past: SimulationInput, trace: Trace) -> list[SimulatedOutcome]:
    """Policies, baselines and the optimum on a trace of the past, or on a part of it."""
    from storaged.cli.progress import progress
    from storaged.decide.simulate.run import simulate

    with progress(options, word, total=trace.objects) as bar:
        return simulate(
            trace,
            past.listing,
            past.book,
            past.rules,
            half_life_us=past.half_life_us,
            rest_us=past.rest_us,
            on_objects=bar,
        )


def opening(option: str, given: str | None, days: int, share: tuple[int, int], least: int = 0) -> int:
    """After how many of these days one begins to judge; a share of them where nobody says. Raises UsageError where none
    is left."""
    from storaged.cli.simulate_input import days_of

    part, whole = share
    opens = days * part // whole if given is None else days_of(option, given, least)
    if days - opens < 2:
        hint = f"two days at least are judged; give a smaller {option}, or more days"
        raise UsageError(f"of {days:,} days none are left to judge after the first {opens:,}", hint=hint)
    return opens
