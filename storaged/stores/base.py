"""The port to a place where bytes live, and what every implementation must guarantee.

A key is a str of "/"-separated segments relative to the store's URL; listing yields keys in the byte order of their
UTF-8 form. *Identity* is an opaque str: equal identities mean "the same stored thing, unmodified". `create` never
overwrites, and what it makes appears whole or not at all and is durable when `commit` returns. `delete` removes only
what still has the identity that was asked for. Stores translate their errors into storaged.errors and keep __cause__.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import KW_ONLY, dataclass
from enum import StrEnum
from types import MappingProxyType, TracebackType
from typing import Final, NamedTuple, Protocol, Self

from storaged.errors import StoreError
from storaged.model import Origin
from storaged.naming import OWN
from storaged.stores.archives import Archives, NoArchives
from storaged.stores.copies import Copy, CopySource
from storaged.stores.listed import Listed as Listed
from storaged.stores.listed import Skipped as Skipped
from storaged.stores.listed import Stat as Stat
from storaged.stores.locks import Locks, NoLocks
from storaged.stores.notes import Notes

RESERVED: Final = OWN  # first segment of the store's own names (claims, journal, temporary files); never listed


class Wanted(NamedTuple):
    """A small thing that is to be read whole, with the identity and the size in bytes that it must have."""

    key: str
    identity: str
    size: int


class Had(NamedTuple):
    """All of a thing's bytes, and what it has beside them, as `Reader.metadata` tells it."""

    data: bytes
    metadata: Mapping[str, str]


Ended = Stat | StoreError  # what became of what was to be told later


class Folders(Protocol):
    """The folders above a key."""

    def remove_empty(self) -> int:
        """Remove those that nothing is in, from the lowest one up; how many. Never the root, nor what something is
        mounted on, nor another folder that was made in the place of one of them."""
        ...


class NoFolders:
    """Where keys are all there is."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def remove_empty(self) -> int:
        return 0


class Deleted(StrEnum):
    """What a conditional delete found."""

    DELETED = "deleted"
    ABSENT = "absent"
    CHANGED = "changed"  # another identity; left alone


LACKS: Final[Mapping[str, str]] = MappingProxyType(  # of each trait that a store may lack: what it does instead
    {
        "create_put": "a create-only PUT overwrites what is there",
        "create_parts": "completing a create-only multipart upload overwrites what is there",
        "delete_condition": "a delete ignores its If-Match",
        "delete_version": "no delete by version id is known to be exact",
        "copy_source": "a copy ignores the condition on its source",
        "copy_target": "a copy ignores the condition on its target",
    }
)


DENIED: Final = "access was denied when it was tried"


@dataclass(frozen=True, slots=True)
class Traits:
    """What a store can do, as data, one by one: a store may keep one of them and lack the next. One that must try it to
    know tries it when first asked."""

    writable: bool = True
    create_put: bool = True  # refuses to create at a taken key, in the step that makes the object visible
    create_parts: bool = True  # the same of what is sent in parts
    delete_condition: bool = True  # refuses to delete another identity than the one asked for
    delete_version: bool = False  # keeps versions, and deletes the one asked for and no other
    copy_source: bool = False  # refuses a copy whose source is not the one asked for
    copy_target: bool = False  # the same of what would be replaced
    checksums: bool = False  # tells a checksum of all it stored, computed by itself: `Upload.proven` may be true
    transitions: bool = False  # changes the storage class of a key in place, on condition of its identity
    shows: bool = True  # tells what attempts made visible until that is noted: `Store.shown`
    at_once: bool = True  # what is made there can be read at once: its storage class is no archive
    one_step: int = 2**62  # bytes that are made visible by one request; what is larger goes in parts
    denied: frozenset[str] = frozenset()  # of LACKS, those that are not known, as trying them was denied
    untried: str = DENIED  # why those are not known

    @property
    def releases(self) -> bool:
        """Whether a user's object can be deleted without the risk of deleting what came after it."""
        return self.delete_condition or self.delete_version

    def creates(self, size: int) -> bool:
        """Whether an object of so many bytes is never written over another one, whoever writes at the same time."""
        return self.create_put and (size <= self.one_step or self.create_parts)

    def lacking(self, *traits: str) -> str:
        """Those of LACKS that the store lacks or does not let us try, by name and in words."""
        return " and ".join(f"{trait}: {self.untried if trait in self.denied else LACKS[trait]}" for trait in traits)


