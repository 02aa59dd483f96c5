"""A Parquet file's footer and offset indexes: where things are, and the same bytes with other places in them.

Only numbers are read and replaced. Whatever else is there, known to somebody or not, stays byte for byte.

Source: src/main/thrift/parquet.thrift in apache/parquet-format.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from storaged.codecs.parquet import thrift
from storaged.codecs.parquet.thrift import BINARY, I32, I64, STRUCT, Malformed, Taker, packed, signed, unsigned

MAGIC: Final = b"PAR1"
ENCRYPTED_MAGIC: Final = b"PARE"
END: Final = 8  # bytes: the footer's length and the magic
LARGEST: Final = 128 * 1024 * 1024  # bytes of a footer, or of one index
PARTS: Final = 250_000  # row groups of a file, and column chunks, which take most of a KiB of memory each

Numbers = npt.NDArray[np.int64]


class Of(IntEnum):
    """The numbers of a column chunk that are of interest, in the order in which they are kept."""

    FILE_OFFSET = 0
    CODEC = 1
    VALUES = 2
    UNCOMPRESSED = 3
    COMPRESSED = 4
    DATA_PAGE = 5
    INDEX_PAGE = 6
    DICTIONARY_PAGE = 7
    BLOOM = 8
    BLOOM_LENGTH = 9
    OFFSET_INDEX = 10
    OFFSET_INDEX_LENGTH = 11
    COLUMN_INDEX = 12
    COLUMN_INDEX_LENGTH = 13


class OfGroup(IntEnum):
    """The same of a row group."""

    BYTES = 0
    FILE_OFFSET = 1
    COMPRESSED = 2


_IN_CHUNK: Final = {
    2: (Of.FILE_OFFSET, I64),
    4: (Of.OFFSET_INDEX, I64),
    5: (Of.OFFSET_INDEX_LENGTH, I32),
    6: (Of.COLUMN_INDEX, I64),
    7: (Of.COLUMN_INDEX_LENGTH, I32),
}
_IN_METADATA: Final = {
    4: (Of.CODEC, I32),
    5: (Of.VALUES, I64),
    6: (Of.UNCOMPRESSED, I64),
    7: (Of.COMPRESSED, I64),
    9: (Of.DATA_PAGE, I64),
    10: (Of.INDEX_PAGE, I64),
    11: (Of.DICTIONARY_PAGE, I64),
    14: (Of.BLOOM, I64),
    15: (Of.BLOOM_LENGTH, I32),
}
_IN_GROUP: Final = {2: (OfGroup.BYTES, I64), 5: (OfGroup.FILE_OFFSET, I64), 6: (OfGroup.COMPRESSED, I64)}
_NEEDED: Final = {Of.CODEC: "codec", Of.VALUES: "num_values", Of.COMPRESSED: "total_compressed_size"}
_AT_ONCE: Final = 4_096
_ABSENT: Final = 0  # as a place in the footer: no number stands in its first byte


class Footer:
    """What a footer says. `chunks` has a row per column chunk (`Of`), `groups` one per row group (`OfGroup`), numbers
    that are not there as 0; `group` and `column` tell of each chunk where it belongs. Raises Malformed."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._row, self._places = [0] * len(Of), [_ABSENT] * len(Of)
        self._group_row, self._group_places = [0] * len(OfGroup), [_ABSENT] * len(OfGroup)
        self._values, self._at = array("q"), array("i")
        self._group_values, self._group_at = array("q"), array("i")
        self._group, self._column = array("q"), array("q")
        self._columns = 0
        self._described = False
        metadata = {field: self._number(self._row, self._places, *what) for field, what in _IN_METADATA.items()}
        self._in_metadata: dict[int, Taker] = metadata
        self._in_chunk: dict[int, Taker] = {
            field: self._number(self._row, self._places, *what) for field, what in _IN_CHUNK.items()
        } | {1: self._elsewhere, 3: self._metadata, 8: _encrypted, 9: _encrypted}
        self._in_group: dict[int, Taker] = {
            field: self._number(self._group_row, self._group_places, *what) for field, what in _IN_GROUP.items()
        } | {1: self._chunks}
        self._schema = False
        end = thrift.structure(data, 0, {2: self._schema_there, 4: self._groups, 8: _encrypted, 9: _encrypted})
        if not self._schema:
            raise Malformed("its footer has no schema")
        if end != len(data):
            raise Malformed(f"its footer ends {len(data) - end} bytes before its length says")
        self.chunks: Numbers = _table(self._values, len(Of))
        self.groups: Numbers = _table(self._group_values, len(OfGroup))
        self.group, self.column = np.frombuffer(self._group, np.int64), np.frombuffer(self._column, np.int64)

    def patched(self, chunks: Numbers, groups: Numbers) -> bytes:
        """The same footer with these numbers, wherever they are others."""
        at, group_at = _table(self._at, len(Of)), _table(self._group_at, len(OfGroup))
        there, there_of_group = self.present()
        changed, group_changed = (chunks != self.chunks) & there, (groups != self.groups) & there_of_group
        places = np.concatenate((at[changed], group_at[group_changed]))
        numbers = np.concatenate((chunks[changed], groups[group_changed]))
        order = np.argsort(places)
        return replaced(self.data, gradually(places[order]), gradually(numbers[order]))

    def present(self) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Which numbers of `chunks` and of `groups` are there."""
        return _table(self._at, len(Of)) != _ABSENT, _table(self._group_at, len(OfGroup)) != _ABSENT

    def says(self, chunks: Numbers, groups: Numbers, of: Footer) -> bool:
        """Whether it has the same numbers as another one, and says these. Column by column: the tables are large."""
        tables = ((self.chunks, chunks), (self.groups, groups))
        for (mine, wanted), here, there in zip(tables, self.present(), of.present(), strict=True):
            if len(mine) != len(wanted) or (here != there).any():
                return False
            for number in range(wanted.shape[1]):
                if (mine[:, number] != wanted[:, number])[there[:, number]].any():
                    return False
        return True

    def _number(self, row: list[int], places: list[int], which: int, wanted: int) -> Taker:
        data = self.data

        def take(kind: int, at: int) -> int:
            if kind != wanted:
                raise Malformed("a number of its footer is of another kind")
            row[which], end = signed(data, at)
            places[which] = at
            return end

        return take

    def _schema_there(self, kind: int, at: int) -> int:
        self._schema = True
        return thrift.elements(
            self.data, at, kind, lambda at: thrift.structure(self.data, at, {}, 1), name="its schema"
        )

    def _groups(self, kind: int, at: int) -> int:
        return thrift.elements(self.data, at, kind, self._one_group, name="its list of row groups")

    def _one_group(self, at: int) -> int:
        self._group_row[:], self._group_places[:] = [0] * len(OfGroup), [_ABSENT] * len(OfGroup)
        self._columns = 0
        at = thrift.structure(self.data, at, self._in_group, 1)
        if len(self._group_values) == PARTS * len(OfGroup):
            raise Malformed(f"it has more than {PARTS:,} row groups")
        self._group_values.extend(self._group_row)
        self._group_at.extend(self._group_places)
        return at

    def _chunks(self, kind: int, at: int) -> int:
        return thrift.elements(self.data, at, kind, self._one_chunk, name="a list of columns")

    def _one_chunk(self, at: int) -> int:
        self._row[:], self._places[:] = [0] * len(Of), [_ABSENT] * len(Of)
        self._described = False
        at = thrift.structure(self.data, at, self._in_chunk, 2)
        if not self._described:
            raise Malformed("a column chunk has no metadata")
        for which, name in _NEEDED.items():
            if self._places[which] == _ABSENT:
                raise Malformed(f"a column chunk has no {name}")
        if len(self._group) == PARTS:
            raise Malformed(f"it has more than {PARTS:,} column chunks")
        self._values.extend(self._row)
        self._at.extend(self._places)
        self._group.append(len(self._group_values) // len(OfGroup))
        self._column.append(self._columns)
        self._columns += 1
        return at

    def _metadata(self, kind: int, at: int) -> int:
        if kind != STRUCT:
            raise Malformed("a column chunk has no metadata")
        self._described = True
        return thrift.structure(self.data, at, self._in_metadata, 3)

    def _elsewhere(self, kind: int, at: int) -> int:
        if kind != BINARY:
            raise Malformed("a column chunk's path is no text")
        length, at = unsigned(self.data, at)
        if length:
            raise Malformed("its columns are in other files")
        return at


def _encrypted(kind: int, at: int) -> int:
    raise Malformed("it is encrypted, in whole or in part")


def _table(values: array[int], width: int) -> npt.NDArray[Any]:
    return np.frombuffer(values, values.typecode).reshape(-1, width)


def gradually(numbers: Numbers) -> Iterator[int]:
    """As Python's numbers, which are large, and so never all of them at once."""
    for at in range(0, len(numbers), _AT_ONCE):
        yield from numbers[at : at + _AT_ONCE].tolist()


