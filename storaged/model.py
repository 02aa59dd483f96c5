"""The words of storaged as values. Standard library only; every value is frozen and comparable.

An object's **placement** is everything that decides where its content is: its raw key under the dataset's root
(the *raw* part) and the replicas we made. One placement has at most one current place. Instants are integer
microseconds since 1970 UTC (suffix ``_us``), sizes are bytes, digests are xxh3-128 in hex (as `xxhsum -H2` prints).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

DEFAULT_CLASS: Final = "STANDARD"  # the storage class of what has no other, as S3 calls it
PACK: Final = "pack"  # the codec of blobs that many objects share
AUTO: Final = "auto"  # the codec of a policy that leaves it to samples; no blob has it


class Readers(StrEnum):
    """Who reads a dataset: programs by raw path, or everybody through storaged."""

    RAW = "raw"
    STORAGED = "storaged"


class Fidelity(StrEnum):
    """What of an object's content survives a rewrite."""

    BYTES = "bytes"  # all of it
    TABLE = "table"  # schema, rows and their order: another file of the same table


class Mode(StrEnum):
    """Whether a policy's schedule may act."""

    ACTIVE = "active"
    DRY_RUN = "dry-run"
    DISABLED = "disabled"


class RawState(StrEnum):
    """What the catalog holds about an object's original key."""

    CURRENT = "current"  # the raw key is where the content is
    SUPERSEDED = "superseded"  # a replica is current, the raw key is kept through grace
    RELEASING = "releasing"  # the release intent is taken; the delete may have happened
    RELEASED = "released"  # the raw key is vacant by our doing
    ABSENT = "absent"  # the user removed it


class ReplicaState(StrEnum):
    """What a replica is to its object."""

    CURRENT = "current"
    SUPERSEDED = "superseded"  # kept through grace; undo may point back at it
    RELEASING = "releasing"  # the release intent is taken


class AttemptKind(StrEnum):
    """What an attempt does."""

    BLOB = "blob"  # writes a blob in a tier
    RETURN = "return"  # writes at an original key
    TRANSITION = "transition"  # changes the storage class of an original where it is


class AttemptState(StrEnum):
    """The life of an attempt. Its row exists before its first byte, and goes when it is committed."""

    STAGED = "staged"  # it is (or was) under way
    PROPOSED = "proposed"  # what it wrote is proven, and becomes a blob once the journal has its fact
    TOMBSTONE = "tombstone"  # it was discarded: the key is re-checked until no late put can come


class BlobState(StrEnum):
    """The life of what a proven attempt became."""

    LIVE = "live"  # some replica in it is current or superseded
    RELEASING = "releasing"  # the release intent is taken; the delete may have happened


