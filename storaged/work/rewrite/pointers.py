"""Undo within grace, and the other changes of a pointer that move no bytes: rm, hold, pin.

Undo is immediate: nothing was deleted yet, so the pointer goes back to what is still there. After the release of the
source the way back is a write-back to the original key (storaged.work.rewrite.returns).
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from storaged.catalog import changes, placements
from storaged.catalog.items import InPlace, NewItem
from storaged.catalog.placements import Change, Seen, paged
from storaged.catalog.schema import audit, job_items, jobs
from storaged.decide.sentence import price_of_undo
from storaged.errors import ObjectNotFound, SourceChanged, StoragedError, UsageError
from storaged.model import ItemState, JobKind, Placement, RawState
from storaged.placement import Stale, drop, undo
from storaged.work import places
from storaged.work.claims import Place
from storaged.work.content import identity_now
from storaged.work.context import Context
from storaged.work.location import current
from storaged.work.rewrite.as_one import ANEW, PAGE, Pages, Unit, all_of, as_one, settled
from storaged.work.rewrite.enqueue import Enqueued, enqueue_batches
from storaged.work.rewrite.folded import Folded
from storaged.work.rewrite.whole import NotWhole

UNDO: Final = ": undo"  # ends the reason of a job that gives a storage class back; undone again by a policy or a person


@dataclass(slots=True)
class Changed:
    """What became of each object: done, or left as it was and why."""

    done: list[str] = field(default_factory=list)
    bytes: int = 0  # content of what is done
    refused: list[tuple[str, str]] = field(default_factory=list)
    jobs: list[int] = field(default_factory=list)  # that were queued: a storage class is given back by the store
    prices: dict[str, int] = field(default_factory=dict)  # what that is billed for, in words -> objects
    whole: list[str] = field(default_factory=list)  # collections that go back whole, in words

    def add(self, more: Changed) -> None:
        """What became of others, too."""
        self.done += more.done
        self.bytes += more.bytes
        self.refused += more.refused
        self.jobs += more.jobs
        self.whole += more.whole
        for price, count in more.prices.items():
            self.prices[price] = self.prices.get(price, 0) + count


class _Rewritten(Stale):
    """At the original key, to which the pointer would go back, is what its user wrote since."""


def undo_objects(
    context: Context, pages: Iterable[list[Seen]], *, apart: bool = False, dry_run: bool = False
) -> Changed:
    """Point each object back at what its last change superseded, if that is still there with its recorded identity.
    For one whose storage class was changed in place, queue the reverse change. A release that was begun and could not
    be done is taken back. With an object that was moved whole with others all of it goes back, in one transaction, or
    nothing of it; `apart`: each by itself. `dry_run`: as `change_objects` has it."""
    units = (Unit([page]) for page in pages) if apart else as_one(context, pages)
    return _undo(context, units, dry_run=dry_run)


def _undo(
    context: Context, units: Iterable[Unit], *, made: Mapping[int, str] | None = None, dry_run: bool = False
) -> Changed:
    """`made` gives, by object id, the blob or the storage class that must be current."""

    def new(seen: Seen, now_us: int) -> Placement:
        current = seen.placement.current
        if made is not None and (current is None or current.blob != made[seen.id]):
            raise Stale("changed again since that job")
        return undo(seen.placement, now_us=now_us, doubt_us=context.settings.late_put_window)

    queued = Changed()

    def pointers(pages: Pages) -> Iterator[list[Seen]]:
        for page in pages:
            back = {
                i: was
                for i, was in _classes_before(context, page).items()
                if made is None or made[i] == next(h.placement.raw.storage_class for h in page if h.id == i)
            }
            _queue_back(context, [h for h in page if h.id in back], back, queued, dry_run=dry_run)
            yield [h for h in page if h.id not in back]

    def without_classes() -> Iterator[Unit]:
        for unit in units:
            unit.pages = pointers(unit.pages)
            yield unit

    changed = _change_each(context, without_classes(), "undo", new, look=_still_there, dry_run=dry_run)
    changed.add(queued)
    return changed


def _classes_before(context: Context, page: Iterable[Seen]) -> dict[int, str]:
    """The storage class that each of these objects had before its last change, where that was one in place by us."""
    at_root = {
        (h.placement.dataset, h.placement.name): h
        for h in page
        if h.placement.raw.state is RawState.CURRENT and h.placement.current is None
    }
    names = sorted({name for _, name in at_root})
    last: dict[tuple[str, str], Any] = {}
    with context.catalog.read() as conn:
        for part in placements.chunks(names):
            query = sa.select(audit).where(audit.c.object.in_(part), audit.c.kind == "transition").order_by(audit.c.id)
            for row in conn.execute(query):
                last[row.dataset, row.object] = json.loads(row.detail)
    found: dict[int, str] = {}
    for of, told in last.items():
        h = at_root.get(of)
        if h is None or told["reason"].endswith(UNDO) or told["generation"] != h.placement.generation:
            continue
        was, made = told.get("classes", ("", ""))
        if made == h.placement.raw.storage_class:
            found[h.id] = was
    return found


def _queue_back(context: Context, seen: list[Seen], back: Mapping[int, str], result: Changed, *, dry_run: bool) -> None:
    """Jobs that give objects the class back that they had."""
    by_dataset: dict[str, list[Seen]] = {}
    for h in seen:
        by_dataset.setdefault(h.placement.dataset, []).append(h)
    for dataset, theirs in by_dataset.items():
        items = [
            NewItem(h.id, h.version, h.placement.size, InPlace(back[h.id], apart=True), name=h.path) for h in theirs
        ]
        made = Enqueued()
        if not dry_run:
            enqueue_batches(context, JobKind.REWRITE, dataset, items, reason=f"{context.actor}{UNDO}", result=made)
        result.jobs += made.jobs
        result.refused += made.left_out
        left = {name for name, _ in made.left_out}
        for h in theirs:
            if h.path not in left:
                result.done.append(h.path)
                result.bytes += h.placement.size
                price = "".join(price_of_undo(h.placement.raw.storage_class, back[h.id]))
                result.prices[price] = result.prices.get(price, 0) + 1


def undo_job(context: Context, job_ids: Iterable[int], *, dry_run: bool = False) -> Changed:
    """Undo what these jobs swapped, as far as it is still current and in grace. `dry_run`: as `change_objects` has it.
    Raises UsageError for unknown jobs."""
    total = Changed()
    for job_id in job_ids:
        with context.catalog.read() as conn:
            job = conn.execute(sa.select(jobs.c.whole).where(jobs.c.id == job_id)).one_or_none()
            if job is None:
                raise UsageError(f"there is no job {job_id}", hint="`storagectl jobs` lists them")
            made = _made_by(conn, job_id) if job.whole is None else None
        unit = all_of(context, job_id) if made is None else Unit(_pages(context, made))
        total.add(_undo(context, [unit], made=made, dry_run=dry_run))
    return total


def _pages(context: Context, ids: Iterable[int]) -> Iterator[list[Seen]]:
    for part in paged(ids, PAGE):
        with context.catalog.read() as conn:
            seen = placements.load(conn, part)
        yield list(seen.values())


def _made_by(conn: sa.Connection, job_id: int) -> dict[int, str]:
    """What a job made, by object id: the blob, or (in place) the storage class."""
    query = sa.select(job_items.c.object_id, job_items.c.attempt_id, job_items.c.storage_class)
    done = sa.and_(job_items.c.job_id == job_id, job_items.c.state == ItemState.DONE.value)
    return {row.object_id: row.storage_class or row.attempt_id for row in conn.execute(query.where(done))}


def remove_objects(context: Context, pages: Iterable[list[Seen]], *, dry_run: bool = False) -> Changed:
    """Delete objects that are no longer at their original keys; `undo` brings them back until the grace is over. Those
    whose root is not there, or is another dataset's, stay. `dry_run`: as `change_objects` has it."""
    grace = context.settings.grace

    def new(seen: Seen, now_us: int) -> Placement:
        if seen.placement.hold:
            raise Stale("held")
        return drop(seen.placement, now_us=now_us, until_us=now_us + grace)

    wrong: dict[str, str] = {}

    def its_root_is_there(context: Context, seen: Seen, _placement: Placement) -> None:
        here = Place("dataset", seen.placement.dataset)
        if here.name not in wrong:
            wrong[here.name] = places.wrong(context, [here]).get(here, "")
        if wrong[here.name]:  # whoever looked there saw another dataset's files
            raise Stale(wrong[here.name])

    return change_objects(context, pages, "drop", new, look=its_root_is_there, dry_run=dry_run)


