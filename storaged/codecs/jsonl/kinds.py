"""What columns of JSON values are: strings, whose escapes are taken away where they can be made again, numbers, truth
values, or the JSON text as it is."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from storaged.codecs.text import columns as types
from storaged.codecs.text.columns import BYTES, TEXT, Type, data_of, spans

# How strings are escaped beyond what must be: `a` all but ASCII, `/` the slash, `<` what HTML is made of.
ESCAPES: Final = ("", "a", "/", "a/", "<", "a<")
BOOL: Final = Type("bool", form="true,false")
_DOUBLE: Final = Type("double")
_MARK: Final = ord('"')
_SPECIAL: Final = bytes([*range(0x20), *b'"\\/<>&', *range(0x7F, 0x100)])  # what is escaped by any of them
_SHORT: Final = (
    ('\\"', '"'),
    ("\\/", "/"),
    ("\\n", "\n"),
    ("\\t", "\t"),
    ("\\r", "\r"),
    ("\\b", "\b"),
    ("\\f", "\f"),
)
_HTML: Final = ("<", ">", "&", "\u2028", "\u2029")


def _by_one(how: str) -> tuple[tuple[bytes, bytes], ...]:
    """What is written for a character that is escaped, the backslash first."""
    short = {char: escape for escape, char in _SHORT if char != "/" or "/" in how}
    coded = [chr(code) for code in range(0x20) if chr(code) not in short]
    coded += (["\x7f"] if "a" in how else []) + (list(_HTML) if "<" in how else [])
    made = {"\\": "\\\\"} | short | {char: f"\\u{ord(char):04x}" for char in coded}
    return tuple((char.encode(), escape.encode()) for char, escape in made.items())


_BY_ONE: Final = {how: _by_one(how) for how in ESCAPES}
_CHARS: Final = {char for made in _BY_ONE.values() for char, _ in made}
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


def seen(kind: Kind | None, texts: pa.Array) -> tuple[Kind | None, pa.Array]:
    """A column's kind, with these texts too, and their values."""
    if texts.null_count == len(texts):
        return kind, pa.nulls(len(texts))
    if kind is None:
        return _read(_guessed(texts.drop_null()), texts)
    if kind.type == BYTES:
        return kind, texts
    column = values(kind, texts)
    if column is not None:
        if kind.string and kind.type == TEXT:
            left = _escaping(kind, texts, column)
            return (left, column) if left.string else _read(left, texts)
        return replace(kind, type=types.told(kind.type, column)), column
    if kind.string and kind.type != TEXT:
        return seen(Kind(TEXT, string=True), texts)
    if kind.type.name == "int" and max(-kind.type.low, kind.type.high) < 10**_MOST:
        doubles = types.values(_DOUBLE, texts)
        if doubles is not None:
            return Kind(_DOUBLE), doubles
    return _read(_raw(texts), texts)


def holds(kind: Kind, column: pa.Array, other: Kind) -> bool:
    """Whether values of a kind are those of another one, too, but for how many bits a number has."""
    if column.null_count == len(column):
        return True
    a, b = kind.type, other.type
    same = (kind.string, a.name, a.digits, a.form) == (other.string, b.name, b.digits, b.form)
    return same or (a.name == "int" and b == _DOUBLE)


def _read(kind: Kind, texts: pa.Array) -> tuple[Kind, pa.Array]:
    return kind, values(kind, texts, check=False)


def _guessed(texts: pa.Array) -> Kind:
    inner = _inner(texts)
    if inner is not None:
        found = types.guessed(inner.slice(0, 1))
        if found is not None and found[0].name in ("date", "time") and types.values(found[0], inner) is not None:
            return Kind(found[0], string=True)
        strings = _unescaped(inner)
        return _raw(texts) if strings is None else _escaping(Kind(TEXT, string=True), texts, strings)
    ints = Type("int")
    for kind in (ints, BOOL, Type("repr"), _DOUBLE):
        column = types.values(kind, texts)
        if column is not None:
            return Kind(types.told(kind, column))
    found = types.guessed(texts)
    return Kind(found[0]) if found is not None and found[0].name == "decimal" else _raw(texts)


