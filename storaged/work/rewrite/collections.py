"""What holds the items of a job by now, with a last look for collections: a table may have been made since the scan.

Of each folder that an object is in, the root and those between, it is asked what is directly in it; where that is more
than a page, for the names by which collections are known. What is found is in the catalog from then on, so that every
door knows of it.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Protocol, TypeVar

from storaged.catalog import collections
from storaged.catalog.homes import homes
from storaged.catalog.items import InPlace, ToRoot, ToTier, encodes
from storaged.catalog.members import WholeParts
from storaged.catalog.placements import paged, tier_ids
from storaged.catalog.queue import ClaimedJob, ItemOutcome
from storaged.decide.finder import INTO, LITERALS, Finder
from storaged.decide.guards import AT_WORK, Move, held_back
from storaged.errors import ObjectNotFound, PermissionDenied, StoragedError, StoreError
from storaged.model import ItemState, RawState
from storaged.stores.base import Stat, Store
from storaged.work.context import Context
from storaged.work.rewrite.folded import Folded, outcomes
from storaged.work.rewrite.members import everyone
from storaged.work.rewrite.referrers import look_again, look_beside
from storaged.work.rewrite.swap import Made
from storaged.work.rewrite.trouble import excused, skipped, untold
from storaged.work.rewrite.whole import NONE_ANY_MORE, membership, together, until_of

PAGE: Final = 1_000  # names that are asked for of a folder
SINCE: Final = "since the last scan"
FEW: Final = 4  # folders of a level that are looked into below one that collections are known by

Told = list[str] | StoreError
T = TypeVar("T")
R = TypeVar("R")


class Each(Protocol):
    """Asks for each of many, side by side or not; the results in order."""

    def __call__(self, ask: Callable[[T], R], of: Sequence[T], /) -> Iterable[R]: ...


def guarded(context: Context, claimed: ClaimedJob, each: Each) -> list[ItemOutcome]:
    """What becomes of those items of a rewrite that a guard holds by now, although their rows are as they were; and of
    those of which that cannot be told. What moves whole was looked at as a whole (`looked_at`)."""
    whole = claimed.whole is not None
    with context.catalog.read() as conn:
        known, home = tier_ids(conn), homes(conn)

    def move(dataset_id: int, to: InPlace | ToTier) -> Move:
        if isinstance(to, InPlace):
            return Move(home(dataset_id, to.storage_class), in_place=True, apart=to.apart or whole)
        return Move(known[to.tier], apart=to.apart or whole, encoded=encodes(to))

    moves: dict[int, Move] = {}
    for _, alike in groupby(claimed.items, key=lambda i: id(i.to)):  # nearly all of a job
        some = list(alike)
        if not isinstance(to := some[0].to, ToRoot):
            moves |= dict.fromkeys([i.seen.id for i in some], move(some[0].seen.dataset_id, to))

    looked = None
    at_root: dict[int, str] = {}
    if not whole:
        at_root = {
            i.seen.id: i.seen.placement.name
            for i in claimed.items
            if not (i.seen.id in moves and moves[i.seen.id].apart) and i.seen.placement.raw.state is RawState.CURRENT
        }
        moving = any(not move.in_place for move in moves.values())
        looked = look(context, claimed.dataset, at_root.values(), each, moving=moving)
    with context.catalog.read() as conn:
        kept = held_back(conn, moves, context.guards_now(), asked=AT_WORK)
    outcomes = [skipped(i, kept[i.seen.id]) for i in claimed.items if i.seen.id in kept]
    if looked is None or looked.all_told:
        return outcomes
    for number, name in (at_root if looked.away is None else _names(claimed)).items():
        if number not in kept and (unknown := looked.unknown_of(number, name)):
            outcomes.append(unknown)
    return outcomes


def looked_at(context: Context, claimed: ClaimedJob, parts: WholeParts, each: Each) -> ItemOutcome | None:
    """What keeps all of a collection, as one, from being moved now: what is above it may be another one by now, with it
    as a part; it may have other parts, or others than are cataloged. None: nothing."""
    number, name = next(everyone(context, claimed))
    above = [str(claimed.whole)] if parts.at_root else []
    looked = look(context, claimed.dataset, above, each, moving=not isinstance(parts.to, InPlace))
    with context.catalog.read() as conn:
        why = membership(conn, claimed)
    if why:
        return ItemOutcome(number, name, ItemState.SKIPPED, why)
    return as_scanned(context, claimed, parts) or looked.unknown_of(number, above[0] if above else "")


def _names(claimed: ClaimedJob) -> dict[int, str]:
    return {i.seen.id: i.seen.placement.name for i in claimed.items}


@dataclass(frozen=True, slots=True)
class LookedNow:
    """What a last look could not tell. `unknown`: folders that could not be looked at; `away`: why what references name
    cannot be told."""

    dataset: str
    unknown: Mapping[str, StoreError]
    away: StoreError | None

    @property
    def all_told(self) -> bool:
        return not self.unknown and self.away is None

    def unknown_of(self, number: int, name: str) -> ItemOutcome | None:
        """What becomes of an object of which something cannot be told; None: all can."""
        error = next((self.unknown[folder] for folder in _above(name) if folder in self.unknown), None)
        what = "whether it is a part of a collection" if error else "whether references name it"
        error = error or self.away
        if error is None:
            return None
        return untold(what, number, name, self.dataset, error)


def look(context: Context, dataset: str, names: Iterable[str], each: Each, *, moving: bool) -> LookedNow:
    """Record the collections that these objects of a dataset are in by now, if any, and what references beside them
    name; and, if something is `moving` from its path, what those name that are known already. `each`: asks for many
    folders."""
    store = context.root(dataset)
    lowest = {name[: name.rfind("/") + 1] for name in names}  # many objects are in few folders
    folders = sorted({folder for name in lowest for folder in _above(name)})

    def one(folder: str) -> Told:
        try:
            return [f"{folder}{name}" for name in told(store, folder)]
        except StoreError as error:
            return error

    again = look_again(context, dataset, each) if moving else None
    finder, unknown, beside = Finder(), dict[str, StoreError](), list[str]()
    for folder, answer in zip(folders, each(one, folders), strict=True):
        if isinstance(answer, StoreError):
            unknown[folder] = answer
        else:
            finder.see(sorted(answer))
            beside += answer
    if found := finder.found():
        with context.catalog.begin() as conn:
            collections.add(conn, context.dataset_id(conn, dataset), found, now_us=context.now_us())
    beside_too = look_beside(context, dataset, beside, each)
    return LookedNow(dataset, unknown, again or beside_too)


def _above(name: str) -> Iterator[str]:
    """The folders that a key is in, the root first."""
    yield ""
    at = name.find("/")
    while at >= 0:
        yield name[: at + 1]
        at = name.find("/", at + 1)


def told(store: Store, folder: str) -> Iterator[str]:
    """What may show a collection at this folder: names in it, and keys below those folders that it may be known by."""
    names = set(store.folder(folder, PAGE))
    if len(names) == PAGE:
        names |= {name for name in LITERALS - names if _is_there(store, folder, name)}
    for name in sorted(names):
        if not name.endswith("/"):
            yield name
        elif name[:-1] in INTO:
            yield from (f"{name}{below}" for below in _below(store, f"{folder}{name}", INTO[name[:-1]]))


def _below(store: Store, folder: str, levels: int) -> Iterator[str]:
    """Some of the keys below a folder: what shows a collection there shows in any of its folders."""
    try:
        names = store.folder(folder, PAGE)
    except PermissionDenied:  # none of ours is in it: then its name is all that is known, as to a scan
        yield ""
        return
    yield from (name for name in names if not name.endswith("/"))
    if levels:
        for name in sorted(name for name in names if name.endswith("/"))[:FEW]:
            yield from (f"{name}{below}" for below in _below(store, f"{folder}{name}", levels - 1))


def _is_there(store: Store, folder: str, name: str) -> bool:
    if name.endswith("/"):
        return bool(store.folder(f"{folder}{name}", 1))
    try:
        store.head(f"{folder}{name}")
    except ObjectNotFound:
        return False
    return True


def all_or_nothing(
    context: Context, claimed: ClaimedJob, parts: WholeParts, staged: Iterable[Made], met: Iterable[ItemOutcome]
) -> tuple[Iterable[Made], Folded[ItemOutcome]]:
    """Of what moves whole: all that was made, if that is all of it and nothing was changed meanwhile; and what became
    of the others. `met`: what speaks against it."""
    against = outcomes()
    against.extend(excused(context, claimed.dataset, met))
    if not against and not isinstance(parts.to, InPlace) and (changed := as_scanned(context, claimed, parts)):
        against.add(changed)
    return ((), together(claimed, everyone(context, claimed), against)) if against else (staged, against)


def as_scanned(context: Context, claimed: ClaimedJob, parts: WholeParts) -> ItemOutcome | None:
    """What stops all of a collection that moves whole, as its root shows it now: a key that the catalog does not hold
    so, or one that is missing. None: nothing. What a writer does later is as if it were done after the move: each
    object reads the same under its name either way."""
    number, name = next(everyone(context, claimed))
    try:
        why = next(_differences(context, claimed), "")
    except StoragedError as error:
        return untold("whether all of it is as it was", number, name, claimed.dataset, error)
    return ItemOutcome(number, name, ItemState.SKIPPED, why) if why else None


def _differences(context: Context, claimed: ClaimedJob) -> Iterator[str]:
    """What the root shows otherwise than the catalog has it, a page of keys after the other."""
    prefix, store = str(claimed.whole), context.root(claimed.dataset)
    with context.catalog.read() as conn:
        until, dataset_id = until_of(conn, claimed), context.dataset_id(conn, claimed.dataset)
    if until is None:
        yield NONE_ANY_MORE
        return
    seen = array("q")
    for page in paged(_below_prefix(store, prefix, until), PAGE):
        with context.catalog.read() as conn:
            known = collections.by_name(conn, dataset_id, [entry.key for entry in page])
        for entry in page:
            row = known.get(entry.key)
            if row is None:
                yield f"{entry.key} is new {SINCE}"
            elif row.raw_state != RawState.CURRENT.value:
                yield f"{entry.key} was written {SINCE}"
            elif entry.identity != row.raw_identity and store.identity(entry.key) != row.raw_identity:
                yield f"{entry.key} was changed {SINCE}"
            else:
                seen.append(row.id)
    there = set(seen)
    with context.catalog.read() as conn:
        for number, name in collections.at_root(conn, dataset_id, prefix, until):
            if number not in there:
                yield f"{name} was deleted {SINCE}"


def _below_prefix(store: Store, prefix: str, until: str) -> Iterator[Stat]:
    folder = prefix[: prefix.rfind("/") + 1]
    for entry in store.list(folder, after=max(prefix[:-1], folder)):  # not all of its keys begin with the prefix
        if entry.key >= until:
            return
        if entry.key >= prefix and isinstance(entry, Stat):
            yield entry
