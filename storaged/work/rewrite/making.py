"""What a worker makes of items, on its threads: blobs elsewhere, or another storage class where they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, TypeVar

from storaged.catalog import attempts
from storaged.catalog.items import InPlace, Item, ToRoot
from storaged.catalog.placements import Seen
from storaged.catalog.queue import ClaimedJob, ItemOutcome
from storaged.clock import Timings
from storaged.codecs.registry import Sampled
from storaged.errors import LeaseLost, StoragedError, StoreError
from storaged.model import ItemState
from storaged.stores.base import Ended, Reader
from storaged.work.context import Context
from storaged.work.packs import OpenPacks, Span, by_place
from storaged.work.rewrite.beside import side_by_side
from storaged.work.rewrite.bring_back import bring_back
from storaged.work.rewrite.choose import choose, sample, samples
from storaged.work.rewrite.derive import derive, derives
from storaged.work.rewrite.neighbours import Met, each
from storaged.work.rewrite.stage import Staged, Transitioned, rechecked, stage
from storaged.work.rewrite.swap import Made
from storaged.work.rewrite.transition import change, in_place, look

CATALOG: Final = "catalog"  # the stage of a job's transactions: claim, swap and what is noted between

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Making:
    """For one job. `items` works on items, `frames` compresses; nothing is begun any more once it is not `alive`."""

    context: Context
    timings: Timings
    items: Executor
    frames: Executor
    met: Met
    alive: Callable[[], bool]

    def made(self, claimed: ClaimedJob, outcomes: list[ItemOutcome]) -> Iterator[tuple[Item, Made]]:
        """What was made of each item, or what became of it instead; of what was not to be written, in `outcomes`."""
        yield from self.copied(claimed.items, partial(self._chosen, claimed.id, outcomes))
        checksums: dict[str, str] = {}
        for item, found in self.looked(claimed.items):
            if isinstance(found, ItemOutcome):
                yield item, found
            else:
                checksums[item.attempt] = found
        if checksums:
            with self.timings.recording(CATALOG), self.context.catalog.begin() as conn:
                attempts.note_checksums(conn, claimed.id, checksums)
            ready = [i for i in claimed.items if i.attempt in checksums]
            yield from self.changed(ready, checksums)

    def copied(
        self,
        items: Sequence[Item],
        chosen: Callable[[Sequence[Item], OpenPacks], Sequence[Item]] = lambda items, _packs: items,
    ) -> Iterator[tuple[Item, Staged | ItemOutcome]]:
        """What was written of those that go elsewhere, as `chosen` has them. Those in packs are read as they lie."""
        items = sorted((i for i in items if not isinstance(i.to, InPlace)), key=lambda i: by_place(i.seen))
        with OpenPacks(self.context, once=True) as packs:
            with packs.expecting(_whole(items)):
                taken = chosen(items, packs)
            with packs.expecting(_whole(taken)):  # again, where samples were read of more than is kept
                yield from self._staged(taken, packs)

    def _chosen(self, job_id: int, outcomes: list[ItemOutcome], items: Sequence[Item], packs: OpenPacks) -> list[Item]:
        """What is to be written, in the codecs that take it."""

        def tried(item: Item) -> Sampled | ItemOutcome:
            try:
                return sample(item, packs)
            except StoragedError as error:
                return self.met(item, error)

        def each_of(those: Sequence[Item]) -> Iterator[Sampled | ItemOutcome]:
            sampling = partial(self.timings.recording, "sample")

            def act(neighbours: Sequence[Item]) -> list[Sampled | ItemOutcome]:
                return [tried(item) for item in neighbours]

            return each(self.context, self.items, those, act, met=self.met, recording=sampling, settled=None)

        found = zip(items, samples(items, each_of), strict=True)
        return choose(self.context, job_id, found, outcomes, self.timings.recording(CATALOG))

    def _staged(self, items: Sequence[Item], packs: OpenPacks) -> Iterator[tuple[Item, Staged | ItemOutcome]]:
        def one(item: Item, reader: Reader | None = None) -> Staged | ItemOutcome:
            how = partial(derive) if derives(item) else partial(stage, reader=reader)
            return self.tried(item, partial(how, self.context, item, executor=self.frames, packs=packs))

        def act(neighbours: Sequence[Item]) -> list[Staged | ItemOutcome]:
            if isinstance(neighbours[0].to, ToRoot):
                return bring_back(self.context, neighbours, self.tried, executor=self.frames, packs=packs)
            return side_by_side(self.context, neighbours, self.tried, one)

        def again(neighbours: Sequence[Item], found: list[Staged | ItemOutcome]) -> list[Staged | ItemOutcome]:
            return rechecked(self.context, neighbours, found, self.tried)

        made = each(
            self.context,
            self.items,
            items,
            act,
            met=self.met,
            recording=self.timings.recording,
            settled=_settled,
            again=again,
        )
        yield from zip(items, made, strict=True)

    def looked(self, items: Sequence[Item]) -> Iterator[tuple[Item, str | ItemOutcome]]:
        """What the stores say of each key whose storage class shall change."""

        def one(of: tuple[Item, InPlace]) -> tuple[Item, str | ItemOutcome]:
            with self.timings.recording("source"):
                return of[0], self.tried(of[0], partial(look, self.context, *of))

        yield from self.items.map(one, in_place(items))

    def changed(
        self, items: Sequence[Item], checksums: Mapping[str, str]
    ) -> Iterator[tuple[Item, Transitioned | ItemOutcome]]:
        """The classes, changed: the intents have what was said of the keys."""

        def one(of: tuple[Item, InPlace]) -> tuple[Item, Transitioned | ItemOutcome]:
            with self.timings.recording("transition"):
                return of[0], self.tried(of[0], partial(change, self.context, *of, checksums[of[0].attempt]))

        yield from self.items.map(one, in_place(items))

    def tried(self, item: Item, act: Callable[[], T]) -> T | ItemOutcome:
        """What `act` made of an item, or what became of the item instead."""
        if not self.alive():
            name, why = item.seen.placement.name, "the lease was lost"
            return ItemOutcome(item.seen.id, name, ItemState.FAILED, why, again=True, error=LeaseLost.__name__)
        try:
            return act()
        except StoragedError as error:
            return self.met(item, error)


def _whole(items: Sequence[Item]) -> Iterator[tuple[Seen, Span]]:
    return ((i.seen, (0, i.seen.placement.size)) for i in items)


def _settled(staged: Staged, told: Mapping[str, Ended]) -> Staged:
    """With the identity that its store told when all neighbours were made. Raises why it was not made."""
    if staged.stat.identity:
        return staged
    ended = told[staged.stat.key]
    if isinstance(ended, StoreError):
        raise ended
    return replace(staged, stat=ended)
