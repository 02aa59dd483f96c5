"""Checksums that S3 computes itself of all it stored, and ours of what was written.

Of a multipart upload the CRCs are asked for as FULL_OBJECT, so that they are of the bytes. SHA-256 has no such form
there: the checksum of the parts' checksums is not compared, nor is an ETag with a dash ever taken for a digest.
Source: Amazon S3 User Guide, "Checking object integrity".
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from storaged.stores import checksums
from storaged.stores.checksums import Buffer, Sum


class Algorithm(StrEnum):
    """In the order in which they are looked for in an answer."""

    CRC64NVME = "CRC64NVME"
    CRC32C = "CRC32C"
    SHA256 = "SHA256"
    CRC32 = "CRC32"
    SHA1 = "SHA1"

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
        return self in (Algorithm.CRC64NVME, Algorithm.CRC32C, Algorithm.CRC32)


OURS: Final = (Algorithm.CRC64NVME, Algorithm.CRC32C, Algorithm.SHA256)
"""Those that we ask a store for, in the order in which it is asked whether it has them. Users' objects have others."""


def new_sum(algorithm: Algorithm) -> Sum:
    """Of nothing yet."""
    return checksums.new_sum(algorithm.lower())


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
