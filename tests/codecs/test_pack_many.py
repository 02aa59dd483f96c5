"""Packs of many members: memory that does not grow with them, and nothing of them lost."""

from __future__ import annotations

import os
import subprocess
import sys

from storaged.codecs.pack import PACK, contents
from storaged.digest import digest_of
from storaged.testing.contents import BytesReader
from tests.codecs.pack_files import member, packed

MANY = 100_000
_MANY = """
import resource, sys
from storaged.codecs.pack import Member, Packer
from storaged.testing.contents import ORIGIN
count, data = int(sys.argv[1]), bytes(range(256)) * 2
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
with Packer(lambda data: None, level=1, origin=ORIGIN) as packer:
    for number in range(count):
        metadata = {"mode": "0644", "uid": "1000", "gid": "1000", "links": "1", "last-modified": str(number)}
        one = Member(f"2026/11/dt=2026-11-29/events-{number:08d}.json", len(data) + 8, number << 20, 1, "", metadata)
        packer.put(one, data + number.to_bytes(8, "big"))
    packer.finish()
print(packer.members, peak() - before)
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


def test_a_table_of_contents_of_several_chunks_lists_all_but_the_dropped() -> None:
    """Of each chunk some, of one all, and none of the last."""
    members = [member(f"{number:05d}", b"%d" % number) for number in range(3 * contents.ROWS + 5)]
    _, whole, done = packed(members)
    assert [one.offset for one in PACK.contents(BytesReader(whole))] == [at.offset for at in done]
    gone = {0, 1, contents.ROWS - 1, 2 * contents.ROWS, *range(contents.ROWS, 2 * contents.ROWS)}
    _, blob, _ = packed(members, dropped=gone)
    reader = BytesReader(blob)
    listed = list(PACK.contents(reader))
    assert [one.member.name for one in listed] == [m.name for n, (m, _) in enumerate(members) if n not in gone]
    assert len(reader.reads) == 1 + 3  # the end, and a read for each chunk
    assert all(one.member.digest == digest_of([b"%d" % int(one.member.name)]) for one in listed)


def test_a_chunk_of_long_names_is_full_early() -> None:
    """By their bytes: else names alone could take all memory."""
    members = [member("/".join([f"{number:0250d}"] * 16), b"") for number in range(1000)]
    _, blob, _ = packed(members)
    reader = BytesReader(blob)
    assert [one.member for one in PACK.contents(reader)] == [m._replace(digest=digest_of([])) for m, _ in members]
    assert len(reader.reads) > 4
