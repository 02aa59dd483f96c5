"""Versions and locks: what a bucket keeps of what is replaced and deleted, and deleting without bringing it back.

To delete the newest version by its id makes the one before it the current one: bytes that were overwritten long ago
would be read again. So where older versions stay, a delete marker is put on top first, and then our version goes.
"""

from __future__ import annotations

import datetime as dt
from typing import Final, NamedTuple

from storaged.clock import from_datetime
from storaged.errors import ObjectNotFound, PermissionDenied, SourceChanged, StoreError
from storaged.stores.base import LACKS, Deleted
from storaged.stores.locks import Protection, Versioning
from storaged.stores.s3.dates import http_date
from storaged.stores.s3.errors import unsigned
from storaged.stores.s3.identity import NULL, QUOTED, identity_of, parts
from storaged.stores.s3.questions import LEGAL_HOLD, LOCKS, RETENTION, VERSIONING, NoAnswer, ask
from storaged.stores.s3.session import S3Session
from storaged.stores.s3.wire import Head

_KEEPS: Final = {"Enabled": Versioning.ENABLED, "Suspended": Versioning.SUSPENDED, "": Versioning.OFF}


def protection(session: S3Session) -> Protection:
    """What the bucket keeps. Raises PermissionDenied where it may not be asked, NoAnswer where what came back tells
    nothing: not to know is not to have none."""
    try:
        found = ask(session, VERSIONING)
        status = "" if found is None else found.text("Status")
        keeps = _KEEPS.get(status)
        if keeps is None:
            raise NoAnswer(f"{session.url}: its versioning is {status!r}, which is no answer")
        locks = _locks(session, keeps)
    except PermissionDenied as error:
        raise PermissionDenied(
            f"{session.url}: whether it keeps versions or locks cannot be asked: {error.message}",
            hint=error.hint
            if unsigned(error)
            else "allow s3:GetBucketVersioning and s3:GetBucketObjectLockConfiguration",
        ) from error
    return Protection(keeps, locks=locks)


def _locks(session: S3Session, keeps: Versioning) -> bool:
    try:
        found = ask(session, LOCKS)
    except NoAnswer:
        if keeps is not Versioning.OFF:
            raise
        return False  # a lock needs versions: there are none, whatever that answer was
    return found is not None and found.text("ObjectLockEnabled") == "Enabled"


def default_retention(session: S3Session) -> str:
    """For how long the bucket locks whatever is put into it, in words; empty: it does not. Raises PermissionDenied,
    NoAnswer."""
    found = ask(session, LOCKS)
    for rule in found.each("DefaultRetention") if found else ():
        days, years = rule.text("Days"), rule.text("Years")
        return f"{days} days" if days else f"{years} years"
    return ""


def lock_of(session: S3Session, name: str, head: Head, *, locks: bool) -> tuple[str, str, bool]:
    """Mode and end of an object's retention (empty where it has none), and whether a legal hold is on it. `locks`:
    whether its bucket has any; then what a HEAD does not tell is asked for, as it tells it only to who may ask. A
    retention that is over by the store's own time, told beside it, is none. Raises PermissionDenied, NoAnswer."""
    headers, place = head.headers, {"key": session.key(name), "etag": head.headers.get("etag", "")}
    mode, until = headers.get("x-amz-object-lock-mode", ""), headers.get("x-amz-object-lock-retain-until-date", "")
    hold = headers.get("x-amz-object-lock-legal-hold", "")
    if locks and not until and (found := ask(session, RETENTION, **place)) is not None:
        mode, until = found.text("Mode"), found.text("RetainUntilDate")
    if locks and not hold and (found := ask(session, LEGAL_HOLD, **place)) is not None:
        hold = found.text("Status")
    now = http_date(headers.get("date", ""))
    if until and now is not None and dt.datetime.fromisoformat(until) <= now:
        mode = until = ""
    return mode, until, hold.upper() == "ON"


def instant_us(written: str) -> int:
    """A time as S3 writes it in a header (ISO 8601), in microseconds since 1970."""
    return from_datetime(dt.datetime.fromisoformat(written))


