"""The port to what a place itself keeps from being deleted, or deletes: versions, locks, expirations."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from storaged.clock import iso


class Versioning(StrEnum):
    """What becomes of the bytes that a write or a delete replaces."""

    OFF = "off"
    ENABLED = "enabled"
    SUSPENDED = "suspended"  # older versions may be there; new ones replace one another


@dataclass(frozen=True, slots=True)
class Protection:
    """What the place itself keeps from being deleted."""

    versioning: Versioning = Versioning.OFF
    locks: bool = False  # objects can carry a retention or a legal hold


FOREVER: Final = 2**62  # microseconds: until somebody lifts a legal hold


def locked_words(until_us: int) -> str:
    """Until when a store refuses to delete something: locked until 2027-01-01T00:00:00Z."""
    when = "its legal hold is lifted" if until_us >= FOREVER else iso(until_us)
    return f"locked until {when}"


class Locks(Protocol):
    """What a place keeps, and until when."""

    @property
    def protection(self) -> Protection: ...

    def locked_until(self, key: str) -> int | None:
        """Until when (microseconds, or FOREVER) the place refuses to delete what is at the key; None: it does not, by
        its own time."""
        ...

    def expiry(self) -> str:
        """Why what is put here does not stay until somebody deletes it; empty: nothing speaks against it. Raises
        PermissionDenied where that may not be asked."""
        ...


class NoLocks:
    """Where nothing is kept."""

    @property
    def protection(self) -> Protection:
        return Protection()

    def locked_until(self, key: str) -> None:
        """Nothing is locked."""

    def expiry(self) -> str:
        """What is there stays."""
        return ""
