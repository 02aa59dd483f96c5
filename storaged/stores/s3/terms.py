"""What Amazon S3 bills for leaving a storage class, in words: prices differ by region and contract.

Source: User Guide, "Understanding and managing Amazon S3 storage classes" and Amazon S3 pricing. Read in 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

ARCHIVES: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})  # what is in these must be warmed before it can be read

# By class: the days that are billed at least, and whether each byte that is read is billed.
_TERMS: Final[Mapping[str, tuple[int, bool]]] = MappingProxyType(
    {
        "STANDARD": (0, False),
        "REDUCED_REDUNDANCY": (0, False),
        "INTELLIGENT_TIERING": (0, False),
        "STANDARD_IA": (30, True),
        "ONEZONE_IA": (30, True),
        "GLACIER_IR": (90, True),
        "GLACIER": (90, True),
        "DEEP_ARCHIVE": (180, True),
    }
)


def minimum_days(storage_class: str) -> int:
    """The days that a class bills at least; 0 for one that is not known."""
    return _TERMS.get(storage_class, (0, False))[0]


def leaving(storage_class: str) -> str:
    """What a copy of an object from this class into another one is billed for, beside the request itself; empty: for
    nothing."""
    if storage_class not in _TERMS:
        return f"what its store bills for leaving {storage_class}"
    days, read = _TERMS[storage_class]
    parts = [f"a retrieval fee per byte read from {storage_class}"] if read else []
    parts += [f"the rest of the {days} days that {storage_class} bills at least"] if days else []
    return " and ".join(parts)