def delete(
    session: S3Session, name: str, *, identity: str, keeps: Versioning, versions: bool, form: str = QUOTED
) -> Deleted:
    """Remove a name if it still has this identity; see Store.delete. `form`: in which the store keeps to an ETag, empty
    where it does not. Raises PermissionDenied where a lock holds it, StoreError where older versions could be kept only
    by a delete on condition."""
    key, wanted = session.key(name), (form or QUOTED).format(parts(identity).etag)
    if keeps is Versioning.OFF:
        return _delete_plain(session, name, identity=identity, versions=versions, form=form)
    found, hidden = _versions(session, key)
    at = next((n for n, version in enumerate(found) if version.identity == identity), None)
    if at is None:
        return Deleted.CHANGED if found and not hidden else Deleted.ABSENT
    if at > 0 and not hidden:
        return Deleted.CHANGED
    ours, older = found[at], found[at + 1 :]
    if versions:
        for old in reversed(older):  # the oldest first, so that none of them is ever the newest
            _delete_version(session, name, old.id)
        older = []
    if keeps is Versioning.SUSPENDED and ours.id == NULL:
        # another null version may take its place at any moment, so that only a condition may remove it; a marker is
        # left instead. Where somebody's marker hides it no condition can be put, and it stays
        return Deleted.DELETED if hidden or _delete_current(session, key, wanted) else Deleted.CHANGED
    if older and not hidden:
        if keeps is Versioning.SUSPENDED and any(old.id == NULL for old in older):
            raise StoreError(
                f"{name!r} has an older version `null`, which a delete marker in a bucket with suspended versioning "
                "takes the place of",
                key=name,
                hint="let the older versions go with it (`purge_noncurrent: true`), or remove that one",
            )
        if not form:
            raise StoreError(
                f"{name!r} has older versions, and {session.url} cannot put a delete marker on top of exactly this one "
                f"(delete_condition: {LACKS['delete_condition']})",
                key=name,
                hint="let the older versions go with it (`purge_noncurrent: true`)",
            )
        if not _delete_current(session, key, wanted):
            return Deleted.CHANGED
    _delete_version(session, name, ours.id)
    return Deleted.DELETED


def _delete_plain(session: S3Session, name: str, *, identity: str, versions: bool, form: str) -> Deleted:
    """Where no versions are kept. Between the look and the delete somebody may put the very same bytes there again:
    their ETag is the same, and S3 has no condition on a time."""
    key = session.key(name)
    try:
        if session.wire.head(key).stat(name).identity != identity:
            return Deleted.CHANGED
        answer = session.call("delete_object", Key=key, IfMatch=(form or QUOTED).format(parts(identity).etag))
    except ObjectNotFound:
        return Deleted.ABSENT
    except SourceChanged:
        return Deleted.CHANGED
    if answer.get("DeleteMarker"):  # versions are kept since we asked
        keeps = protection(session).versioning
        if keeps is not Versioning.OFF:
            return delete(session, name, identity=identity, keeps=keeps, versions=versions, form=form)
    return Deleted.DELETED


def _delete_current(session: S3Session, key: str, wanted: str) -> bool:
    """Put a delete marker on top, or in the place of a null version. False if something else is the newest."""
    try:
        session.call("delete_object", Key=key, IfMatch=wanted)
    except SourceChanged:
        return False
    except ObjectNotFound:  # somebody put one
        return True
    return True


def _delete_version(session: S3Session, name: str, version: str) -> None:
    try:
        session.call("delete_object", Key=session.key(name), VersionId=version)
    except ObjectNotFound:
        return
    except PermissionDenied as error:
        raise PermissionDenied(
            f"{name!r}: the store does not let its version {version} be deleted: {error.message}",
            key=name,
            hint="object lock (retention, legal hold), MFA delete or a missing right to s3:DeleteObjectVersion does so",
        ) from error


class _Version(NamedTuple):
    id: str
    identity: str


def _versions(session: S3Session, key: str) -> tuple[list[_Version], bool]:
    """The versions of exactly this key, the newest first, and whether a delete marker hides them all."""
    found: list[_Version] = []
    hidden = False
    markers: dict[str, str] = {}
    while True:
        page = session.call("list_object_versions", Prefix=key, **markers)
        here = [told for told in page.get("Versions", []) if told["Key"] == key]
        for told in here:
            seconds = int(told["LastModified"].timestamp())
            version = told.get("VersionId", NULL)
            found.append(_Version(version, identity_of(told["ETag"], seconds, version)))
        hidden = hidden or any(m["Key"] == key and m["IsLatest"] for m in page.get("DeleteMarkers", []))
        # the key itself sorts before all that begin with it
        if not page.get("IsTruncated") or page.get("NextKeyMarker") != key:
            return found, hidden
        markers = {"KeyMarker": key, "VersionIdMarker": page["NextVersionIdMarker"]}
