"""What the whole of a text has in common: what each column is, how nulls and quotes are written.

All of the text is looked at before anything is written, since a column of a Parquet file has one type from the first
row to the last: no value is lost to one that was guessed too early.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from storaged.codecs.text import columns
from storaged.codecs.text.columns import BYTES, TEXT, Type
from storaged.codecs.text.shelf import Shelf
from storaged.codecs.text.split import MANY, NO_QUOTE, Mask, Parsed, Places, Records, Written, columns_of
from storaged.errors import NotTaken

NULLS: Final = (b"NA", b"NULL", b"\\N", b"null", b"NaN", b"nan", b"None", b"N/A", b"-", b".")
LOOKED_AT: Final = 256 * 1024  # bytes of a block from which it is told what is quoted, and how nulls are written
ODD: Final = 0.02  # the share of lines that are no rows, at most
ODD_LINES: Final = 16  # as many are none whatever the share


@dataclass(frozen=True, slots=True)
class Plan:
    """How a text becomes a table and is written again. `quoted` tells of each column whether all of its values have
    quotes, or only those that need them."""

    written: Written
    null: bytes
    types: tuple[Type, ...]
    quoted: tuple[bool, ...]

    def to_bytes(self) -> bytes:
        """As a blob keeps it: ASCII JSON."""
        written = asdict(self.written) | {"ending": self.written.ending.decode()}
        types = [[t.name, t.digits, t.form, t.low, t.high] for t in self.types]
        said = {"written": written, "null": self.null.decode(), "types": types, "quoted": [int(q) for q in self.quoted]}
        return json.dumps(said, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Plan:
        """Raises ValueError, TypeError or LookupError where it is none."""
        said = json.loads(data)
        how = said["written"]
        written = Written(how["delimiter"], how["quote"], how["ending"].encode(), how["fields"], how["block"])
        types = tuple(Type(*each) for each in said["types"])
        return cls(written, said["null"].encode(), types, tuple(map(bool, said["quoted"])))


@dataclass(slots=True)
class Survey:
    """Sees all blocks of a text, in order. Each is given with a line end at its end."""

    written: Written
    null: bytes = b""
    rows: int = 0
    lines: int = 0
    _types: list[Type | None] = field(default_factory=list)
    _needless: list[int] = field(default_factory=list)  # quotes of each column that its values do not need
    _bare: list[int] = field(default_factory=list)  # values of each column without any

    def see(self, text: bytes) -> Parsed:
        """One more block, whose columns are returned. Raises NotTaken where its fields cannot be told apart."""
        first = not self._types
        if first:
            self._types = [None] * self.written.fields
            self._needless, self._bare = [0] * self.written.fields, [0] * self.written.fields
            self.null = self._null(text)
        parsed = columns_of(text, self.written, self.null)
        self._count(parsed)
        for number, texts in enumerate(parsed.columns):
            self._types[number] = _seen(self._types[number], texts)
        if self.written.quote and self.written.quote in text:
            self._quotes(text)
        return parsed

    def plan(self) -> Plan:
        """What was seen. Raises NotTaken where too many lines are no rows."""
        odd = self.lines - self.rows
        if odd > ODD_LINES and odd > ODD * self.lines:
            raise NotTaken(f"{odd} of its {self.lines} lines have another number of fields, or stray quotes")
        types = tuple(TEXT if found is None else found for found in self._types) or (TEXT,) * self.written.fields
        quoted = tuple(n > b for n, b in zip(self._needless, self._bare, strict=True)) or (False,) * self.written.fields
        return Plan(self.written, self.null, types, quoted)

    def _null(self, text: bytes) -> bytes:
        """How nulls are written: as what makes most columns more than text."""
        some = text[: text.rfind(b"\n", 0, LOOKED_AT) + 1] or text
        words = [texts for texts in columns_of(some, self.written, b"").columns if _is_text(texts)]
        best, most = b"", 0
        for null in NULLS:
            gained = sum(_is_better(texts, null) for texts in words) if null in some else 0
            if gained > most:
                best, most = null, gained
        return best

    def _count(self, parsed: Parsed) -> None:
        self.rows += parsed.rows
        self.lines += parsed.rows if parsed.records is None else len(parsed.records.ends)

    def _quotes(self, text: bytes) -> None:
        """Whether columns have more quotes that nothing needs than values without quotes."""
        some = text[: text.rfind(b"\n", 0, LOOKED_AT) + 1] or text
        records = Records(some, self.written)
        starts = records.field_starts(self.written.fields)
        if not len(starts):
            return
        data = np.frombuffer(some, np.uint8)
        has_quote = data[starts] == self.written.quote
        fits = records.fitting(self.written.fields)
        ends = np.concatenate((starts[:, 1:] - 1, (records.ends[fits] - len(self.written.ending))[:, None]), axis=1)
        sizes = ends - starts
        special = np.isin(data, np.frombuffer(special_bytes(self.written), np.uint8))
        before: Places = np.concatenate((np.zeros(1, np.int64), np.cumsum(special)))
        # The two quotes around a field are themselves special.
        needed = (before[np.maximum(ends, starts)] - before[starts] > 2) | ((sizes <= 2) & (self.null == b""))
        bare = ~has_quote & (sizes > 0)
        if self.null:
            bare &= ~_is(data, starts, sizes, self.null)
        for number, (needless, without) in enumerate(
            zip((has_quote & ~needed).sum(axis=0).tolist(), bare.sum(axis=0).tolist(), strict=True)
        ):
            self._needless[number] += needless
            self._bare[number] += without


def special_bytes(written: Written) -> bytes:
    """Those that put a field in quotes."""
    return bytes([written.delimiter, written.quote, 10, 13]) if written.quote != NO_QUOTE else b""


def _is(data: npt.NDArray[np.uint8], starts: Places, sizes: Places, word: bytes) -> Mask:
    """Which fields are this word."""
    same: Mask = sizes == len(word)
    for at, byte in enumerate(word):
        same &= data[np.minimum(starts + at, len(data) - 1)] == byte
    return same


def _seen(kind: Type | None, texts: pa.Array) -> Type | None:
    """A column's type, with these texts too."""
    if kind is None:
        found = columns.guessed(texts)
        return None if found is None else found[0]
    if kind == BYTES:
        return kind
    column = columns.values(kind, texts)
    if column is not None:
        return columns.told(kind, column)
    return columns.wider(kind, texts)[0]


def _is_better(texts: pa.Array, null: bytes) -> bool:
    """Whether a column is text only for this word."""
    is_null = pc.equal(texts, pa.scalar(null, pa.binary()))
    if not pc.any(is_null).as_py():
        return False
    found = columns.guessed(pc.if_else(is_null, pa.scalar(None, pa.binary()), texts))
    # Where a word stands for null, nothing else does.
    return texts.null_count == 0 and found is not None and found[0] not in (TEXT, BYTES)


def _is_text(texts: pa.Array) -> bool:
    found = columns.guessed(texts)
    return found is not None and found[0] in (TEXT, BYTES)


def seen(blocks: Iterable[bytes], written: Written) -> tuple[Plan, Shelf[Parsed]]:
    """The plan for all of these blocks, and their columns as far as they are held. Raises NotTaken."""
    survey, shelf = Survey(written), Shelf[Parsed]()
    for text in blocks:
        parsed = survey.see(text)
        if written.fields > MANY:
            del parsed
            pa.default_memory_pool().release_unused()
        elif parsed.records is None:
            shelf.put(text, parsed, sum(column.nbytes for column in parsed.columns))
    return survey.plan(), shelf
