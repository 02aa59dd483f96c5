"""Many objects into one blob: read side by side, written one after the other, each member under guards of its own.

A member's source is opened under the catalog's identity when its turn comes, read whole, and looked at again after its
last byte. One that is not what the catalog holds drops out by itself, and so does one that cannot be read: its bytes
are not in the pack, or (of a large one) are there and nobody's. What is true of all is asked once: that the pack can be
written and proven, and that what was stored is what was sent. (docs/design.md has the order and its MUSTs.)
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Final, NamedTuple

from storaged.catalog.items import Aim, Item, To
from storaged.catalog.members import Members
from storaged.catalog.queue import ClaimedJob, ItemOutcome
from storaged.clock import Timings, timed
from storaged.codecs.base import Encoded
from storaged.codecs.pack import HELD, LEVEL, Member, NotPackable, Packed, Packer
from storaged.errors import LeaseLost, RefusedByGuard, SourceChanged, StoragedError, VerificationFailed
from storaged.model import PACK, ItemState, Origin
from storaged.stores.base import New, Stat
from storaged.work.content import Slice
from storaged.work.context import Context
from storaged.work.packs import OpenPacks
from storaged.work.rewrite.folded import Folded
from storaged.work.rewrite.members import Pages
from storaged.work.rewrite.read_ahead import HEADERS, Met, ReadAhead, ReadMember
from storaged.work.rewrite.stage import (
    MEANWHILE,
    NOT_RECORDED,
    Staged,
    Tried,
    may_be_kept,
    may_be_proven,
    metadata_of,
    opened,
    read_back,
    recheck,
)
from storaged.work.rewrite.trouble import may_pass, skipped

ALONE: Final = "nothing is left to pack it with"


class KeptMember(NamedTuple):
    """A member that is in the pack, as little of it as its swap needs. `to`: which of those that the pack's members
    have, by number; all numbers and texts, so that it can be folded."""

    id: int
    name: str
    version: int
    to: int
    offset: int
    before: int  # bytes of content of the members before it
    digest: str
    metadata: Mapping[str, str]  # of the original


def _kept() -> Folded[KeptMember]:
    return Folded(tuple, lambda row: KeptMember(*row))


@dataclass(frozen=True, slots=True)
class WrittenPack:
    """A proven pack, and its members: each as what waits for its swap."""

    stat: Stat
    encoded: Encoded
    attempt: str
    to: Sequence[To]
    kept: Folded[KeptMember]
    packed_bytes: int  # of content

    def __iter__(self) -> Iterator[Staged]:
        for k in self.kept:
            aim = Aim(k.id, k.version, self.attempt, self.to[k.to])
            yield Staged(
                aim,
                PACK,
                self.stat,
                self.encoded,
                k.metadata,
                k.digest,
                offset=k.offset,
                packed_before=k.before,
                packed_bytes=max(self.packed_bytes, 1),
            )


Put = tuple[Mapping[str, str], Packed]  # the metadata of its original, and where it is


class Packing:
    """One attempt at the pack of a claimed job. `readers` reads ahead, `frames` compresses. `done` is told of each
    member that is in it so far, `dropped` what became of each that is not."""

    def __init__(
        self,
        context: Context,
        claimed: ClaimedJob,
        packs: OpenPacks,
        timings: Timings,
        *,
        readers: Executor,
        frames: Executor,
        tried: Tried,
        met: Met,
        alive: Callable[[], bool],
        done: Callable[[Item], None],
        dropped: Callable[[Item | None, ItemOutcome], None],
    ) -> None:
        """`packs`: that its members are in so far."""
        self.context, self.claimed, self.packs, self.timings = context, claimed, packs, timings
        self.frames, self.tried, self.met, self.alive = frames, tried, met, alive
        self._ahead = ReadAhead(
            context, claimed.dataset, packs, timings, threads=readers, tried=tried, met=met, alive=alive
        )
        self.done, self.dropped = done, dropped
        self._under_way: dict[int, Item] = {}  # neither in it nor dropped yet
        self._kept = _kept()
        self._to: dict[To, int] = {}
        self._as: tuple[To | None, int] = (None, 0)  # the last of them, by number
        self._bytes = 0  # of content

    def stage(self, pages: Pages, of: Members) -> WrittenPack | None:
        """Write the pack from its members' current places and prove it. Changes nothing in the catalog. None: nothing
        came of it. Raises LeaseLost, and what reading the catalog raises."""
        try:
            with self.timings.recording("compress"):
                return self._write(pages, of)
        except LeaseLost:
            raise
        except StoragedError as error:  # no member of it is to blame
            if error is pages.error:
                raise
            state = ItemState.SKIPPED if isinstance(error, RefusedByGuard) else ItemState.FAILED
            again, kind = may_pass(error), type(error).__name__
            under_way = ((i.seen.id, i.seen.placement.name) for i in self._under_way.values())
            for number, name in chain(((k.id, k.name) for k in self._kept), under_way, pages.rest()):
                self.dropped(None, ItemOutcome(number, name, state, error.message, again=again, error=kind))
            return None

    def _write(self, pages: Pages, of: Members) -> WrittenPack | None:
        store, name = self.context.tier(of.to.tier), str(self.claimed.pack)
        may_be_proven(store, name)
        may_be_kept(store, name)
        now_us, level = self.context.now_us(), of.to.codec.level
        identity = self.context.identity.catalog
        origin = Origin(identity, of.attempt, self.claimed.dataset, name, 0, "", mtime_us=now_us)
        with contextlib.ExitStack() as stack:
            with timed("write"):
                new = New(of.attempt, mtime_us=now_us, size=_at_most(of), origin=origin)
                upload = stack.enter_context(store.create(of.key, new))

            def write(data: bytes) -> None:
                with timed("write"):
                    upload.write(data)

            level = LEVEL if level is None else level
            packer = stack.enter_context(Packer(write, level=level, origin=origin, executor=self.frames))
            for item, read in self._ahead.read(self._begun(pages)):
                if not self.alive():
                    raise LeaseLost("the lease was lost while a pack was written")
                put = read if isinstance(read, ItemOutcome) else self._put(packer, read)
                del self._under_way[item.seen.id]
                if isinstance(put, ItemOutcome):
                    self.dropped(item, put)
                else:
                    self._keep(item, *put)
            if len(self._kept) < 2:
                for k in self._kept:
                    self.dropped(None, ItemOutcome(k.id, k.name, ItemState.SKIPPED, ALONE))
                return None
            encoded = packer.finish()
            with timed("write"):
                stat = upload.commit(encoded.origin)
            proven = upload.proven
        if not proven:
            read_back(store, of.key, stat, encoded)
        return WrittenPack(stat, encoded, of.attempt, list(self._to), self._kept, self._bytes)

    def _keep(self, item: Item, metadata: Mapping[str, str], packed: Packed) -> None:
        if item.to is not self._as[0]:  # those of a job are alike, and to hash one takes as long as all else here
            self._as = item.to, self._to.setdefault(item.to, len(self._to))
        seen, place = item.seen, (self._as[1], packed.offset, self._bytes, packed.digest)
        self._kept.add(KeptMember(seen.id, seen.placement.name, seen.version, *place, dict(metadata)))
        self._bytes += packed.length
        self.done(item)

    def _begun(self, members: Iterable[Item]) -> Iterator[Item]:
        for item in members:
            self._under_way[item.seen.id] = item
            yield item

    # -- writing -----------------------------------------------------------------------------------------------------

    def _put(self, packer: Packer, read: ReadMember) -> Put | ItemOutcome:
        """Write a member, or say what became of it. Raises what writing raises: that is of the whole pack."""
        item = read.item
        try:
            if item.seen.placement.size > HELD:
                return self._stream(packer, item)
            return self._judged(read, packer.put(_member(item, read.metadata), read.data))
        except NotPackable as error:
            return skipped(item, f"it {error.why}: it is not packed")

    def _stream(self, packer: Packer, item: Item) -> Put | ItemOutcome:
        """A large member, which is written while it is read."""
        source = self.tried(item, partial(opened, self.context, item, self.packs))
        if isinstance(source, ItemOutcome):
            return source
        with source:
            try:
                metadata = metadata_of(self.context, item, source)
            except StoragedError as error:
                return self.met(item, error)
            watched = _Watched(source, lambda: recheck(self.context, item.seen, source.identity))
            try:
                packed = packer.add(_member(item, metadata), watched, still=watched.still)
            except StoragedError as error:
                if error is not watched.error:
                    raise
                return self.met(item, error)
        return self._judged(ReadMember(item, metadata, b""), packed)

    def _judged(self, read: ReadMember, packed: Packed) -> Put | ItemOutcome:
        if packed.kept:
            return read.metadata, packed
        name = read.item.seen.placement.name
        if packed.short:
            return self.met(read.item, SourceChanged(f"{name} {MEANWHILE}", key=name))
        return self.met(read.item, VerificationFailed(f"{name}: {NOT_RECORDED}"))


class _Watched:
    """A source whose own errors are told from those of what is written."""

    def __init__(self, source: Slice, again: Callable[[], None]) -> None:
        self.size = source.size
        self.error: StoragedError | None = None
        self._source, self._again = source, again

    def read_at(self, offset: int, length: int) -> bytes:
        try:
            with timed("read"):
                return self._source.read_at(offset, length)
        except StoragedError as error:
            self.error = error
            raise

    def still(self, _digest: str) -> bool:
        """Whether it is what was opened."""
        try:
            with timed("re-check"):
                self._again()
        except StoragedError as error:
            self.error = error
            raise
        return True


def _member(item: Item, metadata: Mapping[str, str]) -> Member:
    p = item.seen.placement
    return Member(p.name, p.size, p.mtime_us, p.generation, p.digest, metadata)


def _at_most(of: Members) -> int:
    """Bytes that a pack of these has at most."""
    return of.bytes + of.bytes // 50 + 4 * of.text + of.objects * HEADERS
