"""Multipart uploads that a store has under way, and the notes that tell of ours."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from storaged.errors import ObjectNotFound, StoreError
from storaged.stores.base import RESERVED
from storaged.stores.s3.dates import http_date
from storaged.stores.s3.errors import code_of
from storaged.stores.s3.session import S3Session

FOLDER: Final = "uploads"  # of the notes about multipart uploads, by attempt


def note_of(attempt: str) -> str:
    """The name of an upload's note, with RESERVED."""
    return f"{RESERVED}/{FOLDER}/{attempt}"


def uploads_at(session: S3Session, name: str) -> list[str]:
    """Ids of the multipart uploads under way at exactly this name, up to a thousand."""
    key = session.key(name)
    try:
        told = session.call("list_multipart_uploads", Prefix=key)
    except StoreError as error:
        if code_of(error) != "NoSuchUpload":
            raise
        return []  # what gofakes3, and rclone with it, answers for a bucket that has none
    return [one["UploadId"] for one in told.get("Uploads", []) if one["Key"] == key]


def abort_older(session: S3Session, folder: str, than: timedelta) -> int:
    """Abort the uploads below this folder of our own names that were begun so long ago, by the store's own time. How
    many, of the first thousand."""
    try:
        told = session.call("list_multipart_uploads", Prefix=session.key(f"{folder}/"))
    except StoreError as error:
        if code_of(error) != "NoSuchUpload":
            raise
        return 0
    now = http_date(told["ResponseMetadata"]["HTTPHeaders"].get("date", ""))
    old = [one for one in told.get("Uploads", []) if now is not None and one.get("Initiated", now) < now - than]
    for one in old:
        abort_upload(session, one["Key"], one["UploadId"])
    return len(old)


def abort_upload(session: S3Session, key: str, upload: str) -> None:
    """Abort a multipart upload of a full key until the store knows it no more: a part that was on its way during the
    abort may have come to stay. Raises StoreError where it stays on."""
    for _ in range(5):
        try:
            session.call("abort_multipart_upload", Key=key, UploadId=upload)
        except StoreError as error:
            if _unknown(error):
                return
            raise
        if not goes_on(session, key, upload):
            return
    raise StoreError(f"{session.name(key)!r}: the store still has an upload that was aborted", key=session.name(key))


def goes_on(session: S3Session, key: str, upload: str) -> bool:
    """Whether the store knows an upload that was neither completed nor aborted."""
    try:
        session.call("list_parts", Key=key, UploadId=upload, MaxParts=1)
    except StoreError as error:
        if _unknown(error):
            return False
        raise
    return True


def _unknown(error: StoreError) -> bool:
    return isinstance(error, ObjectNotFound) or code_of(error) in ("NoSuchUpload", "404")
