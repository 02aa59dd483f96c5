"""`storaged://DATASET/OBJECT`: every object under its old name, wherever its content is, as an fsspec filesystem.

For pandas, pyarrow, DuckDB, Dask and all else that speaks fsspec. It reads and changes nothing. What a file cannot give
comes out as the OSError that its readers expect; an error of the catalog or the configuration stays a StoragedError,
because fsspec takes an OSError in a listing for an empty folder.
"""

from __future__ import annotations

import datetime as dt
import errno
import hashlib
import os
import threading
from collections.abc import Iterable, Sequence
from functools import partial
from glob import has_magic
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, NoReturn

from fsspec import AbstractFileSystem
from fsspec.spec import AbstractBufferedFile
from fsspec.utils import stringify_path

from storaged.clock import SECOND
from storaged.codecs.registry import form
from storaged.config.settings import find_config
from storaged.errors import ObjectNotFound
from storaged.opened import OpenObject, Shown
from storaged.oserrors import os_errors
from storaged.reader import CatalogReader, Found, open_reader
from storaged.work.packs import by_place
from storaged.work.together import caught, together

BLOCK: Final = 1 << 20  # bytes read at a time of what is stored as it is
LINE: Final = 8 << 10  # bytes looked through at a time for the end of a line
GAP: Final = 64 << 10  # bytes between two ranges that are read along rather than asked for separately
RESOLVED: Final = 1_000  # objects that the catalog is asked for at once, right before they are read
WARM_S: Final = 60.0  # a tier whose first byte takes longer is not warm

Range = tuple[int | None, int | None]  # of a content, as slices of Python have it
Wanted = tuple[str, Sequence[Range]]  # a path, and what is read of it


class StoragedFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The objects of one catalog, for reading. `config` is the path of storaged.yaml; without it the one that
    `storagectl` would take ($STORAGED_CONFIG, the working directory, the home directory, /etc).

    Instances may be shared between threads, pickled, and used in forked processes: each process reads storaged.yaml and
    opens the catalog, for reading only, when it first needs them. Every file that is closed is one read of its object.
    """

    protocol = "storaged"
    blocksize = BLOCK

    def __init__(self, config: str | os.PathLike[str] | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._config = None if config is None else Path(config)
        self._locks: dict[int, threading.Lock] = {}  # by process: a parent's thread may hold its own at a fork
        self._opened: tuple[Path, CatalogReader] | None = None

    @property
    def reader(self) -> CatalogReader:
        """The reader of this process. Raises ConfigError, UsageError, CatalogError."""
        file = find_config(self._config, os.environ).absolute()
        with self._locks.setdefault(os.getpid(), threading.Lock()):
            if self._opened is None or self._opened[0] != file or self._opened[1].pid != os.getpid():
                self._opened = file, self._open_reader(file)
            return self._opened[1]

    def _open_reader(self, file: Path) -> CatalogReader:
        return open_reader(file)

    def close(self) -> None:
        """Give the catalog's connections back. Using the filesystem opens them again."""
        with self._locks.setdefault(os.getpid(), threading.Lock()):
            if self._opened is not None:
                self._opened[1].close()

    # -- names -------------------------------------------------------------------------------------------------------

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        """With its last slash, which fsspec takes away: "n/dir" and "n/dir/" may be two objects."""
        if isinstance(path, list):
            return [*map(cls._strip_protocol, path)]
        whole = stringify_path(path)
        stripped = super()._strip_protocol(whole)
        return stripped + whole[len(whole.rstrip("/")) :] if stripped else stripped

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """One object or folder; an empty one whose name ends with a slash marks a folder. An object has its `size` (of
        the content), `mtime` and `created` (seconds since 1970), `dataset`, `generation`, `checksum` (xxh3-128 of the
        content, None until something read it), and where it is: `tier`, `codec`, `stored_bytes`, and whether it is
        `warm`, which is to say readable at once."""
        path = self._strip_protocol(path)
        with os_errors(path):
            reader = self.reader
            try:
                found = reader.look(path)
            except ObjectNotFound:
                if not reader.is_folder(path.removesuffix("/")):
                    raise
                return _folder(path.removesuffix("/"))
            return _folder(path.removesuffix("/")) if found.marks_folder else _file(reader, found)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """What is directly below a path, as of the last scan; not the folder without a name that "a//b" is in."""
        path = self._strip_protocol(path)
        with os_errors(path):
            reader = self.reader
            entries = list(reader.children(path.removesuffix("/")))
            found = [_folder(e) for e in entries if isinstance(e, str) and not e.endswith("/")]
            found += [_file(reader, e) for e in entries if not isinstance(e, str) and not e.marks_folder]
        if not found:
            itself = self.info(path)
            found = [itself] if itself["type"] == "file" else []
        found.sort(key=itemgetter("name"))
        return found if detail else [entry["name"] for entry in found]

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **kwargs: Any
    ) -> Any:
        """All objects below a path, with `withdirs` the folders too."""
        path = self._strip_protocol(path)
        if maxdepth is not None:
            return super().find(_plain(path), maxdepth=maxdepth, withdirs=withdirs, detail=detail, **kwargs)
        top = path.removesuffix("/")
        with os_errors(path):
            reader = self.reader
            shown = list(reader.under(top))
            out = {s.path: _file(reader, s) for s in shown if not s.marks_folder}
            if withdirs and reader.is_folder(top):
                out = {f: _folder(f) for f in _folders(top, [s.path for s in shown])} | out
        if not out and self.isfile(path):
            out[path] = self.info(path)
        return dict(sorted(out.items())) if detail else sorted(out)

    def walk(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> Any:
        """As fsspec does it."""
        return super().walk(_plain(self._strip_protocol(path)), maxdepth=maxdepth, **kwargs)

    def glob(self, path: str, maxdepth: int | None = None, **kwargs: Any) -> Any:
        """As fsspec does it: of a pattern with a slash at its end, folders."""
        path = self._strip_protocol(path)
        if not path.endswith("/") or not has_magic(path):
            return super().glob(path, maxdepth=maxdepth, **kwargs)
        detail = kwargs.pop("detail", False)
        found = super().glob(_plain(path), maxdepth=maxdepth, detail=True, **kwargs)
        found = {name: entry for name, entry in found.items() if entry["type"] == "directory"}
        return found if detail else list(found)

    def du(self, path: str, total: bool = True, maxdepth: int | None = None, withdirs: bool = False, **_: Any) -> Any:
        """Bytes of content below a path, or those of each object."""
        found = self.find(path, maxdepth=maxdepth, withdirs=withdirs, detail=True)
        sizes = {name: entry["size"] for name, entry in found.items()}
        return sum(sizes.values()) if total else sizes

    def exists(self, path: str, **_: Any) -> bool:
        """Raises what is wrong with the catalog or the store, rather than say that nothing is there."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def isfile(self, path: str) -> bool:
        """As `exists`, for objects."""
        try:
            return bool(self.info(path)["type"] == "file")
        except FileNotFoundError:
            return False

    def created(self, path: str) -> dt.datetime:
        """When this generation of the object was first known to exist."""
        return dt.datetime.fromtimestamp(self.info(path)["created"], dt.UTC)

    def modified(self, path: str) -> dt.datetime:
        """When its user last wrote the object."""
        return dt.datetime.fromtimestamp(self.info(path)["mtime"], dt.UTC)

    def ukey(self, path: str) -> str:
        """Changes when the content does, and not when the object is moved or compressed: caches stay good."""
        entry = self.info(path)
        told = [entry.get(key) for key in ("name", "type", "generation", "size", "mtime")]
        return hashlib.sha256(repr(told).encode()).hexdigest()

    def checksum(self, path: str) -> int:
        """`ukey` as a number."""
        return int(self.ukey(path), 16)

    # -- content -----------------------------------------------------------------------------------------------------

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        cache_options: dict[str, Any] | None = None,
        cache_type: str | None = None,
        **_: Any,
    ) -> StoragedFile:
        if mode != "rb":
            self._refuse()
        return StoragedFile(self, path, self._open_object(path), block_size, cache_type, cache_options)

    def open_object(self, path: str) -> OpenObject:
        """An object's content, to be closed. Raises OSError as opening a file does."""
        return self._open_object(self._strip_protocol(path))

    def _open_object(self, path: str, found: Found | None = None) -> OpenObject:
        with os_errors(path):
            reader = self.reader
            try:
                return reader.open(path, found)
            except ObjectNotFound:
                if reader.is_folder(path.removesuffix("/")):
                    raise IsADirectoryError(errno.EISDIR, "this is a folder", path) from None
                raise

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """The content, or its range from `start` to `end`; negative ones count from its end."""
        return self._cat_object(self._strip_protocol(path), [(start, end)], GAP)[0]

    def cat(self, path: Any, recursive: bool = False, on_error: str = "raise", **_: Any) -> Any:
        """Several objects are read at a time and come as {path: content}; what lies together in a pack is fetched
        together."""
        paths = self.expand_path(path)
        if recursive:
            paths = sorted({name for p in paths for name in self.find(p)})
        if isinstance(path, str | os.PathLike) and paths == [self._strip_protocol(path)]:
            return self.cat_file(paths[0])
        contents = self._cat_objects([(p, [(None, None)]) for p in paths], GAP, on_error)
        return {
            p: content[0] if isinstance(content, list) else content
            for p, content in zip(paths, contents, strict=True)
            if on_error == "return" or isinstance(content, list)
        }

    def cat_ranges(
        self,
        paths: list[str],
        starts: int | Sequence[int | None] | None,
        ends: int | Sequence[int | None] | None,
        max_gap: int | None = None,
        on_error: str = "return",
        **_: Any,
    ) -> list[Any]:
        """Ranges of objects, one open per object; those of one object that lie `max_gap` bytes apart or less (default
        64 KiB) are read as one, and what lies together in a pack is fetched together."""
        if not isinstance(paths, list):
            raise TypeError("paths is a list")
        lows = [starts] * len(paths) if starts is None or isinstance(starts, int) else list(starts)
        highs = [ends] * len(paths) if ends is None or isinstance(ends, int) else list(ends)
        gap = GAP if max_gap is None else max_gap
        wanted: dict[str, list[int]] = {}
        for place, path in enumerate(paths):
            wanted.setdefault(self._strip_protocol(path), []).append(place)
        ranges = list(zip(lows, highs, strict=True))
        items = [(path, [ranges[place] for place in places]) for path, places in wanted.items()]
        out: list[Any] = [None] * len(ranges)
        for places, found in zip(wanted.values(), self._cat_objects(items, gap, on_error), strict=True):
            for n, place in enumerate(places):
                out[place] = found[n] if isinstance(found, list) else found
        return out

    def _cat_objects(self, items: Sequence[Wanted], gap: int, on_error: str) -> list[list[bytes] | Exception]:
        """The ranges of each object, or what was wrong with it."""
        out: list[list[bytes] | Exception] = []
        for start in range(0, len(items), RESOLVED):
            out += self._cat_some(items[start : start + RESOLVED], gap, on_error)
        return out

    def _cat_some(self, items: Sequence[Wanted], gap: int, on_error: str) -> list[list[bytes] | Exception]:
        reader = self.reader
        found = reader.find(path for path, _ in items) if len(items) > 1 else {}
        places = [by_place(found[path][1]) if path in found else ("", 0) for path, _ in items]
        order = sorted(range(len(items)), key=places.__getitem__)
        known = [(found[path], ranges) for path, ranges in items if path in found]
        parts = ((held, span) for (shown, held), ranges in known for span in _spans(ranges, shown.size))

        def read(n: int) -> list[bytes]:
            path, ranges = items[n]
            return self._cat_object(path, ranges, gap, found.get(path))

        with reader.packs.expecting(parts):
            contents = together(caught(read, on_error), order)
        return [content for _, content in sorted(zip(order, contents, strict=True), key=itemgetter(0))]

    def _cat_object(self, path: str, ranges: Sequence[Range], gap: int, found: Found | None = None) -> list[bytes]:
        with os_errors(path), self._open_object(path, found) as opened:
            out = opened.read_ranges(_spans(ranges, opened.shown.size), gap)
            opened.delivered = sum(map(len, out))
            return out

    # -- what it does not do -------------------------------------------------------------------------------------------

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise PermissionError(errno.EPERM, "storaged:// is for reading; `storagectl rm` deletes")

    mkdir = makedirs = rmdir = rm = rm_file = _rm = cp_file = copy = mv = touch = _refuse
    pipe = pipe_file = put = put_file = _refuse


class StoragedFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """One object, open for reading. `info()` tells the generation that is being read.

    An encoded blob is read block by block and keeps its last blocks decoded, so nothing is read ahead there unless
    `cache_type` asks for it.
    """

    DEFAULT_BLOCK_SIZE = BLOCK

    def __init__(
        self,
        fs: StoragedFileSystem,
        path: str,
        opened: OpenObject,
        block_size: int | None,
        cache_type: str | None,
        cache_options: dict[str, Any] | None,
    ) -> None:
        self._object = opened
        # No method of its own: a cycle would keep the files that pyarrow forgets to close until the collector comes.
        self._fetch_range = partial(_fetch, path, opened)
        shown = opened.shown
        block = form(shown.codec).block
        cache_type = cache_type or ("none" if block else "readahead")
        how: dict[str, Any] = {"cache_type": cache_type, "cache_options": cache_options, "size": shown.size}
        super().__init__(fs, path, block_size=block_size or block or BLOCK, **how)
        self._details = _file(fs.reader, shown)

    def read(self, length: int | None = -1) -> bytes:
        """Up to `length` bytes."""
        data: bytes = super().read(length)
        self._object.delivered += len(data)
        return data

    def readuntil(self, char: bytes = b"\n", blocks: int | None = None) -> bytes:
        """Up to and with the next `char`. What is looked at behind it does not count as read."""
        before = self._object.delivered
        data: bytes = super().readuntil(char, blocks or LINE)
        self._object.delivered = before + len(data)
        return data

    def close(self) -> None:
        """Close it and count the read; twice is once."""
        super().close()
        self._object.close()


def _spans(ranges: Sequence[Range], size: int) -> list[tuple[int, int]]:
    """Where these begin and end in a content of so many bytes."""
    return [slice(start, end).indices(size)[:2] for start, end in ranges]


def _fetch(path: str, opened: OpenObject, start: int, end: int) -> bytes:
    with os_errors(path):
        return opened.read_at(start, end - start)


def _file(reader: CatalogReader, shown: Shown) -> dict[str, Any]:
    tier = reader.context.tiers.get(shown.tier)
    return {
        "name": shown.path,
        "size": shown.size,
        "type": "file",
        "mtime": shown.mtime_us / SECOND,
        "created": shown.created_us / SECOND,
        "dataset": shown.dataset,
        "generation": shown.generation,
        "checksum": shown.digest or None,
        "tier": shown.tier,
        "codec": shown.codec,
        "stored_bytes": shown.stored_bytes,
        "warm": tier is not None and tier.read_latency_s <= WARM_S,
    }


def _folder(path: str) -> dict[str, Any]:
    return {"name": path, "size": 0, "type": "directory"}


def _plain(folder: str) -> str:
    """The path of a folder without a slash at its end, unless that is a part of it."""
    return folder if folder.endswith("//") else folder.removesuffix("/")


def _folders(top: str, paths: Iterable[str]) -> set[str]:
    """The folders on the way from `top` to each path, with `top` itself unless it is the root of all."""
    found = {top} - {""}
    for path in paths:
        folder = path.rpartition("/")[0]
        while len(folder) > len(top) and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return {folder for folder in found if not folder.endswith("/")}
