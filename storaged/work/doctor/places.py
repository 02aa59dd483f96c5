"""The places: whose they are, what they let us do, what time it is there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from humanize import naturalsize

from storaged.catalog.placements import tier_ids
from storaged.catalog.schema import datasets
from storaged.clock import SECOND, from_datetime, iso, new_id
from storaged.config.checks import mount_problems
from storaged.config.exposure import exposed
from storaged.config.yaml import read_document
from storaged.errors import ForeignClaim, OtherPlace, PermissionDenied, StoreError
from storaged.model import Readers
from storaged.stores.base import RESERVED, New, Store
from storaged.stores.registry import open_store
from storaged.stores.schemes import terms_of
from storaged.work import claims
from storaged.work.claims import Place
from storaged.work.context import Context, local_path
from storaged.work.doctor.base import UNREADABLE, Finding, FindingKind, Severity, carefully, our_roots, our_tiers
from storaged.work.room import rooms_of

SKEW_US: Final = 30 * SECOND  # half a worker's lease as it is by default; a Date header tells whole seconds

FOREIGN_CLAIM = FindingKind(
    "foreign-claim",
    Severity.ERROR,
    "Another catalog acts on this place, or an old copy of this one was restored: nothing is done until one gives way.",
    "Use the other catalog; if it is this one that is right, `storagectl catalog reconcile` takes an old copy over.",
)
LOST_CLAIM = FindingKind(
    "lost-claim",
    Severity.ERROR,
    "A place has lost its marker. Most likely it is not mounted; nothing is done there until it is back.",
    "Mount the right place. If it was emptied on purpose: `storagectl catalog claim {place} --yes`",
)
NEW_TIER = FindingKind(
    "new-tier",
    Severity.WARNING,
    "A tier of storaged.yaml is not in the catalog yet: nothing goes there, and plans of policies that name it are "
    "refused.",
    "`storagectl scan` claims it and writes it into the catalog; a daemon does when it reloads.",
)
EXCHANGED = FindingKind(
    "exchanged-place",
    Severity.ERROR,
    "A place carries the marker of another tier or dataset: two were mounted the wrong way round, or one was renamed. "
    "Nothing is done there.",
    "Mount each where it belongs. If the name was changed on purpose: `storagectl catalog claim {place} --yes`",
)
UNCLAIMED_ROOT = FindingKind(
    "unclaimed-root",
    Severity.WARNING,
    "A dataset's root carries no marker of ours: nothing of it is ever released.",
    "Let storaged write there, then `storagectl catalog claim {place} --yes`",
)
READ_ONLY = FindingKind(
    "read-only",
    Severity.ERROR,
    "storaged works on this place and may not write there: jobs fail, and nothing is released.",
    "Give this user (or role) the right to write, or mount it writable.",
)
EXPIRES = FindingKind(
    "tier-expires",
    Severity.ERROR,
    "A bucket deletes by itself what is put into a tier: what is there already is lost when its time comes. Nothing "
    "more goes there, and no original is released whose content is there.",
    "Leave the tier's prefix out of that lifecycle rule, or give the tier a place of its own: `storagectl tier move`.",
)
EXPIRY_UNKNOWN = FindingKind(
    "expiry-unknown",
    Severity.INFO,
    "Whether a bucket deletes by itself what is put into a tier may not be asked: a lifecycle rule that does would be "
    "noticed when content is missing.",
    "Allow s3:GetLifecycleConfiguration, or look at the bucket's lifecycle rules.",
)
OPEN_TO_ALL = FindingKind(
    "open-to-all",
    Severity.WARNING,
    "Everybody on this machine can get at a place of storaged's own: read objects that their owners keep to "
    "themselves, or put something else there.",
    "Close it: `chmod o-rwx` it, or put it below a directory that only storaged may enter.",
)
STORE_LACKS = FindingKind(
    "store-lacks",
    Severity.WARNING,
    "A store does not keep to a condition that it is asked for. What would need it is not done there: a user's object "
    "is never written over or deleted by luck.",
    "Nothing, if that is meant. Else a newer server, a bucket with versions (or without), or another place.",
)
SEEN_TWICE = FindingKind(
    "seen-twice",
    Severity.WARNING,
    "A place shows files of another one by a mount, which no path tells: what is seen twice is left to one of the two.",
    "Unmount one of them, or give each place directories of its own; `storagectl config check` says the same.",
)
OVER_CAPACITY = FindingKind(
    "over-capacity",
    Severity.WARNING,
    "A tier stores more than its `capacity` in storaged.yaml allows: nothing more goes there, and nothing is promised.",
    "Move some of it elsewhere (`storagectl restage --tier`, or a policy with `tier_full_above: high`), or "
    "give the tier a larger `capacity`.",
)
ABOVE_HIGH = FindingKind(
    "above-high",
    Severity.INFO,
    "A tier stores more than its high mark, what graces keep included. A policy with `tier_full_above: high` "
    "takes the coldest of it elsewhere; without one it stays.",
    "`storagectl plan` shows what would leave it.",
)
CLOCK_SKEW = FindingKind(
    "clock-skew",
    Severity.WARNING,
    "This machine's clock and another's differ: leases end too early or too late, grace periods are judged wrongly, "
    "and S3 refuses requests from 15 minutes on.",
    "Set the clocks: `timedatectl set-ntp true`",
)


def whose(context: Context) -> Iterator[Finding]:
    """The claims of tiers and roots."""
    with context.catalog.read() as conn:
        known = tier_ids(conn)
    for name in context.tiers:
        lost = LOST_CLAIM if name in known else NEW_TIER
        yield from _whose(context, Place("tier", name), context.tier(name), lost)
    with context.catalog.read() as conn:
        claimed = set(conn.execute(sa.select(datasets.c.name).where(datasets.c.claimed)).scalars())
    for name in context.datasets:
        lost = LOST_CLAIM if name in claimed else UNCLAIMED_ROOT
        yield from _whose(context, Place("dataset", name), context.root(name), lost)


def _whose(context: Context, place: Place, store: Store, lost: FindingKind) -> Iterator[Finding]:
    subject = str(place)

    def look() -> Iterator[Finding]:
        try:
            if claims.confirm(store, context.identity, place) is None:
                yield lost.found(subject, f"{store.url} carries no claim", place=subject)
        except OtherPlace as error:
            yield EXCHANGED.found(subject, f"{error.message} ({error.hint})", place=subject)
        except ForeignClaim as error:
            yield FOREIGN_CLAIM.found(subject, error.message)

    return carefully(subject, look())


def access(context: Context) -> Iterator[Finding]:
    """What the machine says we may do in directories; of buckets only a trial tells (`trials`)."""
    places = [(f"tier:{name}", tier.url) for name, tier in context.tiers.items()]
    places += [(f"dataset:{n}", d.root) for n, d in context.datasets.items() if d.readers is Readers.STORAGED]
    for subject, url in places:
        top = local_path(url)
        if top is None:
            continue
        for path in (top, top / RESERVED):
            if os.path.isdir(path) and not _writable(path):
                yield READ_ONLY.found(subject, f"{path} cannot be written by this user")
    state = context.settings.state_dir
    if os.path.isdir(state) and not _writable(state):
        yield READ_ONLY.found("state_dir", f"{state} cannot be written by this user")


def privacy(context: Context) -> Iterator[Finding]:
    """Places of ours that everybody can get at."""
    for subject, says in exposed(context.settings):
        yield OPEN_TO_ALL.found(subject, says)


def mounted(context: Context) -> Iterator[Finding]:
    """Places that show the same files now, as mounts are."""
    for problem in mount_problems(read_document(context.settings.file)):
        section, _, rest = problem.path.partition(".")
        yield SEEN_TWICE.found(f"{section[:-1]}:{rest.rpartition('.')[0]}", problem.message)


def _writable(path: Path) -> bool:
    return os.access(path, os.W_OK | os.X_OK, effective_ids=True)


def rooms(context: Context) -> Iterator[Finding]:
    """Tiers that are fuller than they should be, as the catalog knows them."""
    with context.catalog.read() as conn:
        names = {number: name for name, number in tier_ids(conn).items()}
        found = rooms_of(conn, context.settings, {name: number for number, name in names.items()})
    for number, room in found.items():
        full = f"it stores {naturalsize(room.stored, binary=True)} of {naturalsize(room.size, binary=True)}"
        if room.stored > room.size:
            yield OVER_CAPACITY.found(f"tier:{names[number]}", full)
        elif room.full > room.high:
            yield ABOVE_HIGH.found(f"tier:{names[number]}", f"{full}, more than {room.high * 100:.4g}%")


def clocks(context: Context) -> Iterator[Finding]:
    """This machine's clock against the catalog's server and the stores, as they tell it without being written to."""
    if context.catalog.dialect == "postgresql":
        before = context.now_us()
        with context.catalog.read() as conn:
            told = from_datetime(conn.execute(sa.select(sa.func.clock_timestamp())).scalar_one())
        yield from skew("the catalog's server", before, told, context.now_us())
    seen = set()
    for subject, url in (
        *((f"tier:{name}", tier.url) for name, tier in context.tiers.items()),
        *((f"dataset:{name}", dataset.root) for name, dataset in context.datasets.items()),
    ):
        bucket = url.split("/")[2] if terms_of(url).remote else ""
        if bucket and bucket not in seen:
            seen.add(bucket)
            yield from carefully(subject, _bucket(context, f"bucket:{bucket}", url))


def _bucket(context: Context, subject: str, url: str) -> Iterator[Finding]:
    before = context.now_us()
    told = open_store(url, context.settings.opening(url)).clock_us()
    if told is not None:
        yield from skew(subject, before, told, context.now_us())


def skew(subject: str, before_us: int, told_us: int, after_us: int) -> Iterator[Finding]:
    """What another clock told that was read between these two instants of ours (all in microseconds)."""
    off = max(before_us - told_us, told_us - after_us)
    if off > SKEW_US:
        yield CLOCK_SKEW.found(subject, f"it is {iso(told_us)} there and {iso(after_us)} here: {off // SECOND:,} s off")


def trials(context: Context) -> Iterator[Finding]:
    """Try to write: begin an upload, tag it as ours and give it up; of a bucket, write notes and remove them."""
    for name, store in our_tiers(context):
        yield from carefully(f"tier:{name}", _try(f"tier:{name}", store))
    for name, store in our_roots(context):
        if context.datasets[name].readers is Readers.STORAGED:
            yield from carefully(f"dataset:{name}", _try(f"dataset:{name}", store))
            yield from carefully(f"dataset:{name}", _lacks(f"dataset:{name}", store))


def passing(context: Context) -> Iterator[Finding]:
    """Tiers whose places do not keep what is put there."""
    for name, store in our_tiers(context):
        yield from carefully(f"tier:{name}", _passing(f"tier:{name}", store))


def _passing(subject: str, store: Store) -> Iterator[Finding]:
    try:
        if why := store.expiry():
            yield EXPIRES.found(subject, why)
    except PermissionDenied as error:
        yield EXPIRY_UNKNOWN.found(subject, error.message)


def _try(subject: str, store: Store) -> Iterator[Finding]:
    if not store.traits.writable:
        yield READ_ONLY.found(subject, f"{store.url} refuses to store a note")
        return
    attempt = new_id()
    try:
        with store.create(f"doctor.{attempt}", New(attempt, size=1)) as upload:
            upload.write(b"\0")
    except StoreError as error:
        yield READ_ONLY.found(subject, error.message + (f" ({error.hint})" if error.hint else ""))


def _lacks(subject: str, store: Store) -> Iterator[Finding]:
    traits = store.traits
    if not traits.writable:
        return
    if not traits.create_put:
        yield STORE_LACKS.found(subject, f"nothing is written back to {store.url} ({traits.lacking('create_put')})")
    elif not traits.create_parts:
        larger = f"nothing larger than {traits.one_step:,} bytes is written back to {store.url}"
        yield STORE_LACKS.found(subject, f"{larger} ({traits.lacking('create_parts')})")
    if not traits.releases:
        missing = traits.lacking("delete_condition", "delete_version")
        yield STORE_LACKS.found(subject, f"no original is released from {store.url} ({missing})")


KINDS: Final = (
    UNREADABLE,
    FOREIGN_CLAIM,
    LOST_CLAIM,
    NEW_TIER,
    EXCHANGED,
    UNCLAIMED_ROOT,
    READ_ONLY,
    STORE_LACKS,
    EXPIRES,
    EXPIRY_UNKNOWN,
    OPEN_TO_ALL,
    SEEN_TWICE,
    OVER_CAPACITY,
    ABOVE_HIGH,
    CLOCK_SKEW,
)
