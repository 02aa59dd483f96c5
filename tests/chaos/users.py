"""Users, who never heard of storaged: what they do to files by their paths, and what they may expect then.

A user does one thing at a time. What a path holds before is asked of the filesystem, since storaged may have taken the
file away or brought it back.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.chaos.oracle import Name, told
from tests.chaos.world import ROOTS, World

SIZES = (1, 40, 900, 4_000, 4_000, 30_000, 30_000, 700_000)
FOLDERS = ("", "a/", "a/b/", "c d/")
MODES = (0o644, 0o640, 0o600, 0o664, 0o755)
BETWEEN_S = 0.012  # more than a tick of the filesystem's clock


class Users:
    """What they do is chosen by the world's chance; every choice is told."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.chance = world.chance
        self.oracle = world.oracle
        self.apart: list[tuple[Name, Path]] = []  # moved away, and where it is
        self.copies: list[tuple[str, Path]] = []  # of a folder of a root: which, and where
        self._number = 0
        self.actions: list[tuple[int, Callable[[], None]]] = [
            (5, self.create),
            (4, self.write_over),
            (4, self.append),
            (4, self.rename_over),
            (2, self.same_size_and_time),
            (4, self.delete),
            (3, self.change_mode),
            (2, self.touch),
            (2, self.rename),
            (2, self.link),
            (2, self.move_away),
            (3, self.move_back),
            (2, self.copy_folder),
            (2, self.link_folder),
            (2, self.restore_file),
            (2, self.restore_folder),
        ]

    def act(self) -> None:
        """One thing."""
        weights, actions = zip(*self.actions, strict=True)
        self.chance.choices(actions, weights)[0]()
        time.sleep(BETWEEN_S)

    # -- choices -------------------------------------------------------------------------------------------------------

    def path(self, name: Name) -> Path:
        return self.world.place / name[0] / name[1]

    def datasets(self) -> list[str]:
        return [name for name in ROOTS if name not in self.world.disturbed]

    def anything(self) -> Name | None:
        """A name that was used before, whether or not a file is there now."""
        found = [name for name in self.oracle.names if name[0] in self.datasets() and not name[1].endswith(".part")]
        return self.chance.choice(found) if found else None

    def a_file(self) -> Name | None:
        """A name with a file, most likely."""
        for _ in range(8):
            if (name := self.anything()) is not None and self.path(name).is_file():
                return name
        return None

    def a_new_name(self, ending: str = ".csv") -> Name | None:
        if not self.datasets():
            return None
        self._number += 1
        return self.chance.choice(self.datasets()), f"{self.chance.choice(FOLDERS)}f{self._number}{ending}"

    def content(self, size: int | None = None) -> bytes:
        """Another one each time; every second shrinks."""
        self._number += 1
        size = self.chance.choice(SIZES) if size is None else size
        head = f"{self._number},{self.chance.randrange(10**6)},".encode()
        body = self.chance.randbytes(size) if self.chance.random() < 0.5 else head * (size // len(head) + 1)
        return (head + body)[: max(size, len(head))] if size > len(head) else (head + body)[:size]

    # -- what they do --------------------------------------------------------------------------------------------------

    def _write(self, path: Path, content: bytes, flags: int = os.O_TRUNC | os.O_CREAT) -> os.stat_result:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | flags, 0o666)
        try:
            os.write(handle, content)
            return os.fstat(handle)
        finally:
            os.close(handle)

    def _tell(self, what: str, name: Name, content: bytes | None = None) -> None:
        self.world.counts["users' actions"] += 1
        self.world.tell(f"user: {what} {'/'.join(name)}" + ("" if content is None else f" = {told(content)}"))

    def create(self) -> None:
        if (name := self.a_new_name()) is None:
            return
        content = self.content()
        at = self._write(self.path(name), content)
        self.oracle.wrote(name, content, at.st_mode & 0o7777)
        self._tell("creates", name, content)

    def write_over(self) -> None:
        """In place: every other name of the same file has it too."""
        if (name := self.anything()) is not None:
            self._tell("writes over", name, content := self.content())
            self._changed(name, content, self._write(self.path(name), content))

    def append(self) -> None:
        """`>>` to a path: to what is there, or to a new and empty file."""
        if (name := self.anything()) is None:
            return
        path, more = self.path(name), self.content(self.chance.choice((10, 500)))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            file.seek(0)
            before = file.read()
            file.write(more)
            file.flush()
            at = os.fstat(file.fileno())
        self._tell(f"appends {len(more)} to {told(before)} at", name)
        if before:
            self.world.complaints += self.oracle.raw(name, before, None)
        self._changed(name, before + more, at, before)

    def _changed(self, name: Name, content: bytes, at: os.stat_result, before: bytes | None = None) -> None:
        """The file `at` holds `content` now; it has this name, if it was not deleted at that moment."""
        theirs = [other for other in self.oracle.names if self._is_at(other, at)]
        if name not in theirs:
            self._tell("wrote into what was just being deleted:", name)
            self.world.counts["writes into a delete"] += 1
            before = content if before is None else before
            self.oracle.lost_to_a_release(name, before, content, at.st_mode & 0o7777)
        for other in theirs:
            self.oracle.wrote(other, content, at.st_mode & 0o7777)

    def _is_at(self, name: Name, at: os.stat_result) -> bool:
        with suppress(OSError):
            found = self.path(name).stat()
            return (found.st_dev, found.st_ino) == (at.st_dev, at.st_ino)
        return False

    def rename_over(self) -> None:
        """As editors save."""
        if (name := self.anything()) is None:
            return
        part, content = (name[0], f"{name[1]}.{self._number}.part"), self.content()
        at = self._write(self.path(part), content)
        os.chmod(self.path(part), mode := self.chance.choice(MODES))
        self.oracle.wrote(part, content, at.st_mode & 0o7777)
        try:
            os.replace(self.path(part), self.path(name))
        except FileNotFoundError:  # it was taken for an object, and moved
            self._tell("could not rename over", name)
            return
        self.oracle.deleted(part)
        self.oracle.wrote(name, content, mode)
        self._tell("renames over", name, content)

    def same_size_and_time(self) -> None:
        """A tool that puts other bytes of the same size there and gives the file the time it had."""
        if (name := self.a_file()) is None:
            return
        path = self.path(name)
        try:
            was = path.stat()
        except FileNotFoundError:
            return
        content = self.chance.randbytes(was.st_size)
        if self.chance.random() < 0.5:
            aside = self.world.place / "user" / f"same{self._number}"
            self._write(aside, content)
            os.utime(aside, ns=(was.st_atime_ns, was.st_mtime_ns))
            os.chmod(aside, was.st_mode & 0o7777)
            part = (name[0], f"{name[1]}.{self._number}.part")
            shutil.copy2(aside, self.path(part))
            self.oracle.wrote(part, content, was.st_mode & 0o7777)
            with suppress(FileNotFoundError):
                os.replace(self.path(part), path)
                self.oracle.deleted(part)
                self.oracle.wrote(name, content, was.st_mode & 0o7777)
                self._tell("puts the same size and time in place of", name, content)
            return
        try:
            at = self._write(path, content, flags=0)
        except FileNotFoundError:
            return
        with suppress(FileNotFoundError):
            os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
        self._tell("writes the same size and time into", name, content)
        self._changed(name, content, at)

    def delete(self) -> None:
        if (name := self.a_file()) is None:
            return
        with suppress(FileNotFoundError):
            self.path(name).unlink()
            self.oracle.deleted(name)
            self._tell("deletes", name)

    def change_mode(self) -> None:
        if (name := self.a_file()) is None:
            return
        mode = self.chance.choice(MODES)
        with suppress(FileNotFoundError):
            before = self.path(name).stat()
            os.chmod(self.path(name), mode)
            theirs = [other for other in self.oracle.names if self._is_at(other, before)]
            for other in {name, *theirs}:
                self.oracle.changed_mode(other, mode, sure=other in theirs)
            self._tell(f"chmod {mode:o}", name)

    def touch(self) -> None:
        if (name := self.a_file()) is None:
            return
        with suppress(FileNotFoundError):
            when = time.time() - self.chance.choice((0, 0, 3_600, 86_400))
            os.utime(self.path(name), (when, when))
            self._tell("touches", name)

    def _take(self, name: Name, to: Path) -> tuple[bytes, int] | None:
        """mv: what came along, or nothing where there was no file any more."""
        try:
            os.rename(self.path(name), to)
        except FileNotFoundError:
            return None
        except OSError:  # another filesystem: as mv does
            try:
                if self.path(name).is_file():
                    to.unlink(missing_ok=True)  # or every other name of that file would hold this content
                shutil.copy2(self.path(name), to)
                self.path(name).unlink()
            except FileNotFoundError:
                to.unlink(missing_ok=True)
                return None
        return to.read_bytes(), to.stat().st_mode & 0o7777

    def rename(self) -> None:
        name, to = self.a_file(), self.anything() if self.chance.random() < 0.4 else self.a_new_name()
        if name is None or to is None or name == to:
            return
        self.path(to).parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            if self.path(to).exists() and self.path(to).samefile(self.path(name)):
                return  # rename(2) of two names of one file does nothing
            if to[0] != name[0] and self.path(name).stat().st_nlink > 1:
                return  # no file is in two datasets: one of them may be where nothing must change
        if (came := self._take(name, self.path(to))) is not None:
            self.oracle.deleted(name)
            self.oracle.wrote(to, *came)
            self._tell(f"renames {'/'.join(name)} to", to, came[0])

    def move_away(self) -> None:
        if (name := self.a_file()) is None:
            return
        self._number += 1
        to = self.world.place / "user" / f"away{self._number}"
        if (came := self._take(name, to)) is not None:
            self.oracle.deleted(name)
            self.apart.append((name, to))
            self._tell("moves away", name, came[0])

    def move_back(self) -> None:
        """To where it was, whatever is there now."""
        found = [one for one in self.apart if one[0][0] in self.datasets()]
        if not found:
            return
        name, at = one = self.chance.choice(found)
        self.apart.remove(one)
        content, mode = at.read_bytes(), at.stat().st_mode & 0o7777
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self._moved(at, self.path(name))
        self.oracle.wrote(name, content, mode)
        self._tell("moves back", name, content)

    @staticmethod
    def _moved(at: Path, to: Path) -> None:
        try:
            os.replace(at, to)
        except OSError:  # another filesystem: as mv does
            to.unlink(missing_ok=True)
            shutil.copy2(at, to)
            at.unlink()

    def link(self) -> None:
        if (name := self.a_file()) is None or (to := self.a_new_name()) is None or to[0] != name[0]:
            return
        self.path(to).parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            os.link(self.path(name), self.path(to))
            at = self.path(to).stat()
            content = self.path(to).read_bytes()
            self.oracle.wrote(to, content, at.st_mode & 0o7777)
            self._tell(f"links {'/'.join(name)} as", to, content)

    def _a_folder(self) -> str | None:
        """A folder of a root, or all of it; as dataset/folder."""
        if not self.datasets():
            return None
        folder = f"{self.chance.choice(self.datasets())}/{self.chance.choice(FOLDERS)}".rstrip("/")
        return folder if (self.world.place / folder).is_dir() else None

    def _copied(self, how: str) -> None:
        if (folder := self._a_folder()) is None:
            return
        self._number += 1
        to = self.world.place / "user" / f"copy{self._number}"
        # a file may vanish while cp walks; what it did copy is good
        done = subprocess.run(["cp", how, str(self.world.place / folder), str(to)], capture_output=True, check=False)
        if to.is_dir():
            self.copies.append((folder, to))
        self._tell(f"cp {how} gives {done.returncode} of", (folder, ""))

    def copy_folder(self) -> None:
        self._copied("-a")

    def link_folder(self) -> None:
        """A snapshot by hard links."""
        self._copied("-al")

    def restore_file(self) -> None:
        """One file of an old copy, over whatever is there."""
        found = [(f, at) for f, at in self.copies if f.split("/")[0] in self.datasets()]
        if not found:
            return
        folder, at = self.chance.choice(found)
        files = sorted(p for p in at.rglob("*") if p.is_file() and ".storaged" not in p.parts)
        if files:
            self._restore(folder, at, self.chance.choice(files))

    def restore_folder(self) -> None:
        """All of an old copy, over whatever is there."""
        found = [(f, at) for f, at in self.copies if f.split("/")[0] in self.datasets()]
        if not found:
            return
        folder, at = self.chance.choice(found)
        for file in sorted(p for p in at.rglob("*") if p.is_file() and ".storaged" not in p.parts):
            self._restore(folder, at, file)

    def _restore(self, folder: str, at: Path, file: Path) -> None:
        dataset, _, inner = f"{folder}/".partition("/")
        name = (dataset, inner + str(file.relative_to(at)))
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        content, mode = file.read_bytes(), file.stat().st_mode & 0o7777
        done = subprocess.run(["cp", "-a", str(file), str(path)], capture_output=True, text=True, check=False)
        if done.returncode:
            self._tell(f"cannot restore ({done.stderr.strip()[-60:]})", name)
            return
        self._tell("restores", name, content)
        try:
            self._changed(name, content, path.stat())
        except FileNotFoundError:
            self.oracle.lost_to_a_release(name, content, content, mode)
        time.sleep(BETWEEN_S)
