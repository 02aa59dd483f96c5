"""Checksums that S3 computes itself of all it stored, and ours of what was written.

Of a multipart upload the CRCs are asked for as FULL_OBJECT, so that they are of the bytes. SHA-256 has no such form
there: the checksum of the parts' checksums is not compared, nor is an ETag with a dash ever taken for a digest.
Source: Amazon S3 User Guide, "Checking object integrity".
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

from awscrt import checksums as crt

Buffer: TypeAlias = bytes | bytearray | memoryview


class Algorithm(StrEnum):
    """In the order in which a store is asked whether it has them."""

    CRC64NVME = "CRC64NVME"
    CRC32C = "CRC32C"
    SHA256 = "SHA256"

    @property
    def header(self) -> str:
        """Of HTTP."""
        return f"x-amz-checksum-{self.lower()}"

    @property
    def parameter(self) -> str:
        """Of the session's operations."""
        return f"Checksum{self}"

    @property
    def whole(self) -> bool:
        """Whether a multipart upload can have it of all its bytes."""
        return self is not Algorithm.SHA256


class Sum(Protocol):
    """The checksum of the bytes so far."""

    def update(self, data: Buffer) -> None: ...

    def text(self) -> str:
        """In base64, as S3 writes it."""
        ...


class _Crc:
    def __init__(self, function: Callable[[Any, int], int], width: int) -> None:
        self._function = function
        self._width = width
        self._value = 0

    def update(self, data: Buffer) -> None:
        self._value = self._function(data, self._value)

    def text(self) -> str:
        return b64encode(self._value.to_bytes(self._width, "big")).decode()


class _Sha256:
    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, data: Buffer) -> None:
        self._hash.update(data)

    def text(self) -> str:
        return b64encode(self._hash.digest()).decode()


def new_sum(algorithm: Algorithm) -> Sum:
    """Of nothing yet."""
    match algorithm:
        case Algorithm.CRC64NVME:
            return _Crc(crt.crc64nvme, 8)
        case Algorithm.CRC32C:
            return _Crc(crt.crc32c, 4)
        case Algorithm.SHA256:
            return _Sha256()


def sum_of(algorithm: Algorithm, data: Buffer) -> str:
    found = new_sum(algorithm)
    found.update(data)
    return found.text()


def told(headers: Mapping[str, str], algorithm: Algorithm) -> str:
    """What an answer tells of all bytes, in base64; empty where it tells nothing, or of parts only."""
    if headers.get("x-amz-checksum-type", "FULL_OBJECT") != "FULL_OBJECT":
        return ""
    found = headers.get(algorithm.header, "")
    return "" if "-" in found else found  # base64 has no dash: such a one is of the checksums of parts


def any_told(headers: Mapping[str, str]) -> str:
    """The same with the algorithm's name before it, such as `crc64nvme:…`, of whichever is told."""
    for algorithm in Algorithm:
        if found := told(headers, algorithm):
            return f"{algorithm.lower()}:{found}"
    return ""
