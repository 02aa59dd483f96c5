"""Packs that are damaged or forged: what is read is right, or VerificationFailed; never more than there is."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable

import numpy as np
import pytest
import xxhash
import zstandard
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from storaged.codecs import packed as packing
from storaged.codecs.base import Encoded
from storaged.codecs.pack import PACK, Listed, Packed, contents, ending
from storaged.codecs.seekable import Output, skippable
from storaged.errors import VerificationFailed
from storaged.testing.contents import ORIGIN, BytesReader
from tests.codecs.pack_files import Given, member, packed, some
from tests.laws import tries

_law = tries(150, suppress_health_check=[HealthCheck.too_slow])
MOST = 16 << 20  # bytes that one read of a small blob's end may ask for

Case = tuple[list[Given], Encoded, bytes, list[Packed]]


@pytest.fixture(scope="module")
def small() -> Case:
    """Few members, so that every byte can be tried."""
    members = [member("a.json", b"first"), member("b", b""), member("c/d", b"other " * 40, metadata={})]
    return members, *packed(members)


@pytest.fixture(scope="module")
def large() -> Case:
    """Members of many frames."""
    members = some(700)
    return members, *packed(members)


class Bounded(BytesReader):
    """A reader that fails the test where it is asked for what is not there."""

    def read_at(self, offset: int, length: int) -> bytes:
        assert 0 <= offset <= len(self.data)
        assert 0 <= length <= MOST
        return super().read_at(offset, length)


def held(case: Case, blob: bytes, index: bytes) -> int:
    """How many things were noticed; what was read without noticing is right."""
    members, made, _, done = case
    noticed = 0
    try:
        opened = PACK.open(Bounded(blob), index=index)
    except VerificationFailed:
        noticed += 1
    else:
        assert opened.size == made.size
        ranges = [(at.offset, at.length, data) for (_, data), at in zip(members, done, strict=True)]
        for offset, length, data in [*ranges, (made.size - 1024, 1024, bytes(1024))]:
            try:
                assert opened.read_at(offset, length) == data
            except VerificationFailed:
                noticed += 1
    return noticed


def told(case: Case, blob: bytes) -> int:
    """The same of what a pack says of itself."""
    members, made, _, done = case
    noticed = 0
    try:
        assert PACK.describe(Bounded(blob)) in (None, made.origin)
    except VerificationFailed:
        noticed += 1
    right = [Listed(m._replace(digest=at.digest), at.offset) for (m, _), at in zip(members, done, strict=True)]
    try:
        assert list(PACK.contents(Bounded(blob))) == right
    except VerificationFailed:
        noticed += 1
    return noticed


# MUST 8
def test_no_changed_byte_changes_what_is_read_or_told(small: Case) -> None:
    """Every byte, in one bit and in all. Only bits that zstd makes nothing of go by unnoticed."""
    _, made, blob, _ = small
    unnoticed = 0
    for at in range(len(blob)):
        for bits in (0x01, 0x80, 0xFF):
            damaged = blob[:at] + bytes([blob[at] ^ bits]) + blob[at + 1 :]
            unnoticed += not held(small, damaged, b"") + told(small, damaged) + held(small, damaged, made.index)
    assert unnoticed <= 8


def test_no_cut_pack_is_read(small: Case) -> None:
    """Whatever is missing at the end, or added there."""
    _, made, blob, _ = small
    for damaged in [*(blob[:end] for end in range(len(blob))), blob + b"\0", blob + blob]:
        for index in (b"", made.index):
            with pytest.raises(VerificationFailed):
                PACK.open(Bounded(damaged), index=index)
        told(small, damaged)


def test_no_changed_byte_of_an_index_is_taken(large: Case) -> None:
    """Sizes that are shifted and still add up would give another member's bytes."""
    _, made, blob, _ = large
    index = made.index
    for at in range(0, len(index), 3):
        with pytest.raises(VerificationFailed):
            PACK.open(Bounded(blob), index=index[:at] + bytes([index[at] ^ 0x08]) + index[at + 1 :])
    for cut in (index[:-1], index[:20], b"x", index + b"\0"):
        with pytest.raises(VerificationFailed):
            PACK.open(Bounded(blob), index=cut)


def test_of_a_damaged_frame_only_its_own_members_are_lost(large: Case) -> None:
    members, made, blob, done = large
    table = ending.of_index(made.index, len(blob), "blob")
    hit = len(table.contents) // 2
    damaged = bytearray(blob)
    damaged[table.starts[hit] + 40] ^= 0xFF
    opened = PACK.open(BytesReader(bytes(damaged)), index=made.index)
    lost = 0
    for (_, data), at in zip(members, done, strict=True):
        if table.begins(hit) <= at.offset < table.begins(hit + 1):
            lost += 1
            with pytest.raises(VerificationFailed, match=f"frame {hit + 1} of"):
                opened.read_at(at.offset, at.length)
        else:
            assert opened.read_at(at.offset, at.length) == data
    assert 0 < lost < len(members) / 5
    assert len(list(PACK.contents(BytesReader(bytes(damaged))))) == len(members)


