"""prices: the price books, shown and checked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storaged.cli.options import JsonOption, Options, of
from storaged.cli.render import Output, count, printable, size
from storaged.cli.table import Table
from storaged.errors import ConfigError, Problem, UsageError

if TYPE_CHECKING:
    from decimal import Decimal

    from storaged.config.settings import Settings
    from storaged.prices.book import ClassPrices, PriceBook, Retrieval, Step

_RIGHT = ("storage", "PUT", "GET", "LIST", "change", "monitoring")


def known_settings(options: Options) -> Settings | None:
    """The configuration of this call; None where none was named and none lies in the usual places."""
    from storaged.cli.context import load
    from storaged.config.settings import find_config

    if options.config is None:
        try:
            find_config(None, os.environ)
        except UsageError:
            return None
    return load(options)


def known_prices(options: Options) -> PriceBook:
    """The shipped books and, where there is a configuration that holds, the user's own."""
    from storaged.prices.load import load_prices

    try:
        settings = known_settings(options)
    except ConfigError as error:  # what is shipped is the same whatever is wrong there
        Output(options).warn(f"the shipped price books only: {error.problems[0]}")
        settings = None
    return load_prices(settings.price_books if settings else None)


def cited(prices: ClassPrices) -> list[str]:
    """What to say under figures that were worked out from these prices: where they were read, and what was not."""
    sources = dict.fromkeys(f"{source.text} ({source.date})" for source in prices.sources.values())
    lines = [f"prices of {prices.id}: {'; '.join(sources)}"]
    if prices.unverified:
        lines.append(f"unverified (?) in {prices.id}: {', '.join(sorted(prices.unverified))}")
    return lines


def show(
    ctx: typer.Context,
    book: Annotated[
        str | None,
        typer.Argument(
            metavar="[BOOK]",
            show_default=False,
            help="PROVIDER, PROVIDER/REGION or PROVIDER/REGION/CLASS. Left out: all.",
        ),
    ] = None,
    _json: JsonOption = False,
) -> None:
    """Show what stores charge, in USD, with the source and date of every figure. A ? marks what no source was seen of.

    Example: storagectl prices show aws/us-east-1
    """
    from storaged.config.messages import did_you_mean

    classes = known_prices(of(ctx)).classes
    wanted = [prices for prices in classes.values() if book is None or f"{prices.id}/".startswith(f"{book}/")]
    if not wanted:
        names = {*classes, *(p.region for p in classes.values()), *(p.provider for p in classes.values())}
        raise UsageError(f"no price book knows {book!r}", hint=did_you_mean(book or "", names))
    out = Output(of(ctx))
    facts = {"classes": [_facts(prices) for prices in wanted]}
    if [prices.id for prices in wanted] == [book]:
        out.show(facts, *_figures(wanted[0]), "", *_units(wanted))
        return
    blocks: list[str | Table] = []
    for region in dict.fromkeys(prices.region for prices in wanted):
        inside = [prices for prices in wanted if prices.region == region]
        blocks += [_region(region, inside), *_beside(inside), *_read_at(inside), ""]
    out.show(facts, *blocks, *_units(wanted))


def check(
    ctx: typer.Context,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]", show_default=False, help="Price books. Left out: those in use, and the tiers."
        ),
    ] = None,
    _json: JsonOption = False,
) -> None:
    """Say everything that is wrong with price books, and with what tiers say about their prices, by file and line.

    Example: storagectl prices check prices/mine.yaml
    """
    from storaged.prices.load import load_prices, own_books, read_book
    from storaged.prices.tiers import tier_prices

    out = Output(of(ctx))
    if files:
        problems: list[Problem] = []
        classes = 0
        for file in files:
            try:
                classes += len(read_book(file))
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(tuple(problems))
        told = [str(file) for file in files]
        facts: dict[str, Any] = {"files": told, "classes": classes}
        out.show(facts, f"{', '.join(printable(file) for file in told)}: good ({_classes(classes)})")
        return
    settings = known_settings(of(ctx))
    book = load_prices(settings.price_books if settings else None)
    own = own_books(settings.price_books) if settings else []
    priced = tier_prices(settings, book) if settings else {}
    unpriced = [name for name in settings.tiers if name not in priced] if settings else []
    facts = {"files": [str(file) for file in own], "classes": len(book.classes)}
    tiers = {name: prices.id for name, prices in priced.items()} | dict.fromkeys(unpriced)
    out.show(
        facts | {"tiers": tiers},
        f"good ({_classes(len(book.classes))}, {count(len(own), 'book')} of your own)",
        *(f"tier {name}: {prices.id}" for name, prices in priced.items()),
        *(f"tier {name}: no prices" for name in unpriced),
    )


