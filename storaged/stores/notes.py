"""The port to notes: small objects of ours, under names that no listing of objects shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, Protocol

CLAIM: Final = "claim.json"  # the note that tells whose a place is
LARGEST_NOTE: Final = 256 << 20  # bytes; what is larger is none that we wrote, and is not read
LARGEST_MARKER: Final = 64 << 10  # bytes of that one


class Notes(Protocol):
    """What a place keeps for storaged beside the objects."""

    @property
    def url(self) -> str: ...

    def read_note(self, name: str, *, limit: int = LARGEST_NOTE) -> bytes | None:
        """A small object of ours under RESERVED (claim, journal entry), or None. Raises NotANote, before it is read,
        for one of more than `limit` bytes."""
        ...

    def confirm(self, name: str, check: Callable[[bytes | None], None]) -> None:
        """Hand the note of what is at the URL now to `check`, which raises if this is not the place that was meant. If
        it does not, that is the place from here on: where the store can tell, every other call raises PlaceAway for
        another one that took its name (the mount point below it, a disk mounted in its stead)."""
        ...

    def write_note(self, name: str, data: bytes, *, create_only: bool) -> None:
        """Write a small object under RESERVED, durable on return. Raises AlreadyExists if create_only and taken."""
        ...

    def delete_note(self, name: str) -> None:
        """Remove a note; nothing if there is none. Raises PermissionDenied where a lock holds it."""
        ...

    def list_notes(self, prefix: str) -> Iterator[str]:
        """Names of notes with this prefix, in byte order."""
        ...
