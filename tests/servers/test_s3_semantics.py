"""The S3 server of the tests keeps what S3's documentation promises, as boto3 sees it."""

from __future__ import annotations

import base64
import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from awscrt import checksums
from botocore.exceptions import ClientError

from storaged.testing.servers import MotoServer

PART = 5 << 20  # the least that S3 takes of a part that is not the last
ALGORITHMS = ("CRC64NVME", "CRC32C", "CRC32", "SHA256")


def summed(algorithm: str, data: bytes) -> str:
    raw = {
        "CRC64NVME": lambda: checksums.crc64nvme(data).to_bytes(8, "big"),
        "CRC32C": lambda: checksums.crc32c(data).to_bytes(4, "big"),
        "CRC32": lambda: checksums.crc32(data).to_bytes(4, "big"),
        "SHA256": lambda: hashlib.sha256(data).digest(),
    }[algorithm]()
    return base64.b64encode(raw).decode()


def refused(call: Any, **arguments: Any) -> str:
    """The code of the refusal that this call must get."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return str(caught.value.response["Error"]["Code"])


def upload(user: Any, bucket: str, key: str, *parts: bytes, complete: Any = None, **begin: Any) -> dict[str, Any]:
    """A multipart upload; the arguments of CompleteMultipartUpload."""
    upload_id = user.create_multipart_upload(Bucket=bucket, Key=key, **begin)["UploadId"]
    etags = [
        user.upload_part(Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=n, Body=part)["ETag"]
        for n, part in enumerate(parts, 1)
    ]
    listed = {"Parts": [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, 1)]}
    return {"Bucket": bucket, "Key": key, "UploadId": upload_id, "MultipartUpload": listed, **(complete or {})}


# -- checksums -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_put_with_a_right_checksum_is_told_by_head_and_get(bucket: str, s3_user: Any, algorithm: str) -> None:
    sent = {f"Checksum{algorithm}": summed(algorithm, b"content")}
    s3_user.put_object(Bucket=bucket, Key="a", Body=b"content", **sent)
    for call in (s3_user.head_object, s3_user.get_object):
        told = call(Bucket=bucket, Key="a", ChecksumMode="ENABLED")
        assert told[f"Checksum{algorithm}"] == sent[f"Checksum{algorithm}"]
        assert told["ChecksumType"] == "FULL_OBJECT"
    assert f"Checksum{algorithm}" not in s3_user.head_object(Bucket=bucket, Key="a")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_put_with_a_wrong_checksum_is_refused_and_stores_nothing(bucket: str, s3_user: Any, algorithm: str) -> None:
    wrong = {f"Checksum{algorithm}": summed(algorithm, b"other")}
    assert refused(s3_user.put_object, Bucket=bucket, Key="a", Body=b"content", **wrong) == "BadDigest"
    assert s3_user.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


def test_a_put_with_a_wrong_md5_is_refused(bucket: str, s3_user: Any) -> None:
    wrong = base64.b64encode(hashlib.md5(b"other", usedforsecurity=False).digest()).decode()
    assert refused(s3_user.put_object, Bucket=bucket, Key="a", Body=b"content", ContentMD5=wrong) == "BadDigest"


@pytest.mark.parametrize("algorithm", ["CRC64NVME", "CRC32C", "CRC32"])
def test_a_full_object_checksum_of_a_multipart_upload_is_of_all_bytes(
    bucket: str, s3_user: Any, algorithm: str
) -> None:
    parts = (b"a" * PART, b"b" * 10)
    whole = summed(algorithm, b"".join(parts))
    right = {"ChecksumType": "FULL_OBJECT", f"Checksum{algorithm}": whole, "MpuObjectSize": PART + 10}
    begin = {"ChecksumAlgorithm": algorithm, "ChecksumType": "FULL_OBJECT"}
    ready = upload(s3_user, bucket, "a", *parts, complete=right, **begin)
    wrong = {**ready, f"Checksum{algorithm}": summed(algorithm, b"other")}
    assert refused(s3_user.complete_multipart_upload, **wrong) == "BadDigest"
    assert refused(s3_user.complete_multipart_upload, **{**ready, "MpuObjectSize": 7}) == "InvalidRequest"
    s3_user.complete_multipart_upload(**ready)
    told = s3_user.head_object(Bucket=bucket, Key="a", ChecksumMode="ENABLED")
    assert (told[f"Checksum{algorithm}"], told["ChecksumType"]) == (whole, "FULL_OBJECT")


def test_a_sha_of_a_multipart_upload_is_of_its_parts_only(bucket: str, s3_user: Any) -> None:
    parts = (b"a" * PART, b"b" * 10)
    s3_user.complete_multipart_upload(**upload(s3_user, bucket, "a", *parts, ChecksumAlgorithm="SHA256"))
    told = s3_user.head_object(Bucket=bucket, Key="a", ChecksumMode="ENABLED")
    assert told["ChecksumType"] == "COMPOSITE"
    assert told["ChecksumSHA256"].endswith("-2")
    begin = {"ChecksumAlgorithm": "SHA256", "ChecksumType": "FULL_OBJECT"}
    assert refused(s3_user.create_multipart_upload, Bucket=bucket, Key="b", **begin) == "InvalidRequest"


def test_a_part_with_a_wrong_checksum_is_refused(bucket: str, s3_user: Any) -> None:
    begun = s3_user.create_multipart_upload(Bucket=bucket, Key="a", ChecksumAlgorithm="CRC64NVME")
    part = {"Bucket": bucket, "Key": "a", "UploadId": begun["UploadId"], "PartNumber": 1, "Body": b"content"}
    wrong = summed("CRC64NVME", b"other")
    assert refused(s3_user.upload_part, **part, ChecksumCRC64NVME=wrong) == "BadDigest"


def test_a_copy_has_a_checksum_of_its_own_bytes(bucket: str, s3_user: Any) -> None:
    parts = (b"a" * PART, b"b" * 10)
    s3_user.complete_multipart_upload(**upload(s3_user, bucket, "a", *parts, ChecksumAlgorithm="SHA256"))
    source = {"Bucket": bucket, "Key": "a"}
    s3_user.copy_object(Bucket=bucket, Key="b", CopySource=source, ChecksumAlgorithm="CRC32C")
    told = s3_user.head_object(Bucket=bucket, Key="b", ChecksumMode="ENABLED")
    assert told["ChecksumCRC32C"] == summed("CRC32C", b"".join(parts))


# -- conditions ------------------------------------------------------------------------------------------------------


def test_of_many_creates_at_once_one_wins(bucket: str, s3_user: Any) -> None:
    barrier = threading.Barrier(4)

    def create(n: int) -> bool:
        barrier.wait(30)
        try:
            s3_user.put_object(Bucket=bucket, Key="a", Body=b"%d" % n, IfNoneMatch="*")
        except ClientError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(create, range(4)))
    assert won.count(True) == 1
    assert s3_user.get_object(Bucket=bucket, Key="a")["Body"].read() == b"%d" % won.index(True)


def test_a_multipart_upload_creates_only_at_a_vacant_key(bucket: str, s3_user: Any) -> None:
    ready = upload(s3_user, bucket, "a", b"ours", complete={"IfNoneMatch": "*"})
    s3_user.put_object(Bucket=bucket, Key="a", Body=b"users")
    assert refused(s3_user.complete_multipart_upload, **ready) == "PreconditionFailed"
    assert s3_user.get_object(Bucket=bucket, Key="a")["Body"].read() == b"users"


def test_a_copy_is_made_only_of_the_source_and_over_the_target_it_names(bucket: str, s3_user: Any) -> None:
    etag = s3_user.put_object(Bucket=bucket, Key="a", Body=b"one")["ETag"]
    copy = {"Bucket": bucket, "Key": "a", "CopySource": {"Bucket": bucket, "Key": "a"}, "StorageClass": "STANDARD_IA"}
    wrong = '"0123456789abcdef0123456789abcdef"'
    assert refused(s3_user.copy_object, **copy, CopySourceIfMatch=wrong) == "PreconditionFailed"
    assert refused(s3_user.copy_object, **copy, IfMatch=wrong) == "PreconditionFailed"
    assert refused(s3_user.copy_object, **copy, IfNoneMatch="*") == "PreconditionFailed"
    assert refused(s3_user.copy_object, **{**copy, "Key": "b"}, IfMatch=etag) == "NoSuchKey"
    assert "StorageClass" not in s3_user.head_object(Bucket=bucket, Key="a")
    s3_user.copy_object(**copy, CopySourceIfMatch=etag, IfMatch=etag)
    assert s3_user.head_object(Bucket=bucket, Key="a")["StorageClass"] == "STANDARD_IA"


def test_a_conditional_delete_takes_only_what_it_names_and_finds_nothing_to_be_well(bucket: str, s3_user: Any) -> None:
    etag = s3_user.put_object(Bucket=bucket, Key="a", Body=b"one")["ETag"]
    s3_user.put_object(Bucket=bucket, Key="a", Body=b"two")
    assert refused(s3_user.delete_object, Bucket=bucket, Key="a", IfMatch=etag) == "PreconditionFailed"
    s3_user.delete_object(Bucket=bucket, Key="a", IfMatch=s3_user.head_object(Bucket=bucket, Key="a")["ETag"])
    s3_user.delete_object(Bucket=bucket, Key="a", IfMatch=etag)
    assert s3_user.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


# -- uploads, keys ---------------------------------------------------------------------------------------------------


def test_an_aborted_upload_is_unknown_to_every_later_request(bucket: str, s3_user: Any) -> None:
    ready = upload(s3_user, bucket, "a", b"part")
    where = {name: ready[name] for name in ("Bucket", "Key", "UploadId")}
    s3_user.abort_multipart_upload(**where)
    assert refused(s3_user.upload_part, **where, PartNumber=2, Body=b"late") == "NoSuchUpload"
    assert refused(s3_user.complete_multipart_upload, **ready) == "NoSuchUpload"
    assert refused(s3_user.abort_multipart_upload, **where) == "NoSuchUpload"


def test_a_completion_that_is_repeated_is_answered_as_before(bucket: str, s3_user: Any) -> None:
    ready = upload(s3_user, bucket, "a", b"part")
    first = s3_user.complete_multipart_upload(**ready)
    assert s3_user.complete_multipart_upload(**ready)["ETag"] == first["ETag"]


@pytest.mark.parametrize(
    "key", ["a\nb", "a//b", "/a", "a/./b", "a/../b", "n/", " +%25&?#=", "\u00e9\U0001f9ca", "\x01\t", "a/" * 512]
)
def test_a_key_is_taken_as_it_is(bucket: str, s3_user: Any, key: str) -> None:
    s3_user.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert s3_user.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    assert [found["Key"] for found in s3_user.list_objects_v2(Bucket=bucket)["Contents"]] == [key]


# -- versions, archive classes, time ---------------------------------------------------------------------------------


def test_suspended_versioning_keeps_older_versions_and_replaces_its_own(
    moto: MotoServer, bucket: str, s3_user: Any
) -> None:
    moto.set_versioning(bucket, "Enabled")
    kept = s3_user.put_object(Bucket=bucket, Key="a", Body=b"kept")["VersionId"]
    moto.set_versioning(bucket, "Suspended")
    assert s3_user.get_bucket_versioning(Bucket=bucket)["Status"] == "Suspended"
    for data in (b"gone", b"newest"):
        assert s3_user.put_object(Bucket=bucket, Key="a", Body=data)["VersionId"] == "null"
    versions = s3_user.list_object_versions(Bucket=bucket)["Versions"]
    assert [(v["VersionId"], v["IsLatest"]) for v in versions] == [("null", True), (kept, False)]
    assert s3_user.get_object(Bucket=bucket, Key="a", VersionId=kept)["Body"].read() == b"kept"
    assert s3_user.delete_object(Bucket=bucket, Key="a")["VersionId"] == "null"
    markers = s3_user.list_object_versions(Bucket=bucket)
    assert [v["VersionId"] for v in markers["Versions"]] == [kept]
    assert [m["VersionId"] for m in markers["DeleteMarkers"]] == ["null"]
    s3_user.delete_object(Bucket=bucket, Key="a", VersionId="null")
    assert s3_user.get_object(Bucket=bucket, Key="a")["Body"].read() == b"kept"


def test_a_restore_goes_on_until_it_is_finished_and_its_copy_goes_when_it_expires(
    moto: MotoServer, bucket: str, s3_user: Any
) -> None:
    moto.set_time(1_790_000_000_000_000)
    where = {"Bucket": bucket, "Key": "a"}
    s3_user.put_object(**where, Body=b"cold", StorageClass="GLACIER")
    assert refused(s3_user.get_object, **where) == "InvalidObjectState"
    s3_user.restore_object(**where, RestoreRequest={"Days": 2, "GlacierJobParameters": {"Tier": "Bulk"}})
    for _ in range(3):
        assert s3_user.head_object(**where)["Restore"] == 'ongoing-request="true"'
    assert refused(s3_user.get_object, **where) == "InvalidObjectState"
    assert refused(s3_user.restore_object, **where, RestoreRequest={"Days": 2}) == "RestoreAlreadyInProgress"
    moto.set_time(1_790_000_000_000_000 + 86_400_000_000)
    assert moto.finish_restores(bucket) == 1
    assert s3_user.get_object(**where)["Body"].read() == b"cold"
    assert s3_user.head_object(**where)["Restore"].startswith('ongoing-request="false", expiry-date="Thu, 24 Sep')
    moto.set_time(1_790_000_000_000_000 + 3 * 86_400_000_000 + 60_000_000)
    assert refused(s3_user.get_object, **where) == "InvalidObjectState"
    assert "Restore" not in s3_user.head_object(**where)


def test_the_servers_time_is_what_the_test_sets(moto: MotoServer, bucket: str, s3_user: Any) -> None:
    moto.set_time(1_700_000_000_000_000)
    s3_user.put_object(Bucket=bucket, Key="a", Body=b"x")
    age = s3_user.head_object(Bucket=bucket, Key="a")["LastModified"] - datetime.fromtimestamp(1_700_000_000, UTC)
    assert 0 <= age.total_seconds() < 60
