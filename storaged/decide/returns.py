"""What it costs to take a move back once its source is gone: the same content, as it is stored, where it came from."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from storaged.decide.money import Counts, MoveTerms, Route, route_of
from storaged.prices.book import PriceBook

RETURNED: Final = ("moved", "size", "after", "after_billable", "after_monitored", "after_gets", "multiparts", "parts")
"""The counts of a move on which its way back depends."""


def way_back(route: Route, book: PriceBook, *, reads_back: bool) -> Route:
    """The way back of a move. `reads_back`: what is written where it came from is read back."""
    return route_of(
        route.target, route.source, book, in_place=route.in_place, at_key=route.in_place, reads_back=reads_back
    )


def terms_back(terms: MoveTerms) -> MoveTerms:
    """Nothing is encoded anew on the way back."""
    return replace(terms, compresses=False, samples=False)


def counts_back(there: Counts, minimum_days: int) -> Counts:
    """The counts of the way back, from those of a move. What is owed of a minimum duration is counted as all of it:
    who knows when."""
    return Counts(
        objects=int(there.after_objects),
        size=there.size,
        stored=there.after,
        billable=there.after_billable,
        monitored=int(there.after_monitored),
        gets=int(there.after_gets),
        after_objects=there.after_objects,
        after=there.after,
        after_gets=there.after_gets,
        singles=there.singles,
        multiparts=there.multiparts,
        parts=there.parts,
        owed_bytes=there.after_billable * minimum_days,
        owed_objects=int(there.after_objects) * minimum_days,
    )
