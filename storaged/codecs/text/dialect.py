"""What the beginning of a text shows of how it is written: delimiter, quote, line end, header.

Nothing of it is trusted. It decides what is tried, and what a table's columns are called; the text itself is compared,
block by block, with what is made again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from storaged.codecs.text.split import NO_QUOTE, Records, Written, block_of
from storaged.errors import NotTaken

HEAD: Final = 1024 * 1024  # bytes from which it is told
TRIED: Final = 128 * 1024  # of them, for each delimiter, where they hold enough lines
ENOUGH: Final = 32  # lines
DELIMITERS: Final = b",\t;|"
QUOTE: Final = b'"'
ALIKE: Final = 0.95  # the share of lines that have one number of fields, at least
MOST: Final = 20_000  # columns
SHOWN: Final = 50_000  # fields that tell whether the first line is a header

_BOM: Final = b"\xef\xbb\xbf"
_WIDE: Final = (b"\xff\xfe", b"\xfe\xff")
_MARKUP: Final = (b"{", b"[", b"<")
_DATUM: Final = re.compile(
    rb"[+-]?(\d[\d.,]*|\.\d+)([eE][+-]?\d+)?%?|\d{4}-\d\d?-\d\d?.*|\d\d?[/.]\d\d?[/.]\d{2,4}.*|\d\d?:\d\d.*|true|false",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """`head` is what stands before the first record, byte for byte: a byte order mark, comments, the header."""

    written: Written
    head: bytes
    names: tuple[str, ...]


def found(data: bytes, *, whole: bool) -> Dialect:
    """The dialect of a text that begins so. Raises NotTaken."""
    if data.startswith(_WIDE):
        raise NotTaken("it is UTF-16 text")
    begin = len(_BOM) if data.startswith(_BOM) else 0
    end = data.rfind(b"\n") + 1
    if not end:
        alone = b"\r" in data
        raise NotTaken("its lines end in CR alone" if alone else f"its first {len(data)} bytes hold no end of a line")
    if data[begin:end].lstrip()[:1] in _MARKUP:
        raise NotTaken("its lines are JSON or markup")
    ending = b"\r\n" if 2 * data.count(b"\r\n") > data.count(b"\n") else b"\n"
    text = data[begin:end]
    some = text[: _enough(text)]
    written, records, text = _best(some if some.count(b"\n") > 1 else text, ending)
    fitting = np.flatnonzero(records.fitting(written.fields))
    first = int(fitting[0])
    rows = fitting[: max(2, min(len(fitting), SHOWN // written.fields))]
    table = [records.fields_of(text, number, written) for number in rows.tolist()]
    if is_header(table):
        names = unique(table[0])
        head_ends = begin + int(records.ends[first])
    else:
        names = unique([b""] * written.fields)
        head_ends = begin + (int(records.ends[first - 1]) if first else 0)
    return Dialect(written, data[:head_ends], names)


def _enough(text: bytes) -> int:
    """Where the lines end from which a dialect is told."""
    end = text.rfind(b"\n", 0, TRIED) + 1
    return end if end and text.count(b"\n", 0, end) >= ENOUGH else len(text)


def _best(text: bytes, ending: bytes) -> tuple[Written, Records, bytes]:
    best: tuple[tuple[float, bool, int], Written, Records] | None = None
    for quote in (QUOTE[0], NO_QUOTE) if QUOTE in text else (QUOTE[0],):
        for delimiter in DELIMITERS:
            if delimiter not in text:
                continue
            tried = Written(delimiter, quote, ending, 0)
            records = Records(text, tried)
            if not records.good.any():
                continue
            kinds, often = np.unique(records.counts[records.good], return_counts=True)
            fields = int(kinds[often.argmax()])
            share = often.max() / len(records.counts)
            rank = (round(float(share), 2), quote != NO_QUOTE, fields)
            if fields > 1 and (best is None or rank > best[0]):
                size = block_of(fields, len(text) / int(records.counts.sum()))
                best = rank, Written(delimiter, quote, ending, fields, size), records
    if best is None:
        raise NotTaken("its lines have no fields that a delimiter parts")
    if best[1].fields > MOST:
        raise NotTaken(f"it has {best[1].fields} columns, and {MOST} are taken at most")
    if best[0][0] < ALIKE and len(best[2].counts) - int(best[2].fitting(best[1].fields).sum()) > 1:
        raise NotTaken("its lines have no constant number of fields")
    return best[1], best[2], text


def is_header(table: Sequence[Sequence[bytes]]) -> bool:
    """Whether the first of these records names the columns: it has words only, and another kind of thing is below it
    or none of its words comes again."""
    first = table[0]
    rest = [record for record in table[1:] if record != first]  # files put behind each other have it again
    if not any(first) or any(_DATUM.fullmatch(name.strip()) for name in first):
        return False
    columns = list(zip(*rest, strict=True))
    kinds = any(any(values) and all(_DATUM.fullmatch(v) for v in values if v) for values in columns)
    return kinds or not any(name and name in values for name, values in zip(first, columns, strict=False))


def unique(names: Sequence[bytes]) -> tuple[str, ...]:
    """What columns are called: their names in the header; those without one by their number, those that come again with
    a number behind."""
    made: dict[str, None] = {}
    for number, name in enumerate(names):
        text = name.decode(errors="replace").replace("\0", "\ufffd").strip() or f"column{number}"
        tried, more = text, 1
        while tried in made:
            tried, more = f"{text}_{more}", more + 1
        made[tried] = None
    return tuple(made)
