"""What happens to machines and places while users work. A fault proves that it fired, or the round fails."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.places import DIRECTORY, DISK, MEMORY, MEMORY_BYTES, Place, tool, until
from tests.chaos.world import PATIENCE_S, ROOTS, TIERS, World
from tests.daemon.processes import wait_for

CLAIM = ".storaged/claim.json"
AT_ONCE = (
    ("scan",),
    ("apply",),
    ("sweep", "--yes"),
    ("eject", "alpha", "--yes"),
    ("eject", "beta", "--yes"),
    ("verify",),
)
End = Callable[[], None]


@dataclass(frozen=True)
class Kind:
    """One kind of fault. `among`: which places it may have, `count` of them at once, which must be of one of the kinds
    of things `needs`. `begin` returns what ends it; None if there is no daemon that it could happen to: none comes up
    without its journal."""

    name: str
    begin: Callable[[World, Sequence[Place]], End | None]
    among: tuple[str, ...] = ()
    count: int = 1
    needs: tuple[str, ...] = (DIRECTORY, MEMORY, DISK)


# -- processes ---------------------------------------------------------------------------------------------------------


def killed(world: World, _places: Sequence[Place]) -> End | None:
    world.starts()
    return world.starts if world.dies() else None


def stopped(world: World, _places: Sequence[Place]) -> End | None:
    world.starts()
    wait_for(world.is_awake, "the daemon comes up", patience_s=PATIENCE_S)
    return world.starts if world.stops() else None


def paused(world: World, _places: Sequence[Place]) -> End | None:
    """For longer than a lease, or not: as long as a fault lasts."""
    world.starts()
    wait_for(world.is_awake, "the daemon comes up", patience_s=PATIENCE_S)
    if not world.runs() or world.daemon is None:
        return None
    pid = world.daemon.pid
    world.pauses()
    until_state(pid, "T")
    return world.wakes


def until_state(pid: int, state: str) -> None:
    """Wait for a process to be in a state of proc(5)."""
    for _ in range(500):
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == state:
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} never came to {state}")


def command_killed(world: World, _places: Sequence[Place]) -> End:
    """In mid work."""
    for _ in range(50):
        what = world.chance.choice((("scan",), ("sweep", "--yes"), ("apply",), ("eject", "alpha", "--yes"), ("work",)))
        victim = world.launches(*what)
        time.sleep(world.chance.uniform(0.05, 0.4))
        victim.process.kill()
        if world.ends(victim) == -signal.SIGKILL:
            world.counts["kills"] += 1
            return lambda: None
    raise AssertionError("every command had ended before it was killed")


# -- places that go, and come back -------------------------------------------------------------------------------------


def away(world: World, places: Sequence[Place]) -> End:
    """Unmounted: what is left is a bare mount point, and stays bare."""
    thing, aside = places[0].vacate()
    assert not (places[0].path / ".storaged").exists()

    def end() -> None:
        world.complaints += places[0].occupy(thing, aside)

    return end


def exchanged(world: World, places: Sequence[Place]) -> End:
    """Disks mounted the wrong way round. Where nobody was at work at that moment, nothing at all is written there."""
    one, other = places
    rested = world.chance.random() < 0.6
    if rested:
        world.rests()
    before = (one.listing(), other.listing())
    _exchange(world, one, other)
    if rested:
        assert one.listing() == before[1]
        world.starts()

    def end() -> None:
        world.rests()
        after = (other.listing(), one.listing())
        _exchange(world, one, other)
        world.starts()
        if rested:
            for place, was, now in zip(places, before, after, strict=True):
                world.complaints += changed(f"{place.name} while it was exchanged", was, now)

    return end


def _exchange(world: World, one: Place, other: Place) -> None:
    first, second = one.vacate(), other.vacate()
    world.complaints += one.occupy(*second) + other.occupy(*first)


def changed(where: str, before: dict[str, tuple[int, int]], after: dict[str, tuple[int, int]]) -> list[str]:
    """Complaints where something was written or removed."""
    differ = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
    return [f"somebody wrote into {where}: {differ[:10]}"] if differ else []


def copied(world: World, places: Sequence[Place]) -> End:
    """Moved to another disk while nothing ran."""
    marker = places[0].path / CLAIM
    world.rests()
    before = _which(marker)
    world.complaints += places[0].copy_in_place()
    assert _which(marker) != before
    world.starts()
    return lambda: None


def _which(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def remounted(world: World, places: Sequence[Place]) -> End:
    """The same filesystem under another device number, as after a reboot."""
    world.rests()
    before = _which(places[0].path / CLAIM)
    places[0].here().attach_elsewhere(places[0].path)
    after = _which(places[0].path / CLAIM)
    assert after[0] != before[0]
    assert after[1] == before[1]
    world.starts()
    return lambda: None


def unmarked(world: World, places: Sequence[Place]) -> End:
    """It lost its marker. Nobody but `catalog claim` makes another, and nothing is written there until then."""
    place, marker = places[0], places[0].path / CLAIM
    world.rests()
    content, found = marker.read_bytes(), marker.stat()
    marker.unlink()
    before = place.listing()
    world.starts()

    def end() -> None:
        world.rests()
        after = place.listing()
        marker.write_bytes(content)
        os.chmod(marker, found.st_mode & 0o7777)
        world.starts()
        world.complaints += changed(f"{place.name} while it had no marker", before, after)

    return end


def read_only(_world: World, places: Sequence[Place]) -> End:
    path = places[0].path
    until(lambda: tool("mount", "-o", "remount,bind,ro", path), f"{path} stays busy")
    with pytest.raises(OSError, match="Read-only"):
        os.open(path / "probe", os.O_CREAT | os.O_WRONLY)
    return lambda: _discard(tool("mount", "-o", "remount,bind,rw", path))


def full(_world: World, places: Sequence[Place]) -> End:
    path = places[0].path

    def shrink() -> None:
        found = os.statvfs(path)
        tool("mount", "-o", f"remount,size={(found.f_blocks - found.f_bfree) * found.f_frsize}", path)

    until(shrink, f"{path} does not shrink")
    assert os.statvfs(path).f_bavail <= 4
    return lambda: _discard(tool("mount", "-o", f"remount,size={MEMORY_BYTES}", path))


def _discard(_said: object) -> None:
    pass


def handled(world: World, places: Sequence[Place]) -> End:
    """Somebody changes modes and links of blobs, or moves them away and back: their content stays."""
    place = places[0]
    blobs = [p for p in place.path.rglob("*") if p.is_file() and ".storaged" not in p.parts]
    how = world.chance.choice(("chmod", "link", "move", "touch"))
    world.tell(f"{how} on {len(blobs)} blobs of {place.name}")
    for blob in blobs:
        with suppress(FileNotFoundError):  # released meanwhile
            if how == "chmod":
                os.chmod(blob, world.chance.choice((0o600, 0o640, 0o644)))
            elif how == "touch":
                os.utime(blob)
            else:
                aside = blob.with_name(f".{blob.name}")
                _link_or_move(how, blob, aside)
    return lambda: None


def _link_or_move(how: str, blob: Path, aside: Path) -> None:
    if how == "link":
        os.link(blob, aside)
        aside.unlink()
    else:
        blob.rename(aside)
        aside.rename(blob)


PROCESSES = (
    Kind("killed", killed),
    Kind("stopped", stopped),
    Kind("paused", paused),
    Kind("command-killed", command_killed),
)
MOVED = (
    Kind("tier-away", away, TIERS),
    Kind("root-away", away, ROOTS),
    Kind("tiers-exchanged", exchanged, TIERS, 2),
    Kind("roots-exchanged", exchanged, ROOTS, 2),
    Kind("tier-copied", copied, TIERS),
    Kind("root-copied", copied, ROOTS),
    Kind("tier-remounted", remounted, TIERS, needs=(DISK,)),
    Kind("root-remounted", remounted, ROOTS, needs=(DISK,)),
    Kind("tier-unmarked", unmarked, TIERS),
    Kind("root-unmarked", unmarked, ROOTS),
)
CHANGED = (
    Kind("tier-read-only", read_only, TIERS, needs=(MEMORY, DISK)),
    Kind("root-read-only", read_only, ROOTS, needs=(MEMORY, DISK)),
    Kind("tier-full", full, TIERS, needs=(MEMORY,)),
    Kind("root-full", full, ROOTS, needs=(MEMORY,)),
    Kind("tier-handled", handled, TIERS),
)
KINDS: dict[str, Kind] = {kind.name: kind for kind in (*PROCESSES, *MOVED, *CHANGED)}


@dataclass
class Running:
    """A fault that has begun. `lasts`: seconds from when a daemon met it, `until`: the monotonic second of that end."""

    kind: Kind
    places: Sequence[Place]
    end: End
    lasts: float
    until: float | None = None


class Faults:
    """Begins faults one after another as planned, and ends each when its time is over."""

    def __init__(self, world: World, plan: Iterable[tuple[Kind, tuple[str, ...]]]) -> None:
        self.world = world
        self.waiting = list(plan)
        self.running: list[Running] = []

    def begin_next(self) -> None:
        """Unless one of its places is disturbed already."""
        if not self.waiting or self.world.disturbed & set(self.waiting[0][1]):
            return
        kind, names = self.waiting.pop(0)
        world = self.world
        if kind.name in ("killed", "stopped", "paused") and any(r.kind in PROCESSES for r in self.running):
            self.end_all(PROCESSES)
        world.tell(f"fault {kind.name} begins {' '.join(names)}")
        world.disturbed |= set(names)
        places = [world.places[name] for name in names]
        if (end := kind.begin(world, places)) is None:
            self.waiting.append((kind, names))
            return
        world.counts["faults"] += 1
        world.counts[f"fault {kind.name}"] += 1
        self.running.append(Running(kind, places, end, world.chance.uniform(0.3, 2.5)))
        if names and world.has_room():  # somebody who meets it at once
            world.launches(*world.chance.choice(AT_ONCE))

    def end_some(self) -> None:
        """Those whose time is over."""
        now, awake = time.monotonic(), self.world.is_awake()
        for one in list(self.running):
            if one.until is None and (awake or one.kind in PROCESSES):
                one.until = now + one.lasts
            if one.until is not None and one.until <= now:
                self._end(one)

    def end_all(self, kinds: Iterable[Kind] | None = None) -> None:
        for one in [r for r in self.running if kinds is None or r.kind in kinds]:
            self._end(one)

    def _end(self, one: Running) -> None:
        self.running.remove(one)
        names = [place.name for place in one.places]
        self.world.tell(f"fault {one.kind.name} ends {' '.join(names)}")
        one.end()
        self.world.disturbed -= set(names)
