"""Whoever compares a file with another one of its table, encoded otherwise, notices each changed bit."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storaged.codecs.parquet import reencode, values
from storaged.codecs.parquet.encodings import of_dictionary
from storaged.errors import StoragedError, VerificationFailed
from storaged.testing.contents import ORIGIN, BytesContent
from tests.codecs.parquet_files import written
from tests.codecs.test_parquet import table
from tests.codecs.test_parquet_reencode import CODEC, PAGES, SPEC, encodings, made, require_same_rows

QUIET, NEGATIVE, POSITIVE = 0x7FF8_0000_0000_0001, 0x8000_0000_0000_0000, 0  # a NaN with something in it, −0.0, 0.0
NUMBERS = [QUIET if n % 17 == 0 else NEGATIVE if n % 19 == 0 else 2**52 * n for n in range(64)]
HOLDING = pa.table(
    {
        "f": pa.array(np.array(NUMBERS, np.uint64).view(np.float64)),
        "null": pa.array([n if n % 8 < 3 or n > 50 else None for n in range(64)], pa.int64()),
        "text": pa.array([f"{n % 3}{'x' * (n % 5)}" for n in range(64)]),
        "list": pa.array([[n] * (n % 4) for n in range(64)], pa.list_(pa.int64())),
        "fixed": pa.array([b"abc" if n < 20 else b"xyz" for n in range(64)], pa.binary(3)),
    }
)
SOURCE = written(HOLDING, use_dictionary=False, compression="none", write_statistics=False)
Change = Callable[[pa.Array], pa.Array]


def at(place: int, change: Callable[[int], int]) -> Change:
    def changed(array: pa.Array) -> pa.Array:
        numbers = np.frombuffer(array.buffers()[1], np.uint64)[: len(array)].copy()
        numbers[place] = change(int(numbers[place]))
        return pa.array(numbers, pa.uint64())

    return changed


def other_lengths(array: pa.Array) -> pa.Array:
    """The first letter of the second text goes to the first."""
    words = array.to_pylist()
    return pa.array([words[0] + words[1][:1], words[1][1:], *words[2:]], pa.binary())


LIES: dict[str, tuple[str, Change]] = {
    "a value": ("f", at(9, lambda bits: bits ^ 1)),
    "what is in a NaN": ("f", at(17, lambda bits: bits ^ 2)),
    "a NaN's sign": ("f", at(34, lambda bits: bits ^ 2**63)),
    "the sign of a zero": ("f", at(19, lambda bits: POSITIVE)),
    "a number beside nulls": ("null", at(2, lambda bits: bits + 1)),
    "where texts end": ("text", other_lengths),
    "a repeated value": ("list.list.element", at(3, lambda bits: bits + 1)),
    "the order": ("f", lambda array: array.take(pa.array([1, 0, *range(2, len(array))]))),
}


def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another encoding, whatever is gained."""
    monkeypatch.setattr(values, "_better", lambda best, other: other if best.encoding is None else best)
    monkeypatch.setattr(reencode, "worthwhile", lambda was, cost: True)


def of_source() -> bytes:
    out = io.BytesIO()
    CODEC.derive(BytesContent(SOURCE), out.write, spec=SPEC, origin=ORIGIN)
    return out.getvalue()


# MUST 4
@pytest.mark.parametrize("what", LIES)
def test_whoever_compares_notices_what_the_writer_got_wrong(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path, lie = LIES[what]
    always(monkeypatch)
    CODEC.require_same(BytesContent(SOURCE), BytesContent(of_source()), spec=SPEC)
    honest = reencode.Chunk.values

    def told(chunk: reencode.Chunk, page: values.Taken) -> tuple[values.Opened, pa.Array]:
        of, those = honest(chunk, page)
        return of, lie(those) if chunk.leaf.path == path else those

    monkeypatch.setattr(reencode.Chunk, "values", told)
    lied = of_source()
    assert not pq.read_table(io.BytesIO(lied)).equals(HOLDING) or path == "f"
    with pytest.raises(VerificationFailed, match=f"column `{path}` holds other values"):
        CODEC.require_same(BytesContent(SOURCE), BytesContent(lied), spec=SPEC)


# MUST 4
def test_whoever_compares_notices_other_places_in_a_dictionary(monkeypatch: pytest.MonkeyPatch) -> None:
    always(monkeypatch)
    monkeypatch.setattr(reencode, "of_dictionary", lambda places, count: of_dictionary(places[::-1], count))
    lied = of_source()
    assert encodings(lied, 4) >= {"RLE_DICTIONARY"}
    with pytest.raises(VerificationFailed, match="column `fixed` holds other values in row group 0"):
        CODEC.require_same(BytesContent(SOURCE), BytesContent(lied), spec=SPEC)


# MUST 4
@pytest.mark.parametrize("path", ["null", "list.list.element"])
def test_whoever_compares_notices_other_nulls_and_other_lists(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many values as before, in other rows."""
    always(monkeypatch)
    honest = reencode.Chunk.values

    def moved(chunk: reencode.Chunk, page: values.Taken) -> tuple[values.Opened, pa.Array]:
        of, those = honest(chunk, page)
        if chunk.leaf.path != path:
            return of, those
        end = 4 + int.from_bytes(of.within[:4], "little")
        return replace(of, within=of.within[:5] + of.within[5:end][::-1] + of.within[end:]), those

    monkeypatch.setattr(reencode.Chunk, "values", moved)
    lied = of_source()
    with pytest.raises(VerificationFailed, match="not the same table"):
        CODEC.require_same(BytesContent(SOURCE), BytesContent(lied), spec=SPEC)


# MUST 4
def test_no_changed_byte_goes_unseen() -> None:
    """Of a file of several encodings: either it is said, or the rows are the same."""
    data = written(table(1_000), **PAGES)
    new, _ = made(data)
    chance, seen = random.Random(5), 0
    for _ in range(150):
        where = chance.randrange(len(new))
        damaged = new[:where] + bytes([new[where] ^ (1 << chance.randrange(8))]) + new[where + 1 :]
        try:
            CODEC.require_same(BytesContent(data), BytesContent(damaged), spec=SPEC)
        except StoragedError:
            seen += 1
        else:
            require_same_rows(data, damaged)
    assert seen > 140


def test_other_encodings_are_another_table_where_they_were_not_asked_for() -> None:
    data = written(table(1_000), **PAGES)
    with pytest.raises(VerificationFailed, match="not the same table"):
        CODEC.require_same(BytesContent(data), BytesContent(made(data)[0]), spec=replace(SPEC, reencode=False))
