"""What a table needs of its files, as its own books have it."""

from __future__ import annotations

from dataclasses import dataclass

from storaged.errors import StoragedError, UsageError


class NotRead(StoragedError):
    """A table's books cannot be read, and why."""


@dataclass(frozen=True, slots=True)
class Needs:
    """`unneeded`: keys of what no live snapshot refers to and the table's own tool would remove now. `aged`: keys of
    what only older snapshots or versions refer to. `seen`: as of what. `how`: the command that removes the unneeded;
    `risk`: what is lost with it, in words."""

    unneeded: frozenset[str]
    aged: frozenset[str]
    seen: str
    how: str
    risk: str


def lacking_extra(library: str, extra: str) -> UsageError:
    """What is said where a library is not installed that reads a kind of tables."""
    return UsageError(f"{library} is not installed, which reads such tables", hint=f"pip install 'storaged[{extra}]'")
