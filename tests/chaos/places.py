"""Directories that can go away, change places and be made anew: plain ones, small filesystems in memory, and disks in a
file. What is behind a path is a `Thing`; the path stays and is a bare mount point while its thing is away."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

DIRECTORY, MEMORY, DISK = "directory", "memory", "disk"
MEMORY_BYTES, DISK_BYTES = 48 << 20, 48 << 20
BUSY_S = 20.0  # how long a mount may stay busy


class Trouble(AssertionError):
    """The test's own tools failed: nothing is said about the product."""


def tool(*command: str | Path) -> str:
    """What a program prints. Raises Trouble if it fails."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Trouble(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout.strip()


def until(action: Callable[[], object], why: str, patience_s: float = BUSY_S) -> None:
    """Do it again until it works: a mount is busy while somebody writes there."""
    end = time.monotonic() + patience_s
    while True:
        try:
            action()
            return
        except Trouble as error:
            if time.monotonic() > end:
                raise Trouble(f"{why}: {error}") from error
            time.sleep(0.02)


@cache
def unavailable(kind: str) -> str:
    """Why this machine has no such thing; empty if it has."""
    if kind == DIRECTORY:
        return ""
    if os.geteuid() != 0:
        return "only root may mount"
    with tempfile.TemporaryDirectory(prefix="storaged-chaos-") as made:
        place = Path(made)
        (place / "at").mkdir()
        thing = Thing(kind, place / "image")
        try:
            thing.make(place / "at")
            try:
                os.setxattr(place / "at", "user.probe", b"1")
                (place / "moved").mkdir()
            finally:
                thing.remove(place / "at")
        except (Trouble, OSError) as error:
            return str(error)
    return ""


@dataclass
class Thing:
    """What lies behind a path. `image` is the file of a disk."""

    kind: str
    image: Path
    device: str = ""
    held: list[str] = field(default_factory=list)  # loop devices that keep a number from being given again

    @property
    def mounted(self) -> bool:
        return self.kind != DIRECTORY

    def make(self, path: Path) -> None:
        """A fresh and empty one at `path`, which is an empty directory."""
        if self.kind == MEMORY:
            tool("mount", "-t", "tmpfs", "-o", f"size={MEMORY_BYTES},mode=755", "none", path)
        elif self.kind == DISK:
            with self.image.open("wb") as file:
                file.truncate(DISK_BYTES)
            tool("mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1", self.image)
            self._attach(path)
            (path / "lost+found").rmdir()

    def _attach(self, path: Path) -> None:
        self.device = tool("losetup", "--find", "--show", self.image)
        tool("mount", self.device, path)

    def attach_elsewhere(self, path: Path) -> None:
        """Unmount a disk and mount it again as another device."""
        until(lambda: tool("umount", path), f"{path} stays busy")
        tool("losetup", "--detach", self.device)
        before = self.device
        dummy = self.image.with_suffix(".other")
        dummy.write_bytes(bytes(1 << 20))
        self.device = tool("losetup", "--find", "--show", self.image)
        while self.device == before:  # take that number away, and ask for the next
            tool("losetup", "--detach", self.device)
            self.held.append(tool("losetup", "--find", "--show", dummy))
            self.device = tool("losetup", "--find", "--show", self.image)
        tool("mount", self.device, path)

    def remove(self, path: Path) -> None:
        """Take it away for ever; `path` stays as an empty directory."""
        if not self.mounted:
            shutil.rmtree(path)
            path.mkdir()
            return
        until(lambda: tool("umount", path), f"{path} stays busy")
        self.let_go()

    def let_go(self) -> None:
        """Give back the devices of a disk that is not mounted any more."""
        for device in (self.device, *self.held):
            if device:
                until(lambda device=device: tool("losetup", "--detach", device), f"{device} stays busy")  # type: ignore[misc]
        self.device, self.held = "", []


class Place:
    """A path where a tier or a root is, and the thing that is there now."""

    def __init__(self, name: str, path: Path, kind: str, spare: Path) -> None:
        self.name = name
        self.path = path
        self.spare = spare
        self._numbers = itertools.count()
        path.mkdir()
        self.thing: Thing | None = Thing(kind, self._fresh(".img"))
        self.thing.make(path)

    def _fresh(self, suffix: str = "") -> Path:
        return self.spare / f"{self.name}{next(self._numbers)}{suffix}"

    def vacate(self) -> tuple[Thing, Path]:
        """Take the thing elsewhere. What is left is a bare mount point."""
        thing, aside = self.here(), self._fresh()
        if thing.mounted:
            aside.mkdir()
            tool("mount", "--move", self.path, aside)
        else:
            self.path.rename(aside)
            self.path.mkdir()
        self.thing = None
        return thing, aside

    def occupy(self, thing: Thing, aside: Path) -> list[str]:
        """Put a thing here. What somebody wrote into the bare mount point is a complaint, and is hidden by what is
        mounted over it."""
        found = sorted(str(p.relative_to(self.path)) for p in self.path.rglob("*"))
        if thing.mounted:
            tool("mount", "--move", aside, self.path)
            aside.rmdir()
        else:
            self.path.rename(self._fresh(".bare"))
            aside.rename(self.path)
        self.thing = thing
        return [f"somebody wrote into the bare mount point of {self.name}: {found[:10]}"] if found else []

    def here(self) -> Thing:
        assert self.thing is not None, f"nothing is at {self.name}"
        return self.thing

    def copy_in_place(self) -> list[str]:
        """What is here is replaced by a copy of itself: same names, bytes, times and attributes, other inodes.
        Complaints as `occupy` has them."""
        old = self.here()
        new, made = Thing(old.kind, self._fresh(".img")), self._fresh()
        made.mkdir()
        new.make(made)
        tool("cp", "-a", f"{self.path}/.", made)
        aside = self.vacate()[1]
        wrong = self.occupy(new, made)
        old.remove(aside)
        aside.rmdir()
        return wrong

    def listing(self) -> dict[str, tuple[int, int]]:
        """Every file's size and time of modification, but for locks, which hold nothing."""
        return _listing(self.path)

    def keep(self, where: Path) -> None:
        """Copy what a mount holds: it is gone after the unmounting."""
        if self.thing is not None and self.thing.mounted:
            shutil.copytree(self.path, where / self.name, symlinks=True)


def _listing(top: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for path in top.rglob("*"):
        if path.is_file() and path.name != "lock":
            at = path.stat()
            found[str(path.relative_to(top))] = (at.st_size, at.st_mtime_ns)
    return found


def private(place: Path) -> None:
    """Make a directory a mount of its own, below which mounts may be moved."""
    tool("mount", "--bind", place, place)
    tool("mount", "--make-private", place)


def unmount_all(place: Path) -> None:
    """Everything that is mounted at or below a directory, and the devices of disks below it."""
    devices = []
    if os.geteuid() == 0 and shutil.which("losetup"):  # asked first: later the files' paths are told otherwise
        for line in tool("losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE").splitlines():
            device, _, image = line.partition(" ")
            if Path(image.strip()).is_relative_to(place):
                devices.append(device)
    with open("/proc/self/mountinfo") as file:
        points = [line.split()[4].encode().decode("unicode_escape") for line in file]
    for point in sorted((p for p in points if Path(p).is_relative_to(place)), key=len, reverse=True):
        tool("umount", "--lazy", point)
    for device in devices:
        tool("losetup", "--detach", device)
