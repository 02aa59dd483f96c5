"""Gzip files as what is inside: what every codec must do, and what only these files have."""

from __future__ import annotations

from storaged.codecs.inflated.codec import Inflated
from storaged.testing.codecs import CheckedCodecContract
from tests.codecs.gzip_files import BLOCK, far_apart, gzip_of

CODEC = Inflated()


class TestInflated(CheckedCodecContract):
    codec = Inflated()
    endless = ("tests.codecs.gzip_files", "Large")

    def taken(self, data: bytes) -> bytes:
        """In one member, and another one that zstd makes smaller, so that there is something to gain of any data."""
        return gzip_of(data) + gzip_of(far_apart(len(data) * 3 // 4))

    def shrinking(self, size: int) -> bytes:
        return gzip_of(far_apart(size + BLOCK))
