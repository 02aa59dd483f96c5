"""Packs of many members: memory that does not grow with them, and nothing of them lost."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
import zstandard

from storaged.codecs import zstd
from storaged.codecs.pack import PACK, Packer, contents
from storaged.codecs.seekable import TAIL_BYTES
from storaged.digest import digest_of
from storaged.errors import VerificationFailed
from storaged.testing.contents import ORIGIN, BytesReader
from tests.codecs.pack_files import member, packed, some

MANY = 100_000
_MANY = """
import sys
from storaged.codecs.pack import Member, Packer
from storaged.testing.contents import ORIGIN
from storaged.testing.memory import peak_bytes
count, data = int(sys.argv[1]), bytes(range(256)) * 2
before = peak_bytes()
with Packer(lambda data: None, level=1, origin=ORIGIN) as packer:
    for number in range(count):
        metadata = {"mode": "0644", "uid": "1000", "gid": "1000", "links": "1", "last-modified": str(number)}
        one = Member(f"2026/11/dt=2026-11-29/events-{number:08d}.json", len(data) + 8, number << 20, 1, "", metadata)
        packer.put(one, data + number.to_bytes(8, "big"))
    packer.finish()
print(packer.members, peak_bytes() - before)
"""


def test_memory_hardly_grows_with_the_members() -> None:
    """What is kept of each until the end are some 40 bytes of the table of contents."""
    done = subprocess.run(
        [sys.executable, "-c", _MANY, str(MANY)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )
    assert done.returncode == 0, done.stderr
    members, grown = map(int, done.stdout.split())
    assert members == MANY
    assert grown < 64 << 20


def test_a_table_of_contents_of_several_chunks_lists_all() -> None:
    members = [member(f"{number:05d}", b"%d" % number) for number in range(3 * contents.ROWS + 5)]
    _, blob, done = packed(members)
    reader = BytesReader(blob)
    listed = list(PACK.contents(reader))
    assert [one.member.name for one in listed] == [m.name for m, _ in members]
    assert [one.offset for one in listed] == [at.offset for at in done]
    assert len(reader.reads) == 1 + 4  # the end, and a read for each chunk
    assert all(one.member.digest == digest_of([b"%d" % int(one.member.name)]) for one in listed)


# MUST 4
@pytest.mark.parametrize("threads", [0, 2])
def test_a_wrong_compression_never_reaches_the_sink(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that computes wrongly now and then: the packing fails before that frame is handed on."""
    fired: list[bytes] = []

    class Faulty:
        def compress(self, frame: bytes) -> bytes:
            if b"poison" in frame:
                fired.append(frame)
                frame = frame.replace(b"poison", b"poisom")
            return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(frame)

    class Contexts(zstd._PerThread):
        def compressor(self, level: int) -> zstandard.ZstdCompressor:
            return Faulty()  # type: ignore[return-value]  # (all that is asked of one)

    monkeypatch.setattr(zstd, "_per_thread", Contexts())
    members = [*some(200), member("bad", b"poison"), *some(200)]
    blob = bytearray()

    def run(executor: ThreadPoolExecutor | None) -> None:
        with Packer(blob.extend, level=3, origin=ORIGIN, executor=executor) as packer:
            for number, (one, data) in enumerate(members):
                packer.put(one._replace(name=str(number)), data)
            packer.finish()

    with (
        ThreadPoolExecutor(threads) if threads else nullcontext() as executor,
        pytest.raises(VerificationFailed, match="does not decode to what went in"),
    ):
        run(executor)
    assert len(fired) == 1
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(bytes(blob)), read_across_frames=True) as stream:
        assert b"poiso" not in stream.read()


@pytest.mark.parametrize("count", [0, 1, 2_000])
def test_one_read_of_the_end_tells_all_but_the_contents(count: int) -> None:
    """Where the frames are and whose it is, however many members there are."""
    made, blob, _ = packed(some(count))
    for use in (PACK.open, PACK.describe):
        reader = BytesReader(blob)
        use(reader)
        [(at, length)] = reader.reads
        assert at + length == len(blob)
        assert length <= TAIL_BYTES
    assert PACK.describe(BytesReader(blob)) == made.origin


def test_a_chunk_of_long_names_is_full_early() -> None:
    """By their bytes: else names alone could take all memory."""
    members = [member("/".join([f"{number:0250d}"] * 16), b"") for number in range(1000)]
    _, blob, _ = packed(members)
    reader = BytesReader(blob)
    assert [one.member for one in PACK.contents(reader)] == [m._replace(digest=digest_of([])) for m, _ in members]
    assert len(reader.reads) > 4
