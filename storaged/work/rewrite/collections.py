"""What holds the items of a job by now, with a last look for collections: a table may have been made since the scan.

Of each folder that an object is in, the root and those between, it is asked what is directly in it; where that is more
than a page, for the names by which collections are known. What is found is in the catalog from then on, so that every
door knows of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol, TypeVar

from storaged.catalog import collections
from storaged.catalog.homes import homes
from storaged.catalog.items import InPlace, ToRoot
from storaged.catalog.placements import tier_ids
from storaged.catalog.queue import ClaimedJob, ItemOutcome
from storaged.decide.guards import AT_WORK, Move, held_back
from storaged.decide.kinds import INTO, LITERALS, Finder
from storaged.errors import ObjectNotFound, PermissionDenied, StoragedError, StoreError
from storaged.model import ItemState, RawState
from storaged.stores.base import Stat, Store
from storaged.work.context import Context
from storaged.work.rewrite.referrers import look_again, look_beside
from storaged.work.rewrite.stage import Staged, Transitioned
from storaged.work.rewrite.trouble import may_pass, skipped
from storaged.work.rewrite.whole import membership, together, until_of

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
    those of which that cannot be told."""
    whole = claimed.whole is not None
    with context.catalog.read() as conn:
        known, home = tier_ids(conn), homes(conn)
    moves = {
        i.seen.id: Move(home(i.seen.dataset_id, i.to.storage_class), in_place=True, apart=i.to.apart or whole)
        if isinstance(i.to, InPlace)
        else Move(known[i.to.tier], apart=i.to.apart or whole)
        for i in claimed.items
        if not isinstance(i.to, ToRoot)
    }

    moving = any(not move.in_place for move in moves.values())
    away = look_again(context, claimed.dataset, each) if moving else None
    at_root = {
        i.seen.id: i.seen.placement.name
        for i in claimed.items
        if (whole or not (i.seen.id in moves and moves[i.seen.id].apart))
        and i.seen.placement.raw.state is RawState.CURRENT
    }
    if claimed.whole is not None:  # what is above all of it may be another one by now, with it as a part
        at_root = dict.fromkeys(list(at_root)[:1], claimed.whole)
    unknown, beside = look(context, claimed.dataset, at_root.values(), each)
    away = away or beside
    with context.catalog.read() as conn:
        kept = held_back(conn, moves, context.guards_now(), asked=AT_WORK)
    outcomes = [skipped(i, kept[i.seen.id]) for i in claimed.items if i.seen.id in kept]
    if claimed.whole is not None and claimed.items and not outcomes:
        with context.catalog.read() as conn:
            why = membership(conn, claimed)
        changed = skipped(claimed.items[0], why) if why else as_scanned(context, claimed)
        outcomes += [] if changed is None else [changed]
    for number, name in (at_root if away is None else _names(claimed)).items():
        error = next((unknown[folder] for folder in _above(name) if folder in unknown), None)
        what = "whether it is a part of a collection" if error else "whether references name it"
        error = error or away
        if error is not None and number not in kept:
            note = f"{what} cannot be told: {error.message}"
            failed = ItemOutcome(
                number, name, ItemState.FAILED, note, again=may_pass(error), error=type(error).__name__
            )
            outcomes.append(failed)
    return outcomes


def _names(claimed: ClaimedJob) -> dict[int, str]:
    return {i.seen.id: i.seen.placement.name for i in claimed.items}


def look(
    context: Context, dataset: str, names: Iterable[str], each: Each
) -> tuple[dict[str, StoreError], StoreError | None]:
    """Record the collections that these objects of a dataset are in by now, if any, and what references beside them
    name. `each`: asks for many folders. Returns what could not be looked at, by folder, and why a file with references
    could not be."""
    store = context.root(dataset)
    folders = sorted({folder for name in names for folder in _above(name)})

    def one(folder: str) -> Told:
        try:
            return [f"{folder}{name}" for name in told(store, folder)]
        except StoreError as error:
            return error

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
    return unknown, look_beside(context, dataset, beside, each)


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
    context: Context, claimed: ClaimedJob, staged: Sequence[Staged | Transitioned], met: Iterable[ItemOutcome]
) -> tuple[Sequence[Staged | Transitioned], list[ItemOutcome]]:
    """Of what moves whole: all that was made, if that is all of it and nothing was changed meanwhile; and what became
    of the others. What the store has changed in place already is recorded whatever was met."""
    met = list(met)
    if any(isinstance(s, Transitioned) for s in staged):
        return staged, met
    if staged and not met and (changed := as_scanned(context, claimed)) is not None:
        met = [changed]
    return (staged, met) if not met else ((), together(claimed, met))


def as_scanned(context: Context, claimed: ClaimedJob) -> ItemOutcome | None:
    """What stops all of a collection that moves whole, as its root shows it now: a key that the catalog does not hold
    so, or one that is missing. None: nothing. What a writer does later is as if it were done after the move: each
    object reads the same under its name either way."""
    first = claimed.items[0].seen
    try:
        why = next(_differences(context, claimed), "")
    except StoragedError as error:
        note = f"whether all of it is as it was cannot be told: {error.message}"
        state, again = ItemState.FAILED, may_pass(error)
        return ItemOutcome(first.id, first.placement.name, state, note, again=again, error=type(error).__name__)
    return ItemOutcome(first.id, first.placement.name, ItemState.SKIPPED, why) if why else None


def _differences(context: Context, claimed: ClaimedJob) -> Iterator[str]:
    prefix = str(claimed.whole)
    store = context.root(claimed.dataset)
    names = {i.seen.placement.name: i.seen.placement for i in claimed.items}
    missing = {name for name, p in names.items() if p.raw.state is RawState.CURRENT}
    with context.catalog.read() as conn:
        until = until_of(conn, claimed)
    folder = prefix[: prefix.rfind("/") + 1]
    for entry in store.list(folder, after=max(prefix[:-1], folder)):  # not all of its keys begin with the prefix
        if until is not None and entry.key >= until:
            break
        if entry.key < prefix or not isinstance(entry, Stat):
            continue
        p = names.get(entry.key)
        if p is None:
            yield f"{entry.key} is new {SINCE}"
        elif p.raw.state is not RawState.CURRENT:
            yield f"{entry.key} was written {SINCE}"
        elif entry.identity != p.raw.identity and store.identity(entry.key) != p.raw.identity:
            yield f"{entry.key} was changed {SINCE}"
        missing.discard(entry.key)
    yield from (f"{name} was deleted {SINCE}" for name in sorted(missing))
