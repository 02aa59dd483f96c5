"""Bring a tier to another place: what was copied there, by whatever means, is proved blob by blob before it counts.

Nothing is copied here and nothing deleted. Until all of it proved right the tier stays where it is; then the marker at
the new place names it, the one at the old place says where it went, and whoever still has the old URL is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import sqlalchemy as sa

from storaged.catalog import facts, placements, suspensions
from storaged.catalog.attempts import PROPOSED, STAGED
from storaged.catalog.placements import Seen
from storaged.catalog.schema import blobs, jobs, replicas, tiers
from storaged.catalog.schema_attempts import attempts
from storaged.errors import CatalogBehind, ForeignClaim, ObjectNotFound, RefusedByGuard, SourceChanged, StoreError
from storaged.model import Blob, JobState
from storaged.work import claims, suspension
from storaged.work.claims import Place
from storaged.work.content import prove
from storaged.work.context import Context
from storaged.work.journal import told_holes
from storaged.work.proof import record

PAGE: Final = 500
FEW: Final = 20  # of what is wrong, named in the report


@dataclass(slots=True)
class Moved:
    """What a move came to. Bytes are stored bytes."""

    tier: str
    url: str
    was: str
    blobs: int = 0
    bytes: int = 0
    damaged: int = 0  # blobs that `verify` found damaged before: not looked at
    wrong: list[tuple[str, str]] = field(default_factory=list)  # key, and why it is not what the catalog has
    left: bool = False  # the marker at the old place says where the tier went


def move_tier(
    there: Context,
    here: Context,
    name: str,
    *,
    dry_run: bool,
    progress: Callable[[int, int], None] = lambda _blobs, _bytes: None,
) -> Moved:
    """Prove what is at the tier's URL of `there`, and make it the tier. `here` has the URL where it was up to now.
    With `dry_run` it is only proved. The report names what is not right: then nothing was changed.

    Raises RefusedByGuard while a job writes there or reads from there, CatalogBehind where the journal belongs to the
    tier and was not copied whole, ForeignClaim where the new place is another catalog's, StoreError.
    """
    new = there.tier(name)
    place = Place("tier", name)
    result = Moved(name, new.url, here.tier(name).url)
    found = claims.marker(new)
    if found is not None and found.owner.catalog != here.identity.catalog:
        raise ForeignClaim(f"{new.url} belongs to catalog {found.owner.catalog}, this one is {here.identity.catalog}")
    home = here.journal_tier == name
    if home:
        _journal_is_whole(there)
    stopped = not dry_run and _stop(here, name)
    try:
        _nothing_runs(here, name)
        for page in _pages(here, name):
            for h in page:
                _prove_all(there, h, name, result)
            progress(result.blobs, result.bytes)
        if result.wrong or dry_run:
            return result
        claims.rename(new, here.identity, place, journal=home)
        with here.catalog.begin() as conn:
            conn.execute(sa.update(tiers).where(tiers.c.name == name).values(url=new.url))
            facts.put(conn, facts.moved_to(name), new.url)
        try:
            claims.leave(here.tier(name), here.identity, place, new.url)
            result.left = True
        except (ForeignClaim, StoreError):  # it is gone: nobody can take it for the tier before it is back
            result.left = False
        for page in _pages(here, name):
            record(there, page)
    finally:
        if stopped:
            suspension.resume(here, "tier", name, "its move came to its end")
    return result


def _journal_is_whole(there: Context) -> None:
    with there.catalog.read() as conn:
        number, first = facts.journal_number(conn), int(facts.get(conn, "journal_from") or 0)
    journal = there.journal
    if missing := journal.holes(first, number):
        raise CatalogBehind(
            f"the journal belongs to this tier, and the new place lacks {told_holes(missing)} of it",
            hint="copy .storaged/journal too, and let nothing write to the old place meanwhile",
        )
    journal.check_head()


def _stop(context: Context, name: str) -> bool:
    """Suspend the tier. False: it is suspended already, and stays so."""
    with context.catalog.read() as conn:
        if any((s.kind, s.name) == ("tier", name) for s in suspensions.suspended(conn)):
            return False
    suspension.suspend(context, "tier", name, "it is being moved to another place")
    return True


def _nothing_runs(context: Context, name: str) -> None:
    query = (
        sa.select(jobs.c.id)
        .join(attempts, attempts.c.job_id == jobs.c.id)
        .outerjoin(tiers, tiers.c.id == attempts.c.tier_id)
        .where(sa.or_(sa.and_(jobs.c.state == JobState.RUNNING.value, STAGED), PROPOSED))
        .where(sa.or_(tiers.c.name == name, attempts.c.tier_id.is_(None)))
        .limit(1)
    )
    with context.catalog.read() as conn:
        job = conn.execute(query).scalar()
    if job is not None:
        raise RefusedByGuard(f"job {job} is running, and may touch tier {name!r}", hint="wait for its end")


def _pages(context: Context, name: str) -> Iterator[list[Seen]]:
    """The objects that have a replica in the tier, in pages."""
    query = (
        sa.select(replicas.c.object_id)
        .join(blobs, blobs.c.id == replicas.c.blob_id)
        .join(tiers, tiers.c.id == blobs.c.tier_id)
        .where(tiers.c.name == name)
        .distinct()
        .order_by(replicas.c.object_id)
        .limit(PAGE)
    )
    after = 0
    while True:
        with context.catalog.read() as conn:
            ids = list(conn.execute(query.where(replicas.c.object_id > after)).scalars())
            seen = placements.load(conn, ids)
        if ids:
            yield [seen[i] for i in ids]
        if len(ids) < PAGE:
            return
        after = ids[-1]


def _prove_all(there: Context, seen: Seen, name: str, result: Moved) -> None:
    """Whether every blob of an object that is in the tier is at the new place, but those that are known as damaged."""
    known = {r.blob for r in seen.placement.replicas if r.damaged}
    for blob in seen.blobs.values():
        if blob.tier == name and blob.id in known:
            result.damaged += 1
        elif blob.tier == name:
            why = _wrong(there, blob)
            if why:
                result.wrong.append((blob.key, why))
            else:
                result.blobs += 1
                result.bytes += blob.size


def _wrong(there: Context, blob: Blob) -> str:
    try:
        prove(there, blob)
    except ObjectNotFound:
        return "it is missing"
    except (SourceChanged, StoreError) as error:
        return error.message
    return ""
