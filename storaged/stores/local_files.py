"""Files of a LocalStore while they are read and written."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Self

from storaged.errors import SourceChanged, StoreError
from storaged.model import Origin
from storaged.stores.base import Had, Stat, Wanted
from storaged.stores.local_errors import translated
from storaged.stores.local_metadata import ORIGIN_XATTR, Passed, folders_text, give_back, metadata_of
from storaged.stores.local_names import READ
from storaged.stores.local_walk import identity_of, stat_of
from storaged.stores.origins import origin_text, parse_origin, shortened

BUFFER = 1 << 20  # bytes gathered before they are written
ZEROS = bytes(4 << 10)  # a hole is made of so many zeros: the block of most filesystems


def write_origin(fd: int, origin: Origin) -> None:
    """Tag a file. Where the filesystem has no room for a long name (ext4: one block for all), its digest is kept."""
    try:
        os.setxattr(fd, ORIGIN_XATTR, origin_text(origin).encode())
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.E2BIG, errno.ERANGE):
            raise
        os.setxattr(fd, ORIGIN_XATTR, origin_text(shortened(origin)).encode())


def read_origin(fd: int) -> Origin | None:
    """The tag of a file, or None where there is none that we wrote."""
    try:
        return parse_origin(os.getxattr(fd, ORIGIN_XATTR))
    except OSError as error:
        if error.errno not in (errno.ENODATA, errno.ENOTSUP):
            raise
        return None


def contents_in(wanted: Sequence[Wanted], folder: int, above: Sequence[Passed]) -> Mapping[str, Had]:
    """Those of these files of an open directory that are what they must be: before their first byte is read, and after
    their last. `above`: the directories below the root that it is in, itself included."""
    beside = {"folders": folders_text(above)} if above else {}
    found: dict[str, Had] = {}
    for key, identity, size in wanted:
        name = key.rpartition("/")[2]
        try:
            if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                continue  # to open a device may do things
            fd = os.open(name, READ, dir_fd=folder)
        except OSError:
            continue
        try:
            before = os.fstat(fd)
            if identity_of(before) != identity:
                continue
            metadata = metadata_of(fd, before)
            data = os.read(fd, size + 1)
            if len(data) == size and identity_of(os.fstat(fd)) == identity:
                metadata.update(beside)
                found[key] = Had(data, metadata)
        except OSError:
            continue
        finally:
            os.close(fd)
    return found


class LocalReader:
    """A regular file held open. Do not close it while another thread reads."""

    def __init__(self, fd: int, key: str, above: Sequence[Passed]) -> None:
        """`above`: the directories below the root that it is in, as they were when it was opened. Raises OSError."""
        self._fd = fd
        self._above = above
        self._open = True
        self.found = os.fstat(fd)
        self._stat = stat_of(key, self.found)
        self._written = _written(self.found)

    @property
    def stat(self) -> Stat:
        """As it was when opened."""
        return self._stat

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`. Raises SourceChanged if the file was written to since it was opened."""
        key = self._stat.key
        if not self._open:
            raise StoreError(f"{key!r} is closed", key=key)
        parts: list[bytes] = []
        with translated(key):
            while length > 0 and (data := os.pread(self._fd, length, offset)):
                parts.append(data)
                offset += len(data)
                length -= len(data)
            found = os.fstat(self._fd)
        if _written(found) != self._written:
            raise SourceChanged(f"{key!r} was written to while it was read", key=key)
        return b"".join(parts)

    @property
    def copy_source(self) -> None:
        """There is no server that could."""

    def metadata(self) -> Mapping[str, str]:
        """Mode, owner, mtime to the nanosecond, links, extended attributes in base64; modes and owners of the
        directories below the root that it is in."""
        with translated(self._stat.key):
            told = metadata_of(self._fd)
        return {**told, "folders": folders_text(self._above)} if self._above else told

    def origin(self) -> Origin | None:
        with translated(self._stat.key):
            return read_origin(self._fd)

    def close(self) -> None:
        """Give the file back; twice is once."""
        if self._open:
            self._open = False
            os.close(self._fd)

    def __del__(self) -> None:
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _written(found: os.stat_result) -> tuple[int, int, int]:
    """What a write alters, without ctime: a rename or a link made meanwhile changes nothing that was read."""
    return found.st_ino, found.st_size, found.st_mtime_ns


class LocalUpload:
    """A temporary file until it is committed; for one thread at a time. Whatever raises in it aborts it."""

    def __init__(
        self,
        key: str,
        fd: int,
        mtime_us: int | None,
        mode: int,
        publish: Callable[[Mapping[str, str] | None], Stat],
        discard: Callable[[], None],
        ended: Callable[[bool], None],
        *,
        holes: bool = False,
    ) -> None:
        """`mode`: of what has no original's. `ended`: nobody needs it any more; whether an
        original came back. `holes`: what is all zeros
        takes no room."""
        self._key = key
        self._mode = mode
        self._fd = fd
        self._mtime_us = mtime_us
        self._publish = publish
        self._discard = discard
        self._holes = holes
        self._at = 0  # bytes that the file has up to now, a hole at its end included
        self._ended = ended
        self._back = False
        self._buffer = bytearray()
        self._open = True

    def write(self, data: bytes) -> None:
        """Append. Raises StoreFull."""
        with self._aborting():
            self._buffer += data
            if len(self._buffer) >= BUFFER:
                self._flush()

    def commit(self, origin: Origin, *, metadata: Mapping[str, str] | None = None) -> Stat:
        with self._aborting():
            self._flush()
            os.ftruncate(self._fd, self._at)  # a hole at the end was not written
            write_origin(self._fd, origin)
            mtime_ns = None if self._mtime_us is None else self._mtime_us * 1_000
            os.fchmod(self._fd, self._mode)
            if metadata:
                mtime_ns = give_back(self._fd, metadata, mtime_ns)
            if mtime_ns is not None:
                os.utime(self._fd, ns=(mtime_ns, mtime_ns))
            os.fsync(self._fd)
            # out of the page cache, so that whoever reads it back to prove it reads the medium
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
            found = self._publish(metadata)
            self._back = metadata is not None
        self._close()
        if not self._back:
            self._ended(False)
        return found

    def _close(self) -> None:
        if self._open:
            self._open = False
            os.close(self._fd)

    def __del__(self) -> None:
        self._close()

    @property
    def proven(self) -> bool:
        """Never: a filesystem tells no checksum."""
        return False

    def abort(self) -> None:
        """Remove what was written so far; once it has ended, nothing."""
        if self._open:
            self._close()
            self._discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()
        if self._back and kind is None:  # else what should have come after commit may not have
            self._ended(True)

    @contextlib.contextmanager
    def _aborting(self) -> Iterator[None]:
        if not self._open:
            raise StoreError(f"{self._key!r}: this upload has ended", key=self._key)
        try:
            with translated(self._key):
                yield
        except StoreError:
            self.abort()
            raise

    def _flush(self) -> None:
        with memoryview(self._buffer) as data:
            for start, end in self._runs():
                if self._holes:
                    os.lseek(self._fd, self._at + start, os.SEEK_SET)
                done = start
                while done < end:
                    done += os.write(self._fd, data[done:end])
        self._at += len(self._buffer)
        self._buffer.clear()

    def _runs(self) -> Iterator[tuple[int, int]]:
        """What of the buffer is to be written: from where to where."""
        data, start = self._buffer, 0
        for at in range(0, len(data), len(ZEROS)) if self._holes else ():
            if data.startswith(ZEROS, at):
                yield start, at
                start = at + len(ZEROS)
        yield start, len(data)
