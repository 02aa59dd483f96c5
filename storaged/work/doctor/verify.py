"""Verify: read what is stored again and hash it. Damage is recorded, reported, and stops every release."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from storaged.catalog import changes
from storaged.catalog.placements import Change, Seen
from storaged.catalog.schema import objects
from storaged.digest import digest_of
from storaged.errors import (
    ObjectCold,
    ObjectNotFound,
    PermissionDenied,
    SourceChanged,
    StoragedError,
    VerificationFailed,
)
from storaged.model import Placement, RawState
from storaged.placement import Stale, examined
from storaged.work import places
from storaged.work.content import summed
from storaged.work.context import Context
from storaged.work.location import current
from storaged.work.packs import OpenPacks
from storaged.work.proof import record, unrecorded
from storaged.work.targets import pack_by_pack

AWAY: Final = " is away"
COLD: Final = "in an archive class and not warmed: `storagectl warm` asks for a readable copy"
DENIED: Final = "we may not read it"
UNANSWERED: Final = "its store does not answer"
MOVED: Final = "moved or changed while it was read"


@dataclass(slots=True)
class Verified:
    """What was read and what was found. Bytes are of content."""

    checked: int = 0
    bytes: int = 0
    learnt: int = 0  # raw objects that had no digest yet and have one now
    adopted: int = 0  # blobs that proved right under another identity than they had
    skipped: int = 0
    reasons: dict[str, int] = field(default_factory=dict)  # why they were skipped -> how many
    examples: dict[str, str] = field(default_factory=dict)  # reason -> what the store said of the first of them
    unseen: int = 0  # of those skipped: their place was away, or did not answer
    damaged: list[tuple[str, str]] = field(default_factory=list)
    healed: int = 0  # recorded as damaged before, right now
    refused: int = 0  # right, in packs that are not what was proven: nobody reads them there, jobs take them elsewhere

    def skip(self, reason: str, *, unseen: bool = False, such_as: str = "") -> None:
        """Count an object that was not read."""
        if such_as:
            self.examples.setdefault(reason, such_as)
        self.skipped += 1
        self.unseen += unseen
        self.reasons[reason] = self.reasons.get(reason, 0) + 1


def verify(
    context: Context,
    pages: Iterable[list[Seen]],
    *,
    sample: float = 1.0,
    chance: random.Random,
    progress: Callable[[Verified], None] = lambda _v: None,
) -> Verified:
    """Re-read and re-hash the current place of objects; `sample` is the share that is read (0 to 1). What is marked as
    damaged is read in any case: a mark goes with its cause.

    Damage is bytes that do not decode, or are others than were stored, and a blob that its tier does not have. What
    cannot be looked at now is skipped, with the reason. A blob with another identity whose size, digest and words of
    itself are right is taken over as it is (storaged.work.proof); of a pack that is not right as a whole each object is
    looked at by itself. A raw object that has no digest yet gets one, so that
    later damage shows. Raises CatalogBehind, ForeignClaim.
    """
    context.ready()
    result = Verified()
    recorded: set[str] = set()
    with OpenPacks(context, once=True) as packs:
        for page in pack_by_pack(context, pages):
            chosen = [h for h in page if sample >= 1.0 or chance.random() < sample or _damage(h.placement)]
            with packs.expecting((h, (0, h.placement.size)) for h in chosen):
                _look(context, packs, chosen, recorded, result, progress)
    context.journal.flush()
    return result


def _look(
    context: Context,
    packs: OpenPacks,
    chosen: Iterable[Seen],
    recorded: set[str],
    result: Verified,
    progress: Callable[[Verified], None],
) -> None:
    """Read these, and record what was found. `recorded`: blobs whose identity was taken over, each once however many
    objects are in it."""
    for h in chosen:
        p = h.placement
        if reason := _away(context, h):
            result.skip(reason, unseen=reason.endswith(AWAY))
            continue
        try:
            found, unproven = _digest(packs, h)
        except (SourceChanged, ObjectNotFound) as error:
            # At its original key that is its user's change, which the scan records. A blob of ours must not change.
            if p.raw.state is RawState.CURRENT:
                result.skip("changed or removed since the scan")
                continue
            if wrong := places.wrong(context, [current(h).place]):
                result.skip(next(iter(wrong.values())), unseen=True)
                continue
            missing = isinstance(error, ObjectNotFound)
            found = "it is missing from its tier" if missing else f"it is not what was proven: {error.message}"
        except VerificationFailed as error:
            found = error.message
        except StoragedError as error:
            cold = isinstance(error, ObjectCold)  # as it should be
            denied = isinstance(error, PermissionDenied)
            why = COLD if cold else DENIED if denied else UNANSWERED
            result.skip(why, unseen=not cold, such_as=error.message)
            continue
        result.checked += 1
        result.bytes += p.size
        result.refused += found is None and unproven
        if found is None and unrecorded(context, h).keys() - recorded:
            again = record(context, [h])
            result.adopted += len(again)
            recorded |= unrecorded(context, h).keys() if again else set()
            h = again.get(h.id, h)
        _record(context, h, found, result)
        progress(result)


def _away(context: Context, seen: Seen) -> str:
    """Why an object is not looked at; empty: it can be."""
    p = seen.placement
    if not p.exists:
        return "removed"
    if seen.fact_id is not None:
        return "a change by its user is being recorded"
    place = current(seen).place
    if place.kind == "tier":
        return f"tier {place.name}{AWAY}" if place.name in context.away else ""
    return f"the root of {p.dataset}{AWAY}" if p.dataset in context.roots_away else ""


def _digest(packs: OpenPacks, seen: Seen) -> tuple[str | None, bool]:
    """None: as it should be. Else what is wrong, or (for a raw object without digest) "=" and the digest. And whether
    it was read from a pack that is not what was proven."""
    p = seen.placement
    with packs.current(seen) as content:
        unproven = packs.unproven(seen)
        size, found = content.size, digest_of(summed(seen, content).chunks())
    if size != p.size:
        return f"its content has {size} bytes instead of {p.size}", unproven
    if not p.digest:
        return f"={found}", unproven
    return (None if found == p.digest else f"its content has digest {found} instead of {p.digest}"), unproven


def _record(context: Context, seen: Seen, found: str | None, result: Verified) -> None:
    """What was found of one place of one object. Damage is told to the journal, and so is its healing; damage that is
    found again is told again, since what an older version found is in no journal."""
    p = seen.placement
    if found is not None and found.startswith("="):
        with context.catalog.begin() as conn:
            same = sa.and_(objects.c.id == seen.id, objects.c.version == seen.version, objects.c.digest == "")
            conn.execute(sa.update(objects).where(same).values(digest=found[1:]))
        result.learnt += 1
        return
    if found is None and not _damage(p):
        return
    told = _told(context, seen, found or "")
    if not told:  # what its user did may be being recorded: that first
        context.journal.flush()
        told = _told(context, seen, found or "")
    if not told:  # of the place where it is now, nothing was found
        result.checked -= 1
        result.bytes -= p.size
        result.skip(MOVED)
    elif found is None:
        result.healed += 1
    else:
        result.damaged.append((seen.path, found))


def _told(context: Context, seen: Seen, damaged: str) -> bool:
    """Record damage (empty: none) of the place that was read. False: it is not the object's place any more, or a fact
    waits."""
    blob = _blob(seen.placement)

    def new(now: Seen) -> Change:
        p = now.placement
        if _blob(p) != blob or (blob is None and p.raw.identity != seen.placement.raw.identity):
            raise Stale("it is elsewhere by now")
        return Change(now, examined(p, blob, damaged=damaged), "damaged" if damaged else "healed")

    with context.catalog.begin() as conn:
        made = changes.Page(conn, [seen], any_version=True).judge(new)
        changes.record(conn, made, now_us=context.now_us(), why=context.why(damaged))
    return bool(made)


def _blob(p: Placement) -> str | None:
    return p.current.blob if p.current else None


def _damage(p: Placement) -> str:
    return p.current.damaged if p.current else p.raw.damaged
