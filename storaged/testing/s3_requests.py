"""A request to the S3 server of the tests, parsed once: its operation, bucket, key, query and decoded body."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote

Headers = list[tuple[str, str]]

# By what the query holds, first match first; the last entry is what it is without.
_BUCKET: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "GET": (
        ("versions", "ListObjectVersions"),
        ("uploads", "ListMultipartUploads"),
        ("versioning", "GetBucketVersioning"),
        ("lifecycle", "GetBucketLifecycleConfiguration"),
        ("object-lock", "GetObjectLockConfiguration"),
        ("location", "GetBucketLocation"),
        ("encryption", "GetBucketEncryption"),
        ("acl", "GetBucketAcl"),
        ("ownershipControls", "GetBucketOwnershipControls"),
        ("list-type", "ListObjectsV2"),
        ("", "ListObjects"),
    ),
    "HEAD": (("", "HeadBucket"),),
    "PUT": (
        ("versioning", "PutBucketVersioning"),
        ("object-lock", "PutObjectLockConfiguration"),
        ("ownershipControls", "PutBucketOwnershipControls"),
        ("", "CreateBucket"),
    ),
    "DELETE": (("", "DeleteBucket"),),
    "POST": (("delete", "DeleteObjects"), ("", "PostObject")),
}
_KEY: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "GET": (
        ("uploadId", "ListParts"),
        ("tagging", "GetObjectTagging"),
        ("acl", "GetObjectAcl"),
        ("attributes", "GetObjectAttributes"),
        ("retention", "GetObjectRetention"),
        ("legal-hold", "GetObjectLegalHold"),
        ("", "GetObject"),
    ),
    "HEAD": (("", "HeadObject"),),
    "PUT": (
        ("partNumber", "UploadPart"),
        ("tagging", "PutObjectTagging"),
        ("acl", "PutObjectAcl"),
        ("retention", "PutObjectRetention"),
        ("legal-hold", "PutObjectLegalHold"),
        ("", "PutObject"),
    ),
    "DELETE": (
        ("uploadId", "AbortMultipartUpload"),
        ("tagging", "DeleteObjectTagging"),
        ("", "DeleteObject"),
    ),
    "POST": (
        ("uploads", "CreateMultipartUpload"),
        ("uploadId", "CompleteMultipartUpload"),
        ("restore", "RestoreObject"),
        ("select", "SelectObjectContent"),
        ("", "PostObject"),
    ),
}
_COPIES: Final = {"PutObject": "CopyObject", "UploadPart": "UploadPartCopy"}


@dataclass
class Request:
    """headers by lower-case name. The key is as the client meant it: unquoted once, nothing merged or resolved."""

    method: str
    path: str  # as it came, quoted
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    bucket: str = field(init=False)
    key: str = field(init=False)
    operation: str = field(init=False)

    def __post_init__(self) -> None:
        bucket, _, key = self.path.removeprefix("/").partition("/")
        self.bucket, self.key = unquote(bucket), unquote(key, errors="surrogateescape")
        if not self.bucket:
            self.operation = "ListBuckets"
            return
        named = (_KEY if self.key else _BUCKET).get(self.method, (("", self.method),))
        found = next(name for query, name in named if not query or query in self.query)
        self.operation = _COPIES.get(found, found) if "x-amz-copy-source" in self.headers else found

    @property
    def name(self) -> str:
        """Bucket and key, for people and for patterns."""
        return f"{self.bucket}/{self.key}"


@dataclass
class Answer:
    """What goes back. `headers` without Content-Length and Connection."""

    status: int
    headers: Headers
    body: bytes = b""


def parse_query(query: str) -> dict[str, str]:
    """The query by name; `+` is what it is, as SDKs quote it."""
    return dict(parse_qsl(query.replace("+", "%2B"), keep_blank_values=True))


def decode_chunks(headers: dict[str, str], body: bytes) -> bytes:
    """The body of an `aws-chunked` request, whose trailing checksums become headers. Any other body as it is.
    https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html"""
    if not headers.get("x-amz-content-sha256", "").startswith("STREAMING-"):
        return body
    left, data = io.BytesIO(body), bytearray()
    while (size := int(left.readline().split(b";")[0], 16)) > 0:
        data += left.read(size)
        left.read(2)
    for line in left.read().decode("latin-1").split("\r\n"):
        name, found, value = line.partition(":")
        if found:
            headers[name.strip().lower()] = value.strip()
    others = [e for e in headers.get("content-encoding", "").split(",") if e.strip() not in ("", "aws-chunked")]
    headers.pop("content-encoding", None)
    if others:
        headers["content-encoding"] = ",".join(others)
    headers["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD"
    return bytes(data)