# MUST 8
def test_a_table_whose_sizes_are_shifted_is_not_believed(large: Case) -> None:
    """Each frame between the two would give its neighbours' bytes, and each of them has the right size."""
    _, _, blob, _ = large
    count = struct.unpack("<I", blob[-9:-5])[0]
    at = len(blob) - 9 - 8 * count
    shifted = bytearray(blob)
    for number, by in ((0, 512), (count - 4, -512)):
        place = at + 8 * number + 4
        (size,) = struct.unpack_from("<I", shifted, place)
        struct.pack_into("<I", shifted, place, size + by)
    with pytest.raises(VerificationFailed, match="lists other frames than were written"):
        PACK.open(BytesReader(bytes(shifted)))


def forged(
    chunks: list[bytes], *, members: int = 1, frames: list[tuple[bytes, int]] | None = None, **said: object
) -> bytes:
    """A pack of such chunks and such frames (with the sizes that the table tells) by somebody who makes every check
    right."""
    blob = bytearray()
    output = Output(blob.extend)
    for frame, size in frames or [(zstandard.compress(bytes(1024)), 1024)]:
        output.write(frame, size)
    for chunk in chunks:
        output.write(skippable(chunk))
    size = output.content_size
    origin = ORIGIN.__class__(
        **{f: getattr(ORIGIN, f) for f in ORIGIN.__slots__} | {"size": size, "digest": "d"} | said
    )
    output.write(ending.written(origin, members, len(chunks), output.listing()))
    output.finish()
    return bytes(blob)


def chunk_of(said: object, payload: bytes) -> bytes:
    line = json.dumps(said).encode() + b"\n"
    return xxhash.xxh3_64_digest(line + payload) + line + payload


def told_of(whole: bytes) -> tuple[list[object], bytes]:
    payload = zstandard.compress(whole)
    return [len(whole), xxhash.xxh3_64_hexdigest(payload)], payload


NAMES = ("gap", "size", "mtime", "generation", "mode", "uid", "gid", "ns", "rest")


def chunk(count: int = 1, *, rests: bytes = b"", name: bytes | None = None, **others: object) -> bytes:
    """A chunk of `count` members at the tar's beginning; `others`: of its line."""
    columns = {n: np.zeros(max(0, count - (n == "gap")), np.uint64) for n in NAMES}
    parts = {"name": b"\0".join(b"%d" % n for n in range(count)) if name is None else name, "digest": bytes(16 * count)}
    layout, told, payload = packing.packed(columns, parts | {"rests": rests})
    said = {"storaged-pack-contents": 1, "first": 0, "earliest": 0, "told": told, "layout": layout}
    return chunk_of(said | others, payload)


def test_what_a_forger_may_begin_from_is_read() -> None:
    """Else the next test would prove nothing."""
    assert [one.member.name for one in PACK.contents(BytesReader(forged([chunk(2)])))] == ["0", "1"]


_empty, _nothing = told_of(b"")
_bomb = zstandard.ZstdCompressor(level=1).compress(bytes(1 << 28))


# MUST 8
@pytest.mark.parametrize(
    "made",
    [
        lambda: chunk(0, name=b""),
        lambda: chunk(contents.ROWS + 1),
        lambda: chunk(2, name=b"a"),
        lambda: chunk(2, name=b"a\0b\0c"),
        lambda: chunk(1, rests=b"[]"),
        lambda: chunk(1, rests=b"{"),
        lambda: chunk(1, rests=b'{"a": 1}'),
        lambda: chunk(1, rests=b"[" * 100_000),
        lambda: chunk(1, rests=b"{}\0{}"),
        lambda: chunk(8000, rests=b'{"a":"' + b"a" * 1000 + b'"}'),
        lambda: chunk(1, first=1025),
        lambda: chunk(1, first=-1),
        lambda: chunk(1, first=10**30),
        lambda: chunk(1, first=float("inf")),
        lambda: chunk(1, first="0"),
        lambda: chunk(1, earliest=1 << 63),
        lambda: chunk(1, earliest=float("nan")),
        lambda: chunk(1, told=[1 << 40, "0"]),
        lambda: chunk(1, told="x"),
        lambda: chunk(1, told=[True, []]),
        lambda: chunk(1, layout=[]),
        lambda: chunk(1, layout=[["size", "<u8", -1]]),
        lambda: chunk(1, layout=[["size", "<f8", 1]]),
        lambda: chunk(1, layout=[["size", "O", 1]]),
        lambda: chunk(1, layout=[["size", "<u8", 10**12]]),
        lambda: chunk(1, layout=[["name", "", -5]] * 1000),
        lambda: chunk(1, layout={"size": 1}),
        lambda: chunk(1, **{"storaged-pack-contents": 2}),
        lambda: chunk_of([], b""),
        lambda: chunk_of(1, b""),
        lambda: chunk_of({}, b""),
        lambda: chunk_of(
            {"storaged-pack-contents": 1, "told": _empty, "layout": [], "first": 0, "earliest": 0}, _nothing
        ),
        lambda: chunk_of(
            {
                "storaged-pack-contents": 1,
                "told": [1, xxhash.xxh3_64_hexdigest(_bomb)],
                "layout": [["size", "<u1", 1]],
                "first": 0,
                "earliest": 0,
            },
            _bomb,
        ),
        lambda: b"",
        lambda: bytes(8),
        lambda: xxhash.xxh3_64_digest(b"no line") + b"no line",
    ],
)
def test_a_forged_table_of_contents_is_refused(made: Callable[[], bytes]) -> None:
    """Members that are not in the tar, more than were told, sizes that would take all memory."""
    with pytest.raises(VerificationFailed, match="table of contents is damaged"):
        list(PACK.contents(Bounded(forged([made()]))))


