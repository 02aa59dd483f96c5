"""forecast: what there will be in the months ahead, and what that costs, by what came and went before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from storaged.cli.options import JsonOption, of
from storaged.cli.render import Output, count, size, when
from storaged.cli.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from storaged.decide.growth import Backtest
    from storaged.work.money.ahead import Ahead, LineAhead, MarkMet, MonthAhead
    from storaged.work.money.arrivals import Arrivals
    from storaged.work.money.growing import Within
    from storaged.work.money.planned import NewestPlan

_MONTHS: Final = 12
_GIB: Final = 1 << 30
_STALE_DAYS: Final = 7  # a scan is old after so many
_PLACES: Final = ("dataset", "tier", "stored", "then", "80 %", "a month", "a month then", "80 % of it")
_AHEAD: Final = ("months", "objects", "stored", "80 %", "a month", "80 % of it")
_MARKS: Final = ("tier", "mark", "at", "used", "one in ten", "half", "nine in ten")
_TRIED: Final = ("weeks ahead", "forecasts", "inside")


def forecast(
    ctx: typer.Context,
    dataset: Annotated[
        list[str] | None,
        typer.Argument(metavar="DATASET", show_default=False, help="Only these datasets. Left out: all."),
    ] = None,
    months: Annotated[int, typer.Option("--months", metavar="N", min=1, max=24, help="How far ahead.")] = _MONTHS,
    backtest: Annotated[
        bool, typer.Option("--backtest", help="Tell too how forecasts from earlier days would have fared.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", show_default=False, help="Draw it too: .svg or .png."),
    ] = None,
    _json: JsonOption = False,
) -> None:
    """Forecast bytes, objects and dollars of the months ahead, if datasets go on to grow as they did.

    Nothing is moved in it: what policies would change is told beside. Intervals hold four of five: in one month of ten
    there is less, in one of ten more. docs/growth.md tells how it is made. Amounts are USD.

    Example: storagectl forecast --months 6

    Example: storagectl forecast lake --plot lake.svg --backtest
    """
    from storaged.cli.context import opened
    from storaged.cli.plots import require_drawable
    from storaged.work.money.ahead import look_ahead, tried_before

    options = of(ctx)
    if plot is not None:
        require_drawable(plot)
    with opened(options) as context:
        ahead = look_ahead(context, months, dataset or ())
        tried = tried_before(ahead.datasets) if backtest else ()
        known = {one.dataset for one in ahead.datasets}
        unscanned = sorted(context.datasets.keys() - known) if not dataset else []
        gone = sorted(known - context.datasets.keys())
    if plot is not None:
        _draw(ahead, plot)
    notes = [*_growth_notes(ahead, unscanned, gone), *_plan_notes(ahead)]
    out = Output(options)
    out.show(_facts(ahead, tried, notes), *_blocks(ahead, tried), "", *notes, *_money_notes(ahead))
    if plot is not None:
        out.note(f"drawn: {plot}")


def _blocks(ahead: Ahead, tried: Sequence[Backtest]) -> Iterator[str | Table]:
    last = ahead.total.months[-1].month
    rows = [_row(one) for one in (*ahead.places, *ahead.tiers, ahead.total)]
    yield f"in {count(last, 'month')}, if what is there grows as it did and nothing is moved:"
    yield Table(_PLACES, rows, frozenset(_PLACES[2:]))
    yield ""
    yield "all of it:"
    yield Table(_AHEAD, [_month(one) for one in ahead.total.months], frozenset(_AHEAD[1:]))
    if ahead.marks:
        yield ""
        yield "when tiers meet their marks, by which share of the ways on:"
        yield Table(_MARKS, [_mark(mark) for mark in ahead.marks], frozenset(("at", "used")))
    if tried:
        yield ""
        yield "forecasts of each dataset's bytes from earlier days, and what came:"
        yield Table(_TRIED, [(one.weeks, one.forecasts, _share(one)) for one in tried], frozenset(_TRIED))


def _share(one: Backtest) -> str:
    return f"{one.inside / one.forecasts:.0%}" if one.forecasts else "-"


def _row(one: LineAhead) -> tuple[str | None, ...]:
    now, then = one.months[0], one.months[-1]
    name = "all" if one.dataset is None else one.dataset or "(no dataset)"
    return (
        name if one.tier is not None or one.dataset is not None else "total",
        one.tier or "",
        _size(now.bytes.mean),
        _size(then.bytes.mean) + _open(then),
        _span(then.bytes, _size),
        _paid(now),
        _paid(then),
        "-" if then.usd is None else _span(then.usd, _usd),
    )


def _month(one: MonthAhead) -> tuple[str | int | None, ...]:
    return (
        one.month,
        f"{int(one.objects.mean):,}",
        _size(one.bytes.mean) + _open(one),
        _span(one.bytes, _size),
        _paid(one),
        "-" if one.usd is None else _span(one.usd, _usd),
    )


def _open(one: MonthAhead) -> str:
    return " + ?" if one.standing else ""


def _paid(one: MonthAhead) -> str:
    if one.usd is None:
        return "no prices" if one.bytes.mean else "-"
    return _usd(one.usd.mean) + (" + ?" if one.standing or one.unpriced_bytes or not one.reads_known else "")


def _size(value: Any) -> str:
    return size(int(value))


def _usd(value: Any) -> str:
    from storaged.prices.amount import usd

    return usd(value)


def _span(its: Within, shown: Any) -> str:
    return f"{shown(its.low)} to {shown(its.high)}"


def _mark(mark: MarkMet) -> tuple[str, ...]:
    days = (mark.earliest_us, mark.expected_us, mark.latest_us)
    return (
        mark.tier,
        mark.mark,
        size(mark.bytes),
        size(mark.used_bytes),
        *("later" if us is None else when(us)[:10] for us in days),
    )


def _growth_notes(ahead: Ahead, unscanned: Sequence[str], gone: Sequence[str]) -> Iterator[str]:
    """What is not known, and what that makes of the figures."""
    from storaged.clock import DAY
    from storaged.decide.growth import LEAST

    months = ahead.total.months[-1].month
    yield "intervals: four of five ways on are inside; what is kept through grace, reads and writes stay as they are"
    for name in unscanned:
        yield f"{name}: never scanned; nothing of it is known"
    for one in ahead.datasets:
        known = ahead.known_months[one.dataset]
        for text in _of_dataset(one, gone):
            yield f"{one.dataset}: {text}"
        if one.scanned_us is None or not one.objects_now:
            continue
        if (days := (ahead.bill.at_us - one.scanned_us) // DAY) > _STALE_DAYS:
            yield f"{one.dataset}: the last scan was {count(days, 'day')} ago; what came since is not known"
        if one.weeks < LEAST:
            yield (
                f"{one.dataset}: little history, {count(one.weeks, 'week')} after the first objects came; "
                f"nothing is forecast before there are {LEAST}, and it counts as it is"
            )
            continue
        if known < months:
            yield (
                f"{one.dataset}: {count(one.weeks, 'week')} of history tell of {count(known, 'month')} ahead; "
                "after that it counts as it is then"
            )
        if not (one.bytes.any() or one.objects.any()):
            yield (
                f"{one.dataset}: nothing came or went in {count(one.weeks, 'week')}; it is taken to stay so, and "
                "of a first time no interval can tell"
            )
        elif not one.removals_known:
            yield (
                f"{one.dataset}: what was removed is known since {when(one.watched_us)[:10]} only; it may grow less, "
                "and the interval reaches down to what is there now"
            )


def _of_dataset(one: Arrivals, gone: Sequence[str]) -> Iterator[str]:
    if one.dataset in gone:
        yield "not in storaged.yaml any more: no scan looks at it"
    if one.clock_jumped:
        yield "its last scan is in the future: a clock jumped; it counts as now"
    if one.scanned_us is None:
        yield "never scanned; nothing of it is known"
    elif not one.objects_now:
        yield "holds nothing any more; nothing is forecast"
    if one.from_the_future:
        its = count(one.from_the_future, "object")
        yield f"{its} from the future, as file times say (a clock jumped?): no growth of its past"
    if one.overwritten:
        its = count(one.overwritten, "object")
        yield f"{its} written anew by users: when they came first is not known, and they are no growth"


def _plan_notes(ahead: Ahead) -> Iterator[str]:
    """What policies would change, beside the figures."""
    from storaged.prices.amount import usd

    if not ahead.plans:
        yield "policies: no plan of one that there is now; nothing is known of what they would change"
    for plan in ahead.plans:
        saves = "no prices known" if plan.saving is None else f"expected to save {usd(plan.saving)} a month"
        done = "in the figures as far as it is done" if plan.state == "applied" else "not in these figures"
        yield (
            f"policy {plan.policy}: plan {plan.plan} of {when(plan.made_us)[:10]} brings "
            f"{count(plan.objects, 'object')} from {size(plan.bytes_now)} to {size(plan.bytes_after)}, {saves}; {done}"
        )


def _money_notes(ahead: Ahead) -> Iterator[str]:
    from storaged.cli.cost import notes

    yield from notes(ahead.bill)


def _facts(ahead: Ahead, tried: Sequence[Backtest], notes: Sequence[str]) -> dict[str, Any]:
    from storaged.prices.amount import plain

    return {
        "at": when(ahead.bill.at_us),
        "months": ahead.total.months[-1].month,
        "interval": 0.8,
        "places": [{"dataset": one.dataset, "tier": one.tier, "months": _told(one)} for one in ahead.places],
        "tiers": [{"tier": one.tier, "months": _told(one)} for one in ahead.tiers],
        "all": _told(ahead.total),
        "marks": [
            {
                "tier": mark.tier,
                "mark": mark.mark,
                "bytes": mark.bytes,
                "used_bytes": mark.used_bytes,
                "earliest": _date(mark.earliest_us),
                "expected": _date(mark.expected_us),
                "latest": _date(mark.latest_us),
            }
            for mark in ahead.marks
        ],
        "datasets": [_dataset(one, ahead.known_months[one.dataset]) for one in ahead.datasets],
        "plans": [_plan(plan) for plan in ahead.plans],
        "backtest": [{"weeks": one.weeks, "forecasts": one.forecasts, "inside": one.inside} for one in tried],
        "no_prices": [
            {"tier": tier, "storage_class": name, "objects": objects, "bytes": nbytes}
            for (tier, name), (objects, nbytes) in ahead.bill.unpriced.items()
        ],
        "prices": sorted(prices.id for prices in ahead.bill.prices),
        "early_deletion_if_all_left_today": plain(ahead.bill.leaving_today),
        "notes": list(notes),
    }


def _told(one: LineAhead) -> list[dict[str, Any]]:
    from storaged.prices.amount import plain

    def ends(its: Within, number: Any) -> dict[str, Any]:
        return {"low": number(its.low), "expected": number(its.mean), "high": number(its.high)}

    return [
        {
            "month": month.month,
            "bytes": ends(month.bytes, int),
            "objects": ends(month.objects, int),
            "monthly": None if month.usd is None else ends(month.usd, plain),
            "unpriced_bytes": month.unpriced_bytes,
            "reads_known": month.reads_known,
            "not_forecast": list(month.standing),
        }
        for month in one.months
    ]


def _dataset(one: Arrivals, known: int) -> dict[str, Any]:
    return {
        "dataset": one.dataset,
        "weeks": one.weeks,
        "months_known": known,
        "objects_now": one.objects_now,
        "bytes_now": one.bytes_now,
        "scanned": _instant(one.scanned_us),
        "removals_known": one.removals_known,
        "overwritten": one.overwritten,
        "from_the_future": one.from_the_future,
        "clock_jumped": one.clock_jumped,
    }


def _plan(plan: NewestPlan) -> dict[str, Any]:
    from storaged.prices.amount import plain

    return {
        "policy": plan.policy,
        "plan": plan.plan,
        "state": plan.state,
        "made": when(plan.made_us),
        "objects": plan.objects,
        "bytes_now": plan.bytes_now,
        "bytes_after": plan.bytes_after,
        "monthly_saving": None if plan.saving is None else plain(plan.saving),
    }


def _instant(us: int | None) -> str | None:
    return None if us is None else when(us)


def _date(us: int | None) -> str | None:
    return None if us is None else when(us)[:10]


def _draw(ahead: Ahead, file: Path) -> None:
    """Bytes of all, and dollars where there are prices."""
    from storaged.cli.plots import bands

    total = ahead.total.months
    panels = [("GiB stored", [[float(v) / _GIB for v in _ends(m.bytes)] for m in total])]
    if all(m.usd is not None for m in total):
        panels.append(("USD per month", [[float(v) for v in _ends(m.usd)] for m in total if m.usd is not None]))
    bands(file, f"In the {count(total[-1].month, 'month')} from {when(ahead.bill.at_us)[:10]} on", panels)


def _ends(its: Within) -> tuple[Any, Any, Any]:
    return its.low, its.mean, its.high
