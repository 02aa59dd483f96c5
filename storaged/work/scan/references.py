"""Files that hold references into other files: found as a scan goes by, read when they are new or changed.

Which objects they name is in the catalog from then on, and a guard keeps these where they are, as they are: a reader of
the references opens them by their paths, at offsets into their bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, starmap
from typing import Final, NamedTuple

import sqlalchemy as sa

from storaged.catalog import placements, references
from storaged.catalog.references import ALL, LastLook, NamedObject
from storaged.catalog.schema import objects
from storaged.codecs.base import Content
from storaged.codecs.registry import form as form_named
from storaged.errors import ObjectNotFound, SourceChanged, StoragedError, StoreError
from storaged.model import IDENTITY
from storaged.stores.base import Stat
from storaged.work.content import open_current
from storaged.work.context import Context
from storaged.work.scan import containers
from storaged.work.scan.icechunk import CONTAINER, MANIFEST
from storaged.work.scan.kerchunk import NoReferences, Unfollowed
from storaged.work.scan.page import between
from storaged.work.scan.referring import SIGNS, form_of, may_hold, named
from storaged.work.scan.roots import THROUGH, Roots

MOST_LOOKED: Final = 100_000  # files that one scan looks into for the first time; the others wait for the next one
MOST_COUNTED: Final = 100_000  # names of one file that hold nothing: there may be more
PAGE: Final = 10_000
NEIGHBOURS: Final = 100  # files that one thread looks into, one after the other
ASK_AGAIN: Final = "?"  # the identity of a file that its store did not let us read


class File(NamedTuple):
    """A file that may hold references. `identity`: at its original key; "": its content is elsewhere. `empty`: it holds
    none."""

    key: str
    identity: str
    empty: bool = False


class References:
    """Looks at the files of one dataset."""

    def __init__(self, context: Context, dataset: str, dataset_id: int) -> None:
        self.context = context
        self._left = 0
        self._dataset, self._dataset_id = dataset, dataset_id
        self._looks = MOST_LOOKED
        with context.catalog.read() as conn:
            ids = placements.dataset_ids(conn)
            self._began = references.last(conn)
        self._roots = Roots(context, ids)
        self._of_repositories: dict[str, containers.Containers] = {}  # of Icechunk, by folder

    def see(self, page: Iterable[Stat]) -> None:
        """Look at those of these files at the root that may hold references and are not known as they are."""
        self.look([File(stat.key, stat.identity, not stat.size) for stat in page if may_hold(stat.key)])

    def wanted(self, keys: str) -> sa.ColumnElement[bool]:
        """Which objects of these keys, joined, are to be looked at, where the catalog holds all of them as they are."""
        signs = [sign for sign in SIGNS if sign in keys]
        return references.unlooked(signs=signs, roots=self._roots.digest)

    def see_unchanged(self, low: str, high: str | None) -> None:
        """Look at them, after the key `low` and up to `high` (None: to the end)."""
        o = objects.c
        query = between(sa.select(o.name, o.raw_identity, o.size == 0), self._dataset_id, low, high)
        with self.context.catalog.read() as conn:
            wanted = references.unlooked(signs=SIGNS, roots=self._roots.digest)
            found = conn.execute(query.where(wanted)).all()
        self.look([file for file in starmap(File, found) if may_hold(file.key)])

    def see_elsewhere(self, names: Iterable[str]) -> None:
        """The same of objects whose content is elsewhere."""
        self.look([File(name, "") for name in names if may_hold(name)])

    def close(self) -> tuple[int, int, int]:
        """Forget those that are gone. Returns how many hold references, how many of these could not be read, and how
        many files were left for the next scan."""
        references.forget_gone(self.context.catalog, self._dataset_id, until=self._began)
        with self.context.catalog.read() as conn:
            return *references.counts(conn, self._dataset_id), self._left

    def read(self, file: File, form: str) -> bool:
        """Read what a file names into the catalog. False: it is another file by now, or somebody else reads it."""
        if not form:
            return self._record(file, "")
        naming = _Naming(self.context, self._roots, self._dataset_id, file, form)
        unread = ""
        try:
            with self._opened(file) as content:
                naming.take(self._followed(file.key, naming, named(form, content)))
        except (SourceChanged, ObjectNotFound, _Forgotten):
            naming.forget()
            return False
        except NoReferences:
            naming.forget()
            return self._record(file, "")
        except StoreError as error:
            unread, file = error.message, file._replace(identity=ASK_AGAIN)
        except StoragedError as error:
            unread = error.message
        if not unread and not naming.found:
            naming.forget()
            return self._record(file, "")
        return naming.finish(file, form, unread)

    def _record(self, file: File, form: str) -> bool:
        """It holds none."""
        return _Naming(self.context, self._roots, self._dataset_id, file, form).finish(file, form, "")

    def look(self, files: Sequence[File]) -> None:
        """Look into those of these files that are not known as they are."""
        for start in range(0, len(files), PAGE):
            self._look(files[start : start + PAGE])

    def _look(self, files: Sequence[File]) -> None:
        with self.context.catalog.read() as conn:
            known = references.looked(conn, self._dataset_id, [file.key for file in files])
        wanted, again = list[File](), list[tuple[File, str]]()
        for file in files:
            was = known.get(file.key)
            same = was is not None and was.identity == (file.identity or was.identity) != ASK_AGAIN
            if was is None or not same:
                if not file.empty or was is not None:
                    wanted.append(file)
            elif was.form and not self._means_the_same(file.key, was):
                again.append((file, was.form))
        self._left += max(0, len(wanted) - self._looks)
        wanted = wanted[: self._looks]
        self._looks -= len(wanted)
        told = list(zip(wanted, self._forms(wanted), strict=True))
        fresh = [(file.key, file.identity) for file, form in told if form == "" and file.key not in known]
        with self.context.catalog.begin() as conn:
            references.note_none(conn, self._dataset_id, fresh, now_us=self.context.now_us())
        again += [(file, form) for file, form in told if form or (form == "" and file.key in known)]
        for file, form in again:
            self.read(file, form)

    def _means_the_same(self, key: str, was: LastLook) -> bool:
        """Whether what a file names means what it meant: other roots, or containers, may be configured since."""
        roots = self._roots.digest
        if was.roots == roots or was.form != MANIFEST:
            return was.roots == roots
        try:
            return was.roots == containers.digest_of(self._containers(key), roots)
        except StoragedError:
            return False

    def _followed(self, key: str, naming: _Naming, urls: Iterable[str | None]) -> Iterator[str | None]:
        """What a file names, with what its containers stand for. Raises Unfollowed behind the last, for those of which
        that is not known, and as `_containers` does."""
        missing = ""
        for url in urls:
            if url is None or not url.startswith(CONTAINER):
                yield url
                continue
            known = self._containers(key)
            naming.read_with = containers.digest_of(known, self._roots.digest)
            try:
                yield containers.located(url, known)
            except Unfollowed as error:
                missing = missing or error.message
        if missing:
            raise Unfollowed(missing)

    def _containers(self, key: str) -> containers.Containers:
        """Those of the repository that a manifest is in, as they are configured now. Raises Unfollowed, StoreError."""
        folder = containers.repository_of(key)
        if folder not in self._of_repositories:
            self._of_repositories[folder] = self._read_containers(folder)
        return self._of_repositories[folder]

    def _read_containers(self, folder: str) -> containers.Containers:
        for name in containers.FILES:
            key = f"{folder}{name}"
            try:
                identity = self.context.root(self._dataset).identity(key)
            except ObjectNotFound:
                identity = ""
            try:
                with self._opened(File(key, identity)) as content:
                    return containers.read(name, content)
            except ObjectNotFound:
                continue
        return {}

    def _forms(self, files: Sequence[File]) -> list[str | None]:
        """Which forms of references they seem to have; None: it cannot be told now, and the next scan asks again."""

        def one(file: File) -> str | None:
            if file.empty:
                return ""
            try:
                with self._opened(file) as content:
                    return form_of(file.key, content)
            except StoragedError:
                return None

        def neighbours(some: Sequence[File]) -> list[str | None]:
            try:
                with self.context.root(self._dataset).near():
                    return [one(file) for file in some]
            except StoragedError:  # their folder was moved meanwhile
                return [None] * len(some)

        if not files:
            return []
        threads = self.context.settings.workers.threads
        step = min(NEIGHBOURS, -(-len(files) // threads))
        runs = [files[start : start + step] for start in range(0, len(files), step)]
        with ThreadPoolExecutor(threads, thread_name_prefix="references") as pool:
            return list(chain.from_iterable(pool.map(neighbours, runs)))

    @contextmanager
    def _opened(self, file: File) -> Iterator[Content]:
        if file.identity:
            with self.context.root(self._dataset).open(file.key, identity=file.identity) as reader:
                yield form_named(IDENTITY.name).open(reader)
            return
        with self.context.catalog.read() as conn:
            seen = placements.find(conn, self._dataset, file.key)
        if seen is None:
            raise ObjectNotFound(f"the catalog has no object {file.key!r}", key=file.key)
        with open_current(self.context, seen) as content:
            yield content


class _Forgotten(StoragedError):
    """Somebody else forgot what was being read."""


class _Naming:
    """What one file names, on its way into the catalog."""

    def __init__(self, context: Context, roots: Roots, dataset_id: int, file: File, form: str) -> None:
        self._context, self._roots = context, roots
        self._dataset_id, self._key = dataset_id, file.key
        self.read_with = roots.digest if form else ""
        self._number = references.begin(context.catalog, dataset_id, file.key, identity=file.identity, form=form)
        self._page: dict[NamedObject, None] = {}
        self._recent: set[str] = set()
        self._through: set[str] = set()
        self._elsewhere: set[str] = set()
        self._datasets: set[int] = set()

    @property
    def found(self) -> bool:
        """Whether it named anything."""
        return bool(self._datasets or self._through or self._elsewhere)

    def take(self, urls: Iterable[str | None]) -> None:
        """Raises Unfollowed, NoReferences, and what the file's content raises; what was named before is taken."""
        untold = False
        try:
            for url in urls:
                if url is None:
                    untold = True
                elif url not in self._recent:
                    self._one(url)
        finally:
            self._write()
        if untold:
            raise Unfollowed("it names a file that only its reader is told")

    def finish(self, file: File, form: str, unread: str) -> bool:
        """Let it take the place of what the file named before; where it could not be read, whatever it may name is
        held: all of its own dataset, and of those of which it is known to name something."""
        catalog = self._context.catalog
        if unread:
            everything = [NamedObject(number, ALL) for number in sorted({self._dataset_id, *self._datasets})]
            if not references.add(catalog, self._number, everything):
                return False
        return references.finish(
            catalog,
            self._number,
            identity=file.identity,
            form=form,
            unread=unread,
            through=len(self._through),
            elsewhere=len(self._elsewhere),
            roots=self.read_with,
            now_us=self._context.now_us(),
        )

    def forget(self) -> None:
        references.forget(self._context.catalog, [self._number])

    def _one(self, url: str) -> None:
        if len(self._recent) >= MOST_COUNTED:
            self._recent.clear()
        self._recent.add(url)
        if url.startswith(THROUGH):
            _count(self._through, url)
            return
        targets = list(self._roots.targets(url, self._dataset_id, self._key))
        if not targets:
            _count(self._elsewhere, url)
        takes_name = self._context.catalog.takes_name  # what has no row needs no guard
        self._page.update(dict.fromkeys(target for target in targets if takes_name(target.key)))
        if len(self._page) >= PAGE:
            self._write()

    def _write(self) -> None:
        self._datasets |= {target.dataset_id for target in self._page}
        if self._page and not references.add(self._context.catalog, self._number, list(self._page)):
            raise _Forgotten("what it names is being read by somebody else")
        self._page = {}


def _count(names: set[str], url: str) -> None:
    if len(names) < MOST_COUNTED:
        names.add(url)
