"""Expressions that mean exactly the same on SQLite and on Postgres.

Text compares by its bytes, upper and lower case differ (also in LIKE), `lower` and `upper` know ASCII only, division
is never whole-number division, and nothing that a row can hold makes a statement fail.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement

from storaged.clock import DAY, LATEST

FINENESS: Final = 10_000  # ratios and shares become whole numbers: the same arithmetic on every database
_MOST: Final = 9.0e18  # a little less than 2^63
_UNBROKEN: Final = 2.0**52  # doubles from here on are whole numbers
LARGEST_EXPONENT: Final = 700.0  # e to this, and to its opposite, is still a number: Postgres makes an error of others
LARGEST: Final = 1e150  # where `tame` numbers end, so that products and quotients of two are numbers too
SMALLEST: Final = 2.0**-499  # and begin
_ROUNDER: Final = 2.0**-446  # adding it and taking it away again makes 0 of all that is smaller than SMALLEST
_LONG_AGO: Final = -(2**62)  # from it to now 64 bits hold the difference
_TO_DAYS: Final = 10  # characters of an instant
_TO_HOURS: Final = 13
FIRST_FOLDERS: Final = "storaged_first_folders"  # functions that SQLite is given
LONGEST_PART: Final = "storaged_longest_part"
_KEY: Final = re.compile(r"[A-Za-z0-9_.:/@+\- ]+")


class _Bytewise(FunctionElement[str]):
    inherit_cache = True
    name = "bytewise"
    type = sa.Text()


class _JsonText(FunctionElement[str]):
    inherit_cache = True
    name = "json_text"
    type = sa.Text()


class _Like(FunctionElement[bool]):
    inherit_cache = True
    name = "like"
    type = sa.Boolean()


class _WholeNumber(FunctionElement[bool]):
    inherit_cache = True
    name = "whole_number"
    type = sa.Boolean()


class _Whole(FunctionElement[int]):
    inherit_cache = True
    name = "whole"
    type = sa.BigInteger()


class _Chain(FunctionElement[float]):
    """Doubles with signs between them."""

    inherit_cache = True
    name = "chain"
    type = sa.Double()


class _Bounded(FunctionElement[float]):
    inherit_cache = True
    name = "bounded"
    type = sa.Double()


class _Largest(FunctionElement[int]):
    inherit_cache = True
    name = "largest"
    type = sa.BigInteger()


class _FirstFolders(FunctionElement[str]):
    inherit_cache = True
    name = "first_folders"
    type = sa.Text()


class _Octets(FunctionElement[int]):
    inherit_cache = True
    name = "octets"
    type = sa.Integer()


class _LongestPart(FunctionElement[int]):
    inherit_cache = True
    name = "longest_part"
    type = sa.Integer()


class _Instant(FunctionElement[str]):
    inherit_cache = True
    name = "instant"
    type = sa.Text()


def bytewise(text: ColumnElement[Any]) -> ColumnElement[str]:
    """Text that compares and sorts by its bytes, whatever the database's locale."""
    return _Bytewise(text)


def json_text(column: ColumnElement[Any], key: str) -> ColumnElement[str]:
    """The text under `key` of a JSON object of text; NULL where it has none. Raises ValueError as `json_key` does."""
    return bytewise(_JsonText(column, sa.literal(json_key(key)), sa.literal(f'$."{key}"')))


def json_key(key: str) -> str:
    """The key itself. Raises ValueError where SQLite and Postgres would not look for the same key."""
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} cannot be looked up: keys are ASCII letters, digits, spaces and _ . : / @ + -")
    return key


def like(text: ColumnElement[str], pattern: str) -> ColumnElement[bool]:
    r"""Whether all of `text` fits: % any characters, _ one, a backslash takes the next one as it is. Case matters.

    Raises ValueError for a pattern that ends in a lone backslash.
    """
    parts = re.findall(r"\\.|[^\\]|\\$", pattern, re.DOTALL)
    if parts and parts[-1] == "\\":
        raise ValueError("the pattern ends in a backslash")
    glob = "".join({"%": "*", "_": "?"}.get(part) or _literally(part[-1]) for part in parts)
    return _Like(text, sa.literal(pattern), sa.literal(glob))


def _literally(character: str) -> str:
    return f"[{character}]" if character in "*?[" else character


