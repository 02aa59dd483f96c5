"""Which collections keys show, by the evidence of `kinds`. Apart from it, since the patterns take their time to
compile, and only who looks at many keys needs them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from storaged.decide.kinds import KINDS, Collection, Kind, whole

# -- patterns ------------------------------------------------------------------------------------------------------

_SIGNS: Final[Mapping[str, str]] = {
    "*": "[^/]*",
    "#": "[0-9]+",
    "<>": "([^/]*?)",
    "<*": "([^/]+?",
    ">": ")",
    "{hex}": "[0-9a-f]+",
    "{uuid}": "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "{zeros}": "0{4,}",
    "{one}": "0{3,}1",
}
_DISPATCH: Final = 3  # signs at the beginning or end of a name that choose the patterns to try


@dataclass(frozen=True, slots=True, eq=False)
class _Pattern:
    """One piece of evidence: the names of the folders below the collection's, then of the file (None: any below)."""

    kind: Kind
    rank: int
    alternative: int
    bit: int
    all_bits: int
    folders: tuple[re.Pattern[str], ...]
    name: re.Pattern[str] | None


@dataclass(slots=True)
class _Index:
    """The patterns by what a key must have for them to be tried."""

    by_folder: dict[str, list[tuple[_Pattern, int]]] = field(default_factory=dict)  # and which folder of them it is
    by_name: dict[str, list[_Pattern]] = field(default_factory=dict)
    by_start: dict[str, list[_Pattern]] = field(default_factory=dict)
    by_end: dict[str, list[_Pattern]] = field(default_factory=dict)
    ends: dict[str, tuple[str, ...]] = field(default_factory=dict)  # all that must stand there, by the same signs
    first: dict[str, int] = field(default_factory=dict)  # folders that a look must go into, and how many levels deeper
    literal: set[str] = field(default_factory=set)  # names and folders (with a slash) to ask for in a folder too large

    def add(self, pattern: _Pattern, text: str) -> None:
        *folders, name = text.split("/")
        plain = [n for n, part in enumerate(folders) if _is_plain(part)]
        if plain:
            self.by_folder.setdefault(folders[plain[0]], []).append((pattern, plain[0]))
            if plain[0] == 0:
                self.first[folders[0]] = max(self.first.get(folders[0], 0), len(folders) - 1)
                self.literal.add(f"{folders[0]}/")
        elif _is_plain(name):
            self.by_name.setdefault(name, []).append(pattern)
            if not folders:
                self.literal.add(name)
        elif _is_plain(name[:_DISPATCH]):
            self.by_start.setdefault(name[:_DISPATCH], []).append(pattern)
        else:
            tail = re.split(r"[*#}]", name.replace(">", ""))[-1]
            end = tail[-_DISPATCH:]
            self.by_end.setdefault(end, []).append(pattern)
            self.ends[end] = (*self.ends.get(end, ()), tail)


def _is_plain(part: str) -> bool:
    return not re.search(r"[*#<>{]", part)


def _compiled(part: str) -> re.Pattern[str]:
    """A name's pattern. What stands in `<>` ends as early as it can, and is not empty unless nothing stands there."""
    out = ""
    for piece in re.findall(r"\{[a-z]+\d*\}|<>|<\*|[*#>]|[^*#<>{]+", part):
        if piece in _SIGNS:
            out += _SIGNS[piece]
        elif piece.startswith("{hex"):
            out += f"[0-9a-f]{{{piece[4:-1]}}}"
        else:
            out += re.escape(piece)
    return re.compile(out)


def _indexed(kinds: Iterable[Kind]) -> _Index:
    index, number = _Index(), 0
    for rank, kind in enumerate(kinds):
        for alternative in kind.evidence:
            texts = alternative.split(" + ")
            number += 1
            for n, text in enumerate(texts):
                *folders, name = text.split("/")
                last = None if name == "**" else _compiled(name)
                made = tuple(_compiled(f) for f in folders)
                index.add(_Pattern(kind, rank, number, 1 << n, (1 << len(texts)) - 1, made, last), text)
    return index


_INDEX: Final = _indexed(KINDS)
INTO: Final[Mapping[str, int]] = _INDEX.first
"""Folders below which there is evidence, and how many levels of folders below them."""
LITERALS: Final = frozenset(_INDEX.literal)
"""Names by which a folder shows that it may be a collection; those of folders with a `/` behind them."""


# -- finding -------------------------------------------------------------------------------------------------------

_NEIGHBOURS: Final = 10  # keys that are looked at together, if they may be
_MANY: Final = 50_000  # prefixes with a part of their evidence that are remembered


