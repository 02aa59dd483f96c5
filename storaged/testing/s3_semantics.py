"""What Amazon S3's documentation promises and moto 5.2 lacks, around moto's own answers.

Emulated here, each by the rule of https://docs.aws.amazon.com/AmazonS3/latest/API/:

- Checksums (CRC64NVME, CRC32C, CRC32, SHA256, SHA1; Content-MD5): a PutObject, UploadPart or FULL_OBJECT
  CompleteMultipartUpload whose checksum is not that of the bytes is refused with BadDigest. What was accepted is told,
  computed from the stored bytes, by HEAD and GET with `x-amz-checksum-mode: ENABLED`; without a wish it is CRC64NVME.
  A multipart upload's checksum is of the whole object for CRC64NVME and where FULL_OBJECT was asked for, else COMPOSITE
  (`…-3`), which is no digest of the bytes. FULL_OBJECT is refused for SHA.
- Conditions: `x-amz-copy-source-if-match`, If-Match and If-None-Match on CopyObject, If-Match on
  CompleteMultipartUpload; DeleteObject with If-Match of what is not there succeeds. Requests run one by one, so that
  of two that race for a key one loses.
- Uploads: when each was begun; an unknown or aborted upload id is NoSuchUpload everywhere; `x-amz-mp-object-size` is
  compared.
- Suspended versioning: older versions stay, a new one has the id `null` and replaces only the one that had it.
- ListObjectVersions is told by s3_versions.
- Archive classes: a RestoreObject stays `ongoing-request="true"` until the test finishes it (a further one meanwhile is
  RestoreAlreadyInProgress), and its readable copy goes at its expiry date, which counts from the finish.
- The server's clock is the test's, where a test sets it.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import re
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from awscrt import checksums
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.moto_api import state_manager
from moto.s3 import models as _models

from storaged.testing.s3_faults import STATUS, error_xml
from storaged.testing.s3_requests import Answer, Request
from storaged.testing.s3_versions import list_object_versions

CHECKSUMS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "CRC64NVME": lambda data: checksums.crc64nvme(data).to_bytes(8, "big"),
    "CRC32C": lambda data: checksums.crc32c(data).to_bytes(4, "big"),
    "CRC32": lambda data: checksums.crc32(data).to_bytes(4, "big"),
    "SHA256": lambda data: hashlib.sha256(data).digest(),
    "SHA1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
}
models: Any = _models  # what is changed in it is not what its annotations say
_NEW_OBJECT: Final = ("PutObject", "CompleteMultipartUpload", "CopyObject")
_NEVER: Final = 10**9  # looks at a restore until moto would finish it by itself


def checksum(algorithm: str, data: bytes) -> str:
    """As S3 writes it."""
    return base64.b64encode(CHECKSUMS[algorithm](data)).decode("ascii")


class Semantics:
    """Around each request: `before` may answer it in moto's place, `after` amends what moto answered."""

    def __init__(self) -> None:
        self._backend: Any = models.s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        self._offset = datetime.timedelta()
        self._real_now: Callable[[], datetime.datetime] = models.utcnow
        self._null_version = False
        self._days: dict[int, int] = {}  # of restores asked for, by id() of moto's key
        models.utcnow = self.now
        models.random = types.SimpleNamespace(uuid4=self._version_id, get_random_hex=models.random.get_random_hex)
        # moto takes CRC32 for CRC32C unless it finds a package of this name.
        vars(sys.modules.setdefault("crc32c", types.ModuleType("crc32c")))["crc32c"] = checksums.crc32c
        # moto closes what a suspended bucket would keep; the process is short-lived, so nothing needs closing.
        models.FakeKey.dispose = lambda _key, garbage=False: None
        state_manager.set_transition("s3::keyrestore", {"progression": "manual", "times": _NEVER})

    # -- commands of the test ----------------------------------------------------------------------------------------

    def now(self) -> datetime.datetime:
        """The server's time."""
        return self._real_now() + self._offset

    def set_time(self, now_us: int | None) -> None:
        """The server's clock goes on from here; None: it is the machine's again."""
        wanted = datetime.timedelta(microseconds=now_us or 0)
        epoch = datetime.datetime(1970, 1, 1)  # noqa: DTZ001 (moto's times are naive and in UTC)
        self._offset = epoch + wanted - self._real_now() if now_us is not None else datetime.timedelta()

    def finish_restores(self, bucket: str) -> int:
        """What is being restored becomes readable. How many did."""
        done = 0
        for versions in dict(self._backend.buckets[bucket].keys).values():
            for key in versions:
                if isinstance(key, models.FakeKey) and key.expiry_date is not None and key.status == "IN_PROGRESS":
                    key.status = "RESTORED"
                    key.set_expiry(self.now() + datetime.timedelta(days=self._days[id(key)]))
                    done += 1
        return done

    def drop(self, bucket: str) -> None:
        """Delete a bucket with all that is in it, as nobody can."""
        self._backend.buckets.pop(bucket, None)
        models.s3_backends.bucket_accounts.pop(bucket, None)
        models.FakeKey.instances_tracked.clear()  # or nothing that ever was would be freed
        models.FakeMultipart.instances_tracked.clear()

    # -- around each request -----------------------------------------------------------------------------------------

    def heard(self, _request: Request) -> dict[str, str | None]:
        """Headers that count otherwise than they were sent, by lower-case name; None: as if they were not there."""
        return {}

    def before(self, request: Request) -> Answer | None:
        """Refuse what S3 refuses. None: moto shall answer."""
        self._null_version = False
        bucket = self._backend.buckets.get(request.bucket)
        if bucket is None:
            return None
        self._null_version = bucket.versioning_status == "Suspended"
        if self._null_version and request.operation not in ("GetBucketVersioning", "PutBucketVersioning"):
            bucket.versioning_status = "Enabled"
        key = self._current(request.bucket, request.key)
        if key is not None:
            self._expire(key)
        check = getattr(self, f"_before_{request.operation.lower()}", None)
        return check(request, bucket, key) if check is not None else None

    def after(self, request: Request, answer: Answer) -> None:
        """Amend moto's answer and what it stored, in place. Called for every request that `before` saw."""
        bucket = self._backend.buckets.get(request.bucket)
        if bucket is None:
            return
        version = request.query.get("versionId")
        key = (
            self._version(request.bucket, request.key, version)
            if version
            else self._current(request.bucket, request.key)
        )
        if answer.status == 200 and key is not None:
            if request.operation in _NEW_OBJECT:
                self._sum_up(request, key, answer)
            elif request.operation in ("HeadObject", "GetObject"):
                _tell(request, key, answer)
        if request.operation == "RestoreObject" and answer.status in (200, 202) and key is not None:
            asked = re.search(rb"<Days>(\d+)</Days>", request.body)
            self._days[id(key)] = int(asked[1]) if asked else 1
            if answer.status == 202:  # 200: a copy is there, and only its end is moved
                key.status = "IN_PROGRESS"
        if request.operation in ("CreateMultipartUpload", "ListMultipartUploads") and answer.status == 200:
            self._begin(bucket, answer)
        if self._null_version and request.operation not in ("GetBucketVersioning", "PutBucketVersioning"):
            self._keep_one_null(bucket, request.key)
            bucket.versioning_status = "Suspended"

    def _begin(self, bucket: Any, answer: Answer) -> None:
        """When each upload was begun, which moto tells of all of them as one day in 2010."""

        def told(upload: re.Match[bytes]) -> bytes:
            one = bucket.multiparts.get(upload["id"].decode())
            begun = getattr(one, "begun", self.now()).isoformat(timespec="milliseconds")
            return re.sub(rb"<Initiated>[^<]*", f"<Initiated>{begun}Z".encode(), upload[0])

        for one in bucket.multiparts.values():
            one.begun = getattr(one, "begun", self.now())
        answer.body = re.sub(rb"<Upload>.*?<UploadId>(?P<id>[^<]*).*?</Upload>", told, answer.body, flags=re.DOTALL)

    # -- refusals ----------------------------------------------------------------------------------------------------

    def _before_putobject(self, request: Request, _bucket: Any, _key: Any) -> Answer | None:
        return _wrong_digest(request, request.body)

    def _before_uploadpart(self, request: Request, bucket: Any, _key: Any) -> Answer | None:
        return _no_upload(request, bucket) or _wrong_digest(request, request.body)

    def _before_uploadpartcopy(self, request: Request, bucket: Any, _key: Any) -> Answer | None:
        return _no_upload(request, bucket) or self._wrong_source(request)

    def _before_createmultipartupload(self, request: Request, _bucket: Any, _key: Any) -> Answer | None:
        algorithm = request.headers.get("x-amz-checksum-algorithm", "CRC64NVME")
        kind = request.headers.get("x-amz-checksum-type")
        if (algorithm.startswith("SHA") and kind == "FULL_OBJECT") or (
            algorithm == "CRC64NVME" and kind == "COMPOSITE"
        ):
            return refusal(request, "InvalidRequest", f"{kind} is not supported for {algorithm}", status=400)
        return None

    def _before_completemultipartupload(self, request: Request, bucket: Any, key: Any) -> Answer | None:
        upload = bucket.multiparts.get(request.query["uploadId"])
        if upload is None:
            if key is not None and key.multipart is not None and key.multipart.id == request.query["uploadId"]:
                return None  # repeated: S3 answers as before
            return refusal(request, "NoSuchUpload", "The specified upload does not exist.")
        numbers = [int(n) for n in re.findall(rb"<PartNumber>(\d+)</PartNumber>", request.body)]
        data = b"".join(upload.parts[n].value for n in numbers if n in upload.parts)
        wanted = request.headers.get("x-amz-mp-object-size")
        if wanted is not None and int(wanted) != len(data):
            return refusal(request, "InvalidRequest", "The object is not of the size that was told.", status=400)
        if request.headers.get("x-amz-checksum-type") == "FULL_OBJECT" and (wrong := _wrong_digest(request, data)):
            return wrong
        return _wrong_target(request, key)

    def _before_copyobject(self, request: Request, _bucket: Any, key: Any) -> Answer | None:
        return self._wrong_source(request) or _wrong_target(request, key)

    def _before_deleteobject(self, request: Request, _bucket: Any, key: Any) -> Answer | None:
        if key is None and "if-match" in request.headers and "versionId" not in request.query:
            return Answer(204, [])
        return None

    def _before_getobjectacl(self, _request: Request, _bucket: Any, key: Any) -> None:
        if key is not None and key.acl is None:  # moto's, of what was made in parts
            key.set_acl(models.get_canned_acl("private"))

    def _before_listobjectversions(self, request: Request, bucket: Any, _key: Any) -> Answer:
        return list_object_versions(request, bucket)

    def _before_restoreobject(self, request: Request, _bucket: Any, key: Any) -> Answer | None:
        if key is not None and key.expiry_date is not None and key.status == "IN_PROGRESS":
            return refusal(request, "RestoreAlreadyInProgress", "Object restore is already in progress")
        return None

    def _wrong_source(self, request: Request) -> Answer | None:
        name, _, query = request.headers["x-amz-copy-source"].partition("?")
        bucket, _, key = unquote(name).removeprefix("/").partition("/")
        version = parse_qs(query).get("versionId", [None])[0]
        found = self._current(bucket, key) if version is None else self._version(bucket, key, version)
        wanted = request.headers.get("x-amz-copy-source-if-match")
        if wanted is not None and found is not None and _bare(wanted) != _bare(found.etag):
            return refusal(request, "PreconditionFailed", "x-amz-copy-source-If-Match")
        return None

    # -- what is stored ----------------------------------------------------------------------------------------------

    def _current(self, bucket: str, name: str) -> Any:
        found = self._backend.buckets.get(bucket)
        key = found.keys.get(name) if found is not None else None
        return key if isinstance(key, models.FakeKey) else None

    def _version(self, bucket: str, name: str, version: str) -> Any:
        found = self._backend.buckets.get(bucket)
        versions = found.keys.getlist(name, []) if found is not None else []
        return next((v for v in versions if isinstance(v, models.FakeKey) and v.version_id == version), None)

    def _sum_up(self, request: Request, key: Any, answer: Answer) -> None:
        """Give a new object the checksum that S3 would have computed of it."""
        if request.operation == "CompleteMultipartUpload":
            asked = key.multipart.metadata
            algorithm = asked.get("x-amz-checksum-algorithm") or "CRC64NVME"
            default = "FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE"
            kind = asked.get("x-amz-checksum-type") or default
        else:
            sent = (a for a in CHECKSUMS if f"x-amz-checksum-{a.lower()}" in request.headers)
            named = request.headers.get("x-amz-checksum-algorithm") or request.headers.get(
                "x-amz-sdk-checksum-algorithm"
            )
            copied = key.checksum_algorithm if request.operation == "CopyObject" else None
            algorithm, kind = next(sent, named or copied or "CRC64NVME").upper(), "FULL_OBJECT"
        key.checksum_algorithm, key.checksum_type = algorithm, kind
        if kind == "COMPOSITE":
            return  # moto's own, of the parts' checksums
        key.checksum_value, key.checksum_parts = checksum(algorithm, key.value), 1
        if request.operation == "PutObject":
            _replace_checksum(answer, key)
        elif request.operation == "CopyObject":
            bare = re.sub(rb"<(Checksum\w+)>[^<]*</\1>", b"", answer.body)
            told = f"<Checksum{algorithm}>{key.checksum_value}</Checksum{algorithm}><ChecksumType>{kind}</ChecksumType>"
            answer.body = bare.replace(b"</CopyObjectResult>", told.encode() + b"</CopyObjectResult>")

    def _expire(self, key: Any) -> None:
        if key.expiry_date is not None and key.status == "RESTORED" and key._expiry < self.now():
            key.set_expiry(None)
            key.status = None

    def _version_id(self) -> str:
        import uuid

        return "null" if self._null_version else str(uuid.uuid4())  # noqa: TID251 (a server's own choice)

    def _keep_one_null(self, bucket: Any, name: str) -> None:
        versions = bucket.keys.getlist(name, [])
        if versions and versions[-1].version_id == "null":
            older = [v for v in versions[:-1] if v.version_id != "null"]
            dict.__setitem__(bucket.keys, name, [*older, versions[-1]])