def _classes(n: int) -> str:
    return count(n, "class", "classes")


def _region(region: str, inside: list[ClassPrices]) -> Table:
    rows = [
        (
            prices.id.rpartition("/")[2],
            _steps(prices.storage) + _mark(prices, "disk" if prices.disk else "storage"),
            *(_thousand(price) + _mark(prices, f"requests.{name}") for name, price in _requests(prices).items()),
            ", ".join(_way(prices, speed, way) for speed, way in prices.retrieval.items()),
            _minimum(prices),
            f"{size(prices.overhead_bytes)} + {size(prices.overhead_standard_bytes)}"
            if prices.overhead_bytes
            else None,
            _thousand(prices.monitoring) + _mark(prices, "monitoring") if prices.monitoring else None,
        )
        for prices in inside
    ]
    titles = ("class", "storage", "PUT", "GET", "LIST", "change", "retrieval", "minimum", "overhead", "monitoring")
    return Table(titles, rows, frozenset(_RIGHT), title=region)


def _beside(inside: list[ClassPrices]) -> list[str]:
    """What a region has besides its table: egress, and the tiers inside of classes."""
    from storaged.prices.amount import plain

    out = inside[0].egress
    internet, regions = (
        plain(price) + _mark(inside[0], f"egress.{name}")
        for name, price in (("internet", out.internet), ("regions", out.regions))
    )
    lines = [f"egress per GB: to the internet {internet}, to other regions {regions}"]
    for prices in inside:
        name = prices.id.rpartition("/")[2]
        for what, tiers in (("inner", prices.inner), ("opt_in", prices.opt_in)):
            steps = ", ".join(f"{tier.name} from {tier.idle_days} days {plain(tier.per_gb)}" for tier in tiers)
            if steps:
                chosen = " (only told, never reckoned with)" if what == "opt_in" else ""
                lines.append(f"{name}, without a read: {steps}{_mark(prices, what)}{chosen}")
    return lines


def _read_at(inside: list[ClassPrices]) -> list[str]:
    sources = {f"{source.text} ({source.date})": None for prices in inside for source in prices.sources.values()}
    lines = ["sources:", *(f"  {text}" for text in sources)]
    doubted = [f"{p.id.rpartition('/')[2]}: {', '.join(sorted(p.unverified))}" for p in inside if p.unverified]
    return lines + (["unverified (?):", *(f"  {text}" for text in doubted)] if doubted else [])


def _units(wanted: list[ClassPrices]) -> list[str]:
    sizes = " or ".join(f"{gb:,}" for gb in sorted({prices.gb for prices in wanted}))
    return [
        f"USD. storage: per GB and month; PUT, GET, LIST, change of class: per 1,000; GB = {sizes} bytes",
        "retrieval: per GB + per 1,000, and the hours until the first byte; monitoring: per 1,000 objects and month",
    ]


def _figures(prices: ClassPrices) -> list[str | Table]:
    """Every figure of one class with the number of the source that it was read in, and the sources."""
    sources: list[str] = []
    rows = []
    for figure, value in _flat(_facts(prices)):
        cited = "disk" if prices.disk and figure == "storage" else figure  # from which it is worked out
        source = prices.source(cited)
        text = f"{source.text} ({source.date})"
        if text not in sources:
            sources.append(text)
        rows.append((figure, value + _mark(prices, cited), f"[{sources.index(text) + 1}]"))
    cites = [f"[{n}] {text}" for n, text in enumerate(sources, 1)]
    return [f"{prices.id}:", Table(("figure", "price", "read in"), rows), "", *cites]


