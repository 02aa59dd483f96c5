"""The seekable zstd codec: its files for others, its reads, its proof."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest
import zstandard

from storaged.codecs import seekable, zstd
from storaged.codecs.seekable import FRAME
from storaged.codecs.zstd import Zstd
from storaged.errors import UsageError, VerificationFailed
from storaged.model import CodecSpec
from storaged.testing.codecs import CheckedCodecContract
from storaged.testing.contents import MIB, ORIGIN, BytesContent, BytesReader, Runs, content_of, encoded
from tests.laws import LONG


class TestZstd(CheckedCodecContract):
    codec = Zstd()
    much = (1024 if LONG else 384) * MIB


def by_command(blob: bytes, tmp_path: Path) -> bytes:
    """What the zstd command makes of it."""
    if shutil.which("zstd") is None:
        pytest.skip("no zstd command on this machine; the library's own decoding is tested beside this")
    (tmp_path / "blob.zst").write_bytes(blob)
    subprocess.run(["zstd", "-q", "-t", tmp_path / "blob.zst"], check=True)
    return subprocess.run(["zstd", "-dc", tmp_path / "blob.zst"], check=True, capture_output=True).stdout


def by_library(blob: bytes, _: Path) -> bytes:
    """What a streaming reader that knows nothing of seek tables makes of it."""
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(blob), read_across_frames=True) as stream:
        return stream.read()


@pytest.mark.parametrize("decode", [by_command, by_library])
@pytest.mark.parametrize("size", [0, 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME + 5])
def test_others_decode_the_whole_blob(size: int, decode: Callable[[bytes, Path], bytes], tmp_path: Path) -> None:
    """A blob is an ordinary .zst file to programs that do not know us."""
    content = content_of(size)
    _, blob = encoded(Zstd(), content)
    assert decode(blob, tmp_path) == content


def seek_table(blob: bytes) -> list[tuple[int, int]]:
    """Compressed and decompressed sizes as the format's document says to find them."""
    count, descriptor, magic = struct.unpack("<IBI", blob[-9:])
    assert (descriptor, magic) == (0, 0x8F92EAB1)
    frame = blob[-(8 + 8 * count + 9) :]
    assert struct.unpack("<II", frame[:8]) == (0x184D2A5E, 8 * count + 9)
    return list(struct.iter_unpack("<II", frame[8:-9]))


