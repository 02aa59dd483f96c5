"""A bucket, or a folder of one, as a store.

What is made once an object goes over the wire, as do listings; reads through obstore; deletes, versions, archives and
transitions through botocore. Identities are ETag, whole seconds of LastModified and version id, the same from a
listing and a HEAD; a read or a delete carries them as its condition.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Final

import obstore

from storaged.errors import AlreadyExists, ObjectNotFound, PermissionDenied, SourceChanged, StoreError
from storaged.model import Origin
from storaged.naming import named_by
from storaged.stores.access import Opening
from storaged.stores.archives import Warmed, Warmth
from storaged.stores.base import DENIED, RESERVED, Deleted, Ended, New, NoFolders, Skipped, Stat, Traits
from storaged.stores.keys import bounded, check_attempt, segments
from storaged.stores.listed import Listed, Lists, together
from storaged.stores.locks import FOREVER, Protection, Versioning
from storaged.stores.notes import LARGEST_MARKER, LARGEST_NOTE
from storaged.stores.origins import parse_origin
from storaged.stores.s3 import (
    archive,
    deletes,
    listing,
    metadata,
    parts,
    probe,
    transition,
    underway,
    upload,
    versions,
)
from storaged.stores.s3.attempts import Attempts
from storaged.stores.s3.checksums import any_told
from storaged.stores.s3.classes import TAKES
from storaged.stores.s3.errors import translated
from storaged.stores.s3.identity import QUOTED, identity_of
from storaged.stores.s3.keys import checked_key
from storaged.stores.s3.reader import S3Reader
from storaged.stores.s3.servercopies import ServerCopies
from storaged.stores.s3.session import S3Session, bulk_works
from storaged.stores.s3.together import Neighbours
from storaged.stores.s3.wire import ORIGIN, Head

_OURS: Final = frozenset({underway.FOLDER, probe.FOLDER})  # not for notes
_SENDERS: Final = 8  # threads that send parts


class S3Store(Lists, deletes.Deletes, Attempts, Neighbours, ServerCopies):
    """The port on a bucket. Raises UsageError for what is no such URL; connects when first used.

    `read_timeout_s`: how long, in seconds, a connection may be silent.
    """

    def __init__(self, url: str, how: Opening | None = None, *, read_timeout_s: float = 60.0) -> None:
        self._how = how or Opening()
        self._session = S3Session(url, self._how.access, read_timeout_s=read_timeout_s)
        super().__init__(self._session)
        self._lock = threading.RLock()
        self._found: tuple[Versioning, probe.Abilities] | None = None
        self._protection: Protection | None = None
        self._pools: set[str] = set()  # storage classes that are called like archives and read at once

    @property
    def url(self) -> str:
        return self._session.url

    @property
    def traits(self) -> Traits:
        """As tried when first asked. Raises StoreError where it cannot be tried."""
        keeps, able = self._abilities()
        return Traits(
            writable=able.writable,
            create_put=able.create_put,
            create_parts=able.create_parts,
            delete_condition=bool(able.deletes),
            delete_version=able.delete_version,
            copy_source=bool(able.copies_from),
            copy_target=bool(able.copies_onto),
            checksums=able.algorithm is not None,
            transitions=bool(able.copies_from and able.copies_onto) and keeps is Versioning.OFF,
            shows=False,  # it would cost a request before and one after each
            at_once=not able.writable or self._at_once,
            one_step=parts.PART,
            denied=able.denied,
            untried="its bucket locks whatever is put into it, so nothing was tried" if able.kept else DENIED,
        )

    @property
    def protection(self) -> Protection:
        """Asked each time: somebody may switch versioning on, and then what the store can do is tried anew. Raises
        PermissionDenied where it may not be asked."""
        found = versions.protection(self._session)
        with self._lock:
            self._protection = found
            if self._found is not None and self._found[0] is not found.versioning:
                self._found = None
                self._copies.clear()
        return found

    def head(self, key: str) -> Stat:
        return self._head(key).stat(key)

    def identity(self, key: str) -> str:
        full = self._session.key(self._name(key))
        if not self._session.plain(full):
            return self.head(key).identity
        with translated(
            key, self._session.bucket
        ):  # a quarter of the time of a HEAD that tells storage class and checksum too
            found = obstore.head(self._session.objects, full)
        return identity_of(found["e_tag"] or "", int(found["last_modified"].timestamp()), found["version"])

    def alike(self, known: str, now: str) -> bool:
        """Only what is the same: a write gives another ETag, another time or another version."""
        return known == now

    def listed(self, prefix: str = "", after: str = "") -> Iterator[Listed | Skipped]:
        """In key order, pages ahead in parallel; the latest versions where the bucket keeps some."""
        keeps = self.protection.versioning
        for page in listing.list_pages(self._session, prefix, after, versioned=keeps is not Versioning.OFF):
            yield from together(page)

    def folder(self, prefix: str, most: int) -> Sequence[str]:
        return listing.list_folder(self._session, prefix, most)

    def open(self, key: str, *, identity: str | None = None) -> S3Reader:
        return self._reader(key, self._head(key), identity)

    def opened(self, wanted: Mapping[str, str]) -> Mapping[str, S3Reader]:
        """By HEADs side by side."""
        full = {self._session.key(self._name(key)): key for key in wanted}
        readers: dict[str, S3Reader] = {}
        for name, found in self._session.wire.heads(list(full)).items():
            key = full[name]
            with contextlib.suppress(StoreError):  # who opens it by itself hears why
                readers[key] = self._reader(key, found, wanted[key])
        return readers

    def _reader(self, key: str, found: Head, identity: str | None) -> S3Reader:
        stat = found.stat(key)
        if identity is not None and stat.identity != identity:
            raise SourceChanged(f"{key!r} is not the object that the catalog knows", key=key)
        if archive.seen(self._session, key, found, self._pools).warmth is not Warmth.READABLE:
            archive.check(key, found.archived)
        return S3Reader(self._session, stat, found, locks=lambda: self._kept.locks)

    def not_restorable(self, told: Mapping[str, str]) -> Mapping[str, str]:
        return metadata.not_restorable(told)

    def origin(self, key: str) -> Origin | None:
        """Of the object's user metadata. Raises ObjectNotFound."""
        return parse_origin(self._head(key).headers.get(ORIGIN, ""))

    def create(self, key: str, new: New) -> upload.S3Upload:
        """S3 keeps no mtime. Raises StoreError where an archive class would hold what cannot be proven."""
        name = self._name(key)
        if not named_by(new.attempt, key):
            _ = self.protection  # what is there is a user's: what the store can do in this bucket must be of today
        target = self._target
        if not self._at_once:
            whole = target.algorithm is not None and (target.algorithm.whole or (new.size or 0) <= parts.PART)
            if not whole:
                raise StoreError(
                    f"{key!r}: {self.url} tells no checksum of all it stores, so nothing goes into an archive class",
                    key=key,
                    hint="what cannot be read back has to be proven by the store's own checksum",
                )
        check_attempt(new.attempt)
        return upload.S3Upload(target, name, new)

    def delete(self, key: str, *, identity: str, versions: bool = False) -> Deleted:
        """On condition of the ETag, or by version id where versions are kept, and then without bringing back an older
        one. Raises PermissionDenied where a lock holds it."""
        return self._delete(self._name(key), identity, purge=versions)

    def near(self) -> AbstractContextManager[Mapping[str, Ended]]:
        """Nothing leads to a key. Small things are sent when it ends, side by side; then they are looked at, and so is
        what the server copied."""
        return self._made.near()

    def above(self, key: str) -> NoFolders:
        return NoFolders()

    def checksum(self, key: str) -> str:
        """Of the whole object; empty for one in parts whose checksum is of their checksums. Raises ObjectNotFound."""
        return any_told(self._head(key).headers)

    def locked_until(self, key: str) -> int | None:
        """By retention or legal hold. Raises ObjectNotFound, PermissionDenied."""
        _, until, hold = versions.lock_of(self._session, key, self._head(key), locks=self._kept.locks)
        return FOREVER if hold else versions.instant_us(until) if until else None

    def warmth(self, key: str) -> Warmed:
        """As a HEAD tells it; where that tells no more than the name of a class, as a read does. Raises
        ObjectNotFound."""
        return archive.seen(self._session, key, self._head(key), self._pools)

    def warm(self, key: str, *, identity: str, days: int, speed: str) -> Warmed:
        """RestoreObject, where there is something to warm. Raises SourceChanged, ObjectNotFound, UsageError."""
        head = self._head(key)
        if archive.seen(self._session, key, head, self._pools) == Warmed() and head.stat(key).identity == identity:
            return Warmed()
        return archive.warm(self._session, self._name(key), identity=identity, days=days, speed=speed)

    def transition(self, key: str, *, identity: str, storage_class: str) -> Stat:
        """CopyObject onto itself, conditionally. Raises SourceChanged, StoreError."""
        if not self.traits.transitions:
            raise StoreError(
                f"{key!r}: {self.url} does not change a storage class on condition, or keeps versions", key=key
            )
        able = self._abilities()[1]
        return transition.transition(
            self._session,
            self._name(key),
            identity=identity,
            storage_class=storage_class,
            source=able.copies_from,
            target=able.copies_onto,
        )

    def shown(self) -> Mapping[str, str]:
        """None."""
        return {}

    def forget_shown(self, attempt: str) -> None:
        """There is none."""

    def read_note(self, name: str, *, limit: int = LARGEST_NOTE) -> bytes | None:
        return self._read(_note_path(name), limit)

    def confirm(self, name: str, check: Callable[[bytes | None], None]) -> None:
        """A bucket that was emptied or made anew shows no marker; between two looks only its name is known."""
        check(self.read_note(name, limit=LARGEST_MARKER))

    def write_note(self, name: str, data: bytes, *, create_only: bool) -> None:
        """In class STANDARD. Raises AlreadyExists; where the store overwrites (`traits.create_put`), another writer
        at the same moment is not seen."""
        note = _note_path(name)
        able = self._abilities()[1]
        if able.kept:
            raise PermissionDenied(
                f"{self.url}: its bucket locks whatever is put into it for {able.kept}, by its default retention",
                key=name,
                hint="a tier needs a bucket without one; of a root of such a bucket nothing is released",
            )
        if create_only and not able.create_put and self._read(note) is not None:
            raise AlreadyExists(f"the note {name!r} is there already", key=name)
        with translated(name, self._session.bucket, creating=create_only):
            obstore.put(
                self._writing,
                self._session.key(note),
                data,
                mode="create" if create_only else "overwrite",
                use_multipart=False,
            )

    def delete_note(self, name: str) -> None:
        """With all its versions. Raises PermissionDenied where a lock holds it."""
        self._remove(_note_path(name))

    def list_notes(self, prefix: str) -> Iterator[str]:
        for name in listing.list_notes(self._session, prefix):
            if name.partition("/")[0] not in _OURS:
                yield name

    def clock_us(self) -> int | None:
        """As HeadBucket tells it, in whole seconds."""
        return archive.now_us(self._session.call("head_bucket"))

    def free_bytes(self) -> None:
        """A bucket has no end."""

    # -- what the methods share -------------------------------------------------------------------------------------

    def _name(self, key: str) -> str:
        return checked_key(key, self._session.key)

    def _head(self, key: str) -> Head:
        return self._session.wire.head(self._session.key(self._name(key)))

    def _abilities(self) -> tuple[Versioning, probe.Abilities]:
        with self._lock:
            if self._found is None:
                kept = self._kept
                self._found = kept.versioning, probe.probe(self._session, kept.versioning, locks=kept.locks)
            return self._found

    @property
    def _kept(self) -> Protection:
        """As it was last asked."""
        return self._protection or self.protection

    @property
    def _keeps(self) -> Versioning:
        return self._kept.versioning

    @cached_property
    def _at_once(self) -> bool:
        """Whether what is made here can be read at once. Tried only where the class is called like an archive."""
        kept = self._how.storage_class
        return kept not in TAKES or probe.reads_at_once(self._session, self._keeps, kept)

    @property
    def _target(self) -> upload.Target:
        able = self._abilities()[1]
        return upload.Target(
            session=self._session,
            algorithm=able.algorithm,
            create_put=able.create_put,
            create_parts=able.create_parts,
            storage_class=self._how.storage_class,
            threads=self._threads,
            remove_note=self._remove,
            made=self._later,
        )

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_SENDERS, thread_name_prefix="storaged-parts")

    @cached_property
    def _writing(self) -> obstore.store.S3Store:
        """For notes: never tried again inside, so that a note of ours is not taken for somebody else's."""
        return self._session.bulk(tries=1)

    def _delete(self, name: str, identity: str, *, purge: bool = False) -> Deleted:
        found = self._found  # whoever deletes what is a user's has asked for the traits before
        form = QUOTED if found is None else found[1].deletes
        keeps = self._keeps if form else self.protection.versioning  # without a condition all hangs on the versions
        return versions.delete(self._session, name, identity=identity, keeps=keeps, versions=purge, form=form)

    def _read(self, note: str, limit: int = LARGEST_NOTE) -> bytes | None:
        try:
            with translated(note, self._session.bucket):
                if not bulk_works():
                    bounded(note, self._session.wire.head(self._session.key(note)).stat(note).size, limit)
                    return self._session.wire.get(self._session.key(note))[1]
                found = obstore.get(self._session.objects, self._session.key(note))
                bounded(note, found.meta["size"], limit)  # as its headers say: the body is not read yet
                return found.bytes().to_bytes()
        except ObjectNotFound:
            return None

    def _remove(self, note: str) -> None:
        with contextlib.suppress(ObjectNotFound):
            stat = self._session.wire.head(self._session.key(note)).stat(note)
            self._delete(note, stat.identity, purge=True)


def _note_path(name: str) -> str:
    if segments(name)[0] in _OURS:
        raise StoreError(f"{name!r} cannot be the name of a note", key=name)
    return f"{RESERVED}/{name}"
