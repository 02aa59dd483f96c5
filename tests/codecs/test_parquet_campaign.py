"""Parquet files and blobs whose bytes were changed, by the thousand, and a million in the campaign: whatever they say,
the answer is the right one or a reason, and memory and time are bounded by what is really there."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator

import duckdb
import pyarrow as pa
import pytest

from storaged.codecs.parquet import thrift
from storaged.codecs.parquet.codec import Parquet
from storaged.codecs.parquet.footer import Footer, OffsetIndex
from storaged.codecs.parquet.pages import Headers
from storaged.codecs.parquet.thrift import Malformed
from storaged.errors import VerificationFailed
from storaged.testing.contents import BytesReader, encoded
from tests.codecs.parquet_files import written

LONG = bool(os.environ.get("STORAGED_LONG"))  # `make campaign`
INPUTS = 1_000_000 if LONG else 2_000
SEED = 8
TELLING = (0x00, 0x01, 0x7F, 0x80, 0xFF, 0x15, 0x1C, 0x19, 0xF9, 0x18, 0x0C)  # ends, signs, kinds and long counts
CODEC = Parquet()


def table(rows: int) -> pa.Table:
    return pa.table(
        {"n": range(rows), "word": [None if n % 7 == 3 else f"word {n * 7_919 % 101}" for n in range(rows)]}
    )


def mutated(chance: random.Random, data: bytes, within: range) -> bytes:
    """Some bytes of a range changed, cut out, doubled or exchanged."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.choice(within)
        length = chance.choice((1, 1, 2, 8))
        match chance.randrange(6):
            case 0 | 1 | 2:
                out[at : at + 1] = bytes((chance.choice((*TELLING, chance.randrange(256))),))
            case 3:
                out[at : at + length] = chance.randbytes(len(out[at : at + length]))
            case 4:
                del out[at : at + length]
            case _:
                out[at:at] = out[at : at + length]
    return bytes(out)


def inputs(data: bytes, within: range | None = None) -> Iterator[bytes]:
    chance = random.Random(SEED)
    for _ in range(INPUTS):
        yield mutated(chance, data, within or range(len(data)))


def footer_of(file: bytes) -> bytes:
    length = int.from_bytes(file[-8:-4], "little")
    return file[-8 - length : -8]


FILE = written(table(400), compression="snappy", row_group_size=150, write_page_index=True, write_page_checksum=True)
SECOND = written(table(400), compression="snappy", data_page_version="2.0", data_page_size=512)


def _index() -> bytes:
    """The offset index of the first column: the first one that stands behind the pages."""
    layout = Footer(footer_of(FILE))
    at, length = layout.chunks[0, 10].item(), layout.chunks[0, 11].item()
    return FILE[at : at + length]


WALKED: dict[str, tuple[bytes, Callable[[bytes], object]]] = {
    "footer": (footer_of(FILE), Footer),
    "offset index": (_index(), OffsetIndex),
    "header": (FILE[4:200], lambda data: Headers().read(data)),
    "header of version 2": (SECOND[4:200], lambda data: Headers().read(data)),
    "anything": (footer_of(FILE), lambda data: thrift.structure(data, 0, {})),
}


@pytest.mark.timeout(0 if LONG else 120)
@pytest.mark.parametrize("what", WALKED)
def test_whatever_is_walked_ends_or_is_malformed(what: str) -> None:
    """Of a footer that is taken, what is replaced is what the new one says."""
    data, walk = WALKED[what]
    walk(data)
    refused = 0
    for changed in inputs(data):
        try:
            found = walk(changed)
        except Malformed:
            refused += 1
            continue
        if isinstance(found, Footer):
            other = found.chunks + 1
            again = Footer(found.patched(other, found.groups))
            there, _ = found.present()
            assert (again.chunks[there] == other[there]).all()
            assert again.group.tolist() == found.group.tolist()
    assert 0 < refused < INPUTS


@pytest.mark.parametrize("number", [b"\xff" * 9 + b"\x7f", b"\x80" * 9 + b"\x02", b"\xff" * 10 + b"\x01"])
def test_a_number_that_64_bits_do_not_hold_is_malformed(number: bytes) -> None:
    """In an offset index: one page, its place, its size and its first row."""
    for place, size in ((number, b"\x02"), (b"\x02", number)):
        with pytest.raises(Malformed, match="a number has more than"):
            OffsetIndex(b"\x19\x1c\x16" + place + b"\x15" + size + b"\x16\x00\x00\x00")
    largest = OffsetIndex(b"\x19\x1c\x16" + b"\xff" * 9 + b"\x01\x15\x02\x16\x00\x00\x00")
    assert largest.starts.tolist() == [-(1 << 63)]


def blob(content: bytes) -> bytes:
    return encoded(CODEC, content)[1]


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[bytes, bytes]]:
    """Files, and blobs of them: by recipes, and by differences."""
    path = tmp_path_factory.mktemp("files") / "a.parquet"
    with duckdb.connect() as db:
        db.register("made", table(3_000))
        db.sql(f"COPY made TO '{path}' (FORMAT parquet, COMPRESSION snappy)")
    files = [
        written(table(3_000), compression="snappy", row_group_size=1_000, write_page_index=True),
        written(table(3_000), compression="none", data_page_version="2.0", data_page_size=4_096),
        path.read_bytes(),
    ]
    return [(file, blob(file)) for file in files]


@pytest.mark.timeout(0 if LONG else 120)
@pytest.mark.parametrize("which", range(3), ids=["pyarrow", "version 2", "DuckDB"])
@pytest.mark.parametrize("where", ["anywhere", "at its end"])
def test_a_changed_blob_gives_the_file_or_a_reason(which: int, where: str, blobs: list[tuple[bytes, bytes]]) -> None:
    """Whole and in a range."""
    content, whole = blobs[which]
    within = range(len(whole)) if where == "anywhere" else range(len(whole) - 1_500, len(whole))
    chance = random.Random(SEED)
    refused = 0
    for changed in inputs(whole, within):
        reader = BytesReader(changed)
        at, length = chance.randrange(len(content)), chance.randrange(len(content))
        try:
            opened = CODEC.open(reader)
            part, all_of_it = opened.read_at(at, length), opened.read_at(0, len(content))
        except VerificationFailed:
            refused += 1
            continue
        assert (opened.size, part, all_of_it) == (len(content), content[at : at + length], content)
    assert refused > INPUTS // 2