class Finder:
    """Sees keys, best in order, and tells which collections they show. Memory grows with the collections, not with the
    keys."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[int, Collection]] = {}
        self._seen: dict[tuple[str, int], int] = {}
        self._folder: str | None = None
        self._parts: list[str] = []
        self._here: list[tuple[_Pattern, str]] = []
        self._spent: set[_Pattern] = set()  # of no more use in this folder
        self._most = _MANY

    def see(self, keys: Iterable[str]) -> None:
        """Take these keys into account."""
        keys = [*keys]
        if self._enter_with(keys):
            return
        names, starts, ends, tails = _INDEX.by_name, _INDEX.by_start, _INDEX.by_end, _INDEX.ends
        folder, here = self._folder, self._here
        for key in keys:
            at = key.rfind("/") + 1
            if key[:at] != folder:
                folder = key[:at]
                self._enter(folder, key)
                here = self._here
            name = key[at:]
            if here:
                self._see_here(name, key)
            if name in names:
                self._try(names[name], name, key)
            if name[:_DISPATCH] in starts:
                self._try(starts[name[:_DISPATCH]], name, key)
            end = name[-_DISPATCH:]
            if end in ends and name.endswith(tails[end]):  # a regular expression takes many times as long
                self._try(ends[end], name, key)
        if len(self._seen) > self._most or len(self._found) > self._most:
            self._forget()

    def found(self) -> list[Collection]:
        """The collections that were seen, in key order; what is inside another is a part of it."""
        out: list[Collection] = []
        for prefix in sorted(self._found):
            one = self._found[prefix][1]
            if not out or one.prefix >= out[-1].until:
                out.append(one)
        return out

    def _enter(self, folder: str, key: str) -> None:
        self._folder = folder
        self._parts = folder.split("/")[:-1]
        self._here = []
        self._spent = set()
        for n, part in enumerate(self._parts):
            for pattern, at in _INDEX.by_folder.get(part, ()):
                start, length = n - at, len(pattern.folders)
                below = self._parts[start : start + length] if start >= 0 else []
                if len(below) < length or not _match(pattern.folders, below):
                    continue
                prefix = _joined(self._parts[:start])
                if pattern.name is None:
                    self._note(pattern, prefix, key)
                elif start + length == len(self._parts):
                    self._here.append((pattern, prefix))

    def _enter_with(self, keys: Sequence[str]) -> bool:
        """Whether these are neighbours in one folder, and it is all the evidence that they are, as of most: that is
        known by a look at all of them at once."""
        if len(keys) < _NEIGHBOURS:
            return False
        folder = keys[0][: keys[0].rfind("/") + 1]
        text = "\n".join(keys)
        alone = text.count("\n") == len(keys) - 1 == text.count(f"\n{folder}") and text.startswith(folder)
        if not alone or text.count("/") != folder.count("/") * len(keys):
            return False
        if folder != self._folder:
            self._enter(folder, keys[0])
        names = [key[len(folder) :] for key in keys]
        ends = {name[-_DISPATCH:] for name in names} & _INDEX.ends.keys()
        return not (
            self._here
            or any(f"{tail}\n" in text or text.endswith(tail) for end in ends for tail in _INDEX.ends[end])
            or not _INDEX.by_name.keys().isdisjoint(names)
            or not _INDEX.by_start.keys().isdisjoint([name[:_DISPATCH] for name in names])
        )

    def _see_here(self, name: str, key: str) -> None:
        for pattern, prefix in self._here:
            if pattern.name is not None and pattern.name.fullmatch(name):
                self._note(pattern, prefix, key)

    def _try(self, patterns: Iterable[_Pattern], name: str, key: str) -> None:
        for pattern in patterns:
            if pattern in self._spent:
                continue
            start = len(self._parts) - len(pattern.folders)
            if pattern.folders and (start < 0 or not _match(pattern.folders, self._parts[start:])):
                self._spent.add(pattern)
                continue
            matched = pattern.name.fullmatch(name) if pattern.name is not None else None
            if matched is None:
                continue
            stem = matched[1] if matched.re.groups else None
            self._note(pattern, _joined(self._parts[:start]), key, stem)
            if stem is None:
                self._spent.add(pattern)

    def _note(self, pattern: _Pattern, folder: str, key: str, stem: str | None = None) -> None:
        prefix = folder if stem is None else f"{folder}{stem}{pattern.kind.span[0]}"
        if pattern.all_bits != pattern.bit:
            at = (prefix, pattern.alternative)
            bits = self._seen.get(at, 0) | pattern.bit
            self._seen[at] = bits
            if bits != pattern.all_bits:
                return
        known = self._found.get(prefix)
        if known is None or pattern.rank < known[0]:
            name = pattern.kind.name
            one = whole(prefix, name, key)
            if stem is not None:
                one = Collection(prefix, f"{folder}{stem}{pattern.kind.span[1]}", name, key)
            self._found[prefix] = (pattern.rank, one)

    def _forget(self) -> None:
        """What is inside of what was found, and evidence of folders that were left behind."""
        kept = {one.prefix for one in self.found()}
        self._found = {prefix: value for prefix, value in self._found.items() if prefix in kept}
        now = self._folder or ""
        self._seen = {at: bits for at, bits in self._seen.items() if now.startswith(at[0]) and at[0] not in kept}
        self._most = max(_MANY, 2 * len(self._found))


def _match(patterns: Iterable[re.Pattern[str]], parts: Iterable[str]) -> bool:
    return all(pattern.fullmatch(part) for pattern, part in zip(patterns, parts, strict=True))


def _joined(parts: list[str]) -> str:
    return "".join(f"{part}/" for part in parts)