def _flat(facts: dict[str, Any], before: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in facts.items():
        if not before and key in ("id", "storage_class", "gb", "archived", "sources", "unverified"):
            continue
        if isinstance(value, dict):
            found += _flat(value, f"{before}{key}.")
        elif isinstance(value, list):
            parts = [", ".join(f"{name} {part}" for name, part in entry.items() if part is not None) for entry in value]
            found += [(before + key, "; ".join(parts))] if parts else []
        else:
            found.append((before + key, str(value)))
    return found


def _facts(prices: ClassPrices) -> dict[str, Any]:
    """One class as JSON: the same paths and units as in a book's file."""
    from dataclasses import asdict

    from storaged.prices.amount import plain

    tiers = {
        key: [{"name": t.name, "idle_days": t.idle_days, "per_gb": plain(t.per_gb)} for t in inside]
        for key, inside in (("inner", prices.inner), ("opt_in", prices.opt_in))
        if inside
    }
    return {
        "id": prices.id,
        "storage_class": prices.storage_class,
        "gb": prices.gb,
        "archived": prices.archived,
        "storage": [{"up_to_gb": step.up_to_gb, "per_gb": plain(round(step.per_gb, 15))} for step in prices.storage],
        **({"disk": {name: plain(value) for name, value in asdict(prices.disk).items()}} if prices.disk else {}),
        "requests": {name: _thousand(price) for name, price in _requests(prices).items()},
        "retrieval": {
            speed: {"per_gb": plain(way.per_gb), "per_1000": _thousand(way.per_request), "hours": plain(way.hours)}
            for speed, way in prices.retrieval.items()
        },
        "minimum": {"days": prices.minimum_days, "bytes": prices.minimum_bytes},
        "overhead": {"bytes": prices.overhead_bytes, "standard_bytes": prices.overhead_standard_bytes},
        "monitoring": {"per_1000": _thousand(prices.monitoring), "from_bytes": prices.monitoring_bytes},
        **tiers,
        "egress": {"internet": plain(prices.egress.internet), "regions": plain(prices.egress.regions)},
        "sources": {figure: {"text": s.text, "date": s.date} for figure, s in prices.sources.items()},
        "unverified": sorted(prices.unverified),
    }


def _requests(prices: ClassPrices) -> dict[str, Decimal]:
    return {"put": prices.put, "get": prices.get, "list": prices.list_, "transition_in": prices.transition_in}


def _thousand(price: Decimal) -> str:
    from storaged.prices.amount import plain

    return plain(round(price * 1000, 12))


def _mark(prices: ClassPrices, figure: str) -> str:
    return "?" if prices.doubted(figure) else ""


def _steps(steps: tuple[Step, ...]) -> str:
    from storaged.prices.amount import plain

    return ", ".join(
        plain(round(step.per_gb, 9)) + (f" to {step.up_to_gb:,} GB" if step.up_to_gb else "") for step in steps
    )


def _way(prices: ClassPrices, speed: str, way: Retrieval) -> str:
    from storaged.prices.amount import plain

    price = plain(way.per_gb) + (f" + {_thousand(way.per_request)}" if way.per_request else "")
    hours = f" in {plain(way.hours)} h" if way.hours else ""
    name = f"{speed} " if len(prices.retrieval) > 1 else ""
    return f"{name}{price}{hours}{_mark(prices, f'retrieval.{speed}')}"


def _minimum(prices: ClassPrices) -> str | None:
    parts = [f"{prices.minimum_days} days"] if prices.minimum_days else []
    parts += [size(prices.minimum_bytes)] if prices.minimum_bytes else []
    return ", ".join(parts) or None
