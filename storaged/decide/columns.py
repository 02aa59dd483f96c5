"""The columns that `where:` may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.schema import datasets, objects
from storaged.codecs.registry import FORMS
from storaged.decide import sql
from storaged.decide.evidence import Evidence


class Type(StrEnum):
    """What a part of the expression is."""

    TEXT = "text"
    NUMBER = "a number"
    TIME = "a time"
    TRUTH = "true or false"


@dataclass(frozen=True, slots=True)
class Column:
    """A column that `where:` may use. `heat`: it says something about reads."""

    kind: Type
    sql: Callable[[Evidence], ColumnElement[Any]]
    meaning: str
    heat: bool = False


def _tier(evidence: Evidence) -> ColumnElement[str]:
    if not evidence.tiers:
        return sa.cast(sa.null(), sa.Text())
    return sa.case(*((objects.c.tier_id == number, sa.literal(name)) for name, number in evidence.tiers.items()))


def _text(column: ColumnElement[Any]) -> Callable[[Evidence], ColumnElement[str]]:
    return lambda evidence: sql.bytewise(column)


COLUMNS: Final[Mapping[str, Column]] = {
    "dataset": Column(Type.TEXT, _text(datasets.c.name), "the dataset's name"),
    "owner": Column(Type.TEXT, _text(datasets.c.owner), "the dataset's owner"),
    "name": Column(Type.TEXT, _text(objects.c.name), "the object's name in its dataset"),
    "object": Column(Type.TEXT, _text(objects.c.name), "the same as name"),
    "format": Column(Type.TEXT, _text(objects.c.format), "from the name: csv, json, parquet, ..."),
    "tier": Column(Type.TEXT, lambda e: sql.bytewise(_tier(e)), "the tier it is in now"),
    "codec": Column(Type.TEXT, _text(objects.c.codec), f"how it is stored now: {', '.join(FORMS)}"),
    "size": Column(Type.NUMBER, lambda e: objects.c.size, "bytes of content"),
    "stored_bytes": Column(Type.NUMBER, lambda e: objects.c.stored_bytes, "bytes that its current place takes"),
    "generation": Column(Type.NUMBER, lambda e: objects.c.generation, "how often its content was seen to change"),
    "created_at": Column(Type.TIME, lambda e: objects.c.created_us, "when this content was first known to exist"),
    "modified_at": Column(Type.TIME, lambda e: objects.c.mtime_us, "the user's own modification time"),
    "last_access": Column(Type.TIME, lambda e: objects.c.last_read_us, "the last read that a log told of", heat=True),
    "reads_per_day": Column(Type.NUMBER, lambda e: sql.tame(e.rate(objects.c.heat_reads)), "decayed rate", heat=True),
    "bytes_read_per_day": Column(Type.NUMBER, lambda e: sql.tame(e.rate(objects.c.heat_bytes)), "the same", heat=True),
}
KEYED: Final[Mapping[str, ColumnElement[Any]]] = {"tags": datasets.c.tags, "partition": objects.c.partition}
