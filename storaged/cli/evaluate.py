"""evaluate: policies judged on days that nothing was learnt from, beside staying, baselines and the optimum."""

from __future__ import annotations

import shutil
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

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
    WarmUpOption,
    asked,
    opening,
    replayed,
)
from storaged.cli.table import Table
from storaged.clock import DAY, iso

if TYPE_CHECKING:
    from storaged.decide.simulate.judge import Evaluation, Week
    from storaged.decide.simulate.run import SimulatedOutcome

_THIRD: Final = (1, 3)
AS_THEY_WERE: Final = (
    "reads count as they were: what a slower or dearer tier would have kept people from reading is not known"
)


def evaluate(
    ctx: typer.Context,
    policy: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="POLICY",
            show_default=False,
            help="Policy files, as of `simulate`. Left out without --tiers: all policies together.",
        ),
    ] = None,
    tiers: TiersOption = None,
    trace: TraceOption = None,
    history: HistoryOption = None,
    warm_up: WarmUpOption = None,
    ratio: RatioOption = None,
    sample: SampleOption = True,
    plot: PlotOption = None,
    _json: JsonOption = False,
) -> None:
    """Judge policies on days that they have not seen: what `simulate` says, of held-out days, and the regret.

    The first days are learnt from; on those after them each policy acts at the end of each day by what it knows by
    then. Regret is beside the best fixed policy in hindsight. docs/simulate.md has the rules. Amounts are USD.

    Example: storagectl evaluate cool.yaml --history 180d
    """
    from storaged.cli import simulate_output, simulate_plot
    from storaged.decide.simulate.judge import judge
    from storaged.prices.amount import plain

    options = of(ctx)
    if plot is not None:
        simulate_plot.check(plot)
    past = asked(options, tiers, trace, history, policy or [], ratio or [], sample=sample)
    opens = opening("--warm-up", warm_up, past.trace.days, _THIRD)
    found = replayed(options, "evaluate", past, replace(past.trace, opens=opens))
    evaluation = judge(found)
    if plot is not None:
        simulate_plot.draw(found, simulate_output.KINDS, plot)
    judged = past.trace.days - opens
    split = (
        f"{count(opens, 'day')} to learn from, {count(judged, 'day')} judged, on whose first all is where it begins; "
        f"best fixed policy in hindsight: {evaluation.best}"
    )
    notes = [*simulate_output.notes(past), AS_THEY_WERE]
    sources = simulate_output.sources(past)
    facts: dict[str, Any] = {
        "policies": {
            one.outcome.name: simulate_output.told(one.outcome)
            | {"of_optimum": simulate_output.of_optimum(one.outcome, found), "regret": plain(one.regret)}
            | {"worst_week": _week(one.worst, opens, past.first_us)}
            for one in evaluation.policies
        },
        "best_in_hindsight": evaluation.best,
        "warm_up_days": opens,
        "judged_days": judged,
        **simulate_output.about(past),
        "notes": notes,
        "prices": sources,
    }
    bars = simulate_plot.terminal(found, simulate_output.KINDS, min(shutil.get_terminal_size().columns, 120))
    tables = [_totals(evaluation, found, opens, past.first_us), "", *simulate_output.by_kind(found)]
    out = Output(options)
    out.show(facts, simulate_output.head(past), split, "", *tables, bars, "", *notes, *sources)
    if plot is not None:
        out.note(f"drawn: {plot}")


def _week(week: Week, opens: int, first_us: int | None) -> dict[str, Any]:
    """`day`: of the whole past, from 0; `date`: where that is known."""
    return {
        "day": opens + week.first_day,
        "date": _date(week, opens, first_us),
        "days": week.days,
        "beside_staying": f"{week.beside_staying:.6f}",
    }


def _date(week: Week, opens: int, first_us: int | None) -> str | None:
    begins = iso(None if first_us is None else first_us + (opens + week.first_day) * DAY)
    return begins and begins[:10]


def _totals(evaluation: Evaluation, found: list[SimulatedOutcome], opens: int, first_us: int | None) -> Table:
    from storaged.cli.simulate_output import of_optimum
    from storaged.prices.amount import usd

    columns = ("policy", "total", "/ optimum", "regret", "worst week", "from", "moves")
    rows = []
    for one in evaluation.policies:
        o, week = one.outcome, one.worst
        begins = _date(week, opens, first_us) or f"day {opens + week.first_day:,}"
        worst = usd(Decimal(week.beside_staying)) if week.beside_staying > 0 else None
        rows.append(
            (
                o.name,
                usd(o.amount.total),
                of_optimum(o, found),
                usd(one.regret),
                worst,
                begins if worst else None,
                o.moves,
            )
        )
    return Table(columns, rows, frozenset(columns[1:]))
