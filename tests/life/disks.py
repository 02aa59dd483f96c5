"""What ordinary life does to disks and files: unmounted, copied back, linked, changed in mode."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from storaged.work import targets
from storaged.work.doctor.verify import Verified, verify
from tests.life.world import World


def verified(world: World) -> Verified:
    return verify(world.context, targets.pages(world.context, "lake"), chance=random.Random(7))


def anew(path: Path) -> None:
    """Every file under a path becomes another file of the same content and times, as `cp -a` from a copy makes it."""
    copy = path.with_name(path.name + "-copy")
    subprocess.run(["/bin/cp", "-a", path, copy], check=True)
    shutil.rmtree(path)
    copy.rename(path)


def away(path: Path) -> Path:
    """What an unmounted disk leaves: an empty mount point. Returns where the disk is now."""
    disk = path.with_name(path.name + "-disk")
    path.rename(disk)
    path.mkdir()
    return disk


def back(path: Path, disk: Path) -> None:
    """Mounts it again. Whatever was written into the mount point meanwhile is an error."""
    assert list(path.rglob("*")) == []
    path.rmdir()
    disk.rename(path)


def one_blob(world: World, tier: str = "cold") -> Path:
    [key] = world.stored(tier)
    return world.place / tier / key


def chmod(path: Path) -> None:
    path.chmod(0o400)


def another_name(path: Path) -> None:
    os.link(path, path.with_name("second-name"))


def away_and_back(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.with_name("elsewhere").rename(path)


def put_there_again(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)  # no extended attributes, another mtime: what is inside it still tells


METADATA: list[Callable[[Path], None]] = [chmod, another_name, away_and_back, put_there_again]
