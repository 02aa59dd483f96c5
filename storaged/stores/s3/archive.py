"""Archive classes: whether something can be read now, and asking for a readable copy. Nothing here ever waits.

An object in GLACIER (Flexible Retrieval) or DEEP_ARCHIVE keeps its class; RestoreObject makes a readable copy of it,
which goes after some days. One that Intelligent-Tiering put into an archive access tier is moved out of it, for good,
by the same call, which then takes no days. What a HEAD says (StorageClass, ArchiveStatus, x-amz-restore) is the truth.

Source: Amazon S3 API Reference, RestoreObject and HeadObject, as botocore 1.43 has it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from storaged.clock import SystemClock, from_datetime
from storaged.errors import ObjectCold, SourceChanged, StoreError
from storaged.stores.archives import Warmed, Warmth
from storaged.stores.s3.classes import INTELLIGENT, TAKES, about, takes_us, until_us
from storaged.stores.s3.dates import http_date
from storaged.stores.s3.errors import code_of
from storaged.stores.s3.identity import identity_of
from storaged.stores.s3.session import S3Session
from storaged.stores.s3.wire import Head


def archive_of(head: Mapping[str, Any]) -> str:
    """The archive class or access tier that something is in, by what a HEAD says; empty where it reads at once."""
    kept = str(head.get("StorageClass") or "")
    return str(head.get("ArchiveStatus") or "") if kept == INTELLIGENT else kept if kept in TAKES else ""


def told(head: Mapping[str, Any]) -> Warmed:
    """How readable something is by what a HEAD says of it."""
    now = now_us(head)
    if not archive_of(head):
        return Warmed(now_us=now)
    restore = str(head.get("Restore") or "")
    if 'ongoing-request="true"' in restore:
        return Warmed(Warmth.WARMING, now_us=now)
    if 'ongoing-request="false"' not in restore:
        return Warmed(Warmth.COLD, now_us=now)
    told = re.search(r'expiry-date="([^"]+)"', restore)
    until = http_date(told[1]) if told else None
    return Warmed(Warmth.READABLE, from_datetime(until) if until else None, now)


def seen(session: S3Session, key: str, head: Head, pools: set[str]) -> Warmed:
    """How readable a name is: by its HEAD; where that tells no more than a class that is called like an archive, by
    reading a byte. `pools`: the classes of that store that are found to read at once, which is added to."""
    found, kept = told(head.archived), head.archived.get("StorageClass")
    if kept in pools:
        return Warmed()
    if found.warmth is not Warmth.COLD or kept == INTELLIGENT:
        return found
    try:
        session.wire.get(session.key(key), span=(0, 1) if head.stat(key).size else None)
    except ObjectCold:
        return found
    pools.add(str(kept))
    return Warmed()


def check(key: str, head: Mapping[str, Any]) -> None:
    """Raises ObjectCold if a HEAD says that something cannot be read now."""
    found = told(head)
    if found.warmth is not Warmth.READABLE:
        raise cold(key, archive_of(head), under_way=found.warmth is Warmth.WARMING)


def cold(key: str, archive: str, *, under_way: bool | None = None) -> ObjectCold:
    """The error of whoever reads what is in an archive class or access tier: how long it takes, and what was asked.

    `under_way` None: not known. Its hint is left to those who know which object of which dataset it is.
    """
    times = TAKES.get(archive, {})
    how = ", ".join(f"{about(us)} ({speed})" for speed, us in times.items()) or "hours"
    message = f"{key!r} is in the archive class {archive}: a readable copy takes up to {how}"
    if under_way is not None:
        message += "; one was asked for and is on its way" if under_way else "; none was asked for yet"
    return ObjectCold(message, key=key)


def warm(session: S3Session, key: str, *, identity: str, days: int, speed: str) -> Warmed:
    """Ask for a readable copy of exactly this, for so many days, or for more days of the copy that is there. To ask for
    a faster one while a slow one is on its way is how its speed is changed.

    Raises ObjectNotFound, SourceChanged, UsageError for a speed that the class does not have, StoreError.
    """
    place = {"Key": session.key(key)}
    head = session.call("head_object", **place)
    seconds = int(head["LastModified"].timestamp())
    if identity_of(head["ETag"], seconds, head.get("VersionId")) != identity:
        raise SourceChanged(f"{key!r} is not what the catalog holds", key=key)
    found, archive = told(head), archive_of(head)
    if not archive:
        return found
    takes_us(archive, speed)
    now = SystemClock().now_us() if found.now_us is None else found.now_us
    if found.until_us is not None and found.until_us >= until_us(now, days):
        return found
    if "VersionId" in head:  # never another version than the one that was looked at
        place["VersionId"] = head["VersionId"]
    wanted: dict[str, Any] = {"GlacierJobParameters": {"Tier": speed}}
    if head["StorageClass"] != INTELLIGENT:
        wanted["Days"] = days
    try:
        answer = session.call("restore_object", **place, RestoreRequest=wanted)
    except StoreError as error:
        return _refused(error, key)
    if answer["ResponseMetadata"]["HTTPStatusCode"] == 202:
        return Warmed(Warmth.WARMING)
    return told(session.call("head_object", **place))  # a copy was there: this one's end was moved


def _refused(error: StoreError, key: str) -> Warmed:
    """What a refusal of a restore means. Raises it if it means nothing but itself."""
    match code_of(error):
        case "RestoreAlreadyInProgress":
            return Warmed(Warmth.WARMING)
        case "ObjectAlreadyInActiveTierError":
            return Warmed()
        case "GlacierExpeditedRetrievalNotAvailable":
            raise StoreError(
                f"{key!r}: the store has no capacity for Expedited restores now",
                key=key,
                hint="ask again with `--speed Standard`, or later",
            ) from error
    raise error


def now_us(head: Mapping[str, Any]) -> int | None:
    """The store's own time when it answered: it is the one that counts the days. None where it did not say."""
    written = head.get("Date") or head.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    now = http_date(written)
    return from_datetime(now) if now is not None else None