def hold_objects(context: Context, pages: Iterable[list[Seen]], reason: str | None) -> Changed:
    """Put objects on legal hold (nothing of them is deleted or rewritten), or take the hold away (None)."""
    return change_objects(context, pages, "hold", lambda h, _now: replace(h.placement, hold=reason))


def pin_objects(context: Context, pages: Iterable[list[Seen]], tier: str | None) -> Changed:
    """Fix the tier of objects, or let policies decide again (None). Moves nothing. Raises UsageError."""
    if tier is not None:
        context.tier(tier)
    return change_objects(context, pages, "pin", lambda h, _now: replace(h.placement, pin=tier))


def change_objects(
    context: Context,
    pages: Iterable[list[Seen]],
    kind: str,
    new: Callable[[Seen, int], Placement],
    *,
    look: Callable[[Context, Seen, Placement], None] = lambda _context, _held, _placement: None,
    dry_run: bool = False,
) -> Changed:
    """Give objects the placement that `new` makes of theirs and an instant, under guard, and tell the journal. `kind`:
    the word there and in the audit; `look` may refuse what the stores speak against. Both raise Stale. `dry_run`:
    tells what would be done and refused by what is there now, and changes nothing."""
    return _change_each(context, (Unit([page]) for page in pages), kind, new, look=look, dry_run=dry_run)