class JobState(StrEnum):
    """The life of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class JobKind(StrEnum):
    """What a job does to its objects."""

    REWRITE = "rewrite"  # to another tier or codec
    RETURN = "return"  # back to the original key (eject, undo after release, restage --to-root)


class ItemState(StrEnum):
    """What became of one object of a job."""

    PENDING = "pending"
    DONE = "done"
    SKIPPED = "skipped"  # not as planned any more, or nothing to gain
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Tier:
    """A named rank on a store. Rank 0 is the hottest. Latency in seconds, capacity in bytes."""

    name: str
    rank: int
    url: str
    storage_class: str = DEFAULT_CLASS
    read_latency_s: float = 0.0
    capacity_bytes: int | None = None
    high_watermark: float | None = None  # share of capacity, 0 to 1
    low_watermark: float | None = None
    prices: str | None = None  # reference into a price book, kept as text


@dataclass(frozen=True, slots=True)
class Dataset:
    """A named set of objects under a root that storaged does not own. Its raw keys count as being in `tier`."""

    name: str
    root: str
    tier: str
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    partitions: str | None = None  # such as "dt={dt}/hour={hour}"
    readers: Readers = Readers.RAW
    hold: str | None = None  # reason of a legal hold on all of it
    pin: str | None = None  # tier fixed by a person for all of it


@dataclass(frozen=True, slots=True)
class CodecSpec:
    """A codec and its level; level None is the codec's own choice from a sample. With `fidelity` of a table it makes
    another file of what it takes, which is stored as it is; with `reencode` too its values may be encoded otherwise."""

    name: str
    level: int | None = None
    fidelity: Fidelity = Fidelity.BYTES
    reencode: bool = False

    def __str__(self) -> str:
        return self.name if self.level is None else f"{self.name}:{self.level}"

    @property
    def asked(self) -> str:
        """The same with what survives, where that is not all of the content."""
        table = "" if self.fidelity is Fidelity.BYTES else f"+{self.fidelity}"
        return f"{self}{table}+reencode" if self.reencode else f"{self}{table}"


IDENTITY = CodecSpec("identity")


@dataclass(frozen=True, slots=True)
class Origin:
    """What a blob says about itself: which attempt wrote it, and of which generation of which object it is. A pack says
    its own name in that place, and generation 0."""

    catalog: str  # catalog id
    attempt: str  # 32 hex characters
    dataset: str
    object: str
    generation: int  # of the object, from 1 on
    source: str  # identity of the source that was read
    size: int = 0  # of the content, bytes
    mtime_us: int = 0  # of the content's source
    digest: str = ""  # of the content, hex; empty where it is not yet known

    def told(self) -> dict[str, str | int]:
        """Its fields by name (dataclasses.asdict copies deeply, at many times the cost)."""
        return {name: getattr(self, name) for name in self.__slots__}

    @property
    def of_pack(self) -> bool:
        """Whether it is of many objects."""
        return self.generation == 0


@dataclass(frozen=True, slots=True)
class Blob:
    """One stored thing that we wrote. Its id is the attempt's id. `tier` None: at a dataset's original key."""

    id: str
    dataset: str
    tier: str | None
    key: str
    codec: str
    size: int = 0  # stored bytes
    identity: str = ""  # proven identity, as the store tells it
    digest: str = ""  # of the stored bytes, hex
    index: bytes = b""  # the codec's random-access index, where it has one
    packed_bytes: int = 0  # content of all objects in a pack when it was made; 0: it is of one object

    def share(self, replica: Replica) -> int:
        """The stored bytes that count as those of an object of which this is a replica: of a pack its part, in
        proportion. What nobody has any more is nobody's."""
        return share(self.size, self.packed_bytes, replica.length, replica.packed_before)


def share(size: int, packed_bytes: int, length: int, before: int = 0) -> int:
    """Of a pack's stored bytes, or of a blob of one object, what is a member's of this length with so many bytes of
    content before it: the rounded sums up to it, one from the other, so that all shares add up to the whole."""
    return size * (before + length) // packed_bytes - size * before // packed_bytes if packed_bytes else size


@dataclass(frozen=True, slots=True)
class Raw:
    """The original key of an object as the catalog holds it."""

    state: RawState
    identity: str = ""
    attempt: str = ""  # attempt id if the key holds what *we* put back there, else empty
    until_us: int | None = None  # grace end while superseded; while current: see `Placement.in_doubt`
    storage_class: str = DEFAULT_CLASS  # the store's own name of the class that it is in
    damaged: str = ""  # what verify found wrong with it; empty: nothing
    edition: str = ""  # of the generation, that is there: see `Placement.edition`
    size: int = 0  # of the content there, where that is of another edition than the object's; else 0
    digest: str = ""  # likewise; empty also where nothing read it

    def superseded(self, until_us: int) -> Raw:
        """The same, superseded (dataclasses.replace takes twice as long, and a pack has a million of them)."""
        place = (self.storage_class, self.damaged, self.edition, self.size, self.digest)
        return Raw(RawState.SUPERSEDED, self.identity, self.attempt, until_us, *place)


