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
    """One line of the table: what of a filesystem is seen where."""

    device: str
    root: PurePosixPath  # in the filesystem
    point: PurePosixPath


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
            found.append(Mount(fields[2], _path(fields[3]), _path(fields[4])))
    return found


def trees(path: str, table: list[Mount]) -> Iterator[Tree]:
    """What is seen at an absolute path, and what is mounted below it."""
    place = PurePosixPath(os.path.realpath(path))
    at = [mount for mount in table if place.is_relative_to(mount.point)]
    if not at:
        return
    longest = max(len(mount.point.parts) for mount in at)
    mount = [mount for mount in at if len(mount.point.parts) == longest][-1]
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
