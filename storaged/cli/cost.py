"""cost: what everything costs per month as it is now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from storaged.cli.options import JsonOption, of
from storaged.cli.render import Output, count, size
from storaged.cli.table import Table
from storaged.clock import DAY, iso
from storaged.errors import StoragedError

if TYPE_CHECKING:
    from storaged.config.settings import Settings
    from storaged.prices.book import ClassPrices, Source
    from storaged.work.money.cost import Bill, Group

_UNKNOWN: Final = "?"  # in a cell: no log tells
_BARS: Final = 40  # of a drawing
_NO_PRICES: Final = "no prices"


def cost(
    ctx: typer.Context,
    by: Annotated[
        str,
        typer.Option(
            "--by",
            metavar="WHAT",
            help="A line for each dataset, tier, owner, tag:KEY, kind or class; or for each format, age, size, "
            "collection, partition or partition:KEY.",
        ),
    ] = "dataset",
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            metavar="FILE",
            show_default=False,
            help="Write the bill as rows, whatever --by says, to a .csv or .parquet file.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", show_default=False, help="Draw the lines to a .svg or .png file."),
    ] = None,
    _json: JsonOption = False,
) -> None:
    """Show what everything costs per month as it is now, with the last month's reads and writes.

    Prices come from the price books that the tiers' `prices:` name. A tier without them is shown as such, never as $0.

    Example: storagectl cost --by tier

    Example: storagectl cost --by tag:team --export november.parquet
    """
    if ctx.invoked_subcommand is not None:
        return
    from storaged.cli.context import opened
    from storaged.cli.plots import require_drawable
    from storaged.work.money.cost import grouped, make_bill

    if plot:
        require_drawable(plot)
    with opened(of(ctx)) as context:
        bill = make_bill(context, by)
    lines = grouped(bill, by)
    out = Output(of(ctx))
    facts = _facts(bill, by, lines)
    if export:
        from storaged.work.money.chargeback import export as write

        facts["export"] = {"file": str(export), "rows": write(bill, export)}
        out.note(f"wrote {count(facts['export']['rows'], 'row')} to {export}")
    if plot:
        _draw(bill, by, lines, plot)
        facts["plot"] = str(plot)
        out.note(f"drew {plot}")
    out.show(facts, _kinds(bill, lines) if by == "kind" else _table(bill, by, lines), "", *notes(bill))


def _draw(bill: Bill, by: str, lines: list[Group], file: Path) -> None:
    """A bar for each line, the dearest first; beyond _BARS of them, one for all others."""
    from storaged.cli.plots import stacked_bars
    from storaged.prices.amount import Amount
    from storaged.work.money.cost import MONTHLY

    dear = sorted((line for line in lines if line.cost.total), key=lambda line: line.cost.total, reverse=True)
    if not dear:
        raise StoragedError("there is nothing to draw: nothing that is stored has prices", hint="set the tiers' prices")
    shown, rest = dear[:_BARS], dear[_BARS:]
    bars = [(line.name, line.cost) for line in shown]
    if rest:
        bars.append((count(len(rest), "other"), sum((line.cost for line in rest), Amount())))
    parts = [(kind, [getattr(amount, kind) for _, amount in bars]) for kind in MONTHLY]
    title = f"Cost by {by}, {bill.month}"
    stacked_bars(file, title, "USD per month", [name for name, _ in bars], [p for p in parts if any(p[1])])


def _facts(bill: Bill, by: str, lines: list[Group]) -> dict[str, Any]:
    from storaged.prices.amount import plain
    from storaged.prices.book import DAYS_PER_MONTH
    from storaged.work.money.cost import line

    whole = line("total", bill.parts)
    return {
        "at": iso(bill.at_us),
        "month": bill.month,
        "month_days": plain(DAYS_PER_MONTH),
        "gb_bytes": sorted({prices.gb for prices in bill.prices}),
        "by": by,
        "groups": [_group(g) for g in lines],
        "total": _group(whole),
        "early_deletion_if_all_left_today": plain(bill.leaving_today),
        "no_prices": [
            {"tier": tier, "storage_class": name, "objects": objects, "bytes": nbytes}
            for (tier, name), (objects, nbytes) in bill.unpriced.items()
        ],
        "reads_unknown": list(bill.unread),
        "reads_from": {
            dataset: {"from": iso(window.from_us), "until": iso(window.until_us)}
            for dataset, window in bill.months.items()
        },
        "prices": [
            {
                "id": prices.id,
                "sources": [{"source": source.text, "date": source.date} for source in _sources([prices])],
                "unverified": doubted_figures(prices),
            }
            for prices in bill.prices
        ],
    }


def _group(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "objects": group.objects,
        "places": group.places,
        "bytes": group.bytes,
        "without_prices": {"objects": group.unpriced_objects, "bytes": group.unpriced_bytes},
        "reads_known": group.reads_known,
        "monthly": group.cost.as_json() if group.priced else None,
        "of_it_in_grace": group.grace.as_json() if group.priced else None,
    }


def _table(bill: Bill, by: str, lines: list[Group]) -> Table:
    """A line for each group, and the total."""
    from storaged.work.money.cost import MONTHLY, line

    whole = line("total", bill.parts)
    kinds = [kind for kind in MONTHLY if kind == "storage" or any(_cell(g, kind) not in ("-", "$0.00") for g in lines)]
    grace = ("in grace",) if whole.grace.total else ()
    apart = any(p.objects != p.places for p in bill.parts)  # there are packs
    rows: list[tuple[str | int, ...]] = [
        (
            g.name,
            g.objects,
            *((f"{g.places:,}",) if apart else ()),
            size(g.bytes),
            *(_cell(g, kind) for kind in kinds),
            _total(g),
            *(_usd(g, g.grace.total) for _ in grace),
        )
        for g in (*lines, whole)
    ]
    columns = (by, "objects", *(("stored things",) if apart else ()), "stored", *kinds, "total", *grace)
    return Table(columns, rows, frozenset(columns[2:]), details=frozenset(kinds))


def _kinds(bill: Bill, lines: list[Group]) -> Table:
    from storaged.work.money.cost import line

    rows = [(g.name, _cell(g, g.name), _usd(g, g.grace.total)) for g in lines]
    whole = line("total", bill.parts)
    rows.append((whole.name, _total(whole), _usd(whole, whole.grace.total)))
    return Table(("kind", "total", "in grace"), rows, frozenset(("total", "in grace")))


def _cell(group: Group, kind: str) -> str:
    """One kind of one line. Where no log tells of any reads their cost is not nothing, it is not known."""
    value: Decimal = getattr(group.cost, kind)
    if kind in ("requests", "retrieval") and not group.reads_known and not value:
        return _UNKNOWN if group.priced else "-"
    return _usd(group, value)


def _usd(group: Group, value: Decimal) -> str:
    from storaged.prices.amount import usd

    return usd(value) if group.priced else "-"


def _total(group: Group) -> str:
    if not group.priced:
        return _NO_PRICES if group.places else "-"
    return _usd(group, group.cost.total) + (" + ?" if group.unpriced_objects or not group.reads_known else "")


def notes(bill: Bill) -> Iterator[str]:
    """What the figures mean, what is missing in them, and where the prices are from."""
    from storaged.prices.amount import usd
    from storaged.prices.book import DAYS_PER_MONTH

    units = "; ".join(f"a GB is {_power(gb)} bytes" for gb in sorted({prices.gb for prices in bill.prices}))
    yield "; ".join(filter(None, (f"USD per month of {DAYS_PER_MONTH} days, at list prices", units)))
    for (tier, name), (objects, nbytes) in bill.unpriced.items():
        yield (
            f"no prices: {count(objects, 'object')}, {size(nbytes)} of class {name} in tier {tier}: "
            "not in the total; set the tier's `prices:`"
        )
    if bill.unread:
        names = ", ".join(bill.unread)
        yield f"reads unknown, and not in the total: no access log tells of a day of the last month of {names}"
    for window in dict.fromkeys(bill.months.values()):
        told = ", ".join(name for name, its in bill.months.items() if its == window)
        days = Decimal(window.length_us) / DAY
        yield f"reads and writes of {told}: those of {days:.1f} days until {iso(window.until_us)}, scaled to a month"
    if bill.leaving_today:
        yield f"not in the total: {usd(bill.leaving_today)} for early deletion, once, if everything were deleted today"
    for region in dict.fromkeys(prices.region for prices in bill.prices):
        used = [prices for prices in bill.prices if prices.region == region]
        yield f"prices of {region}: {'; '.join(f'{s.text} ({s.date})' for s in _sources(used))}"
    for prices in bill.prices:
        if doubted := doubted_figures(prices):
            yield f"unverified (?) in {prices.id}: {', '.join(doubted)}"


def _sources(used: Iterable[ClassPrices]) -> list[Source]:
    """Where the figures of a bill were read."""
    from storaged.work.money.cost import FIGURES

    return list(dict.fromkeys(prices.source(figure) for prices in used for figure in FIGURES))


def unverified(settings: Settings) -> dict[str, list[str]]:
    """The figures that no source was seen of, by the prices of the configured tiers that have such."""
    from storaged.prices.load import load_prices
    from storaged.prices.tiers import tier_prices

    named = {prices.id: prices for prices in tier_prices(settings, load_prices(settings.price_books)).values()}
    return {name: figures for name, prices in sorted(named.items()) if (figures := doubted_figures(prices))}


def doubted_figures(prices: ClassPrices) -> list[str]:
    """The figures of a bill that no source was seen of."""
    from storaged.work.money.cost import FIGURES

    return [figure for figure in FIGURES if prices.doubted(figure)]


def _power(gb: int) -> str:
    return f"2^{gb.bit_length() - 1}" if gb.bit_count() == 1 else f"{gb:,}"
