"""Conditions on what an object is: its format, its dataset's tags, its partition."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import sqlalchemy as sa
from pydantic import AfterValidator
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.schema import datasets, objects
from storaged.config.quantities import BadValueError
from storaged.decide import sql
from storaged.decide.atoms import Atom
from storaged.decide.conditions.base import Condition, Texts, Told
from storaged.decide.evidence import Evidence, Window


class Format(Condition):
    """One of these formats, told from the name: csv, json, parquet, ..."""

    wants = Texts
    of_each = True

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats, as objects have them."""
        return tuple(name.removeprefix(".").lower() for name in self.value)

    def __str__(self) -> str:
        return f"format {' or '.join(self.formats)}"

    def holds(self, evidence: Evidence) -> ColumnElement[bool]:
        return objects.c.format.in_(self.formats)

    def reason(self, evidence: Evidence) -> ColumnElement[str]:
        return sql.words("format ", objects.c.format)

    def atoms(self) -> tuple[Atom, ...]:
        return (Atom("format", "=", self.formats),)

    def facts(self) -> tuple[ColumnElement[Any], ...]:
        return (objects.c.format,)

    def tell(self, facts: Sequence[Any], window: Window | None, evidence: Evidence) -> Told:
        return Told(f"format {facts[0]}" if facts[0] else "no known format")


def _keys_hold(value: Mapping[str, Any]) -> Mapping[str, Any]:
    if not value:
        raise BadValueError("at least one key is needed here")
    for key in value:
        try:
            sql.json_key(key)
        except ValueError as error:
            raise BadValueError(str(error)) from error
    return value


class Tags(Condition):
    """The dataset has all of these tags with these values."""

    wants = Annotated[dict[str, str], AfterValidator(_keys_hold)]

    def __str__(self) -> str:
        return "tagged " + ", ".join(f"{key}={text}" for key, text in self.value.items())

    def holds(self, evidence: Evidence) -> ColumnElement[bool]:
        return sa.and_(*(sql.json_text(datasets.c.tags, key) == text for key, text in self.value.items()))

    def reason(self, evidence: Evidence) -> ColumnElement[str]:
        return sql.words(str(self))

    def atoms(self) -> tuple[Atom, ...]:
        return tuple(Atom(f"tags.{key}", "=", (text,)) for key, text in self.value.items())

    def facts(self) -> tuple[ColumnElement[Any], ...]:
        return (datasets.c.tags,)

    def tell(self, facts: Sequence[Any], window: Window | None, evidence: Evidence) -> Told:
        tags = {key: text for key, text in json.loads(facts[0]).items() if key in self.value}
        return Told("tagged " + ", ".join(f"{key}={text}" for key, text in tags.items()) if tags else "not tagged so")


_COMPARE: Final[Mapping[str, Any]] = {
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "=": lambda a, b: a == b,
}


def _comparison(given: str | int) -> tuple[str, str]:
    """The sign and the value of `<2024-01-01`, `>=5` or a plain value. Raises BadValueError where the value lacks."""
    text = str(given)
    sign = next((sign for sign in _COMPARE if text.startswith(sign)), "")
    if not text.removeprefix(sign).strip():
        raise BadValueError(
            f"there is nothing to compare with in {text!r}", hint='write a value, such as "<2024-01-01"'
        )
    return sign or "=", text.removeprefix(sign).strip()


def _comparisons_hold(value: Mapping[str, str | int]) -> Mapping[str, str | int]:
    for given in value.values():
        _comparison(given)
    return _keys_hold(value)


class Partition(Condition):
    """The object's partition keys have these values, or compare so: `{dt: "<2024-01-01", hour: ">=5"}`. Two whole
    numbers compare as numbers, all else as text, byte by byte. An object without the key is not selected."""

    wants = Annotated[dict[str, str | int], AfterValidator(_comparisons_hold)]
    of_each = True

    @property
    def _wanted(self) -> list[tuple[str, str, str]]:
        return [(key, *_comparison(given)) for key, given in self.value.items()]

    def __str__(self) -> str:
        return "partition " + ", ".join(f"{key} {sign} {text}" for key, sign, text in self._wanted)

    def holds(self, evidence: Evidence) -> ColumnElement[bool]:
        return sa.and_(*(self._holds(*wanted) for wanted in self._wanted))

    def _holds(self, key: str, sign: str, text: str) -> ColumnElement[bool]:
        value, compare = sql.json_text(objects.c.partition, key), _COMPARE[sign]
        by_text: ColumnElement[bool] = compare(value, sa.literal(text, sa.Text()))
        if not re.fullmatch("[0-9]{1,15}", text):
            return by_text
        number = sa.cast(value, sa.BigInteger())
        return sa.case(
            (sql.whole_number(value), compare(number, sa.literal(int(text), sa.BigInteger()))), else_=by_text
        )

    def reason(self, evidence: Evidence) -> ColumnElement[str]:
        parts: list[str | ColumnElement[Any]] = []
        for key, sign, text in self._wanted:
            parts += [f"{', ' if parts else ''}{key}=", sql.json_text(objects.c.partition, key)]
            parts += [] if sign == "=" else [f" {sign} {text}"]
        return sql.words("partition ", *parts)

    def atoms(self) -> tuple[Atom, ...]:
        return tuple(
            Atom(f"partition.{key}", sign, (int(text) if text.isdecimal() else text,), whole=text.isdecimal())
            for key, sign, text in self._wanted
        )

    def facts(self) -> tuple[ColumnElement[Any], ...]:
        return (objects.c.partition,)

    def tell(self, facts: Sequence[Any], window: Window | None, evidence: Evidence) -> Told:
        values = json.loads(facts[0] or "{}")
        found = ", ".join(f"{key}={values[key]}" for key in self.value if key in values)
        return Told(f"partition {found}" if found else "not in such a partition")
