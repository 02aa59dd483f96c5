"""What commands that try policies on a past say alike: heads, tables, what is left out, and where prices are from."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING, Any, Final

from storaged.cli.render import count
from storaged.cli.table import Table
from storaged.clock import iso

if TYPE_CHECKING:
    from storaged.cli.simulate_input import SimulationInput
    from storaged.decide.simulate.run import Listing, SimulatedOutcome
    from storaged.prices.book import ClassPrices, PriceBook

KINDS: Final = ("storage", "requests", "retrieval", "transition", "early_deletion", "monitoring", "overhead")
_WIDE: Final = 110  # columns in which all kinds fit beside each other
_NOT_SIMULATED: Final = "policies act at the end of each day: schedules, limits, grace, holds and readers play no part"
_EGRESS: Final = "the tiers are in several regions: what leaves one for another is not counted here"


def head(past: SimulationInput) -> str:
    """Of what, and in what unit."""
    total = int(past.trace.sizes.astype(object).sum())
    units = sorted({prices.gb for prices in past.listing.tiers})
    gb = " and ".join("2^30" if unit == 1 << 30 else f"{unit:,}" for unit in units)
    found = f"{count(past.trace.objects, 'object')}, {total / units[0]:,.3f} GB, {count(past.trace.days, 'day')}"
    first = iso(past.first_us)
    since = f" from {first[:10]}" if first else ""
    return f"{found}{since}; amounts in USD, a GB has {gb} bytes"


def notes(past: SimulationInput, *, baselines: bool = True) -> list[str]:
    """What is to be said of the past and of what is compared."""
    left_out = _left_out(past.listing, past.book) if baselines else []
    found = [*past.notes, *left_out, *([_NOT_SIMULATED] if past.rules else [])]
    return [*found, _EGRESS] if len({prices.region for prices in past.listing.tiers}) > 1 else found


def sources(past: SimulationInput) -> list[str]:
    """Where the prices are from."""
    from storaged.decide.simulate.run import MOVES_ITSELF, class_of

    own = (class_of(name, past.listing.tiers, past.book) for name in MOVES_ITSELF)
    return _cited([*past.listing.tiers, *(prices for prices in own if prices is not None)])


def about(past: SimulationInput) -> dict[str, Any]:
    """The past, for machines."""
    return {
        "days": past.trace.days,
        "first_day": iso(past.first_us),
        "objects": past.trace.objects,
        "tiers": [prices.id for prices in past.listing.tiers],
        "left_out": dict(past.left_out),
    }


def wide() -> bool:
    """Whether all kinds fit beside each other."""
    return shutil.get_terminal_size().columns >= _WIDE or not sys.stdout.isatty()


def told(outcome: SimulatedOutcome) -> dict[str, Any]:
    """An outcome for machines."""
    amounts = outcome.amount.as_json()
    return {"total": amounts["total"], **{kind: amounts[kind] for kind in KINDS}, "moves": outcome.moves}


def of_optimum(outcome: SimulatedOutcome, found: list[SimulatedOutcome]) -> str | None:
    """How many times the optimum it costs; None where that is nothing."""
    from storaged.decide.simulate.run import OPTIMUM

    best = next(one.amount.total for one in found if one.name == OPTIMUM)
    return f"{outcome.amount.total / best:.2f}" if best else None


def by_kind(found: list[SimulatedOutcome]) -> list[str | Table]:
    """Tables of the kinds that play a part, as many beside each other as fit, and an empty line after each."""
    from storaged.prices.amount import usd

    beside = len(KINDS) if wide() else 4
    tables: list[str | Table] = []
    kinds = [kind for kind in KINDS if any(getattr(o.amount, kind) for o in found)]
    for begin in range(0, len(kinds), beside):
        some = kinds[begin : begin + beside]
        titles = ("policy", *(kind.replace("_", " ") for kind in some))
        cells = [(o.name, *(usd(getattr(o.amount, kind)) for kind in some)) for o in found]
        tables += [Table(titles, cells, frozenset(titles[1:])), ""]
    return tables


def _left_out(listing: Listing, book: PriceBook) -> list[str]:
    from storaged.decide.simulate.run import AUTO, BREAK_EVEN, IDLE, LIFECYCLE, MOVES_ITSELF, class_of

    tiers = listing.tiers
    alone = f"{LIFECYCLE}, {IDLE}, {BREAK_EVEN} and {AUTO} are left out: there is one tier"
    found = [alone] if len(tiers) == 1 else []
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