def _change_each(
    context: Context,
    units: Iterable[Unit],
    kind: str,
    new: Callable[[Seen, int], Placement],
    *,
    look: Callable[[Context, Seen, Placement], None],
    dry_run: bool,
) -> Changed:
    """The same of what is changed as one, each in one transaction, however many pages it has."""
    if not dry_run:
        context.ready()
        context.journal.flush()
    result = Changed()
    for unit in units:
        found = _Looked()
        found.look(context, unit.pages, new, look)
        if unit.words:
            result.whole.append(unit.words)
            if found.rewritten and len(found.rewritten) == len(found.refused):
                told, found.refused = found.refused, []
                if dry_run:
                    unit.stays += [(path, ANEW) for path, _ in told]
                else:
                    found.look(context, settled(context, unit, found.rewritten), new, look)
            result.refused += unit.stays
        result.refused += found.refused
        if unit.words and found.refused:  # all of it is left as it is
            continue
        if dry_run:
            result.done += [r.path for r in found.ready]
            result.bytes += sum(r.size for r in found.ready)
        elif found.ready:
            _change_one(context, found.ready, kind, new, result, whole=bool(unit.words))
            context.journal.flush()
    return result


class _Ready(NamedTuple):
    """An object that may be changed, as it was read."""

    id: int
    version: int
    path: str
    size: int


class _Looked:
    """What of some objects may be changed, and what is said of the others. `rewritten`: the ids of those of them that
    their users wrote anew."""

    def __init__(self) -> None:
        self.ready = Folded[_Ready](tuple, lambda row: _Ready(*row))
        self.rewritten = array("q")
        self.refused: list[tuple[str, str]] = []

    def look(
        self,
        context: Context,
        pages: Pages,
        new: Callable[[Seen, int], Placement],
        look: Callable[[Context, Seen, Placement], None],
    ) -> None:
        """Look at these too."""
        for h in (h for page in pages for h in page):
            try:
                look(context, h, new(h, context.now_us()))
                self.ready.add(_Ready(h.id, h.version, h.path, h.placement.size))
            except (Stale, StoragedError) as error:
                self.refused.append((h.path, error.message))
                if isinstance(error, _Rewritten):
                    self.rewritten.append(h.id)


def _change_one(
    context: Context,
    ready: Iterable[_Ready],
    kind: str,
    new: Callable[[Seen, int], Placement],
    result: Changed,
    *,
    whole: bool,
) -> None:
    """`whole`: all of these or none."""
    now, refused, done = context.now_us(), list[tuple[str, str]](), list[_Ready]()
    try:
        with context.catalog.begin() as conn:
            for part in paged(ready, PAGE):
                page = changes.Page(conn, part)
                made = page.judge(lambda h: Change(h, new(h, now), kind))
                changes.record(conn, made, now_us=now, why=context.why(kind))
                refused += [(r.path, page.refused[r.id]) for r in part if r.id in page.refused]
                done += [r for r in part if r.id not in page.refused]
                if whole and refused:
                    raise NotWhole(refused[0][1])
    except NotWhole:
        done.clear()
    result.refused += refused
    result.done += [r.path for r in done]
    result.bytes += sum(r.size for r in done)


def _still_there(context: Context, seen: Seen, back: Placement) -> None:
    """What the pointer shall go back to is there, with its recorded identity. Raises Stale."""
    there = current(replace(seen, placement=back))
    try:
        right = identity_now(context, there) == there.identity or there.blob is not None
    except SourceChanged as error:
        raise Stale(f"what it would go back to is not as it was proven: {error.message}") from error
    except ObjectNotFound as error:
        if seen.placement.raw.state is RawState.RELEASING:
            way = "`storagectl sweep` records that, then `storagectl restage --to-root` writes it back"
            raise Stale(f"its source is released: {way}") from error
        raise Stale("what it would go back to is gone: scan, then look again") from error
    if not right:
        raise _Rewritten("what it would go back to was changed meanwhile: scan, then look again")