def replaced(data: bytes, places: Iterable[int], numbers: Iterable[int]) -> bytes:
    """The bytes with other zigzag varints at these places, which ascend."""
    out, kept = bytearray(), 0
    for place, number in zip(places, numbers, strict=True):
        out += data[kept:place]
        out += packed(number)
        _, kept = unsigned(data, place)
    out += data[kept:]
    return bytes(out)


class OffsetIndex:
    """Where the pages of a chunk are: `starts` and `sizes` (of header and body), in order. Raises Malformed."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.starts, self.sizes = array("q"), array("q")
        self._places = array("q")
        self._found: list[tuple[int, int]] = []
        self._takers: dict[int, Taker] = {1: self._number(I64), 2: self._number(I32)}
        end = thrift.structure(data, 0, {1: self._locations})
        if end != len(data):
            raise Malformed("an offset index is shorter than its length says")

    def patched(self, starts: Sequence[int], sizes: Sequence[int]) -> bytes:
        """The same index with these numbers."""
        numbers = (number for pair in zip(starts, sizes, strict=True) for number in pair)
        return replaced(self.data, self._places, numbers)

    def _locations(self, kind: int, at: int) -> int:
        return thrift.elements(self.data, at, kind, self._one, name="an offset index")

    def _one(self, at: int) -> int:
        self._found.clear()
        at = thrift.structure(self.data, at, self._takers, 1)
        if len(self._found) != 2 or self._found[0][0] >= self._found[1][0]:
            raise Malformed("an entry of an offset index lacks its place or size")
        (place, start), (next_place, size) = self._found
        self._places.extend((place, next_place))
        self.starts.append(start)
        self.sizes.append(size)
        return at

    def _number(self, wanted: int) -> Taker:
        def take(kind: int, at: int) -> int:
            if kind != wanted:
                raise Malformed("a number of an offset index is of another kind")
            number, end = signed(self.data, at)
            self._found.append((at, number))
            return end

        return take
