"""Laws that hold of both forms of text."""

from __future__ import annotations

import io

import pyarrow.parquet as pq
from hypothesis import strategies as st

from storaged.codecs.parquet.codec import Parquet
from storaged.errors import NotTaken, VerificationFailed
from storaged.testing.contents import BytesContent, BytesReader, encoded

CODEC = Parquet()


def comes_back_or_is_refused(content: bytes) -> None:
    """Whole and in a range; where it is refused, a sample says so, too."""
    found = CODEC.sample(BytesContent(content), level=None)
    try:
        _, blob = encoded(CODEC, content)
    except NotTaken:
        assert found.reason
        return
    opened = CODEC.open(BytesReader(blob))
    assert opened.read_at(0, len(content)) == content
    assert opened.read_at(3, 7) == content[3:10]
    pq.read_table(io.BytesIO(blob))


def never_reads_otherwise(content: bytes, at: st.DataObject) -> None:
    """However its blob is damaged."""
    try:
        _, blob = encoded(CODEC, content)
    except NotTaken:
        return
    damaged = bytearray(blob)
    for _ in range(at.draw(st.integers(1, 3), label="damages")):
        damaged[at.draw(st.integers(0, len(blob) - 1), label="where")] ^= at.draw(st.integers(1, 255), label="bits")
    try:
        assert CODEC.open(BytesReader(bytes(damaged))).read_at(0, len(content)) == content
    except VerificationFailed:
        return
