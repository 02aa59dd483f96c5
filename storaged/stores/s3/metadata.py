"""What an S3 object has beside its bytes: read from an original, given back to it when it returns.

content-type, content-encoding, content-language, content-disposition, cache-control, expires, website-redirect: as HTTP
tells them. meta:NAME: user metadata as the store tells it; what is not ASCII is in RFC 2047 there. missing-meta: how
many values of user metadata the store keeps and cannot tell. tag:NAME: a tag. sse, sse-kms-key, bucket-key: how it is
encrypted by the store. storage-class: where it is not STANDARD. last-modified: in seconds since 1970. acl: grants to
others than its owner, in words. retention, legal-hold: the lock on it.

S3 sets the time of an object itself, so one that is written back has its old one as user metadata `mtime`, in seconds
since 1970: where rclone reads and writes it too.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from storaged.stores.s3.classes import STANDARD
from storaged.stores.s3.dates import http_date
from storaged.stores.s3.grants import of_others
from storaged.stores.s3.questions import TAGS, ask, ignores, tells_of_tags
from storaged.stores.s3.session import S3Session
from storaged.stores.s3.versions import lock_of
from storaged.stores.s3.wire import ORIGIN, Head

MOST: Final = 2_000  # bytes of names and values of user metadata, of the 2 KB that S3 takes
OURS: Final = 600  # of them, for the origin

_META: Final = "meta:"
TAG: Final = "tag:"
_MTIME: Final = "meta:mtime"
ON_THE_WIRE: Final = "x-amz-meta-"
# Our name, the header that tells it, the parameter that gives it back.
_HEADERS: Final = (
    ("content-type", "content-type", "ContentType"),
    ("content-encoding", "content-encoding", "ContentEncoding"),
    ("content-language", "content-language", "ContentLanguage"),
    ("content-disposition", "content-disposition", "ContentDisposition"),
    ("cache-control", "cache-control", "CacheControl"),
    ("website-redirect", "x-amz-website-redirect-location", "WebsiteRedirectLocation"),
    ("sse", "x-amz-server-side-encryption", "ServerSideEncryption"),
    ("sse-kms-key", "x-amz-server-side-encryption-aws-kms-key-id", "SSEKMSKeyId"),
    ("storage-class", "x-amz-storage-class", "StorageClass"),
)
# What is told of an original and cannot be given back.
_LOST: Final[Mapping[str, str]] = {
    "missing-meta": "user metadata that the store does not tell (values: {})",
    "acl": "its grants to others ({})",
    "retention": "its retention ({})",
    "legal-hold": "its legal hold",
}


def metadata_of(session: S3Session, key: str, found: Head, *, locks: bool = False) -> Mapping[str, str]:
    """Of what HEAD `found`, and by one more request each for tags, for grants and for locks (`locks`: where the bucket
    has any) where there can be some. Raises ObjectNotFound, PermissionDenied, StoreError where something of it cannot
    be known: see storaged.stores.s3.questions."""
    headers = {name.lower(): _text(value) for name, value in found.headers.items()}
    told = {name: headers[header] for name, header, _ in _HEADERS if headers.get(header)}
    if told.get("storage-class") == STANDARD:
        del told["storage-class"]
    if headers.get("x-amz-server-side-encryption-bucket-key-enabled", "").lower() == "true":
        told["bucket-key"] = "true"
    if headers.get("expires"):
        told["expires"] = headers["expires"]
    for header, value in headers.items():
        if header.startswith(ON_THE_WIRE) and header != ORIGIN:
            told[_META + header.removeprefix(ON_THE_WIRE)] = value
    if headers.get("x-amz-missing-meta", "0") != "0":
        told["missing-meta"] = headers["x-amz-missing-meta"]
    told["last-modified"] = str(found.seconds)
    told |= _locks(*lock_of(session, key, found, locks=locks))
    told |= {TAG + name: value for name, value in tags_of(session, key, found).items()}
    if (grants := of_others(session, session.key(key), found.headers.get("etag", ""))) != "":
        told["acl"] = grants
    return told


def tags_of(session: S3Session, key: str, found: Head, *, asked: bool = False) -> Mapping[str, str]:
    """The tags of what HEAD `found`; `asked`: by asking, whatever that said. Raises PermissionDenied, NoAnswer."""
    full, etag = session.key(key), found.headers.get("etag", "")
    count = found.headers.get("x-amz-tagging-count", "")
    if not asked and (count == "0" or (not count and tells_of_tags(session, key=full, etag=etag))):
        return {}
    answer = ask(session, TAGS, key=full, etag=etag)
    return {} if answer is None else {tag.text("Key"): tag.text("Value") for tag in answer.each("Tag")}


def give_tags(session: S3Session, key: str, found: Head, metadata: Mapping[str, str]) -> bool:
    """Give what HEAD `found` the tags of an original where it has not got them: there are servers that drop those of a
    multipart upload. Whether it did; on some servers that is another time of change, so another identity. A store that
    ignores the question is told nothing. Raises StoreError."""
    tags = _tags(metadata)
    if not tags or tags_of(session, key, found, asked=True) == tags:
        return False
    full = session.key(key)
    if ignores(session, TAGS, key=full, etag=found.headers.get("etag", "")):
        return False
    version = {"VersionId": found.version} if found.version else {}
    told = {"TagSet": [{"Key": name, "Value": value} for name, value in tags.items()]}
    session.call("put_object_tagging", Key=full, Tagging=told, **version)
    return True


def not_restorable(metadata: Mapping[str, str]) -> Mapping[str, str]:
    """What `put_arguments` leaves out, in words, by the names above; `meta` and `mtime` where user metadata has no room
    for what is ours; and what only files have: `mode`, `owner`, `links`, `xattr`."""
    lost = {name: words.format(metadata[name]) for name, words in _LOST.items() if name in metadata}
    if "expires" in metadata and http_date(metadata["expires"]) is None:
        lost["expires"] = f"its Expires header ({metadata['expires']}), which is no date"
    if not _fits(_users(metadata)):
        lost["meta"] = "its user metadata, which leave no room for what storaged has to say beside it"
    elif _mtime(metadata) and _MTIME not in metadata and not _fits(_users(metadata) | _mtime(metadata)):
        lost["mtime"] = "the time when it was written, for which its user metadata leave no room"
    if "mode" in metadata:
        lost["mode"] = f"its mode ({metadata['mode']})"
    if "uid" in metadata:
        lost["owner"] = f"its owner ({metadata['uid']}:{metadata.get('gid', '')})"
    if int(metadata.get("links", "1")) > 1:
        lost["links"] = f"its being one file under {metadata['links']} names"
    if any(name.startswith("xattr:") for name in metadata):
        lost["xattr"] = "its extended attributes"
    return lost


def put_arguments(metadata: Mapping[str, str]) -> dict[str, Any]:
    """What a PutObject or CreateMultipartUpload is told to give an object this metadata, as far as `not_restorable`
    says nothing else. Where the time is told, as `mtime` of the user metadata."""
    arguments: dict[str, Any] = {p: metadata[name] for name, _, p in _HEADERS if name in metadata}
    if "bucket-key" in metadata:
        arguments["BucketKeyEnabled"] = True
    expires = http_date(metadata.get("expires", ""))
    if expires is not None:
        arguments["Expires"] = expires
    users = _users(metadata)
    users = next((some for some in (_mtime(metadata) | users, users) if _fits(some)), {})
    if users:
        arguments["Metadata"] = users
    if tags := _tags(metadata):
        arguments["Tagging"] = urlencode(tags, quote_via=quote, safe="")  # `+` is a space on some servers only
    return arguments


def _tags(metadata: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(TAG): value for name, value in metadata.items() if name.startswith(TAG)}


def _users(metadata: Mapping[str, str]) -> dict[str, str]:
    """User metadata as a request takes it."""
    return {n.removeprefix(_META): _mail_safe(v) for n, v in metadata.items() if n.startswith(_META)}


def _mtime(metadata: Mapping[str, str]) -> dict[str, str]:
    if "mtime_ns" in metadata:  # of a file
        seconds, fraction = divmod(int(metadata["mtime_ns"]), 10**9)
        return {"mtime": f"{seconds}.{fraction:09}".rstrip("0").rstrip(".")}
    return {"mtime": metadata["last-modified"]} if "last-modified" in metadata else {}


def _fits(users: Mapping[str, str]) -> bool:
    return sum(len(name) + len(value) for name, value in users.items()) <= (MOST - OURS if users else MOST)


def _mail_safe(value: str) -> str:
    """ASCII: what is not is encoded as S3 itself does it (RFC 2047)."""
    return value if value.isascii() else f"=?UTF-8?B?{base64.b64encode(value.encode()).decode()}?="


def _text(header: str) -> str:
    """A header as it was meant: some servers send UTF-8, which HTTP clients take for ISO 8859-1."""
    try:
        return header if header.isascii() else header.encode("latin-1").decode()
    except UnicodeError:
        return header


def _locks(mode: str, until: str, hold: bool) -> Iterator[tuple[str, str]]:
    """The lock on an object."""
    if until:
        yield "retention", f"{mode} until {until}"
    if hold:
        yield "legal-hold", "ON"