def test_a_forged_seek_table_is_refused() -> None:
    """Of frames that are larger than any, of content or as they are stored, and of none at all."""
    frame = zstandard.compress(bytes(1024))
    for frames in ([(frame, 1 << 31)], [(frame, ending.FRAME_BYTES + 1)], [(frame + bytes(5000), 1024)], [(frame, 0)]):
        blob = forged([], frames=frames)
        for use in (PACK.open, PACK.describe):
            with pytest.raises(VerificationFailed, match="frames of impossible sizes"):
                use(Bounded(blob))
    lying = forged([], frames=[(frame, 2048)])
    with pytest.raises(VerificationFailed, match="it states 1024 bytes of content, the seek table 2048"):
        PACK.open(Bounded(lying)).read_at(0, 10)
    bomb = forged([], frames=[(zstandard.compress(bytes(1 << 26)), 1 << 20)])
    with pytest.raises(VerificationFailed, match="it states"):
        PACK.open(Bounded(bomb)).read_at(0, 10)


def test_a_huge_seek_table_is_not_even_read() -> None:
    """A file may say that nearly all of it is one."""
    blob = bytes(ending.TABLE_BYTES + (4 << 20)) + struct.pack("<IBI", ending.TABLE_BYTES // 8 + 1000, 0, 0x8F92EAB1)
    with pytest.raises(VerificationFailed, match="does not end in a seek table"):
        PACK.open(Bounded(blob))
    assert PACK.describe(Bounded(blob)) is None


@_law
@given(data=st.data())
def test_a_fuzzed_end_never_reads_past_what_it_holds(data: st.DataObject, small: Case, large: Case) -> None:
    """Bytes changed, cut out and doubled in tar, table of contents, note and seek table; sizes replaced."""
    case = data.draw(st.sampled_from([small, large]), label="case")
    blob = bytearray(case[2])
    end = min(len(blob), 40_000)
    for _ in range(data.draw(st.integers(1, 4), label="changes")):
        at = data.draw(st.integers(max(0, len(blob) - end), max(0, len(blob) - 1)), label="at")
        what = data.draw(st.sampled_from(["flip", "cut", "double", "size"]), label="what")
        if what == "flip":
            blob[at] ^= data.draw(st.integers(1, 255), label="bits")
        elif what == "cut":
            del blob[at : at + data.draw(st.integers(1, 600), label="bytes")]
        elif what == "double":
            blob[at:at] = blob[at : at + data.draw(st.integers(1, 600), label="bytes")]
        else:
            blob[at : at + 4] = struct.pack("<I", data.draw(st.sampled_from([0, 1, 512, 1 << 20, 2**31, 2**32 - 1])))
        if not blob:
            break
    for index in (b"", case[1].index):
        held(case, bytes(blob), index)
    told(case, bytes(blob))


@_law
@given(data=st.data())
def test_whoever_makes_the_checks_right_gets_no_further(data: st.DataObject, large: Case) -> None:
    """A seek table of any sizes, with its check, as an index: ranges have the length that was asked for, or are
    refused."""
    _, made, blob, _ = large
    table = made.index[:-8]
    count = struct.unpack("<I", table[-9:-5])[0]
    sizes = [list(pair) for pair in struct.iter_unpack("<II", table[8:-9])]
    for _ in range(data.draw(st.integers(1, 4), label="changes")):
        one, other = (data.draw(st.integers(0, count - 1), label="frame") for _ in range(2))
        which = data.draw(st.integers(0, 1), label="which")
        by = data.draw(st.one_of(st.sampled_from([512, 1024, 1 << 20]), st.integers(-(2**20), 2**20)), label="by")
        for number, change in ((one, by), (other, -by)):
            sizes[number][which] = max(0, min(sizes[number][which] + change, 2**32 - 1))
    raw = table[:8] + b"".join(struct.pack("<II", *pair) for pair in sizes) + table[-9:]
    reader = Bounded(blob)
    try:
        opened = PACK.open(reader, index=ending.index_of(raw))
    except VerificationFailed:
        return
    chance = random.Random(1)
    for _ in range(5):
        at = chance.randrange(opened.size)
        try:
            assert len(opened.read_at(at, 3000)) == min(3000, opened.size - at)
        except VerificationFailed:
            continue
    assert all(at >= 0 and at + length <= len(blob) for at, length in reader.reads)
