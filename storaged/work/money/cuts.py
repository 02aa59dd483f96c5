"""What a bill can be cut by that single objects have: format, age, partition and collection, and the size of what is
stored."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog import collections
from storaged.catalog.among import among
from storaged.catalog.schema import datasets, objects
from storaged.clock import DAY
from storaged.decide import sql
from storaged.errors import UsageError

CUTS: Final = ("format", "age", "size", "collection", "partition", "partition:KEY")
NOBODYS: Final = "(nobody's)"  # blobs that are kept through grace alone, and of which no object is left to tell
SEVERAL: Final = "(several)"  # packs of objects that are not alike
_KEY: Final = "partition:"
_AGES: Final = ((30, "under 30 days"), (90, "30 to 90 days"), (365, "90 days to 1 year"), (1096, "1 to 3 years"))
_OLDER: Final = "over 3 years"
_SIZES: Final = (
    (128 << 10, "under 128 KiB"),
    (1 << 20, "128 KiB to 1 MiB"),
    (64 << 20, "1 to 64 MiB"),
    (1 << 30, "64 MiB to 1 GiB"),
)
_LARGER: Final = "1 GiB and more"
_ORDERS: Final[Mapping[str, Sequence[str]]] = {
    "age": (*(name for _, name in _AGES), _OLDER),
    "size": (*(name for _, name in _SIZES), _LARGER),
}


def _collection() -> ColumnElement[str]:
    """The collection that an object is in, as `collection_name` has it; NULL: it is in none."""
    prefix = collections.of_object("prefix")
    dataset = sa.select(datasets.c.name).where(datasets.c.id == objects.c.dataset_id).correlate(objects)
    sign = sa.case((prefix == "", sa.literal("", sa.Text())), (prefix.endswith("/"), ""), else_="*")
    return dataset.scalar_subquery().concat(sa.literal(": ", sa.Text())).concat(prefix).concat(sign)


def collection_name(dataset: str, prefix: str) -> str:
    """What a collection's line of a bill is called."""
    return f"{dataset}: {prefix}{'' if not prefix or prefix.endswith('/') else '*'}"


@dataclass(frozen=True, slots=True)
class Cut:
    """One of `CUTS`, and when it is asked for."""

    by: str
    now_us: int

    @classmethod
    def of(cls, by: str, now_us: int) -> Cut | None:
        """The cut of that name; None: there is none. Raises UsageError for a partition key that cannot be looked up."""
        if by in CUTS[:-1]:
            return cls(by, now_us)
        if not by.startswith(_KEY) or by == _KEY:
            return None
        try:
            sql.json_key(by.removeprefix(_KEY))
        except ValueError as error:
            raise UsageError(f"--by {by}: {error}") from error
        return cls(by, now_us)

    def label(self, size: ColumnElement[Any]) -> ColumnElement[str]:
        """What an object's part of the bill is called; NULL where there is no object. `size`: of what is stored."""
        match self.by:
            case "format":
                return objects.c.format
            case "age":
                age = sql.since(objects.c.created_us, self.now_us)
                steps = [(age < days * DAY, sa.literal(name, sa.Text())) for days, name in _AGES]
                return sa.case((objects.c.id.is_(None), None), *steps, else_=sa.literal(_OLDER, sa.Text()))
            case "size":
                steps = [(size < limit, sa.literal(name, sa.Text())) for limit, name in _SIZES]
                return sa.case(*steps, else_=sa.literal(_LARGER, sa.Text()))
            case "collection":
                return sa.case((objects.c.id.is_(None), None), else_=sa.func.coalesce(_collection(), ""))
            case "partition":
                return sa.case((objects.c.id.is_(None), None), else_=sa.func.coalesce(objects.c.partition, ""))
            case _:
                value = sql.json_text(objects.c.partition, self.by.removeprefix(_KEY))
                return sa.case((objects.c.id.is_(None), None), else_=sa.func.coalesce(value, ""))

    def of_pack(self, size: ColumnElement[Any]) -> ColumnElement[str]:
        """The same of a pack, as an aggregate over its members."""
        if self.by == "size":
            return self.label(sa.func.max(size))
        label = self.label(size)
        return sa.case((sa.func.min(label) == sa.func.max(label), sa.func.min(label)), else_=SEVERAL)

    def named(self, label: str | None) -> str:
        """The name of a line."""
        if label is None:
            return NOBODYS
        if not label:
            return f"(no {self.by.removeprefix(_KEY)})"
        if self.by == "partition" and label != SEVERAL:
            return ", ".join(f"{key}={value}" for key, value in json.loads(label).items())
        return label

    def order(self, name: str) -> tuple[int, str]:
        """In which order the lines come."""
        known = _ORDERS.get(self.by, ())
        return (known.index(name) if name in known else len(known), name)


@dataclass(frozen=True, slots=True)
class Some(Cut):
    """Objects that are named, by what their part of the bill is called; all others have no name."""

    labels: tuple[tuple[str, tuple[int, ...]], ...] = ()

    def label(self, size: ColumnElement[Any]) -> ColumnElement[str]:
        cases = [(among(objects.c.id, ids), sa.literal(name, sa.Text())) for name, ids in self.labels]
        return sa.case((objects.c.id.is_(None), None), *cases, else_=sa.literal("", sa.Text()))
