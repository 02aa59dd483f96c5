"""What stands at the end of a blob: found in few reads, missed where it was cut off, named where it is torn."""

from __future__ import annotations

import dataclasses
import struct

import pytest
import zstandard

from storaged.codecs import seekable
from storaged.codecs.registry import FORMS
from storaged.codecs.zstd import Zstd
from storaged.digest import digest_of
from storaged.errors import VerificationFailed
from storaged.model import Origin
from storaged.testing.contents import MIB, ORIGIN, BytesReader, content_of, encoded


def table_of(blob: bytes) -> int:
    """Where the seek table begins."""
    (count,) = struct.unpack("<I", blob[-9:-5])
    return len(blob) - (8 + 8 * int(count) + 9)


def described(blob: bytes) -> Origin | None:
    """As a rebuild asks: every codec in turn."""
    found = (form.describe(BytesReader(blob)) for form in FORMS.values())
    return next((told for told in found if told is not None), None)


@pytest.mark.parametrize("size", [0, 1, MIB, 20 * MIB])
def test_one_read_of_the_end_tells_all(size: int) -> None:
    """Of an ordinary blob: where its frames are, whose it is, what it holds."""
    report, blob = encoded(Zstd(), content_of(size, seed=4))
    for use in (Zstd().open, Zstd().describe):
        reader = BytesReader(blob)
        use(reader)
        [(at, length)] = reader.reads
        assert at + length == len(blob)
        assert length <= seekable.TAIL_BYTES
    assert described(blob) == report.origin


