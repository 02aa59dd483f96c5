"""What columns of JSON values are: strings, whose escapes are taken away where they can be made again, numbers, truth
values, or the JSON text as it is."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from storaged.codecs.text import columns as types
from storaged.codecs.text.columns import BYTES, TEXT, Type

# How strings are escaped beyond what must be: `a` all but ASCII, `/` the slash, `<` what HTML is made of.
ESCAPES: Final = ("", "a", "/", "a/", "<", "a<")
BOOL: Final = Type("bool", form="true,false")
_QUOTE: Final = pa.scalar(b'"')
_EMPTY: Final = pa.scalar(b"")
_MOST: Final = 15  # digits of a whole number that a double holds


@dataclass(frozen=True, slots=True)
class Kind:
    """`string`: all values are strings, and `type` is that of what is between the quotes; `escapes` are the ways of
    escaping that make all of them again, as far as was seen."""

    type: Type
    string: bool = False
    escapes: tuple[str, ...] = ESCAPES


RAW: Final = Kind(TEXT)


def values(kind: Kind, texts: pa.Array, *, check: bool = True) -> pa.Array | None:
    """The values of a column's JSON texts; None where not all are of this kind, unless that is not to be checked."""
    if not kind.string:
        return types.values(kind.type, texts, check=check)
    inner = _inner(texts)
    if inner is None:
        return None
    if kind.type != TEXT:
        return types.values(kind.type, inner, check=check)
    return _unescaped(inner)


def written(kind: Kind, column: pa.Array) -> tuple[bytes, pa.Array, bytes]:
    """The JSON texts of a column's values, as bytes, and what is to be written on either side of each; null where
    nothing is."""
    texts = types.written(kind.type, column)
    if not kind.string:
        return b"", texts, b""
    if kind.type == TEXT:
        texts = _escaped(texts, kind.escapes[0])
    if texts.null_count:
        return b"", pc.binary_join_element_wise(_QUOTE, texts, _QUOTE, _EMPTY), b""
    return b'"', texts, b'"'


def seen(kind: Kind | None, texts: pa.Array) -> Kind | None:
    """A column's kind, with these texts too."""
    if texts.null_count == len(texts):
        return kind
    if kind is None:
        return _guessed(texts.drop_null())
    if kind.type == BYTES:
        return kind
    column = values(kind, texts)
    if column is not None:
        if kind.string and kind.type == TEXT:
            return _escaping(kind, texts, column)
        return replace(kind, type=types.told(kind.type, column))
    if kind.string and kind.type != TEXT:
        return seen(Kind(TEXT, string=True), texts)
    if kind.type.name == "int" and max(-kind.type.low, kind.type.high) < 10**_MOST:
        doubles = Type("double")
        if types.values(doubles, texts) is not None:
            return Kind(doubles)
    return _raw(texts)


def _guessed(texts: pa.Array) -> Kind:
    inner = _inner(texts)
    if inner is not None:
        found = types.guessed(inner.slice(0, 1))
        if found is not None and found[0].name in ("date", "time") and types.values(found[0], inner) is not None:
            return Kind(found[0], string=True)
        strings = _unescaped(inner)
        return _raw(texts) if strings is None else _escaping(Kind(TEXT, string=True), texts, strings)
    ints = Type("int")
    for kind in (ints, BOOL, Type("repr"), Type("double")):
        column = types.values(kind, texts)
        if column is not None:
            return Kind(types.told(kind, column))
    found = types.guessed(texts)
    return Kind(found[0]) if found is not None and found[0].name == "decimal" else _raw(texts)


def _raw(texts: pa.Array) -> Kind:
    return RAW if types.values(TEXT, texts) is not None else Kind(BYTES)


def _inner(texts: pa.Array) -> pa.Array | None:
    """What is between the quotes; None where not all are strings."""
    try:
        strings = texts.cast(pa.string())
    except pa.ArrowInvalid:
        return None
    quoted = pc.and_(pc.starts_with(strings, '"'), pc.ends_with(strings, '"'))
    if (
        pc.all(quoted, min_count=0).as_py() is False
        or (pc.min(pc.binary_length(strings), min_count=1).as_py() or 2) < 2
    ):
        return None
    return pc.binary_slice(texts, 1, -1)


def _unescaped(inner: pa.Array) -> pa.Array | None:
    """Strings without escapes; None where they are none."""
    strings = inner.cast(pa.string())
    which = pc.match_substring(strings, "\\").fill_null(False)
    some = strings.filter(which)
    if not len(some):
        return strings
    try:
        plain = pa.array(json.loads('["' + '","'.join(some.to_pylist()) + '"]'), pa.string())
    except (ValueError, pa.ArrowException):
        return None
    return pc.replace_with_mask(strings, which, plain) if len(plain) == len(some) else None


def _escaped(texts: pa.Array, how: str) -> pa.Array:
    """Strings as they stand between quotes."""
    which = pc.match_substring_regex(texts.view(pa.string()), _special(how)).fill_null(False)
    some = texts.filter(which)
    if not len(some):
        return texts
    escaped = _dumped(some.cast(pa.string()).to_pylist(), how)
    return pc.replace_with_mask(texts, which, pa.array(escaped, pa.string()).view(pa.binary()))


def _special(how: str) -> str:
    """What is escaped."""
    more = ("/" if "/" in how else "") + ("<>&\\x{2028}\\x{2029}" if "<" in how else "")
    return f'["\\\\\\x00-\\x1f{more}' + ("\\x7f-\\x{10ffff}]" if "a" in how else "]")


def _dumped(strings: list[str], how: str) -> list[str]:
    # No line end stands within a JSON string, so they are parted by it.
    text = json.dumps(strings, ensure_ascii="a" in how, separators=("\n", ":"))[1:-1]
    if "/" in how:
        text = text.replace("/", "\\/")
    if "<" in how:
        for char in "<>&\u2028\u2029":
            text = text.replace(char, f"\\u{ord(char):04x}")
    return [each[1:-1] for each in text.split("\n")]


def _escaping(kind: Kind, texts: pa.Array, column: pa.Array) -> Kind:
    """The ways of escaping that make these texts, too."""
    touched = pc.match_substring_regex(texts.view(pa.string()), "[\\\\/<>&\\x7f-\\x{10ffff}\\x00-\\x1f]").fill_null(
        False
    )
    some = column.filter(touched)
    if not len(some):
        return kind
    inner = pc.binary_slice(texts.filter(touched), 1, -1)
    left = tuple(how for how in kind.escapes if _escaped(some.view(pa.binary()), how).equals(inner))
    return replace(kind, escapes=left) if left else RAW


def as_told(kind: Kind) -> list[Any]:
    """As a plan keeps it."""
    t = kind.type
    return [int(kind.string), kind.escapes[0], t.name, t.digits, t.form, t.low, t.high]


def from_told(told: list[Any]) -> Kind:
    """The kind again. Raises ValueError where it is none."""
    string, escapes, *rest = told
    if escapes not in ESCAPES:
        raise ValueError("unknown escapes")
    return Kind(Type(*rest), bool(string), (escapes,))
