"""What a footer and page headers say of encodings: read, and said otherwise, with everything else left as it is.

Source: src/main/thrift/parquet.thrift in apache/parquet-format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from storaged.codecs.parquet.encodings import INT96_BYTES, Encoding, Physical
from storaged.codecs.parquet.footer import replaced
from storaged.codecs.parquet.pages import Header
from storaged.codecs.parquet.thrift import (
    BINARY,
    DEEPEST,
    I32,
    I64,
    LIST,
    STRUCT,
    Field,
    Malformed,
    Place,
    a_list,
    of_fields,
    of_list,
    packed,
    places,
    signed,
    unsigned,
    varint,
)

_SCHEMA, _GROUPS, _KEY_VALUES, _ORDERS = 2, 4, 5, 7  # of FileMetaData
_COLUMNS: Final = 1  # of RowGroup
_METADATA: Final = 3  # of ColumnChunk
_TYPE, _ENCODINGS, _DICTIONARY_AT, _STATISTICS, _STATS = 1, 2, 11, 12, 13  # of ColumnMetaData
_OPTIONAL, _REPEATED = 1, 2
_OF_ENCODINGS: Final = (_ENCODINGS, _DICTIONARY_AT, _STATS)
DATA, DICTIONARY, DATA_V2 = 0, 2, 3  # types of pages
_OF_PAGES: Final = (5, 7, 8)  # where a page's header tells of it, by type

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A column: its path, what is stored of it, of how many bytes where that is fixed, and how many levels its values
    have. `place` is its path in `physical`, and `top` the number of the field of the schema that it is in. `encoded`:
    Arrow makes dictionaries of it, which it does not of pages in every encoding."""

    path: str
    kind: Physical
    width: int
    definitions: int
    repetitions: int
    place: str
    top: int
    encoded: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What a page's header says of values. `nulls`: how many of them are none, where that is told."""

    kind: int
    values: int
    encoding: int
    nulls: int | None
    levels: tuple[int, ...]  # the encodings of repetitions and of definitions, where they are in what is compressed
    size_at: int
    encoding_at: int

    @property
    def is_dictionary(self) -> bool:
        return self.kind == DICTIONARY

    @property
    def has_levels_apart(self) -> bool:
        """Whether its levels stand in front of what is compressed."""
        return self.kind == DATA_V2


def facts(raw: bytes) -> Facts:
    """Of a header's bytes. Raises Malformed."""
    numbers: dict[int, tuple[int, int]] = {}
    within: dict[int, tuple[int, int]] = {}
    try:
        for number, kind, begin, _ in places(raw, 0)[0]:
            if kind == I32:
                numbers[number] = signed(raw, begin)[0], begin
            elif kind == STRUCT and number in _OF_PAGES:
                within = {n: (signed(raw, at)[0], at) for n, k, at, _ in places(raw, begin)[0] if k == I32}
        kind = numbers[1][0]
        told = {DATA: (1, 2, None), DICTIONARY: (1, 2, None), DATA_V2: (1, 4, 2)}[kind]
        values, encoding = within[told[0]], within[told[1]]
        nulls = None if told[2] is None else within[told[2]][0]
        levels = (within[4][0], within[3][0]) if kind == DATA else ()
        if values[0] < 0 or (nulls is not None and not 0 <= nulls <= values[0]):
            raise Malformed("a page has an impossible number of values")
        return Facts(kind, values[0], encoding[0], nulls, levels, numbers[2][1], encoding[1])
    except (KeyError, IndexError):
        raise Malformed("a page header lacks something") from None


def header_with(
    header: Header, *, size: int, stored: int, crc: int | None, encoding: int, flagged: bool | None = True
) -> bytes:
    """The same header with these. Raises Malformed."""
    raw = header.patched(stored=stored, crc=crc, flagged=flagged)
    of = facts(raw)
    edits = sorted(((of.size_at, size), (of.encoding_at, encoding)))
    return replaced(raw, *zip(*edits, strict=True))


def header_of_dictionary(values: int, *, size: int, stored: int, crc: int | None) -> bytes:
    """Of a page with so many PLAIN values."""
    of = of_fields((Field(1, I32, packed(values)), Field(2, I32, packed(Encoding.PLAIN))))
    told = [Field(1, I32, packed(DICTIONARY)), Field(2, I32, packed(size)), Field(3, I32, packed(stored))]
    if crc is not None:
        told.append(Field(4, I32, packed(crc)))
    return of_fields((*told, Field(7, STRUCT, of)))


@dataclass(frozen=True, slots=True)
class Said:
    """What a footer says of the encodings of a chunk: of pages by type and encoding how many there are, of levels
    which. `dictionary_at`: where the dictionary page is; None: there is none."""

    pages: Mapping[tuple[int, int], int]
    levels: frozenset[int]
    dictionary_at: int | None


def saying(footer: bytes, said: Mapping[int, Said]) -> bytes:
    """The footer with other encodings of these chunks."""
    return _changed(footer, said, _saying)


def _saying(had: Sequence[Field], of: Said) -> Iterator[Field]:
    numbers = sorted({encoding for _, encoding in of.pages} | of.levels)
    told = {_ENCODINGS: Field(_ENCODINGS, LIST, a_list(I32, [packed(n) for n in numbers]))}
    if of.dictionary_at is not None:
        told[_DICTIONARY_AT] = Field(_DICTIONARY_AT, I64, packed(of.dictionary_at))
    if any(f.number == _STATS for f in had):
        counts = [
            of_fields(Field(n, I32, packed(value)) for n, value in enumerate((kind, encoding, count), 1))
            for (kind, encoding), count in sorted(of.pages.items())
        ]
        told[_STATS] = Field(_STATS, LIST, a_list(STRUCT, counts))
    kept = {f.number: f for f in had if f.number not in (_ENCODINGS, _DICTIONARY_AT, _STATS)}
    return iter(f for _, f in sorted((kept | told).items()))


