"""simulate: policies tried on accesses that were, beside baselines and the optimum."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storaged.cli.options import JsonOption, of
from storaged.cli.render import Output, count
from storaged.cli.simulate_options import (
    HistoryOption,
    PlotOption,
    RatioOption,
    SampleOption,
    TiersOption,
    TraceOption,
    asked,
    replayed,
)
from storaged.cli.table import Table

if TYPE_CHECKING:
    from storaged.decide.simulate.run import SimulatedOutcome


def simulate(
    ctx: typer.Context,
    tiers: TiersOption = None,
    trace: TraceOption = None,
    history: HistoryOption = None,
    policy: Annotated[
        list[Path] | None,
        typer.Option(
            "--policy",
            metavar="FILE",
            show_default=False,
            help="A policy file; with --tiers hot, warm, cold, archive are the first four of these. Repeatable. Left "
            "out without --tiers: all policies together.",
        ),
    ] = None,
    ratio: RatioOption = None,
    sample: SampleOption = True,
    plot: PlotOption = None,
    _json: JsonOption = False,
) -> None:
    """Replay accesses day by day under policies: what each would have cost, beside baselines and the best possible.

    Needs no configuration and no catalog with --trace. docs/simulate.md has the rules. Amounts are USD.

    Example: storagectl simulate --trace reads.csv --tiers aws/us-east-1/standard,aws/us-east-1/standard-ia
    """
    from storaged.cli import simulate_output, simulate_plot

    options = of(ctx)
    if plot is not None:
        simulate_plot.check(plot)
    past = asked(options, tiers, trace, history, policy or [], ratio or [], sample=sample)
    found = replayed(options, "simulate", past, past.trace)
    notes = simulate_output.notes(past)
    if tiers is not None:  # else rest holds back
        notes += _back(found, past.rest_us)
    sources = simulate_output.sources(past)
    if plot is not None:
        simulate_plot.draw(found, simulate_output.KINDS, plot)
    facts: dict[str, Any] = {
        "policies": {outcome.name: simulate_output.told(outcome) for outcome in found},
        **simulate_output.about(past),
        "notes": notes,
        "prices": sources,
    }
    bars = simulate_plot.terminal(found, simulate_output.KINDS, min(shutil.get_terminal_size().columns, 120))
    tables = [_totals(found), "", *simulate_output.by_kind(found)]
    out = Output(options)
    out.show(facts, simulate_output.head(past), "", *tables, bars, "", *notes, *sources)
    if plot is not None:
        out.note(f"drawn: {plot}")


def _totals(found: list[SimulatedOutcome]) -> Table:
    from storaged.cli.simulate_output import of_optimum
    from storaged.prices.amount import usd

    columns = ("policy", "total", "/ optimum", "moves")
    rows = [(o.name, usd(o.amount.total), of_optimum(o, found), o.moves) for o in found]
    return Table(columns, rows, frozenset(columns[1:]))


def _back(found: list[SimulatedOutcome], rest_us: int) -> list[str]:
    """Of the policies that move objects to and fro: how often they would be held back from it."""
    from storaged.config.quantities import format_duration

    rest = f"`rest` ({format_duration(rest_us)}) or the minimum duration of their class"
    return [
        f"{o.name}: {o.back:,} of its {count(o.moves, 'move')} go back within {rest}: a plan holds them back until then"
        for o in found
        if o.back
    ]