@dataclass(frozen=True, slots=True)
class Replica:
    """Where an object's content is: a slice of a blob's decoded content. Its length is the content's size."""

    blob: str
    offset: int
    length: int
    generation: int  # of the object whose content it holds
    state: ReplicaState
    until_us: int | None = None  # grace end while superseded
    damaged: str = ""  # what verify found wrong with this slice, of this object alone; empty: nothing
    overwritten: bool = False  # its user wrote where it had been released from: kept until somebody confirms
    edition: str = ""  # of its generation, whose content it holds: see `Placement.edition`
    digest: str = ""  # of that content, where it is of another edition than the object's; empty also where unknown
    packed_before: int = 0  # of a pack, content of the members before it


@dataclass(frozen=True, slots=True)
class Placement:
    """The whole truth about where one object is. The journal states it whole; replay applies it without condition.

    `size` and `digest` are those of its current content, and of every place of the same generation and edition. A place
    of another edition states its own. An edition is what its user wrote (empty), or another file of the same table: the
    id of the attempt that made it, so that none is ever given twice.
    """

    dataset: str
    name: str
    generation: int
    size: int  # of the content
    mtime_us: int  # of the user's object at this generation
    created_us: int  # when this generation was first known to exist
    raw: Raw
    digest: str = ""  # of the content; empty until something read it
    replicas: tuple[Replica, ...] = ()
    hold: str | None = None
    pin: str | None = None
    removed_us: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)  # of the original, beside its bytes: see Store.metadata
    edition: str = ""  # that `size` and `digest` are of

    def at(self, raw: Raw, digest: str, replicas: tuple[Replica, ...], metadata: Mapping[str, str]) -> Placement:
        """The same in other places (see `Raw.superseded`)."""
        user = (self.dataset, self.name, self.generation, self.size, self.mtime_us, self.created_us)
        said = (self.hold, self.pin, self.removed_us)
        return Placement(*user, raw, digest, replicas, *said, metadata, self.edition)

    @property
    def current(self) -> Replica | None:
        """The current replica, or None where the raw key is current or the object is gone."""
        for r in self.replicas:  # asked of each object again and again: a generator takes four times as long
            if r.state is ReplicaState.CURRENT:
                return r
        return None

    def replica_in(self, blob: str) -> Replica | None:
        """What of it is in a blob; None: nothing."""
        return next((r for r in self.replicas if r.blob == blob), None)

    @property
    def damaged(self) -> bool:
        """Whether verify found its current place damaged: nothing of it is released until that reads right, or is not
        its current place any more."""
        return bool(self.current.damaged if self.current else self.raw.damaged)

    def size_of(self, place: Raw | Replica) -> int:
        """Of the content at a place."""
        if isinstance(place, Replica):
            return place.length
        return self.size if place.edition == self.edition else place.size

    def digest_of(self, place: Raw | Replica) -> str:
        """Of the content at a place of this generation; empty: not known."""
        return self.digest if place.edition == self.edition else place.digest

    @property
    def at_root_bytes(self) -> int:
        """What its original takes, or will take, at its root: less than its size where it has holes."""
        there = self.raw.state in (RawState.SUPERSEDED, RawState.RELEASING)
        size = self.size_of(self.raw) if there else self.size
        return min(size, int(self.metadata.get("allocated", size)))

    @property
    def in_doubt(self) -> bool:
        """Whether its release was taken back at its original key, where a delete of ours may still be under way: its
        absence there is our doing. So it is until the replica that was current is released."""
        return self.raw.state is RawState.CURRENT and self.raw.until_us is not None

    @property
    def exists(self) -> bool:
        """Whether there is content at all."""
        return self.raw.state is RawState.CURRENT or self.current is not None


@dataclass(frozen=True, slots=True)
class AccessEvent:
    """A raw touch of one object."""

    dataset: str
    object: str
    at_us: int
    op: str  # read | write
    nbytes: int
    count: int = 1
