"""Checksums that stores compute themselves of all bytes that they hold, as `Store.checksum` tells them: the name of the
algorithm in small letters, a colon, and base64 as the store writes it.

A blob whose bytes its server copied has the checksum of both in the place of its digest, since nothing of ours has read
it (docs/adr/0052). A digest of ours has no colon.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias

Buffer: TypeAlias = bytes | bytearray | memoryview


class Sum(Protocol):
    """The checksum of the bytes so far."""

    def update(self, data: Buffer, /) -> None: ...

    def text(self) -> str:
        """In base64, without the algorithm's name."""
        ...


class _Crc:
    def __init__(self, name: str, width: int) -> None:
        from awscrt import checksums as crt  # slow to import, and what is in no bucket has none

        self._function: Callable[[Any, int], int] = getattr(crt, name)
        self._width = width
        self._value = 0

    def update(self, data: Buffer) -> None:
        self._value = self._function(data, self._value)

    def text(self) -> str:
        return b64encode(self._value.to_bytes(self._width, "big")).decode()


class _Hash:
    def __init__(self, name: str) -> None:
        self._hash = hashlib.new(name, usedforsecurity=False)

    def update(self, data: Buffer) -> None:
        self._hash.update(data)

    def text(self) -> str:
        return b64encode(self._hash.digest()).decode()


_SUMS: Final[Mapping[str, Callable[[], Sum]]] = MappingProxyType(
    {
        "crc64nvme": lambda: _Crc("crc64nvme", 8),
        "crc32c": lambda: _Crc("crc32c", 4),
        "crc32": lambda: _Crc("crc32", 4),
        "sha256": lambda: _Hash("sha256"),
        "sha1": lambda: _Hash("sha1"),
    }
)


def new_sum(algorithm: str) -> Sum:
    """Of nothing yet, by the algorithm's name in small letters."""
    return _SUMS[algorithm]()


def algorithm_of(digest: str) -> str:
    """The algorithm of a store's checksum; empty for a digest of ours, or none."""
    name, colon, _ = digest.partition(":")
    return name if colon else ""