def _raw(texts: pa.Array) -> Kind:
    return RAW if types.values(TEXT, texts) is not None else Kind(BYTES)


def _inner(texts: pa.Array) -> pa.Array | None:
    """What is between the quotes; None where not all are strings."""
    some = texts.drop_null() if texts.null_count else texts
    if not len(some):
        return texts
    data, offsets = spans(some)
    if int(np.diff(offsets).min()) < 2 or (data[offsets[:-1]] != _MARK).any() or (data[offsets[1:] - 1] != _MARK).any():
        return None
    return pc.binary_slice(texts, 1, -1)


def _unescaped(inner: pa.Array) -> pa.Array | None:
    """Strings without escapes; None where they are none."""
    try:
        strings = inner.cast(pa.string())
    except pa.ArrowInvalid:
        return None
    data = data_of(strings).to_pybytes()
    if b"\\" not in data:
        return strings
    if b"\0" not in data and b"\\u" not in data:
        return _plain(strings, data)
    which = pc.match_substring(strings, "\\").fill_null(False)
    some = strings.filter(which)
    try:
        plain = pa.array(json.loads('["' + '","'.join(some.to_pylist()) + '"]'), pa.string())
    except (ValueError, pa.ArrowException):
        return None
    return pc.replace_with_mask(strings, which, plain) if len(plain) == len(some) else None


def _plain(strings: pa.Array, data: bytes) -> pa.Array | None:
    """Strings without their escapes, each of which is one character behind a backslash; None where others are, too."""
    # A zero stands for a backslash until nothing else is left that begins with one.
    for escape, char in (("\\\\", "\0"), *_SHORT):
        if escape.encode() in data:
            strings = pc.replace_substring(strings, escape, char)
    left = data_of(strings).to_pybytes()
    if b"\\" in left:
        return None
    return pc.replace_substring(strings, "\0", "\\") if b"\0" in left else strings


def _holds(texts: pa.Array, some: bytes) -> bool:
    """Whether any of these bytes is in the texts."""
    data = data_of(texts).to_pybytes()
    return len(data.translate(None, some)) != len(data)


def _escaped(texts: pa.Array, how: str) -> pa.Array:
    """Strings as they stand between quotes."""
    if not _holds(texts, _SPECIAL):
        return texts
    data = data_of(texts).to_pybytes()
    if "a" in how and not data.isascii():
        which = pc.match_substring_regex(texts.view(pa.string()), "[\\x{80}-\\x{10ffff}]").fill_null(False)
        made = pa.array(_dumped(texts.filter(which).cast(pa.string()).to_pylist(), how), pa.string())
        others = _escaped(pc.if_else(which, _EMPTY, texts), how)
        return pc.replace_with_mask(others, which, made.view(pa.binary()))
    for char, escape in _BY_ONE[how]:
        if char in data:
            texts = pc.replace_substring(texts, char, escape)
    return texts


def _dumped(strings: list[str], how: str) -> list[str]:
    # No line end stands within a JSON string, so they are parted by it.
    text = json.dumps(strings, ensure_ascii="a" in how, separators=("\n", ":"))[1:-1]
    if "/" in how:
        text = text.replace("/", "\\/")
    if "<" in how:
        for char in "<>&":
            text = text.replace(char, f"\\u{ord(char):04x}")
    return [each[1:-1] for each in text.split("\n")]


def _escaping(kind: Kind, texts: pa.Array, column: pa.Array) -> Kind:
    """The ways of escaping that make these texts, too."""
    strings = column.view(pa.binary())
    if not _holds(strings, _SPECIAL):
        return kind
    inner = pc.binary_slice(texts, 1, -1)
    data = data_of(strings).to_pybytes()
    wide, there = not data.isascii(), {char for char in _CHARS if char in data}
    made: dict[Any, list[str]] = {}  # by what they do to these strings
    for how in kind.escapes:
        does = [pair for pair in _BY_ONE[how] if pair[0] in there]
        made.setdefault((*does, "a" in how and wide), []).append(how)
    left = {how for same in made.values() if _escaped(strings, same[0]).equals(inner) for how in same}
    return replace(kind, escapes=tuple(how for how in kind.escapes if how in left)) if left else RAW


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
