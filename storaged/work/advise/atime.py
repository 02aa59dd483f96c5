"""When files were last opened, as the file system says. It is no log: whoever reads counts, backups and we included,
and many mounts keep it roughly or not at all. So it is told beside advice, if asked for, and no policy goes by it."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import sqlalchemy as sa

from storaged.catalog.schema import datasets, objects
from storaged.clock import DAY
from storaged.model import RawState
from storaged.mounts import Mount, mount_of, mounts
from storaged.work.advise.look import DAYS
from storaged.work.context import Context, local_path

LOOKED_AT: Final = 20_000  # files of a dataset; of more every so many-th
_ELSEWHERE: Final = ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "virtiofs")
_BEGINS: Final = tuple(days for days in DAYS if days)


class Keeps(StrEnum):
    """How the mount of a root keeps the time at which a file was last opened."""

    ALWAYS = "strictatime"
    DAILY = "relatime"
    NEVER = "noatime"
    ELSEWHERE = "server"
    UNKNOWN = "unknown"


_WORDS: Final = {
    Keeps.ALWAYS: "the mount keeps it exactly",
    Keeps.DAILY: "the mount keeps it to a day (relatime)",
    Keeps.NEVER: "the mount does not keep it (noatime, or read-only): these are times of writing or copying",
    Keeps.ELSEWHERE: "whether it is kept is up to the file server",
    Keeps.UNKNOWN: "how the mount keeps it is not known",
}


@dataclass(frozen=True, slots=True)
class AtimeShare:
    """A dataset whose root is local. `files` of its `objects` at their original keys were looked at, with `bytes`;
    `idle`: of these bytes, how many were not opened for so many days or more; `unopened`: not since they were
    written."""

    dataset: str
    keeps: Keeps
    objects: int
    files: int
    bytes: int
    idle: Mapping[int, int]
    unopened: int

    @property
    def words(self) -> str:
        """How far it can be trusted."""
        return _WORDS[self.keeps]


@dataclass(frozen=True, slots=True)
class Atime:
    """What atime says. `none`: datasets in buckets, which keep no such time."""

    shares: tuple[AtimeShare, ...]
    none: tuple[str, ...]


def look_at_atime(context: Context, names: Collection[str]) -> Atime:
    """Ask of the datasets' files when they were last opened. Opens none, so that it changes nothing."""
    table, now_us = mounts(), context.now_us()
    shares: list[AtimeShare] = []
    none: list[str] = []
    for name in sorted(names):
        root = local_path(context.dataset(name).root)
        if root is None:
            none.append(name)
        else:
            shares.append(_share(context, name, str(root), keeps(mount_of(str(root), table)), now_us))
    return Atime(tuple(shares), tuple(none))


def keeps(mount: Mount | None) -> Keeps:
    """What a mount does, by mount(8). `relatime` writes it where it is a day old, or older than the last change."""
    if mount is None:
        return Keeps.UNKNOWN
    if mount.options & {"noatime", "ro"}:
        return Keeps.NEVER
    if mount.kind in _ELSEWHERE or mount.kind.startswith("fuse"):
        return Keeps.ELSEWHERE
    return Keeps.DAILY if "relatime" in mount.options else Keeps.ALWAYS


def _share(context: Context, name: str, root: str, how: Keeps, now_us: int) -> AtimeShare:
    there = sa.and_(datasets.c.name == name, objects.c.removed_us.is_(None), objects.c.raw_state == _PRESENT)
    count = sa.select(sa.func.count()).select_from(_OBJECTS).where(there)
    with context.catalog.read() as conn:
        number = conn.execute(count).scalar_one()
        step = -(-number // LOOKED_AT) or 1
        some = sa.select(objects.c.name).select_from(_OBJECTS).where(there, objects.c.id % step == 0).limit(LOOKED_AT)
        keys = list(conn.execute(some).scalars())
    files = size = unopened = 0
    idle = dict.fromkeys(_BEGINS, 0)
    for nbytes, read_us, written_us in _times(root, keys):
        files, size = files + 1, size + nbytes
        unopened += nbytes if read_us <= written_us else 0
        days = (now_us - max(read_us, written_us)) // DAY
        for begin in _BEGINS:
            idle[begin] += nbytes if days >= begin else 0
    return AtimeShare(name, how, number, files, size, idle, unopened)


_PRESENT: Final = RawState.CURRENT.value
_OBJECTS: Final = objects.join(datasets, datasets.c.id == objects.c.dataset_id)


def _times(root: str, keys: Collection[str]) -> Iterator[tuple[int, int, int]]:
    """Size, and when it was last opened and written (us), of those that are there."""
    for key in keys:
        try:
            st = os.stat(os.path.join(root, key), follow_symlinks=False)
        except OSError:  # gone, or not ours to see: the next scan tells
            continue
        if stat.S_ISREG(st.st_mode):
            yield st.st_size, st.st_atime_ns // 1_000, st.st_mtime_ns // 1_000