# MUST 8
@pytest.mark.parametrize("tail", [9, 100, 400, 1 << 16])
@pytest.mark.parametrize("name", ["a.csv", "\udcff" * 4096])
def test_never_more_than_three_reads(name: str, tail: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the first of them holds, and however long the name: a bucket charges for each."""
    monkeypatch.setattr(seekable, "TAIL_BYTES", tail)
    origin = Origin("c" * 32, "a" * 32, "events", name, 1, "identity")
    report, blob = encoded(Zstd(), content_of(3 * MIB, seed=4), origin=origin)
    for use in (Zstd().open, Zstd().describe):
        reader = BytesReader(blob)
        use(reader)
        assert len(reader.reads) <= 3
    assert described(blob) == report.origin


# MUST 8
@pytest.mark.parametrize("frames", [1, 3])
def test_a_blob_that_was_cut_short_is_never_opened_nor_taken_for_another(frames: int) -> None:
    """Wherever it was cut. While some of a note is left it is known as ours and damaged; else nobody's."""
    report, blob = encoded(Zstd(), content_of(frames * MIB, seed=4))
    table = table_of(blob)
    notes = blob.index(b'{"storaged":') - 8
    for end in (*range(0, notes, 9_973), *range(notes, len(blob))):
        reader = BytesReader(blob[:end])
        with pytest.raises(VerificationFailed, match="does not end in a seek table"):
            Zstd().open(reader)
        with pytest.raises(VerificationFailed, match="seek table covers"):
            Zstd().open(reader, index=report.index)
        if end < notes + 8 + len(b'{"storaged":'):
            assert described(blob[:end]) is None
        else:
            with pytest.raises(VerificationFailed, match="does not end in a seek table"):
                described(blob[:end])
    assert notes < table


# MUST 8
@pytest.mark.parametrize(
    ("at", "says"),
    [
        (0, "seek table has a wrong header or footer"),  # its magic
        (8, "seek table covers"),  # the size of the first frame
        (12, "lists frames of impossible sizes"),  # how much content it has
        (16, "seek table covers"),
        (32, "seek table covers"),  # of the last entry, the note about the content
        (-9, "does not end in a seek table|lists|wrong header"),  # how many frames there are
        (-5, "seek table has a wrong header or footer"),  # the descriptor
        (-1, "does not end in a seek table"),  # the last byte of all
    ],
)
def test_a_torn_seek_table_is_named(at: int, says: str) -> None:
    """By what is wrong with it, and with the blob's name; what it says of itself is not believed either."""
    _, blob = encoded(Zstd(), content_of(2 * MIB, seed=4))
    torn = bytearray(blob)
    torn[at if at < 0 else table_of(blob) + at] ^= 0x40
    for use in (Zstd().open, described):
        with pytest.raises(VerificationFailed, match=f"blob: .*({says})"):
            use(BytesReader(bytes(torn)) if use is not described else bytes(torn))  # type: ignore[operator]


def test_a_row_of_zeros_at_the_end_is_no_blob() -> None:
    """What a disk leaves of a file whose end was never written."""
    report, blob = encoded(Zstd(), content_of(2 * MIB, seed=4))
    for zeros in (1, 9, 500, len(blob)):
        hollow = blob[: len(blob) - zeros] + bytes(zeros)
        with pytest.raises(VerificationFailed, match="does not end in a seek table"):
            Zstd().open(BytesReader(hollow))
        opened = Zstd().open(BytesReader(hollow), index=report.index)  # the catalog knows: only its bytes are wrong
        if zeros == len(blob):
            with pytest.raises(VerificationFailed, match="frame 1 of 2, at byte 0, does not decode"):
                opened.read_at(0, 1)


def test_a_seekable_file_of_somebody_else_is_nobodys() -> None:
    """Others end their files in seek tables too, with and without content."""
    for content in (b"", b"theirs"):
        output = bytearray()
        theirs = seekable.Output(output.extend)
        theirs.write(zstandard.compress(content), len(content))
        theirs.finish()
        assert Zstd().describe(BytesReader(bytes(output))) is None
        theirs = seekable.Output(output.extend)
        theirs.write(seekable._HEADER.pack(0x184D2A55, 4) + b"note")
        theirs.finish()
        assert Zstd().describe(BytesReader(bytes(output))) is None


def test_an_archive_with_a_blob_in_it_is_not_that_blob() -> None:
    """Not even where it ends in most of one."""
    _, blob = encoded(Zstd(), b"content")
    for archive in (b"header" + blob, blob + bytes(512), b"header" + blob + bytes(512)):
        with pytest.raises(VerificationFailed):
            Zstd().open(BytesReader(archive))
        with pytest.raises(VerificationFailed):
            Zstd().describe(BytesReader(archive))


def test_notes_of_two_attempts_are_refused() -> None:
    """Two blobs spliced: all sizes fit."""
    other = Origin("c" * 32, "b" * 32, *(getattr(ORIGIN, f) for f in ("dataset", "object", "generation", "source")))
    (_, one), (_, two) = (encoded(Zstd(), b"content", origin=origin) for origin in (ORIGIN, other))
    at = one.index(b'{"storaged":2,"content"')
    spliced = one[:at] + two[two.index(b'{"storaged":2,"content"') :]
    for use in (Zstd().open, Zstd().describe):
        with pytest.raises(VerificationFailed, match=r"notes were written by different attempts|covers"):
            use(BytesReader(spliced))


def test_the_index_tells_an_empty_blob_from_one_of_version_1() -> None:
    """By their seek tables alone, which is what the catalog holds."""
    report, blob = encoded(Zstd(), b"")
    assert report.digest == digest_of([])
    table = seekable.SeekTable.parse(report.index, len(blob), "blob")
    assert (table.version, table.size, list(table.starts)) == (2, 0, [0, len(zstandard.compress(b"")) + 4])


def noted(fields: dict[str, object], kind: str) -> bytes:
    """A blob whose note of this kind says these fields, with a right check."""
    compressed = zstandard.compress(b"content")
    own: dict[str, dict[str, object]] = {
        "origin": dataclasses.asdict(ORIGIN),
        "content": {"attempt": ORIGIN.attempt, "size": 7, "xxh3_128": "d"},
    }
    del own["origin"]["size"], own["origin"]["digest"]
    output = bytearray()
    made = seekable.Output(output.extend)
    made.write(compressed, 7)
    for name, said in own.items():
        made.write(seekable.note(name, fields if name == kind else said))
    made.finish()
    return bytes(output)


def test_notes_may_say_more_than_we_know() -> None:
    """A later version adds a field: it is passed by."""
    origin = {k: v for k, v in dataclasses.asdict(ORIGIN).items() if k not in ("size", "digest")}
    told = described(noted(origin | {"mood": "good"}, "origin"))
    assert told == dataclasses.replace(ORIGIN, size=7, digest="d")
    more = {"attempt": ORIGIN.attempt, "size": 7, "xxh3_128": "d", "crc64": "0"}
    assert described(noted(more, "content")) == told


@pytest.mark.parametrize("kind", ["origin", "content"])
@pytest.mark.parametrize("fields", [{}, {"attempt": "a" * 32}, [], 7, None, "text", {"size": 7, "xxh3_128": ""}])
def test_notes_that_lack_something_are_damaged(kind: str, fields: object) -> None:
    """Though their check is right: whoever wrote them, it is an answer and no traceback."""
    blob = noted(fields, kind)  # type: ignore[arg-type]
    for use in (Zstd().open, Zstd().describe):
        with pytest.raises(VerificationFailed, match=f"what it says of its {kind} is damaged"):
            use(BytesReader(blob))
