"""Another storage class for an object where it is: CopyObject onto itself, on condition of what is there.

The copy is refused by the store (412) if source or destination is not the object any more that was meant, so that a
user's write is never replaced. What a copy would not keep (ACLs, locks, an older version) refuses it before that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from storaged.errors import PermissionDenied, SourceChanged, StoreError
from storaged.stores.base import Stat
from storaged.stores.s3.grants import of_one
from storaged.stores.s3.identity import NULL, QUOTED, identity_of, parts
from storaged.stores.s3.questions import ACL
from storaged.stores.s3.session import S3Session
from storaged.stores.s3.wire import Head

LARGEST: Final = 5 << 30  # bytes that one CopyObject takes; more needs parts, and those know no condition
_ALGORITHMS: Final = ("CRC64NVME", "CRC32C", "CRC32", "SHA256", "SHA1")
_FROM_REQUEST: Final = {
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "WebsiteRedirectLocation": "x-amz-website-redirect-location",
}


def transition(
    session: S3Session, key: str, *, identity: str, storage_class: str, source: str = QUOTED, target: str = QUOTED
) -> Stat:
    """Give what has this identity another storage class, and tell what it is then: same bytes, metadata and tags.
    `source`, `target`: the forms in which the store keeps to an ETag there.

    Raises SourceChanged, ObjectNotFound, ObjectCold; StoreError for what cannot be kept: over 5 GiB, a kept version,
    a lock, an ACL, a key of the user's own (SSE-C).
    """
    full = session.key(key)
    head = session.wire.head(full)
    before = head.stat(key)
    if before.identity != identity:
        raise SourceChanged(f"{key!r} is not the object that the catalog knows", key=key)
    why = _refusal(before.size, head) or _acl(session, full, head.headers["etag"])
    if why:
        raise StoreError(f"{key!r} stays in its storage class: {why}", key=key)
    copied = session.call(
        "copy_object",
        Key=full,
        CopySource={"Bucket": session.bucket, "Key": full},
        CopySourceIfMatch=source.format(parts(identity).etag),
        IfMatch=target.format(parts(identity).etag),
        StorageClass=storage_class,
        MetadataDirective="COPY",
        TaggingDirective="COPY",
        **_kept(head.headers),
    )["CopyObjectResult"]
    after = session.wire.head(full)
    now = after.stat(key)
    if now.identity != identity_of(copied["ETag"], int(copied["LastModified"].timestamp()), after.version):
        raise SourceChanged(f"{key!r} was written to right after its storage class was changed", key=key)
    if (now.size, now.storage_class) != (before.size, storage_class):
        raise StoreError(f"{key!r} is in {now.storage_class} now, with {now.size:,} bytes, by {session.url}", key=key)
    return now


def _refusal(size: int, head: Head) -> str:
    """Why a copy would not be the same thing in another class; empty: it would."""
    if size > LARGEST:
        return "one copy takes at most 5 GiB"
    if head.version not in ("", NULL):
        return "its bucket keeps versions, so the old one would stay"
    if any(name.lower().startswith("x-amz-object-lock-") for name in head.headers):
        return "it is locked"
    if "x-amz-server-side-encryption-customer-algorithm" in head.headers:
        return "it is encrypted with a key that only its user has (SSE-C)"
    return ""


def _acl(session: S3Session, full: str, etag: str) -> str:
    """Why its ACL would be lost: a copy has the default one, which lets only the owner in. Raises StoreError where it
    is not known."""
    try:
        return "its ACL would be lost" if of_one(session, full, etag) else ""
    except PermissionDenied:
        return f"its ACL cannot be read ({ACL.right}), so it might be lost"


def _kept(headers: Mapping[str, str]) -> dict[str, Any]:
    """What a copy takes from its request and not from its source."""
    kept: dict[str, Any] = {name: headers[header] for name, header in _FROM_REQUEST.items() if headers.get(header)}
    if headers.get("x-amz-server-side-encryption-bucket-key-enabled", "").lower() == "true":
        kept["BucketKeyEnabled"] = True
    algorithm = next((name for name in _ALGORITHMS if f"x-amz-checksum-{name.lower()}" in headers), None)
    return {**kept, "ChecksumAlgorithm": algorithm} if algorithm else kept