def refusal(request: Request, code: str, message: str, *, status: int | None = None) -> Answer:
    """S3's way to say no; an answer to HEAD has no body."""
    body = b"" if request.method == "HEAD" else error_xml(code, message, f"/{request.name}")
    return Answer(status or STATUS[code], [("Content-Type", "application/xml")], body)


def _replace_checksum(answer: Answer, key: Any) -> None:
    answer.headers[:] = [(n, v) for n, v in answer.headers if not n.lower().startswith("x-amz-checksum-")]
    parts = f"-{key.checksum_parts}" if key.checksum_type == "COMPOSITE" else ""
    name = f"x-amz-checksum-{key.checksum_algorithm.lower()}"
    answer.headers += [(name, f"{key.checksum_value}{parts}"), ("x-amz-checksum-type", key.checksum_type)]


def _tell(request: Request, key: Any, answer: Answer) -> None:
    """The checksum, where it was asked for; moto tells what the upload asked for even where it was not."""
    if request.headers.get("x-amz-checksum-mode") == "ENABLED":
        _replace_checksum(answer, key)
    else:
        answer.headers[:] = [(n, v) for n, v in answer.headers if not n.lower().startswith("x-amz-checksum-")]


def _bare(etag: str) -> str:
    return etag.strip().strip('"')


