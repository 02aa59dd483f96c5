"""The types that columns of a text have: from text to values, and from values to the same text.

A type takes a column only where all of its values, written again, are the text that was there. How they are written
is the type's: `int` plain digits; `decimal` a constant number of digits behind the point; `double` the shortest digits
that tell the number, without a point where there is nothing behind it; `repr` as Python, pandas and DuckDB write it,
`5.0` and `1e-05`; `date` ISO; `time` a date, a `T` or a space, a time with a constant number of digits, perhaps a `Z`;
`bool` two words; `text` UTF-8; `bytes` anything.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_DEAR: Final = ("decimal", "double", "repr", "date", "time")  # to write: less often where there are few values
_MANY: Final = 1024  # values, below which that does not matter, and of which it is told
_OFTEN: Final = 8  # times that a value comes in them, at least
_UNITS: Final = {0: "s", 3: "ms", 6: "us", 9: "ns"}
_DIGITS: Final = 18  # of a decimal: as many as 64 bits hold
_POINT: Final = 6  # digits behind the point: with more of them Arrow writes small numbers with an exponent
_PLAIN: Final = (1e-4, 1e15)  # between them Arrow and Python write doubles alike, but for the point
_SURE: Final = 15  # digits: two numbers of so many are never the same double
_DOT, _MINUS, _ZERO, _NINE = b".-09"
_LARGE: Final = 1e10  # from here on Arrow writes doubles with digits behind the point otherwise than Python
_TENS: Final = [10**n for n in range(1, 19)]
_WORDS: Final = ("true,false", "True,False", "TRUE,FALSE", "t,f")
_NUMBER: Final = re.compile(rb"-?\d+(\.(\d+))?([eE][+-]?\d+)?|-?inf|nan")
_TIME: Final = re.compile(rb"\d{4}-\d\d-\d\d([ T])\d\d:\d\d:\d\d(?:\.(\d+))?(Z?)")
_DATE: Final = re.compile(rb"\d{4}-\d\d-\d\d")


@dataclass(frozen=True, slots=True)
class Type:
    """`digits` are those behind the point or of a second's fraction; `form` a bool's two words, a time's `T` or space
    and `Z`. `low` and `high` bound the numbers of an int, and those of a decimal as if it had no point."""

    name: str
    digits: int = 0
    form: str = ""
    low: int = 0
    high: int = 0

    @property
    def arrow(self) -> pa.DataType:
        """The type of the column that engines see."""
        match self.name:
            case "int":
                for kind in (pa.int8(), pa.int16(), pa.int32()):
                    if -(1 << kind.bit_width - 1) <= self.low and self.high < 1 << kind.bit_width - 1:
                        return kind
                return pa.int64()
            case "decimal":
                figures = len(str(max(self.high, -self.low)))
                return pa.decimal128(max(figures, self.digits + 1), self.digits)
            case "double" | "repr":
                return pa.float64()
            case "date":
                return pa.date32()
            case "time":
                return pa.timestamp(_UNITS[self.digits], "UTC" if self.form.endswith("Z") else None)
            case "bool":
                return pa.bool_()
            case "text":
                return pa.string()
            case _:
                return pa.binary()


TEXT: Final = Type("text")
BYTES: Final = Type("bytes")


def length(texts: pa.Array) -> int:
    """Bytes of all texts together."""
    return int(pc.sum(pc.binary_length(texts), min_count=0).as_py())


def data_of(lines: pa.Array) -> pa.Buffer:
    """The bytes of all lines together."""
    _, places, data = lines.buffers()
    offsets = np.frombuffer(places, np.int32, len(lines) + 1, lines.offset * 4)
    begin = int(offsets[0])
    return pa.py_buffer(b"") if data is None else data.slice(begin, int(offsets[-1]) - begin)


def spans(texts: pa.Array) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
    """The bytes of all texts together, and where each begins in them, and the last one ends."""
    offsets = np.frombuffer(texts.buffers()[1], np.int32, len(texts) + 1, texts.offset * 4)
    return np.frombuffer(data_of(texts), np.uint8), offsets - offsets[0]


def values(kind: Type, texts: pa.Array, *, check: bool = True) -> pa.Array | None:
    """The values of a column's texts, which are bytes; None where not all of them are this type's, those included that
    would be written otherwise, unless that is not to be checked."""
    if kind.name == "bytes":
        return texts
    try:
        if kind.name == "text":
            return texts.cast(pa.string())
        return _READ[kind.name](kind, texts.view(pa.string()), check)
    except pa.ArrowInvalid:
        return None


def written(kind: Type, column: pa.Array) -> pa.Array:
    """The texts of a column's values, as bytes; nulls stay."""
    if kind.name == "bytes":
        return column
    if kind.name == "text":
        return column.view(pa.binary())
    if kind.name in _DEAR and (told := _few(column)) is not None:
        words = _WRITTEN[kind.name](kind, told.dictionary.view(column.type))
        return words.take(told.indices).view(pa.binary())
    return _WRITTEN[kind.name](kind, column).view(pa.binary())


