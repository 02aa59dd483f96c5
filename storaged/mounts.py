"""Which files of which filesystems a path on this machine shows: two paths may show the same ones by a bind mount."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

_MOUNTS: Final = Path("/proc/self/mountinfo")
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """One line of the table: what of a filesystem is seen where, how, and of which kind it is."""

    device: str
    root: PurePosixPath  # in the filesystem
    point: PurePosixPath
    options: frozenset[str] = frozenset()
    kind: str = ""


class Tree(NamedTuple):
    """A directory of a filesystem and all below it, and where it is seen."""

    device: str
    top: PurePosixPath
    seen: PurePosixPath

    def meets(self, other: Tree) -> bool:
        """Whether one of the two lies in the other, or they are the same."""
        if self.device != other.device:
            return False
        return self.top.is_relative_to(other.top) or other.top.is_relative_to(self.top)


def mounts(table: str | None = None) -> list[Mount]:
    """The mounts that this process sees, a later one over the earlier ones; none where the system does not tell."""
    if table is None:
        try:
            table = _MOUNTS.read_text(errors="surrogateescape")
        except OSError:
            return []
    found = []
    for line in table.splitlines():
        fields = line.split(" ")
        if len(fields) > 4:
            options = frozenset(fields[5].split(",")) if len(fields) > 5 else frozenset()
            kind = fields[fields.index("-") + 1] if "-" in fields[6:-1] else ""
            found.append(Mount(fields[2], _path(fields[3]), _path(fields[4]), options, kind))
    return found


def mount_of(path: str, table: list[Mount]) -> Mount | None:
    """The mount that an absolute path is seen through; None: the table does not tell."""
    place = PurePosixPath(os.path.realpath(path))
    at = [mount for mount in table if place.is_relative_to(mount.point)]
    longest = max((len(mount.point.parts) for mount in at), default=0)
    return next((mount for mount in reversed(at) if len(mount.point.parts) == longest), None)


def trees(path: str, table: list[Mount]) -> Iterator[Tree]:
    """What is seen at an absolute path, and what is mounted below it."""
    place, mount = PurePosixPath(os.path.realpath(path)), mount_of(path, table)
    if mount is None:
        return
    yield Tree(mount.device, mount.root / place.relative_to(mount.point), place)
    for mount in table:
        if mount.point != place and mount.point.is_relative_to(place):
            yield Tree(mount.device, mount.root, mount.point)


def doubles(root: str, others: Iterable[str]) -> frozenset[str]:
    """Where below a root files are mounted that belong elsewhere: to one of the other roots, or to this one under
    another name. Keys in the root."""
    table = mounts()
    mine = list(trees(root, table))
    if len(mine) < 2:
        return frozenset()
    taken = [mine[0], *(tree for other in others for tree in list(trees(other, table))[:1])]
    found = set()
    for tree in mine[1:]:
        key = tree.seen.relative_to(mine[0].seen)
        if (tree.device, tree.top) == (mine[0].device, mine[0].top / key):
            continue  # bound onto itself, as to make it read-only: it is seen once
        if any(tree.meets(one) for one in taken):
            found.add(str(key))
        else:
            taken.append(tree)
    return frozenset(found)


def _path(text: str) -> PurePosixPath:
    return PurePosixPath(_ESCAPED.sub(lambda found: chr(int(found[1], 8)), text))
