"""What Amazon S3 documents of its archive classes: how long a restore takes, how long its copy is kept, what is billed.

Sources: User Guide, "Understanding archive retrieval options" and "Restoring an archived object"; API Reference,
RestoreObject (as botocore 1.43 has it). Read in 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from storaged.clock import DAY, SECOND
from storaged.errors import UsageError
from storaged.model import DEFAULT_CLASS

_MINUTE: Final = 60 * SECOND
_HOUR: Final = 60 * _MINUTE

INTELLIGENT: Final = "INTELLIGENT_TIERING"
STANDARD: Final = DEFAULT_CLASS
SPEEDS: Final = ("Expedited", "Standard", "Bulk")
_FLEXIBLE: Final = MappingProxyType({"Expedited": 5 * _MINUTE, "Standard": 5 * _HOUR, "Bulk": 12 * _HOUR})
_DEEP: Final = MappingProxyType({"Standard": 12 * _HOUR, "Bulk": 48 * _HOUR})

# How long a restore "typically" takes at most, in microseconds, by archive class or access tier and by speed: 1 to 5
# minutes Expedited (not for the largest objects, 250 MB and more), 3 to 5 hours Standard, 5 to 12 hours Bulk; from the
# deep ones 12 and 48 hours, and no Expedited. It is no promise: large data sets take longer.
TAKES: Final[Mapping[str, Mapping[str, int]]] = MappingProxyType(
    {
        "GLACIER": _FLEXIBLE,
        "ARCHIVE_ACCESS": _FLEXIBLE,
        "DEEP_ARCHIVE": _DEEP,
        "DEEP_ARCHIVE_ACCESS": _DEEP,
        INTELLIGENT: MappingProxyType({**_FLEXIBLE, **_DEEP}),  # in which of its tiers, only a HEAD tells: the slower
    }
)


def takes_us(storage_class: str, speed: str) -> int:
    """How long a restore from a class takes, in microseconds; 0 for a class that reads at once.

    Raises UsageError for a speed that S3 does not have, or not for this class.
    """
    if speed not in SPEEDS:
        raise UsageError(f"there is no speed {speed!r}", hint=f"one of: {', '.join(SPEEDS)}")
    speeds = TAKES.get(storage_class)
    if speeds is None:
        return 0
    if speed not in speeds:
        raise UsageError(
            f"{storage_class} cannot be restored with speed {speed!r}", hint=f"one of: {', '.join(speeds)}"
        )
    return speeds[speed]


def until_us(now_us: int, days: int) -> int:
    """When a copy goes that is asked for now for so many days: S3 rounds up to the next midnight, UTC."""
    return -(-(now_us + days * DAY) // DAY) * DAY


def about(us: int) -> str:
    """A time from TAKES for people: 5 min, 12 h."""
    return f"{us // _MINUTE} min" if us < _HOUR else f"{us // _HOUR} h"


def billing(storage_class: str, speed: str, days: int) -> str:
    """What a restore is billed for, in words: prices differ by region and contract."""
    if storage_class == INTELLIGENT:
        fee = "a fee per request and per byte" if speed == "Expedited" else "nothing"
        return f"{fee} for the retrieval; afterwards storage in the Frequent Access tier"
    fee = "nothing" if (storage_class, speed) == ("GLACIER", "Bulk") else "a fee per request and per byte"
    return f"{fee} for the retrieval; and the copy as STANDARD storage for {days} days, beside the original"