def told(kind: Type, column: pa.Array) -> Type:
    """The type with the bounds of these values, too."""
    if kind.name not in ("int", "decimal") or column.null_count == len(column):
        return kind
    numbers = _unscaled(column) if kind.name == "decimal" else column
    found = pc.min_max(numbers)
    return replace(kind, low=min(kind.low, found["min"].as_py()), high=max(kind.high, found["max"].as_py()))


def guessed(texts: pa.Array) -> tuple[Type, pa.Array] | None:
    """The narrowest type of a column's texts and its values; None where there are no texts."""
    if texts.null_count == len(texts):
        return None
    first = texts[pc.index(texts.is_valid(), True).as_py()].as_py()
    for kind in _candidates(first):
        found = values(kind, texts)
        if found is not None:
            return told(kind, found), found
    return BYTES, texts


def wider(kind: Type, texts: pa.Array) -> tuple[Type, pa.Array]:
    """A type that takes these texts and those that were the other's."""
    largest = max(-kind.low, kind.high)
    as_doubles = "double" if kind.name == "int" else "repr" if kind.name == "decimal" and kind.digits == 1 else ""
    if as_doubles and largest < _PLAIN[1]:
        doubles = values(Type(as_doubles), texts)
        if doubles is not None:
            return Type(as_doubles), doubles
    strings = values(TEXT, texts)
    return (BYTES, texts) if strings is None else (TEXT, strings)


def _candidates(first: bytes) -> list[Type]:
    """What a column may be that has this text."""
    if number := _NUMBER.fullmatch(first):
        point, exponent = number[2], number[3]
        if point and len(point) <= _POINT and not exponent:
            return [Type("decimal", len(point)), Type("repr"), Type("double"), TEXT]
        whole = [Type("int")] if not point and not exponent else []
        return [*whole, Type("double"), Type("repr"), TEXT]
    if _DATE.fullmatch(first):
        return [Type("date"), TEXT]
    if (time := _TIME.fullmatch(first)) and len(time[2] or b"") in _UNITS:
        return [Type("time", len(time[2] or b""), (time[1] + time[3]).decode()), TEXT]
    return [Type("bool", form=words) for words in _WORDS if first.decode(errors="replace") in words.split(",")] + [TEXT]


# -- reading -----------------------------------------------------------------------------------------------------------


def _ints(kind: Type, texts: pa.Array, check: bool) -> pa.Array | None:
    numbers = texts.cast(pa.int64())
    return numbers if not check or length(texts) == _figures(numbers, 1) else None


def _decimals(kind: Type, texts: pa.Array, check: bool) -> pa.Array | None:
    numbers = texts.cast(pa.decimal64(_DIGITS, kind.digits))
    if not check:
        return numbers
    figures = _figures(_unscaled(numbers), kind.digits + 1)
    return numbers if length(texts) == figures + len(texts) - texts.null_count else None


def _same(kind: Type, texts: pa.Array, check: bool) -> pa.Array | None:
    column = texts.cast(kind.arrow)
    if check and kind.name == "repr" and _shortest(texts, column):
        return column
    return column if not check or _WRITTEN[kind.name](kind, column).equals(texts) else None


def _shortest(texts: pa.Array, column: pa.Array) -> bool:
    """Whether all are sure to be written as these doubles are: as digits, a point and digits without needless zeros, no
    more of them than tell doubles apart."""
    if texts.null_count:
        texts, column = texts.drop_null(), column.drop_null()
    if not len(texts):
        return True
    data, offsets = spans(texts)
    begins, ends = offsets[:-1], offsets[1:]
    points, sign = np.flatnonzero(data == _DOT), data[begins] == _MINUS
    signs = int(np.count_nonzero(sign))
    digits = int(np.count_nonzero((data >= _ZERO) & (data <= _NINE)))
    if len(points) != len(texts) or digits + signs + len(points) != len(data):
        return False
    first = begins + sign
    if (points <= first).any() or (points >= ends - 1).any() or int((ends - first).max()) > _SURE + 1:
        return False
    needless = ((data[first] == _ZERO) & (points != first + 1)) | ((data[ends - 1] == _ZERO) & (points != ends - 2))
    sizes = np.abs(column.to_numpy())
    return not needless.any() and not (((sizes < _PLAIN[0]) & (sizes > 0)) | (sizes >= _LARGE)).any()


