"""Blobs of format version 1, as earlier versions wrote them: read in ranges and whole, never believed when damaged.

The files below `v1/` were made by the code that wrote that version, of `content` and of `storaged.testing`'s origin.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storaged.codecs import seekable
from storaged.codecs.zstd import Zstd
from storaged.digest import digest_of
from storaged.errors import VerificationFailed
from storaged.testing.contents import MIB, ORIGIN, BytesReader, encoded

SIZES = {"empty": 0, "small": 1_000, "frames": 2 * MIB + 77}
BLOBS = {name: (Path(__file__).parent / "v1" / f"{name}.zst").read_bytes() for name in SIZES}


def content(name: str) -> bytes:
    """What a blob holds."""
    lines = b"".join(b"%08d,of every line of its block,\n" % (n // 4096) for n in range(SIZES[name] // 32 + 1))
    return lines[: SIZES[name]]


def index(name: str) -> bytes:
    """The seek table as a catalog holds it."""
    blob = BLOBS[name]
    return blob[-(8 + 8 * int.from_bytes(blob[-9:-5], "little") + 9) :]


def test_they_are_of_version_1() -> None:
    for name, blob in BLOBS.items():
        assert blob[8:].startswith(b'{"storaged":1,"origin":')
        assert seekable.SeekTable.parse(index(name), len(blob), name).version == 1


# MUST 8
@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("indexed", [False, True])
def test_all_of_it_and_any_range_is_read(name: str, indexed: bool) -> None:
    opened = Zstd().open(BytesReader(BLOBS[name]), index=index(name) if indexed else b"")
    whole = content(name)
    assert opened.size == len(whole)
    assert opened.read_at(0, len(whole)) == whole
    assert opened.read_at(0, len(whole) + 1) == whole
    for at in (0, 1, 999, MIB - 1, MIB, 2 * MIB - 3, 2 * MIB + 70):
        assert opened.read_at(at, 100) == whole[at : at + 100]


@pytest.mark.parametrize("name", SIZES)
def test_it_says_whose_it_is(name: str) -> None:
    """In two reads, its end and its beginning; one where the first holds all of it is not worth a rule."""
    whole = content(name)
    reader = BytesReader(BLOBS[name])
    assert Zstd().describe(reader) == dataclasses.replace(ORIGIN, size=len(whole), digest=digest_of([whole]))
    assert len(reader.reads) == 2


@given(frames=st.sampled_from(list(SIZES)), at=st.data())
def test_a_changed_byte_never_changes_what_is_read(frames: str, at: st.DataObject) -> None:
    whole, damaged = content(frames), bytearray(BLOBS[frames])
    damaged[at.draw(st.integers(0, len(damaged) - 1))] ^= at.draw(st.integers(1, 255))
    told = dataclasses.replace(ORIGIN, size=len(whole), digest=digest_of([whole]))
    for index_ in (b"", index(frames)):
        try:
            assert Zstd().open(BytesReader(bytes(damaged)), index=index_).read_at(0, len(whole)) == whole
        except VerificationFailed as error:
            assert "blob" in error.message  # noqa: PT017 (one of two fair outcomes)
    try:
        assert Zstd().describe(BytesReader(bytes(damaged))) in (told, None)
    except VerificationFailed:
        return


@pytest.mark.parametrize("name", SIZES)
def test_what_was_cut_short_is_refused_and_known_as_ours_by_its_beginning(name: str) -> None:
    blob = BLOBS[name]
    for end in range(len(blob)):
        with pytest.raises(VerificationFailed):
            Zstd().open(BytesReader(blob[:end]))
        if end > 20:
            with pytest.raises(VerificationFailed):
                Zstd().describe(BytesReader(blob[:end]))


@pytest.mark.parametrize("name", SIZES)
def test_written_anew_it_is_of_version_2_and_holds_the_same(name: str) -> None:
    """As a policy does that moves it."""
    old = Zstd().open(BytesReader(BLOBS[name]))
    report, blob = encoded(Zstd(), old.read_at(0, old.size))
    assert (report.size, report.digest) == (SIZES[name], digest_of([content(name)]))
    assert seekable.SeekTable.parse(report.index, len(blob), name).version == 2


def test_a_seek_table_of_one_version_and_notes_of_the_other_are_refused() -> None:
    """Empty content: the two shapes differ by one entry only."""
    blob = BLOBS["empty"].replace(b'{"storaged":1,', b'{"storaged":2,')
    with pytest.raises(VerificationFailed, match="is of format version 1, and the blob of 2"):
        Zstd().open(BytesReader(blob))
    _, blob = encoded(Zstd(), b"")
    with pytest.raises(VerificationFailed, match="is of format version 2, and the blob of 1"):
        Zstd().open(BytesReader(blob.replace(b'{"storaged":2,', b'{"storaged":1,')))
