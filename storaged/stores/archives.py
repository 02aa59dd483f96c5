"""The port to archive classes: what can be read now, and asking for a readable copy of what cannot."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol


class Warmth(StrEnum):
    """Whether a stored thing can be read now."""

    READABLE = "readable"
    COLD = "cold"  # in an archive class
    WARMING = "warming"  # asked for


@dataclass(frozen=True, slots=True)
class Warmed:
    """How readable a stored thing is. `until_us`: when its readable copy goes, None where it stays readable. `now_us`:
    the store's own time as it said so, by which its copies end; None where it tells none."""

    warmth: Warmth = Warmth.READABLE
    until_us: int | None = None
    now_us: int | None = field(default=None, compare=False)


class Archives(Protocol):
    """Readable copies."""

    def warmth(self, key: str) -> Warmed:
        """Whether the key can be read now. Raises ObjectNotFound."""
        ...

    def warm(self, key: str, *, identity: str, days: int, speed: str) -> Warmed:
        """Ask for a readable copy of what is in an archive class, for so many days; or for more days of one that is
        there. `speed` is a word of the store's. Returns at once. Raises SourceChanged, ObjectNotFound."""
        ...


class NoArchives:
    """Where everything can be read at once."""

    def warmth(self, key: str) -> Warmed:
        return Warmed()

    def warm(self, key: str, *, identity: str, days: int, speed: str) -> Warmed:
        return Warmed()