def _dates(kind: Type, texts: pa.Array, check: bool) -> pa.Array | None:
    column = texts.cast(pa.date32())
    return column if not check or length(texts) == 10 * (len(texts) - texts.null_count) else None


def _times(kind: Type, texts: pa.Array, check: bool) -> pa.Array | None:
    # Arrow is slow with zones: the `Z` is cut off, and set behind it again.
    plain = pc.binary_replace_slice(texts, -1, sys.maxsize, "") if kind.form.endswith("Z") else texts
    column = plain.cast(pa.timestamp(_UNITS[kind.digits])).cast(kind.arrow)
    return column if not check or _WRITTEN[kind.name](kind, column).equals(texts) else None


def _bools(kind: Type, texts: pa.Array, check: bool) -> pa.Array | None:
    yes, no = kind.form.split(",")
    column = pc.equal(texts, yes)
    return column if not check or pc.all(pc.or_(column, pc.equal(texts, no))).as_py() is not False else None


def _figures(numbers: pa.Array, least: int) -> int:
    """How many digits and signs numbers take that are written with so many digits at least."""
    taken = numbers.fill_null(0)
    data = np.frombuffer(taken.buffers()[1], np.int64, len(taken), taken.offset * 8)
    present: int = len(numbers) - numbers.null_count
    negative = int(np.count_nonzero(data < 0))
    size = np.abs(data)
    largest = int(size.max(initial=0))
    more = sum(int(np.count_nonzero(size >= ten)) for ten in _TENS[least - 1 :] if ten <= largest)
    return present * least + more + negative


def _unscaled(numbers: pa.Array) -> pa.Array:
    """A decimal's numbers as if there were no point."""
    return numbers.cast(pa.decimal64(_DIGITS, numbers.type.scale)).view(pa.int64())


# -- writing -----------------------------------------------------------------------------------------------------------


def _few(column: pa.Array) -> Any:
    """A column of few values, or of dates, as a dictionary of them; None for any other."""
    if len(column) < _MANY:
        return None
    # Doubles by their bits: 0.0 and -0.0 are two.
    taken = column.view(pa.int64()) if column.type == pa.float64() else column
    dates = column.type == pa.date32()
    if not dates and pc.count_distinct(taken.slice(0, _MANY)).as_py() * _OFTEN > _MANY:
        return None
    told = taken.dictionary_encode()
    return told if len(told.dictionary) * _OFTEN <= len(column) else None


def _cast(kind: Type, column: pa.Array) -> pa.Array:
    return column.cast(pa.string())


def _as_times(kind: Type, column: pa.Array) -> pa.Array:
    texts = column.cast(kind.arrow, safe=False).view(pa.timestamp(_UNITS[kind.digits])).cast(pa.string())
    if kind.form.startswith("T"):
        texts = pc.binary_replace_slice(texts, 10, 11, "T")
    return pc.binary_join_element_wise(texts, "Z", "") if kind.form.endswith("Z") else texts


def _as_words(kind: Type, column: pa.Array) -> pa.Array:
    yes, no = kind.form.split(",")
    return pc.if_else(column, yes, no)


def _as_repr(kind: Type, column: pa.Array) -> pa.Array:
    texts = column.cast(pa.string())
    numbers = column.fill_null(0.5).to_numpy(zero_copy_only=False)
    size = np.abs(numbers)
    plain = ((size >= _PLAIN[0]) & (size < _PLAIN[1])) | (size == 0)
    with np.errstate(invalid="ignore"):
        whole = plain & (np.floor(numbers) == numbers)
    if whole.any():
        texts = pc.if_else(pa.array(whole), pc.binary_join_element_wise(texts, ".0", ""), texts)
    if not plain.all():
        texts = pc.replace_with_mask(
            texts, pa.array(~plain), pa.array([repr(n) for n in numbers[~plain].tolist()], pa.string())
        )
    return texts


_READ: Final[Mapping[str, Callable[[Type, Any, bool], Any]]] = {
    "int": _ints,
    "decimal": _decimals,
    "double": _same,
    "repr": _same,
    "date": _dates,
    "time": _times,
    "bool": _bools,
}
_WRITTEN: Final[Mapping[str, Callable[[Type, Any], Any]]] = {
    "int": _cast,
    "decimal": _cast,
    "double": _cast,
    "repr": _as_repr,
    "date": _cast,
    "time": _as_times,
    "bool": _as_words,
}
