"""The digest of an object's content and of a blob's stored bytes: xxh3-128, the same hex as `xxhsum -H2` prints.

It finds damage, not malice: it is no cryptographic hash.
"""

from __future__ import annotations

from collections.abc import Iterable

import xxhash


class Digest:
    """A digest that grows with the bytes it is given."""

    __slots__ = ("_hash",)

    def __init__(self) -> None:
        self._hash = xxhash.xxh3_128()

    def update(self, data: bytes | bytearray | memoryview) -> None:
        self._hash.update(data)

    def hexdigest(self) -> str:
        """32 hex characters for everything taken in so far."""
        return self._hash.hexdigest()


def digest_of(chunks: Iterable[bytes]) -> str:
    """The digest of the chunks put together."""
    digest = Digest()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()