class Reader(Protocol):
    """Random access to the bytes of one stored thing, pinned to the identity it was opened with. Thread-safe."""

    @property
    def stat(self) -> Stat: ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; fewer only at the end."""
        ...

    def metadata(self) -> Mapping[str, str]:
        """What it has beside its bytes, by name, for `commit` to give back."""
        ...

    @property
    def copy_source(self) -> CopySource | None:
        """For `Store.copy`. None: its bytes go no other way than through us."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@dataclass(frozen=True, slots=True)
class New:
    """What a store is told of a new thing before its first byte. Temporary parts carry `attempt`.

    `mtime_us`: the mtime that it gets where the store can, in microseconds. `size`: at most about so many bytes will
    come, which tells how large its parts must be. `origin`, `metadata`: what commit will be told, as far as it is
    known; there are stores that take it before the first byte only. `later`: within `near` its identity need not be
    told before that ends.
    """

    attempt: str
    _: KW_ONLY
    mtime_us: int | None = None
    size: int | None = None
    origin: Origin | None = None
    metadata: Mapping[str, str] | None = None
    later: bool = False


class Upload(Protocol):
    """A stored thing in the making. Nothing is visible at the key before commit; leaving the `with` aborts."""

    def write(self, data: bytes) -> None: ...

    def commit(self, origin: Origin, *, metadata: Mapping[str, str] | None = None) -> Stat:
        """Make it durable and visible, whole, carrying `origin` and an original's `metadata` as far as it can be given
        back. Its identity is empty where that is told `later`. Raises AlreadyExists if the key is taken, StoreFull,
        VerificationFailed if what the store says it stored is not what was written."""
        ...

    @property
    def proven(self) -> bool:
        """Whether what is stored was compared, at commit, with what was written: by the store's own checksum of all of
        it, or by reading it back. Otherwise the caller does so."""
        ...

    def abort(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Store(Notes, Archives, Locks, Protocol):
    """The port, with those to what a place may lack. All methods may be called from many threads."""

    @property
    def traits(self) -> Traits: ...

    def head(self, key: str) -> Stat:
        """Raises ObjectNotFound."""
        ...

    def identity(self, key: str) -> str:
        """The one that `head` tells; there are stores where it is had for less. Raises ObjectNotFound."""
        ...

    def identities(self, keys: Sequence[str]) -> Mapping[str, str]:
        """Of those of many keys whose identities are had together for less than each by itself. What is not told is to
        be asked for by itself, if only to hear that nothing is there."""
        ...

    def contents(self, wanted: Sequence[Wanted]) -> Mapping[str, Had]:
        """Of those of many small things that are read together for less than each by itself what they hold, each under
        the identity that it must have. What is not told is to be opened by itself, if only to hear why."""
        ...

    def opened(self, wanted: Mapping[str, str]) -> Mapping[str, Reader]:
        """Of those of many things that are opened together for less than each by itself what reads them, by key, each
        under the identity that `wanted` has for it. What is not told is to be opened by itself, if only to hear why."""
        ...

    def alike(self, known: str, now: str) -> bool:
        """Whether two identities of one key tell of one stored thing, last written at one time: nothing says that its
        content was written between them, only its metadata or its names. No proof of equal content."""
        ...

    def listed(self, prefix: str = "", after: str = "") -> Iterator[Listed | Skipped]:
        """What `list` tells, some objects together, and some at a time: for who looks at many."""
        ...

    def list(self, prefix: str = "", after: str = "") -> Iterator[Stat | Skipped]:
        """Every object under `prefix` whose key sorts after `after`, in key order, bounded memory; no RESERVED names.

        What is skipped may be a directory, and then stands for all below it. Raises StoreError where the place is
        missing or the listing would have a hole that nobody sees.
        """
        ...

    def folder(self, prefix: str, most: int) -> Sequence[str]:
        """What is directly under a prefix that is empty or ends with `/`: names, those of folders with a `/` behind
        them, no RESERVED one. At most `most` (up to 1,000), then any of them. Empty where there is no such folder.
        Raises StoreError where that cannot be told."""
        ...

    def open(self, key: str, *, identity: str | None = None) -> Reader:
        """Raises ObjectNotFound, ObjectCold, PermissionDenied; SourceChanged if its identity is another one."""
        ...

    def near(self) -> AbstractContextManager[Mapping[str, Ended]]:
        """What this thread opens, looks at, creates and deletes within lies together: what leads there need not be
        looked at for each, and what was committed or deleted is durable when it ends. Then the mapping has, by key,
        what `commit` told without its identity, or why that one was not made after all. Raises SourceChanged in the end
        where it led elsewhere meanwhile, or why something is not durable; then nothing of it counts."""
        ...

    def not_restorable(self, metadata: Mapping[str, str]) -> Mapping[str, str]:
        """What of this metadata `commit` could not give back here and now: a name for `allow_loss`, and words."""
        ...

    def origin(self, key: str) -> Origin | None:
        """What stands beside the key's bytes (metadata, xattr) of who wrote it; None for a user's object."""
        ...

    def create(self, key: str, new: New) -> Upload:
        """Begin a new thing at a vacant key."""
        ...

    def copy(self, key: str, new: New, source: CopySource) -> Stat | None:
        """Have the server make a new thing at a vacant key, whole, carrying `new.origin`, of the bytes of a thing that
        it has elsewhere, and prove it: what it says of all bytes of both is the same. None: it does not do so, or it
        could not be proven.

        Raises SourceChanged where the source is another thing by now, ObjectNotFound, ObjectCold, AlreadyExists,
        VerificationFailed, StoreUnavailable: then it is not known whether it is there.
        """
        ...

    def copies(self, wanted: Sequence[Copy]) -> Mapping[str, Stat]:
        """Of many such things those that the server made together for less than each by itself, within `near`: nothing
        of it counts before that ends. What is not told is to be copied by itself, and may be there all the same."""
        ...

    def delete(self, key: str, *, identity: str, versions: bool = False) -> Deleted:
        """Remove the key if it still has this identity, and with `versions` all that it held before. Where the place
        keeps versions this one's bytes are freed. Repeating after a crash finishes what was begun."""
        ...

    def above(self, key: str) -> AbstractContextManager[Folders]:
        """The folders above a key, as they are when this is called, and no others that take their names meanwhile."""
        ...

    def undeletable(self, keys: Collection[str], *, ask: bool = False) -> Mapping[str, str]:
        """Those of these keys that `delete` would be refused, as far as that can be seen without trying, with the
        reason and what helps. `ask`: with requests that cost something, too. Keys that are not there are left out."""
        ...

    def unwritable(self, key: str) -> str:
        """Why `create` could make nothing at this key, as far as that can be seen without trying, and what helps;
        empty: nothing speaks against it."""
        ...

    def checksum(self, key: str) -> str:
        """What the store itself says of all bytes at the key, such as `crc64nvme:…`; empty where it says nothing."""
        ...

    def transition(self, key: str, *, identity: str, storage_class: str) -> Stat:
        """Change the storage class in place if the key still has this identity: same bytes and metadata, another
        identity. Raises SourceChanged, StoreError where it cannot be done on condition."""
        ...

    def attempts(self) -> Iterator[str]:
        """Ids of the attempts whose temporary parts are here."""
        ...

    def delete_attempt(self, key: str, *, attempt: str) -> Deleted:
        """Remove what attempt `attempt` left: its temporary parts and, if it carries that attempt id and the mtime that
        its origin tells (nobody wrote into it since), the key."""
        ...

    def shown(self) -> Mapping[str, str]:
        """Attempts that put an original back (commit had its `metadata`) and whose upload nobody has left since, with
        the identity that they made visible. Only for who cannot have it noted elsewhere: may be empty, never wrong."""
        ...

    def forget_shown(self, attempt: str) -> None:
        """It is noted elsewhere. Twice is once."""
        ...

    def tidy(self) -> int:
        """Forget the uploads that have ended and of which a note is left: whoever should have removed it was stopped.
        How many."""
        ...

    def clock_us(self) -> int | None:
        """What time it is there (microseconds), by a clock that is not this machine's; None: it has none."""
        ...

    def free_bytes(self) -> int | None:
        """Space left, or None where that has no meaning."""
        ...


class OneClass(NoArchives, NoLocks):
    """The part of the port that has no meaning where everything is of one storage class."""

    def checksum(self, key: str) -> str:
        """The store tells none."""
        return ""

    def identities(self, keys: Sequence[str]) -> Mapping[str, str]:
        """None is had for less."""
        return {}

    def contents(self, wanted: Sequence[Wanted]) -> Mapping[str, Had]:
        """None is had for less."""
        return {}

    def opened(self, wanted: Mapping[str, str]) -> Mapping[str, Reader]:
        """None is had for less."""
        return {}

    def transition(self, key: str, *, identity: str, storage_class: str) -> Stat:
        raise StoreError(f"{key!r} is where there is one storage class only", key=key)

    def copy(self, key: str, new: New, source: CopySource) -> None:
        """There is no server that could."""

    def copies(self, wanted: Sequence[Copy]) -> Mapping[str, Stat]:
        """Nor here."""
        return {}

    def clock_us(self) -> None:
        """It is this machine's."""

    def tidy(self) -> int:
        """What an upload left here is what it wrote: no note tells of it."""
        return 0
