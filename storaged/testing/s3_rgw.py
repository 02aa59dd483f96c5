"""The Ceph Object Gateway's answers where they differ from Amazon S3's: a personality of the S3 server of the tests.

As radosgw 16.2.15 (Debian's package) answered when it was asked; `make radosgw` runs the same tests on the real one.

- Conditions: a create-only PUT is refused, but overwrites where versioning is enabled; where that is suspended it is
  refused at a key that only a delete marker hides, too. If-Match of a PUT is refused to a quoted ETag, granted to
  the bare one (where versioning is enabled, for neither). Ignored: both on CompleteMultipartUpload, If-Match of a
  DELETE, and all of CopyObject and UploadPartCopy, source and target.
- Checksums are neither compared nor told, but for Content-MD5; nor is `x-amz-mp-object-size`.
- Tags are lost at CreateMultipartUpload; `+` in `x-amz-tagging` stays `+`; GetObjectTagging of what has none is 200
  with no body; PutObjectTagging sets LastModified.
- A bucket's `?ownershipControls` is 200 with a listing, and cannot be put. Retention and legal hold of an object whose
  bucket has no locks are InvalidRequest.
- GLACIER is a pool: it reads at once. RestoreObject is 501. Other classes than that and STANDARD are InvalidArgument.
- Server-side encryption is InvalidRequest. `_` in names of user metadata becomes `-`.
- A listing, of versions too, whose prefix has a control character that no XML can have is 500 without a body.
- The ETag of a CompleteMultipartUpload is not told, that of a CopyObject not quoted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from moto.s3 import responses as _responses

from storaged.testing.s3_requests import Answer, Request
from storaged.testing.s3_semantics import Semantics, models, refusal

POOLS: Final = ("STANDARD", "GLACIER")
_COPIES: Final = ("x-amz-copy-source-if-match", "if-match", "if-none-match")
_IGNORED: Final[Mapping[str, tuple[str, ...]]] = {
    "CompleteMultipartUpload": ("if-match", "if-none-match", "x-amz-mp-object-size"),
    "CopyObject": _COPIES,
    "CreateMultipartUpload": ("x-amz-tagging",),
    "DeleteObject": ("if-match",),
    "UploadPartCopy": _COPIES,
}
_SUMS: Final = ("x-amz-checksum-", "x-amz-sdk-checksum-")
_META: Final = "x-amz-meta-"
_NOT_XML: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


class RgwSemantics(Semantics):
    """Ceph's, where they differ."""

    def __init__(self) -> None:
        super().__init__()
        vars(_responses)["ARCHIVE_STORAGE_CLASSES"] = ()
        vars(models)["ARCHIVE_STORAGE_CLASSES"] = ()

    def heard(self, request: Request) -> dict[str, str | None]:
        """Headers that count otherwise than they were sent."""
        headers, changed = request.headers, dict.fromkeys(_IGNORED.get(request.operation, ()))
        told: dict[str, str | None] = {name: None for name in headers if name.startswith(_SUMS)}
        if request.operation == "PutObject" and self._versioning(request) == "Enabled":
            told["if-none-match"] = None
        for name, value in headers.items():
            if name.startswith(_META) and "_" in name:
                told |= {name: None, name.replace("_", "-"): value}
        if "x-amz-tagging" in headers:
            told["x-amz-tagging"] = headers["x-amz-tagging"].replace("+", "%2B")
        return told | changed

    def before(self, request: Request) -> Answer | None:
        """Refuse what Ceph refuses, as Ceph does."""
        refused = self._refused(request)
        return super().before(request) if refused is None else refused

    def after(self, request: Request, answer: Answer) -> None:
        """Leave out what Ceph does not tell."""
        super().after(request, answer)
        answer.headers[:] = [(n, v) for n, v in answer.headers if not n.lower().startswith(_SUMS)]
        if answer.status == 200 and request.operation == "CompleteMultipartUpload":
            answer.body = re.sub(rb"<ETag>.*?</ETag>", b"<ETag></ETag>", answer.body)
        if answer.status == 200 and request.operation == "CopyObject":
            answer.body = re.sub(rb"<ETag>(?:\"|&quot;)(.*?)(?:\"|&quot;)</ETag>", rb"<ETag>\1</ETag>", answer.body)
        if answer.status in (200, 204) and request.operation == "PutObjectTagging":
            key = self._current(request.bucket, request.key)
            if key is not None:
                key.last_modified = self.now()

    def _versioning(self, request: Request) -> str:
        bucket = self._backend.buckets.get(request.bucket)
        return str(bucket.versioning_status or "") if bucket is not None else ""

    def _refused(self, request: Request) -> Answer | None:
        headers, query = request.headers, request.query
        match request.operation:
            case "RestoreObject":
                return refusal(request, "NotImplemented", "", status=501)
            case "GetBucketOwnershipControls":
                listing = f'<ListBucketResult xmlns="{_SPACE}"><Name>{request.bucket}</Name></ListBucketResult>'
                return Answer(200, [("Content-Type", "application/xml")], listing.encode())
            case "PutBucketOwnershipControls":
                return refusal(request, "InvalidArgument", "", status=400)
            case "GetObjectRetention" | "GetObjectLegalHold" if not self._locks(request):
                return refusal(request, "InvalidRequest", "bucket object lock not configured", status=400)
            case "GetObjectTagging" if not self._tagged(request):
                return Answer(200, [("Content-Type", "application/xml")], b"")
            case "ListObjects" | "ListObjectsV2" | "ListObjectVersions" if _NOT_XML.search(query.get("prefix", "")):
                return Answer(500, [], b"")
            case "PutObject" | "CreateMultipartUpload" | "CopyObject":
                if headers.get("if-none-match") == "*" and self._marked(request):
                    return refusal(request, "PreconditionFailed", "")
                asked = headers.get("if-match", "")
                if asked and ('"' in asked or self._versioning(request) == "Enabled"):
                    return refusal(request, "PreconditionFailed", "")
                if headers.get("x-amz-storage-class", POOLS[0]) not in POOLS:
                    return refusal(request, "InvalidArgument", "", status=400)
                if "x-amz-server-side-encryption" in headers:
                    return refusal(request, "InvalidRequest", "", status=400)
        return None

    def _marked(self, request: Request) -> bool:
        bucket = self._backend.buckets.get(request.bucket)
        hidden = bucket is not None and self._current(request.bucket, request.key) is None
        return hidden and self._versioning(request) == "Suspended" and bool(bucket.keys.getlist(request.key, []))

    def _locks(self, request: Request) -> bool:
        bucket = self._backend.buckets.get(request.bucket)
        return bucket is None or bool(bucket.object_lock_enabled)

    def _tagged(self, request: Request) -> bool:
        key = self._current(request.bucket, request.key)
        return key is None or bool(self._backend.tagger.get_tag_dict_for_resource(key.arn))


_SPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"
