"""What every path must hold, told by what users did and by nothing that the product says.

Contents are kept whole: they are small. `None` among what a name may read as means that there may be no such object.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

Name = tuple[str, str]  # dataset, name under its root


@dataclass
class Expected:
    """Of one name. `allowed`: what it may read as now. `known`: generations of which one may be the last that the
    catalog knew, which is what may stay where a delete met a release (docs/design.md, What a delete means). `modes`:
    those that a file with this content may have, `had` all that it ever had."""

    allowed: set[bytes | None] = field(default_factory=lambda: {None})
    known: set[bytes] = field(default_factory=set)
    modes: dict[bytes, set[int]] = field(default_factory=dict)
    had: dict[bytes, set[int]] = field(default_factory=dict)


class Oracle:
    """Expectations of all names that any user ever used."""

    def __init__(self) -> None:
        self.names: dict[Name, Expected] = {}
        self.checked = 0

    def of(self, name: Name) -> Expected:
        return self.names.setdefault(name, Expected())

    def wrote(self, name: Name, content: bytes, mode: int) -> None:
        """A new generation: whatever comes, it is what the name reads as."""
        it = self.of(name)
        it.allowed = {content}
        it.known.add(content)
        it.modes[content] = {mode}
        it.had.setdefault(content, set()).add(mode)

    def lost_to_a_release(self, name: Name, before: bytes, after: bytes, mode: int) -> None:
        """Somebody wrote through a handle into a file that was deleted at that moment, which docs/design.md does not
        cover: it reads as before, or as after."""
        it = self.of(name)
        it.allowed |= {before, after}
        it.known |= {before, after}
        for content in (before, after):
            it.modes.setdefault(content, set()).add(mode)
            it.had.setdefault(content, set()).add(mode)

    def deleted(self, name: Name) -> None:
        """It counts, or it met a release or a generation that no scan saw: then the last known one stays, with the mode
        that a scan saw, which may be one that it had before its user's last chmod."""
        it = self.of(name)
        it.allowed = {None, *it.known}
        for content in it.known:
            it.modes[content] |= it.had[content]

    def changed_mode(self, name: Name, mode: int, *, sure: bool) -> None:
        """Not `sure`: it met a release, or nobody knows which of two contents is there."""
        it = self.of(name)
        contents = [content for content in it.allowed if content is not None]
        for content in contents:
            modes = it.modes[content]
            if sure and len(contents) == 1:
                modes.clear()
            modes.add(mode)
            it.had.setdefault(content, set()).add(mode)

    def deleted_in_quiet(self, name: Name) -> None:
        """The catalog holds the key, and nothing else happens: it counts, without any doubt."""
        it = self.of(name)
        it.allowed, it.known = {None}, set()

    def showed(self, name: Name, content: bytes | None) -> None:
        """It was read under its name after everything had come to rest: from now on it is that and nothing else."""
        it = self.of(name)
        it.allowed, it.known = {content}, set() if content is None else {content}

    # -- judgements: a complaint, or nothing ---------------------------------------------------------------------------

    def under_its_name(self, name: Name, found: bytes | None) -> list[str]:
        """What is wrong with what a reader got."""
        self.checked += 1
        it = self.of(name)
        if found in it.allowed:
            return []
        return [f"{_shown(name)} reads as {told(found)}; it must be {_any(it.allowed)}"]

    def raw(self, name: Name, found: bytes | None, mode: int | None) -> list[str]:
        """What is wrong with what lies at the original key, which may be vacant where the content is elsewhere. `mode`:
        None if nobody looked."""
        self.checked += 1
        it = self.of(name)
        if found is None:
            return []
        wrong = []
        if found not in it.allowed:
            wrong.append(f"{_shown(name)} is a file that holds {told(found)}; it must be {_any(it.allowed)}")
        elif mode is not None and mode not in it.modes[found]:
            wrong.append(f"{_shown(name)} is a file of mode {mode:o}; it must be {_octal(it.modes[found])}")
        return wrong

    def returned(self, name: Name, found: bytes | None, mode: int | None) -> list[str]:
        """What is wrong with a name after everything was ejected: content that exists is a file."""
        wrong = self.raw(name, found, mode)
        if found is None and None not in self.of(name).allowed:
            wrong.append(f"{_shown(name)} is no file after eject; it must be {_any(self.of(name).allowed)}")
        return wrong

    def strangers(self, found: Iterable[Name]) -> list[str]:
        """Names that no user ever used."""
        return [f"{_shown(name)} was made by nobody" for name in found if name not in self.names]


def told(content: bytes | None) -> str:
    """A content in few words."""
    return "nothing" if content is None else f"{content[:24]!r}… of {len(content)} bytes"


def _any(allowed: Iterable[bytes | None]) -> str:
    return " or ".join(sorted(told(content) for content in allowed))


def _octal(modes: Iterable[int]) -> str:
    return " or ".join(sorted(f"{mode:o}" for mode in modes))


def _shown(name: Name) -> str:
    return "/".join(name)