def _wrong_digest(request: Request, data: bytes) -> Answer | None:
    for algorithm in CHECKSUMS:
        told = request.headers.get(f"x-amz-checksum-{algorithm.lower()}")
        if told is not None and told != checksum(algorithm, data):
            return refusal(request, "BadDigest", f"The {algorithm} you specified did not match what we received.")
    told = request.headers.get("content-md5")
    if told is not None and base64.b64decode(told) != hashlib.md5(data, usedforsecurity=False).digest():
        return refusal(request, "BadDigest", "The Content-MD5 you specified did not match what we received.")
    return None


def _wrong_target(request: Request, key: Any) -> Answer | None:
    wanted = request.headers.get("if-match")
    if wanted is not None and key is None:
        return refusal(request, "NoSuchKey", "The specified key does not exist.", status=404)
    if wanted is not None and _bare(wanted) != _bare(key.etag):
        return refusal(request, "PreconditionFailed", "If-Match")
    if request.headers.get("if-none-match") == "*" and key is not None:
        return refusal(request, "PreconditionFailed", "If-None-Match")
    return None


def _no_upload(request: Request, bucket: Any) -> Answer | None:
    if request.query["uploadId"] in bucket.multiparts:
        return None
    return refusal(request, "NoSuchUpload", "The specified upload does not exist.")
