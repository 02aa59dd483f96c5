"""How large an object must be, at least, for any move of it to pay: what is smaller need not be priced at all.

Where no tier is cheaper to read, the most that a move saves is storage: so much a byte, and what is billed by
object. It costs a PUT and looks at least. An upper bound of the one against a lower bound of the other leaves a size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil

from storaged.decide.choice.candidates import Candidates
from storaged.decide.money import TWICE
from storaged.decide.routes import Figures, Stretch
from storaged.decide.spend import MOVED

_NEVER = 1 << 62  # bytes
_ONCE, _SAVED = 0, 1


def least_bytes(given: Candidates, months: float) -> Mapping[int, int]:
    """By tier id the stored bytes below which nothing leaves it, in so many months. A tier from where some other is
    cheaper to read is not in it."""
    found: dict[int, int] = {}
    read_cheaper: set[int] = set()
    for one in given:
        recoded = one.policy.to.codec is not None
        for stretch, figures in zip(one.costs.stretches, one.costs.figures, strict=True):
            tier_id = stretch.place.tier_id
            if tier_id == one.tier_id and not recoded:
                continue
            if _reads_cheaper(figures):
                read_cheaper.add(tier_id)
            found[tier_id] = min(found.get(tier_id, _NEVER), _least(stretch, figures, months, recoded=recoded))
    return {tier_id: nbytes for tier_id, nbytes in found.items() if tier_id not in read_cheaper}


def _reads_cheaper(figures: Figures) -> bool:
    return any(figures[name][_SAVED] > 0 for name in ("reads", "read_bytes"))


def _least(stretch: Stretch, figures: Figures, months: float, *, recoded: bool) -> int:
    """Of one way. `recoded`: nothing is known of what will be stored there."""
    once = figures[MOVED][_ONCE]
    by_object = _sum(figures, ("objects", "monitored", MOVED))
    billed = max(figures["billable"][_SAVED], 0.0)
    a_byte = figures["stored"][_SAVED] + billed
    if not recoded:
        a_byte += min(figures["after"][_SAVED] + figures["after_billable"][_SAVED], 0.0)
    missing = TWICE * once / months - by_object - billed * stretch.route.source.minimum_bytes
    if missing <= 0:
        return 0
    return min(ceil(missing / a_byte), _NEVER) if a_byte > 0 else _NEVER


def _sum(figures: Figures, names: Iterable[str]) -> float:
    """What these save a month, the most."""
    return sum(max(figures[name][_SAVED], 0.0) for name in names)