def saying_nothing(footer: bytes, chunks: Iterable[int]) -> bytes:
    """The footer with nothing of the encodings of these chunks."""
    return _changed(footer, dict.fromkeys(chunks), lambda had, _: (f for f in had if f.number not in _OF_ENCODINGS))


def _changed(footer: bytes, of: Mapping[int, T], how: Callable[[Sequence[Field], T], Iterable[Field]]) -> bytes:
    """With other metadata of some chunks. Raises Malformed."""
    out, kept = bytearray(), 0
    for number, metadata in enumerate(_metadata(footer)):
        if number in of:
            had, _ = places(footer, metadata.at)
            fields = [Field(f.number, f.kind, footer[f.at : f.end]) for f in had]
            out += footer[kept : metadata.at] + of_fields(how(fields, of[number]))
            kept = metadata.end
    return bytes(out + footer[kept:])


def _metadata(footer: bytes) -> Iterator[Place]:
    """Of each column chunk, in order. Raises Malformed."""
    try:
        for groups in (f for f in places(footer, 0)[0] if f.number == _GROUPS):
            for group, _, _ in of_list(footer, groups.at):
                for columns in (f for f in group if f.number == _COLUMNS):
                    for chunk, _, _ in of_list(footer, columns.at):
                        yield next(f for f in chunk if f.number == _METADATA)
    except (IndexError, StopIteration):
        raise Malformed("its footer lacks something") from None


@dataclass(frozen=True, slots=True)
class _Element:
    """One of a schema, which lists a tree from the top."""

    fields: Sequence[Field]
    name: str
    kind: int | None
    width: int
    repetition: int
    children: int


def leaves(footer: bytes) -> list[Leaf]:
    """The columns, in order. Raises Malformed."""
    elements = iter(_elements(footer))
    found: list[Leaf] = []
    number = 0

    def below(top: int, path: tuple[str, ...], place: str, definitions: int, repetitions: int, depth: int) -> None:
        nonlocal number
        of, mine = next(elements), f"c{number}"
        number += 1
        path, place = (*path, of.name), f"{place}.{mine}" if place else mine
        definitions += of.repetition in (_OPTIONAL, _REPEATED)
        repetitions += of.repetition == _REPEATED
        if of.kind is not None and not of.children:
            found.append(Leaf(".".join(path), Physical(of.kind), of.width, definitions, repetitions, place, top))
        elif depth > DEEPEST:
            raise Malformed("its schema is too deep")
        for _ in range(of.children):
            below(top, path, place, definitions, repetitions, depth + 1)

    try:
        root = next(elements)
        for top in range(root.children):
            below(top, (), "", 0, 0, 0)
    except (StopIteration, ValueError):
        raise Malformed("its schema is no tree of known types") from None
    return found


def physical(footer: bytes) -> bytes:
    """The footer of the same file without what its values mean, and with names of ours: what is stored is all that a
    reader tells of it. INT96 are 12 bytes, which is how they lie. Raises Malformed."""
    schema = []
    for number, of in enumerate(_elements(footer)):
        kept = [f for f in of.fields if f.number in (3, 5)] + [Field(4, BINARY, _text(f"c{number - 1}"))]
        if of.kind is not None:
            is_96 = of.kind == Physical.INT96
            kind = Physical.FIXED_LEN_BYTE_ARRAY if is_96 else of.kind
            width = INT96_BYTES if is_96 else of.width
            kept += [Field(1, I32, packed(kind)), Field(2, I32, packed(width))]
        schema.append(of_fields(sorted(kept)))
    of_96 = packed(Physical.INT96)
    changed = {n: None for n, at in enumerate(_metadata(footer)) if _field(footer, at, _TYPE) == of_96}
    footer = _changed(footer, changed, lambda had, _: _as_bytes(had))
    top = [Field(f.number, f.kind, footer[f.at : f.end]) for f in places(footer, 0)[0]]
    kept = [f for f in top if f.number not in (_SCHEMA, _KEY_VALUES, _ORDERS)]
    return of_fields(sorted((*kept, Field(_SCHEMA, LIST, a_list(STRUCT, schema)))))


def _as_bytes(had: Sequence[Field]) -> Iterator[Field]:
    for f in had:
        if f.number == _TYPE:
            yield Field(_TYPE, I32, packed(Physical.FIXED_LEN_BYTE_ARRAY))
        elif f.number != _STATISTICS:
            yield f


def _field(data: bytes, of: Place, number: int) -> bytes:
    return next((data[f.at : f.end] for f in places(data, of.at)[0] if f.number == number), b"")


def _elements(footer: bytes) -> Iterator[_Element]:
    """Of the schema, in order. Raises Malformed."""
    try:
        schema = next(f for f in places(footer, 0)[0] if f.number == _SCHEMA)
        for found, _, _ in of_list(footer, schema.at):
            fields = [Field(f.number, f.kind, footer[f.at : f.end]) for f in found]
            told = {f.number: f for f in fields}
            number = {n: signed(told[n].value, 0)[0] for n in (1, 2, 3, 5) if n in told and told[n].kind == I32}
            length, at = unsigned(told[4].value, 0)
            name = told[4].value[at : at + length].decode(errors="replace")
            yield _Element(fields, name, number.get(1), number.get(2, 0), number.get(3, 0), number.get(5, 0))
    except (IndexError, KeyError, StopIteration):
        raise Malformed("its schema lacks something") from None


def _text(of: str) -> bytes:
    return varint(len(of)) + of.encode()
