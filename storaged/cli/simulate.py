"""simulate: policies tried on accesses that were, beside baselines and the optimum."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from storaged.cli.options import JsonOption, of
from storaged.cli.render import Output, count
from storaged.cli.table import Table
from storaged.errors import UsageError

if TYPE_CHECKING:
    from storaged.decide.simulate.run import Listing, SimulatedOutcome
    from storaged.prices.book import ClassPrices, PriceBook

KINDS: Final = ("storage", "requests", "retrieval", "transition", "early_deletion", "monitoring", "overhead")
_WIDE: Final = 110  # columns in which all kinds fit beside each other
_NOT_SIMULATED: Final = "policies act at the end of each day: schedules, limits, grace, holds and readers play no part"
_EGRESS: Final = "the tiers are in several regions: what leaves one for another is not counted here"


def simulate(
    ctx: typer.Context,
    tiers: Annotated[
        str | None,
        typer.Option(
            "--tiers",
            metavar="CLASS,...",
            show_default=False,
            help="The tiers by price book ids, such as aws/us-east-1/standard; hot first. Left out: those of "
            "storaged.yaml.",
        ),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(
            "--trace",
            metavar="FILE",
            show_default=False,
            help="Accesses, Parquet or CSV: ts (seconds or ISO 8601), object_id, op (read, write), size_bytes, count, "
            "bytes.",
        ),
    ] = None,
    history: Annotated[
        str | None,
        typer.Option(
            "--history", metavar="DAYS", show_default=False, help="Instead the catalog's own past, such as 180d."
        ),
    ] = None,
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
    ratio: Annotated[
        list[str] | None,
        typer.Option(
            "--ratio",
            metavar="CODEC=SHARE",
            show_default=False,
            help="What is stored of the content in a codec, such as zstd=0.3, instead of what is known. Repeatable.",
        ),
    ] = None,
    sample: Annotated[
        bool,
        typer.Option("--sample/--no-sample", help="Without --tiers: read a few objects to tell how they would shrink."),
    ] = True,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", metavar="FILE", show_default=False, help="Draw it too: .svg, .png or .pdf."),
    ] = None,
    _json: JsonOption = False,
) -> None:
    """Replay accesses day by day under policies: what each would have cost, beside baselines and the best possible.

    Needs no configuration and no catalog with --trace. docs/simulate.md has the rules. Amounts are USD.

    Example: storagectl simulate --trace reads.csv --tiers aws/us-east-1/standard,aws/us-east-1/standard-ia
    """
    from storaged.cli import simulate_input, simulate_plot
    from storaged.cli.progress import progress
    from storaged.decide.simulate import run

    options = of(ctx)
    if (trace is None) == (history is None):
        raise UsageError("one of --trace and --history is wanted", hint="--trace FILE, or --history 180d")
    if plot is not None:
        simulate_plot.check(plot)
    if tiers is None:
        past = simulate_input.of_configuration(options, trace, history, policy or [], ratio or [], sample=sample)
    elif ratio:
        raise UsageError(
            "with --tiers there are no codecs", hint="remove --ratio, or --tiers: then storaged.yaml counts"
        )
    else:
        past = simulate_input.of_classes(options, tiers, trace, history, policy or [])
    book, listed = past.book, list(past.listing.tiers)
    with progress(options, "simulate", total=past.trace.objects) as bar:
        found = run.simulate(
            past.trace,
            past.listing,
            book,
            past.rules,
            half_life_us=past.half_life_us,
            rest_us=past.rest_us,
            on_objects=bar,
        )
    notes = [*past.notes, *_left_out(past.listing, book), *([_NOT_SIMULATED] if past.rules else [])]
    if tiers is not None:  # else rest holds back
        notes += _back(found, past.rest_us)
    if len({prices.region for prices in listed}) > 1:
        notes.append(_EGRESS)
    own = (run.class_of(name, listed, book) for name in run.MOVES_ITSELF)
    sources = _cited([*listed, *(prices for prices in own if prices is not None)])
    if plot is not None:
        simulate_plot.draw(found, KINDS, plot)
    facts: dict[str, Any] = {
        "policies": {outcome.name: _told(outcome) for outcome in found},
        "days": past.trace.days,
        "first_day": past.first_day,
        "objects": past.trace.objects,
        "tiers": [prices.id for prices in listed],
        "left_out": dict(past.left_out),
        "notes": notes,
        "prices": sources,
    }
    total = int(past.trace.sizes.astype(object).sum())
    units = sorted({prices.gb for prices in listed})
    gb = " and ".join("2^30" if unit == 1 << 30 else f"{unit:,}" for unit in units)
    head = f"{count(past.trace.objects, 'object')}, {total / units[0]:,.3f} GB, {count(past.trace.days, 'day')}"
    out = Output(options)
    since = f" from {past.first_day[:10]}" if past.first_day else ""
    width = shutil.get_terminal_size().columns
    wide = width >= _WIDE or not sys.stdout.isatty()
    tables = _tables(found, len(KINDS) if wide else 4)
    bars = simulate_plot.terminal(found, KINDS, min(width, 120))
    out.show(facts, f"{head}{since}; amounts in USD, a GB has {gb} bytes", "", *tables, bars, "", *notes, *sources)
    if plot is not None:
        out.note(f"drawn: {plot}")


def _back(found: list[SimulatedOutcome], rest_us: int) -> list[str]:
    """Of the policies that move objects to and fro: how often they would be held back from it."""
    from storaged.config.quantities import format_duration

    rest = f"`rest` ({format_duration(rest_us)}) or the minimum duration of their class"
    return [
        f"{o.name}: {o.back:,} of its {count(o.moves, 'move')} go back within {rest}: a plan holds them back until then"
        for o in found
        if o.back
    ]


def _left_out(listing: Listing, book: PriceBook) -> list[str]:
    from storaged.decide.simulate.run import AUTO, IDLE, LIFECYCLE, MOVES_ITSELF, class_of

    tiers = listing.tiers
    found = [f"{LIFECYCLE}, {IDLE} and {AUTO} are left out: there is one tier"] if len(tiers) == 1 else []
    if len(tiers) > 1 and not listing.one_home:
        found.append(f"{LIFECYCLE} and {IDLE} are left out: not everything begins in the first tier")
    for name, provider in MOVES_ITSELF.items():
        if all(prices.provider == provider for prices in tiers) and class_of(name, tiers, book) is None:
            found.append(f"{name} is left out: no price book has {tiers[0].region}/{name}")
    missing = [name for name, provider in MOVES_ITSELF.items() if any(p.provider != provider for p in tiers)]
    return [*found, f"{' and '.join(missing)}: not with these tiers"] if missing else found


def _cited(used: list[ClassPrices]) -> list[str]:
    """Where the figures that play a part were read, and which of them were not read anywhere."""
    sources = {f"{s.text} ({s.date})": None for p in used for path, s in p.sources.items() if _counts(path)}
    unverified = [f"{p.id} {path}" for p in used for path in sorted(p.unverified) if _counts(path)]
    found = [f"prices: {'; '.join(sources)}"]
    return [*found, f"unverified prices: {', '.join(unverified)}"] if unverified else found


def _counts(figure: str) -> bool:
    """Whether a simulation has use for this figure of a price book."""
    return not figure.startswith(("requests.list", "egress")) and (
        not figure.startswith("retrieval.") or figure.startswith("retrieval.standard")
    )


def _told(outcome: SimulatedOutcome) -> dict[str, Any]:
    amounts = outcome.amount.as_json()
    return {"total": amounts["total"], **{kind: amounts[kind] for kind in KINDS}, "moves": outcome.moves}


def _tables(found: list[SimulatedOutcome], beside: int) -> list[str | Table]:
    from storaged.decide.simulate.run import OPTIMUM
    from storaged.prices.amount import usd

    best = next(outcome.amount.total for outcome in found if outcome.name == OPTIMUM)
    columns = ("policy", "total", "/ optimum", "moves")
    rows = [(o.name, usd(o.amount.total), f"{o.amount.total / best:.2f}" if best else None, o.moves) for o in found]
    tables: list[str | Table] = [Table(columns, rows, frozenset(columns[1:])), ""]
    kinds = [kind for kind in KINDS if any(getattr(o.amount, kind) for o in found)]
    for begin in range(0, len(kinds), beside):
        some = kinds[begin : begin + beside]
        titles = ("policy", *(kind.replace("_", " ") for kind in some))
        cells = [(o.name, *(usd(getattr(o.amount, kind)) for kind in some)) for o in found]
        tables += [Table(titles, cells, frozenset(titles[1:])), ""]
    return tables