def whole_number(text: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether text is 1 to 15 digits, and so a number that both databases hold exactly."""
    return _WholeNumber(text)


def in_ids(column: ColumnElement[Any], ids: Collection[int]) -> ColumnElement[bool]:
    """Whether `column` is one of these ids. They are written into the statement: parameters have a limit."""
    return column.in_(sa.bindparam(None, sorted(ids), expanding=True, literal_execute=True))


def larger(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[Any]:
    """The larger of two numbers; `other` where one of them is NULL."""
    return sa.case((one > other, one), else_=other)


def largest(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[Any]:
    """The larger of two numbers that are not NULL, each worked out once, as long as they may be."""
    return _Largest(one, other)


def since(then_us: ColumnElement[Any], now_us: int) -> ColumnElement[int]:
    """How long ago an instant is, in microseconds: negative for the future, and no more than about 146,000 years."""
    return sa.literal(now_us, sa.BigInteger()) - larger(then_us, sa.literal(_LONG_AGO, sa.BigInteger()))


def whole(number: ColumnElement[float]) -> ColumnElement[int]:
    """The nearest whole number, halves away from 0, and the largest that 64 bits hold where it is beyond."""
    return _Whole(number)


def real(number: ColumnElement[Any]) -> ColumnElement[float]:
    """A number in double precision, so that no arithmetic on it is whole-number arithmetic or overflows 64 bits."""
    return number if isinstance(number.type, sa.Double) else sa.cast(number, sa.Double())


def tame(number: ColumnElement[float]) -> ColumnElement[float]:
    """A double between LARGEST and its opposite, and 0 where it is nearer to 0 than SMALLEST. Such as are smaller than
    2^-393 (1e-118) lose digits."""
    rounder: ColumnElement[float] = sa.literal(_ROUNDER, sa.Double())
    return _Bounded(chained(chained(number, "+", rounder), "-", rounder))


def chained(one: ColumnElement[float], sign: str, other: ColumnElement[float]) -> ColumnElement[float]:
    """`one` and `other` with a sign of arithmetic between them. What is chained already takes on one more sign of its
    kind without being nested: SQLite's parser does not take much nesting."""
    between: ColumnElement[Any] = sa.literal_column(sign)
    if isinstance(one, _Chain):
        parts: list[Any] = list(one.clauses.clauses)
        if (parts[1].name in "+-") is (sign in "+-"):
            return _Chain(*parts, between, other)
    return _Chain(one, between, other)


def exp(power: ColumnElement[float]) -> ColumnElement[float]:
    """e to `power`; 0 where that is too small for a number, and e to LARGEST_EXPONENT where it is too large."""
    none: ColumnElement[float] = sa.literal(0.0, sa.Double())
    most: ColumnElement[float] = sa.literal(math.exp(LARGEST_EXPONENT), sa.Double())
    return sa.case((power < -LARGEST_EXPONENT, none), (power > LARGEST_EXPONENT, most), else_=sa.func.exp(power))


def words(*parts: str | ColumnElement[Any]) -> ColumnElement[str]:
    """Text made of texts and whole numbers, one after the other."""
    made = [sa.literal(part, sa.Text()) if isinstance(part, str) else _text(part) for part in parts]
    whole: ColumnElement[str] = made[0]
    for part in made[1:]:
        whole = whole.concat(part)
    return whole


def _text(part: ColumnElement[Any]) -> ColumnElement[str]:
    return part if isinstance(part.type, sa.Text) else sa.cast(part, sa.Text())


def instant(us: ColumnElement[Any]) -> ColumnElement[str]:
    """Microseconds since 1970 as storaged.clock.iso writes them; NULL stays NULL."""
    return _Instant(us)


def big(number: ColumnElement[Any]) -> ColumnElement[int]:
    """A whole number in 64 bits, such as a sum, of which Postgres makes something else."""
    return sa.cast(number, sa.BigInteger())


def parts(whole: ColumnElement[int], each: ColumnElement[int] | int) -> ColumnElement[int]:
    """How many parts of at most `each` something has."""
    return (whole + each - 1) // each


def padded(number: ColumnElement[int], digits: int) -> ColumnElement[str]:
    """A number that is not negative, with zeros before it where it has fewer digits."""
    zeros = ((number < 10**length, "0" * (digits - length)) for length in range(1, digits))
    return words(sa.case(*zeros, else_=""), number)


def first_folders(name: ColumnElement[str], most: int) -> ColumnElement[str]:
    """Of an object's name the first folders, at most so many; empty: it is in none."""
    return _FirstFolders(name, sa.literal(most, sa.Integer()))


def octets(text: ColumnElement[str]) -> ColumnElement[int]:
    """How many bytes a text has."""
    return _Octets(text)


def longest_part(name: ColumnElement[str]) -> ColumnElement[int]:
    """How many bytes the longest of the parts has that an object's name has between slashes."""
    return _LongestPart(name)


def span(us: ColumnElement[int], length_us: int) -> ColumnElement[str]:
    """When the span of time begins that an instant is in, counted from 1970, as far as that tells it: a day, or an
    hour. What is before 1970 is in the first one."""
    begin = larger(us, sa.literal(0, sa.BigInteger()))
    return sa.func.substr(instant(begin - begin % length_us), 1, _TO_DAYS if length_us % DAY == 0 else _TO_HOURS)


@compiles(_Largest, "sqlite")
def _largest_sqlite(element: _Largest, compiler: SQLCompiler, **kw: Any) -> str:
    return f"max({', '.join(compiler.process(one, **kw) for one in element.clauses.clauses)})"


@compiles(_Largest, "postgresql")
def _largest_postgres(element: _Largest, compiler: SQLCompiler, **kw: Any) -> str:
    return f"greatest({', '.join(compiler.process(one, **kw) for one in element.clauses.clauses)})"


@compiles(_FirstFolders, "sqlite")
def _first_folders_sqlite(element: _FirstFolders, compiler: SQLCompiler, **kw: Any) -> str:
    name, most = element.clauses.clauses
    return f"{FIRST_FOLDERS}({compiler.process(name, **kw)}, {compiler.process(most, **kw)})"


@compiles(_FirstFolders, "postgresql")
def _first_folders_postgres(element: _FirstFolders, compiler: SQLCompiler, **kw: Any) -> str:
    name, most = (compiler.process(part, **kw) for part in element.clauses.clauses)
    parts = f"string_to_array({name}, '/')"
    return f"array_to_string(({parts})[1:least({most}, cardinality({parts}) - 1)], '/')"


@compiles(_Octets, "sqlite")
def _octets_sqlite(element: _Octets, compiler: SQLCompiler, **kw: Any) -> str:
    return f"length(CAST({compiler.process(element.clauses.clauses[0], **kw)} AS BLOB))"


@compiles(_Octets, "postgresql")
def _octets_postgres(element: _Octets, compiler: SQLCompiler, **kw: Any) -> str:
    return f"octet_length({compiler.process(element.clauses.clauses[0], **kw)})"


@compiles(_LongestPart, "sqlite")
def _longest_part_sqlite(element: _LongestPart, compiler: SQLCompiler, **kw: Any) -> str:
    return f"{LONGEST_PART}({compiler.process(element.clauses.clauses[0], **kw)})"


@compiles(_LongestPart, "postgresql")
def _longest_part_postgres(element: _LongestPart, compiler: SQLCompiler, **kw: Any) -> str:
    name = compiler.process(element.clauses.clauses[0], **kw)
    parts = f"unnest(string_to_array({name}, '/'))"
    return f"(SELECT max(octet_length(part)) FROM {parts} AS part)"  # noqa: S608  a column


@compiles(_Whole, "sqlite")
def _whole_sqlite(element: _Whole, compiler: SQLCompiler, **kw: Any) -> str:
    number = compiler.process(element.clauses.clauses[0], **kw)  # once: it may be long
    return f"CAST(round(max(min({number}, {_MOST!r}), {-_MOST!r})) AS INTEGER)"


@compiles(_Whole, "postgresql")
def _whole_postgres(element: _Whole, compiler: SQLCompiler, **kw: Any) -> str:
    number = compiler.process(element.clauses.clauses[0], **kw)
    cases = (  # round() would take halves to even numbers; larger ones than _UNBROKEN have no halves
        f"WHEN {number} > {_MOST!r} THEN {_MOST!r} WHEN {number} < {-_MOST!r} THEN {-_MOST!r}",
        f"WHEN abs({number}) >= {_UNBROKEN!r} THEN {number} WHEN {number} < 0 THEN {number} - 0.5",
    )
    return f"CAST(trunc(CASE {' '.join(cases)} ELSE {number} + 0.5 END) AS BIGINT)"


@compiles(_Chain)
def _chain(element: _Chain, compiler: SQLCompiler, **kw: Any) -> str:
    return f"({' '.join(compiler.process(part, **kw) for part in element.clauses.clauses)})"


@compiles(_Bounded, "sqlite")
def _bounded_sqlite(element: _Bounded, compiler: SQLCompiler, **kw: Any) -> str:
    return f"max(min({compiler.process(element.clauses.clauses[0], **kw)}, {LARGEST!r}), {-LARGEST!r})"


@compiles(_Bounded, "postgresql")
def _bounded_postgres(element: _Bounded, compiler: SQLCompiler, **kw: Any) -> str:
    number = compiler.process(element.clauses.clauses[0], **kw)  # once; and unlike LEAST these keep NULL
    return f"float8larger(float8smaller({number}, '{LARGEST!r}'), '{-LARGEST!r}')"


@compiles(_Instant, "sqlite")
def _instant_sqlite(element: _Instant, compiler: SQLCompiler, **kw: Any) -> str:
    us = f"min({compiler.process(element.clauses.clauses[0], **kw)}, {LATEST})"
    return f"strftime('%Y-%m-%dT%H:%M:%SZ', {us} / 1000000, 'unixepoch')"


@compiles(_Instant, "postgresql")
def _instant_postgres(element: _Instant, compiler: SQLCompiler, **kw: Any) -> str:
    us = f"least({compiler.process(element.clauses.clauses[0], **kw)}, {LATEST})"
    return f"""to_char(to_timestamp({us} / 1000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')"""


@compiles(_Bytewise, "sqlite")
def _bytewise_sqlite(element: _Bytewise, compiler: SQLCompiler, **kw: Any) -> str:
    return compiler.process(element.clauses.clauses[0], **kw)  # BINARY is SQLite's own order


@compiles(_Bytewise, "postgresql")
def _bytewise_postgres(element: _Bytewise, compiler: SQLCompiler, **kw: Any) -> str:
    return f'({compiler.process(element.clauses.clauses[0], **kw)} COLLATE "C")'


@compiles(_JsonText, "sqlite")
def _json_text_sqlite(element: _JsonText, compiler: SQLCompiler, **kw: Any) -> str:
    column, _, path = element.clauses.clauses
    return f"json_extract({compiler.process(column, **kw)}, {compiler.process(path, **kw)})"


@compiles(_JsonText, "postgresql")
def _json_text_postgres(element: _JsonText, compiler: SQLCompiler, **kw: Any) -> str:
    column, key, _ = element.clauses.clauses
    return f"(CAST({compiler.process(column, **kw)} AS JSON) ->> {compiler.process(key, **kw)})"


@compiles(_Like, "sqlite")
def _like_sqlite(element: _Like, compiler: SQLCompiler, **kw: Any) -> str:
    text, _, glob = element.clauses.clauses  # SQLite's own LIKE takes no notice of case
    return f"({compiler.process(text, **kw)} GLOB {compiler.process(glob, **kw)})"


@compiles(_Like, "postgresql")
def _like_postgres(element: _Like, compiler: SQLCompiler, **kw: Any) -> str:
    text, pattern, _ = element.clauses.clauses
    return f"({compiler.process(text, **kw)} LIKE {compiler.process(pattern, **kw)})"


@compiles(_WholeNumber, "sqlite")
def _whole_number_sqlite(element: _WholeNumber, compiler: SQLCompiler, **kw: Any) -> str:
    text = compiler.process(element.clauses.clauses[0], **kw)
    return f"({text} NOT GLOB '*[^0-9]*' AND length({text}) BETWEEN 1 AND 15)"


@compiles(_WholeNumber, "postgresql")
def _whole_number_postgres(element: _WholeNumber, compiler: SQLCompiler, **kw: Any) -> str:
    return f"({compiler.process(element.clauses.clauses[0], **kw)} ~ '^[0-9]{{1,15}}$')"
