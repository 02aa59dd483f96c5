"""Pages of a listing: what is no object taken out, and the rest compared with the catalog's rows of the same keys,
column by column. Most pages are as they were."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import sqlalchemy as sa

from storaged.catalog.joined import joined
from storaged.catalog.schema import objects
from storaged.model import RawState
from storaged.naming import OWN
from storaged.stores.base import Skipped, Stat
from storaged.stores.listed import BETWEEN, Listed
from storaged.work.scan.suspects import LARGEST, SHORT

AT_ROOT = (RawState.CURRENT.value, RawState.SUPERSEDED.value)


class RootPage:
    """Objects of a listing, in key order."""

    def __init__(self, listed: Sequence[Listed]) -> None:
        self._listed = listed

    def __len__(self) -> int:
        return sum(map(len, self._listed))

    @property
    def last(self) -> str:
        """The last key of one that is not empty."""
        return self._listed[-1].keys[-1]

    @property
    def bytes(self) -> int:
        return sum(sum(one.sizes) for one in self._listed)

    @cached_property
    def names(self) -> str:
        """All keys, joined."""
        return BETWEEN.join(one.names for one in self._listed)

    def together(self) -> Iterator[Sequence[str]]:
        """As they were listed together: neighbours, as a rule."""
        return (one.keys for one in self._listed)

    def stats(self) -> list[Stat]:
        return [*chain.from_iterable(self._listed)]

    def as_known(
        self, conn: sa.Connection, dataset_id: int, low: str, high: str | None, *, counted: sa.ColumnElement[bool]
    ) -> int | None:
        """None, unless of the keys after `low` and up to `high` (None: to the end) the catalog holds just these, with
        all that a listing tells of them. Then, of how many of its rows `counted` is true."""
        o, texts = objects.c, [self.names, BETWEEN.join(one.identities for one in self._listed)]
        rows = between(sa.select(o.name, o.raw_identity), dataset_id, low, high)
        rows = rows.where(o.raw_state.in_(AT_ROOT)).limit(len(self) + 1)
        if all(one.allocated is None for one in self._listed):
            rows = rows.where(o.raw_allocated.is_(None))
        else:
            rows = rows.add_columns(sa.func.coalesce(sa.cast(o.raw_allocated, sa.Text), ""))
            taken = chain.from_iterable(one.allocated or [None] * len(one) for one in self._listed)
            texts.append(BETWEEN.join(["" if number is None else str(number) for number in taken]))
        classes = set(chain.from_iterable(one.classes for one in self._listed))
        if len(classes) == 1:
            rows = rows.where(o.raw_class == classes.pop())
        else:
            rows = rows.add_columns(o.raw_class)
            texts.append(BETWEEN.join(chain.from_iterable(one.classes for one in self._listed)))
        if any(text.count(BETWEEN) >= max(1, len(self)) for text in texts):  # in a name: others may join to this text
            return None
        number, known, [told] = joined(conn, rows.add_columns(sa.case((counted, 1), else_=0)), len(texts))
        return told if number == len(self) and known == texts else None


def plain(listed: Listed) -> bool:
    """Whether each of these is an object for certain, by its size and name."""
    return max(listed.sizes) <= LARGEST and max(map(len, listed.keys)) <= SHORT and OWN not in listed.names


def pages(listing: Iterator[Listed | Skipped], most: int) -> Iterator[list[Listed | Skipped]]:
    """As many at a time as have `most` entries together, or more by what is listed together; the last one has fewer."""
    page: list[Listed | Skipped] = []
    number = 0
    for told in listing:
        page.append(told)
        number += 1 if isinstance(told, Skipped) else len(told)
        if number >= most:
            yield page
            page, number = [], 0
    yield page


def between(query: sa.Select[Any], dataset_id: int, low: str, high: str | None) -> sa.Select[Any]:
    """Objects after the key `low` and up to `high` (None: to the end), in key order."""
    query = query.where(objects.c.dataset_id == dataset_id, objects.c.name > low).order_by(objects.c.name)
    return query if high is None else query.where(objects.c.name <= high)