@pytest.mark.parametrize("size", [1, FRAME, 2 * FRAME, 2 * FRAME + 9])
def test_others_find_every_offset_by_the_seek_table(size: int) -> None:
    """As the reference decoder looks it up: the last entry that begins at or before an offset."""
    content = content_of(size)
    _, blob = encoded(Zstd(), content)
    table = seek_table(blob)
    assert sum(stored for stored, _ in table) + 8 + 8 * len(table) + 9 == len(blob)
    for offset in {0, 1, size // 2, FRAME - 1, FRAME, FRAME + 1, size - 1} & set(range(size)):
        at = begins = 0
        found = (0, 0, 0)
        for stored, decoded in table:
            if begins <= offset:
                found = (at, stored, begins)
            at, begins = at + stored, begins + decoded
        start, stored, begins = found
        frame = zstandard.ZstdDecompressor().decompress(blob[start : start + stored])
        assert frame[offset - begins] == content[offset]


def test_frames_carry_size_and_checksum() -> None:
    """So that others notice damage too."""
    _, blob = encoded(Zstd(), content_of(FRAME + 1))
    at = 0
    sizes = []
    for stored, decoded in seek_table(blob):
        if decoded:
            header = zstandard.get_frame_parameters(blob[at : at + 32])
            assert header.has_checksum
            sizes.append(header.content_size)
        at += stored
    assert sizes == [FRAME, 1]


def test_a_person_can_read_whose_blob_it_is() -> None:
    """The last frames but one are plain ASCII JSON, whatever the object's name: `strings` shows them."""
    _, blob = encoded(Zstd(), b"content")
    frame, *notes = seek_table(blob)
    at, texts = frame[0], []
    for stored, _ in notes:
        texts.append(blob[at + 8 : at + stored].decode("ascii"))
        at += stored
    origin, content = texts
    assert origin.startswith('{"storaged":2,"origin":{')
    assert content.startswith('{"storaged":2,"content":{')
    assert all(ORIGIN.attempt in text and "\n" not in text for text in texts)


# MUST 8
@pytest.mark.parametrize("size", [0, 1, FRAME - 1, FRAME])
def test_content_up_to_1_mib_is_one_frame_and_a_blob_begins_with_it(size: int) -> None:
    """Readers that know one frame only read all of it, and nothing of ours stands before it; empty content has a frame
    too, since a file must begin as zstd does."""
    content = content_of(size)
    _, blob = encoded(Zstd(), content)
    assert blob.startswith(b"\x28\xb5\x2f\xfd")
    assert [decoded for _, decoded in seek_table(blob)] == [size, 0, 0]
    assert zstandard.ZstdDecompressor().decompress(blob) == content


def test_a_small_range_reads_and_decodes_one_frame() -> None:
    """4 KiB inside a frame cost that frame's stored bytes and nothing else, even of a long blob."""
    content = content_of(20 * MIB, seed=4)
    report, blob = encoded(Zstd(), content)
    reader = BytesReader(blob)
    opened = Zstd().open(reader, index=report.index)
    assert reader.reads == [], "with the index, opening reads nothing"
    offset = 7 * MIB + 12_345
    assert opened.read_at(offset, 4096) == content[offset : offset + 4096]
    [(_, length)] = reader.reads
    assert length == seek_table(blob)[7][0]
    opened.read_at(offset + 5_000, 4096)
    assert len(reader.reads) == 1, "the decoded frame is kept"


def test_a_range_over_a_border_reads_its_frames_at_once() -> None:
    """Neighbouring frames come in one read of the store."""
    content = content_of(20 * MIB, seed=4)
    report, blob = encoded(Zstd(), content)
    reader = BytesReader(blob)
    opened = Zstd().open(reader, index=report.index)
    assert opened.read_at(3 * MIB - 2, 4) == content[3 * MIB - 2 : 3 * MIB + 2]
    assert len(reader.reads) == 1


def test_reading_from_beginning_to_end_fetches_every_byte_once() -> None:
    """In small steps, with the few frames that are kept."""
    content = content_of(20 * MIB, seed=4)
    report, blob = encoded(Zstd(), content)
    reader = BytesReader(blob)
    opened = Zstd().open(reader, index=report.index)
    read = b"".join(opened.read_at(at, 100_000) for at in range(0, len(content), 100_000))
    assert read == content
    assert sum(length for _, length in reader.reads) == sum(stored for stored, decoded in seek_table(blob) if decoded)


def test_few_decoded_frames_are_kept() -> None:
    """An opened blob stays small: what was read long ago is read again."""
    content = content_of((zstd.KEPT + 2) * MIB, seed=4)
    report, blob = encoded(Zstd(), content)
    reader = BytesReader(blob)
    opened = Zstd().open(reader, index=report.index)
    for at in [*range(0, len(content), MIB), 0]:
        opened.read_at(at, 1)
    assert len(reader.reads) == zstd.KEPT + 3


def test_without_an_index_the_end_is_read_once() -> None:
    """Opening by the blob alone costs one read at its end."""
    _, blob = encoded(Zstd(), content_of(20 * MIB, seed=4))
    reader = BytesReader(blob)
    assert Zstd().open(reader).size == 20 * MIB
    assert len(reader.reads) == 1


@pytest.mark.campaign
def test_content_over_4_gib_with_a_long_seek_table() -> None:
    """9,000 frames: offsets over 32 bits, and a seek table that does not fit in the first read of the end."""
    source = Runs(9_001 * MIB + 3, kinds=1)
    with ThreadPoolExecutor(2) as executor:
        report, blob = encoded(Zstd(), source, level=1, executor=executor)
    assert len(report.index) > seekable.TAIL_BYTES
    opened = Zstd().open(BytesReader(blob))
    assert opened.size == report.size == 9_001 * MIB + 3
    assert opened.read_at(9_001 * MIB - 1, 10) == bytes(4)
    assert Zstd().describe(BytesReader(blob)) == report.origin


@pytest.mark.parametrize("frames", [1, 3])
def test_whatever_of_the_end_the_first_read_holds(frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of the footer's table, the table alone, or the note before it in part or whole."""
    content = content_of(frames * MIB)
    report, blob = encoded(Zstd(), content)
    for size in range(9, 400):
        monkeypatch.setattr(seekable, "TAIL_BYTES", size)
        assert Zstd().open(BytesReader(blob)).size == len(content)
        assert Zstd().describe(BytesReader(blob)) == report.origin


def test_a_newer_format_is_named() -> None:
    """A blob that a later storaged wrote is neither ours to read nor called damaged."""
    _, blob = encoded(Zstd(), b"content")
    later = blob.replace(b'{"storaged":2,', b'{"storaged":3,')
    for use in (Zstd().open, Zstd().describe):
        with pytest.raises(VerificationFailed, match="format version is 3, not 1 or 2"):
            use(BytesReader(later))


def test_another_blobs_index_is_refused() -> None:
    """The catalog's row must be of this blob."""
    _, blob = encoded(Zstd(), content_of(2 * MIB))
    other, _ = encoded(Zstd(), content_of(2 * MIB, seed=9))
    with pytest.raises(VerificationFailed, match="seek table covers"):
        Zstd().open(BytesReader(blob), index=other.index)


def test_a_damaged_frame_is_named_and_the_others_are_read() -> None:
    """Which frame, where; ranges elsewhere still read."""
    content = content_of(3 * MIB)
    report, blob = encoded(Zstd(), content)
    at = sum(stored for stored, _ in seek_table(blob)[:1])
    damaged = bytearray(blob)
    damaged[at + 5_000] ^= 1
    opened = Zstd().open(BytesReader(bytes(damaged)), index=report.index)
    with pytest.raises(VerificationFailed, match=f"blob: frame 2 of 3, at byte {at}, does not decode"):
        opened.read_at(MIB, 1)
    assert opened.read_at(0, MIB) == content[:MIB]
    assert opened.read_at(2 * MIB, MIB) == content[2 * MIB :]


# MUST 4
@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("fault", ["other content", "broken frame"])
def test_a_wrong_compression_never_reaches_the_sink(fault: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that computes wrongly in the third frame: the encoding fails before that frame is handed on."""
    sound = zstandard.ZstdCompressor(level=3, write_checksum=True)
    frames = [content_of(MIB, seed=n) for n in range(5)]
    fired = []

    class Faulty:
        def compress(self, frame: bytes) -> bytes:
            if frame != frames[2]:
                return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(frame)
            fired.append(fault)
            if fault == "other content":
                return sound.compress(frame[:-1] + b"?")
            whole = sound.compress(frame)
            return whole[:-10] + b"0123456789"

    class Contexts(zstd._PerThread):
        def compressor(self, level: int) -> zstandard.ZstdCompressor:
            return Faulty()

    monkeypatch.setattr(zstd, "_per_thread", Contexts())
    handed: list[bytes] = []
    spec = CodecSpec("zstd", 3)
    with (
        ThreadPoolExecutor(threads) if threads else nullcontext() as executor,
        pytest.raises(VerificationFailed, match="does not decode to what went in"),
    ):
        Zstd().encode(BytesContent(b"".join(frames)), handed.append, spec=spec, origin=ORIGIN, executor=executor)
    assert fired == [fault]
    assert len(handed) <= 3, "the origin and the two frames before"


def test_content_is_read_once_in_order_and_in_pieces_of_4_mib() -> None:
    """As few requests as a bucket can be asked with; a level that is named needs no sample."""
    source = BytesContent(content_of(9 * MIB + 5))
    encoded(Zstd(), source, level=1)
    assert source.reads == [(0, 4 * MIB), (4 * MIB, 4 * MIB), (8 * MIB, MIB + 5)]


def test_reads_that_give_less_than_was_asked_for_make_no_difference() -> None:
    """Frames hold 1 MiB each, however their content came."""
    content = content_of(2 * MIB + 5)
    for most in (4_099, MIB - 1, MIB + 1):
        assert encoded(Zstd(), BytesContent(content, most=most), level=1) == encoded(Zstd(), content, level=1)


@pytest.mark.parametrize("level", [0, 20, -1])
def test_levels_out_of_range_are_refused(level: int) -> None:
    """Before anything is written."""
    handed: list[bytes] = []
    with pytest.raises(UsageError, match=f"no level {level}"):
        Zstd().encode(BytesContent(b"x"), handed.append, spec=CodecSpec("zstd", level), origin=ORIGIN)
    assert handed == []


def test_a_higher_level_stores_less() -> None:
    """The level of the spec is the one that compresses."""
    content = content_of(MIB)
    low, high = (encoded(Zstd(), content, level=level)[0].stored_size for level in (1, 19))
    assert high < low
