"""Copies that the server makes from one bucket into another: conditions on both ends, proof by its own checksums, and
what goes no such way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from storaged.clock import new_id
from storaged.errors import (
    AlreadyExists,
    ObjectCold,
    ObjectNotFound,
    SourceChanged,
    StoreUnavailable,
    VerificationFailed,
)
from storaged.model import Origin
from storaged.stores.access import Opening
from storaged.stores.base import New, Stat
from storaged.stores.copies import CopySource
from storaged.stores.s3 import copying
from storaged.stores.s3.store import S3Store
from storaged.stores.s3.wire import Wire
from storaged.testing.servers import MotoServer, moto_server

DATA = b"a,b\n" * 1_000
KEY = "a b/ü+%.csv"
PUT = "CopyObject"


@pytest.fixture
def lake(moto: MotoServer, bucket: str) -> S3Store:
    return S3Store(f"s3://{bucket}/lake", Opening(access=moto.access))


@pytest.fixture
def tier(moto: MotoServer, bucket: str) -> S3Store:
    """Another store of the bucket, that nothing was tried of yet."""
    return S3Store(f"s3://{bucket}/cold", Opening(access=moto.access))


@pytest.fixture
def put(s3_user: Any, bucket: str) -> Callable[..., None]:
    def one(content: bytes = DATA, **more: Any) -> None:
        s3_user.put_object(Bucket=bucket, Key=f"lake/{KEY}", Body=content, **more)

    return one


def new() -> tuple[str, New]:
    """The key of an attempt, and what a store is told of it."""
    attempt = new_id()
    return f"a.{attempt}.csv", New(attempt, origin=Origin("catalog", attempt, "lake", KEY, 1, "before", len(DATA), 7))


def source_of(lake: S3Store) -> CopySource:
    with lake.open(KEY) as reader:
        return reader.copy_source


def copy(tier: S3Store, source: CopySource) -> Stat | None:
    return tier.copy(*new(), source)


def requests(moto: MotoServer, bucket: str, *, key: str = "") -> list[str]:
    """Operations on keys of a bucket that hold this."""
    return [r.operation for r in moto.log() if r.bucket == bucket and key in r.key]


@pytest.mark.parametrize("algorithm", ["CRC64NVME", "CRC32C", "SHA256", "CRC32", "SHA1"])
def test_a_copy_is_proven_by_what_the_server_says_of_both(
    lake: S3Store, tier: S3Store, put: Callable[..., None], moto: MotoServer, bucket: str, algorithm: str
) -> None:
    put(ChecksumAlgorithm=algorithm)
    source, (key, what) = source_of(lake), new()
    made = tier.copy(key, what, source)
    assert made == tier.head(key)
    assert tier.checksum(key) == source.checksum == lake.checksum(KEY)
    assert source.checksum.startswith(algorithm.lower())
    assert what.origin is not None
    assert tier.origin(key) == replace(what.origin, mtime_us=0)
    moto.clear_log()
    copy(tier, source)
    asked = moto.log()
    assert [r.operation for r in asked] == [PUT, "HeadObject"]


def test_what_a_user_has_beside_the_bytes_is_not_taken_along(
    lake: S3Store, tier: S3Store, put: Callable[..., None], s3_user: Any, bucket: str
) -> None:
    put(Metadata={"who": "ann"}, Tagging="team=x", ContentType="text/csv", StorageClass="STANDARD_IA")
    key, what = new()
    assert tier.copy(key, what, source_of(lake)) is not None
    place = {"Bucket": bucket, "Key": f"cold/{key}"}
    found = s3_user.head_object(**place)
    assert set(found["Metadata"]) == {"storaged-origin"}
    assert (found["ContentType"], found.get("StorageClass")) == ("binary/octet-stream", None)
    assert s3_user.get_object_tagging(**place)["TagSet"] == []


def test_it_is_made_in_the_storage_class_of_its_store(
    lake: S3Store, moto: MotoServer, bucket: str, put: Callable[..., None]
) -> None:
    put()
    vault = S3Store(f"s3://{bucket}/vault", Opening(storage_class="GLACIER_IR", access=moto.access))
    made = copy(vault, source_of(lake))
    assert made is not None
    assert made.storage_class == "GLACIER_IR"


# MUST 5
def test_a_source_that_its_user_wrote_meanwhile_is_not_copied(
    lake: S3Store, tier: S3Store, put: Callable[..., None]
) -> None:
    put()
    source = source_of(lake)
    put(b"other")
    with pytest.raises(SourceChanged):
        copy(tier, source)
    assert list(tier.list()) == []


def test_a_source_that_is_gone_or_cold_says_so(
    lake: S3Store, tier: S3Store, put: Callable[..., None], s3_user: Any, bucket: str
) -> None:
    put()
    source = source_of(lake)
    put(StorageClass="GLACIER")
    with pytest.raises(ObjectCold):
        copy(tier, source)
    s3_user.delete_object(Bucket=bucket, Key=f"lake/{KEY}")
    with pytest.raises(ObjectNotFound):
        copy(tier, source)
    put()
    assert copy(tier, source_of(lake)) is not None, "it said nothing of the bucket"


# MUST 2
def test_a_key_that_is_taken_is_never_copied_onto(
    lake: S3Store, tier: S3Store, put: Callable[..., None], s3_user: Any, bucket: str
) -> None:
    put()
    own, attempt = new()
    s3_user.put_object(Bucket=bucket, Key=f"cold/{own}", Body=DATA)
    with pytest.raises(AlreadyExists):
        tier.copy(own, attempt, source_of(lake))
    source, (key, what) = source_of(lake), new()
    assert tier.copy(key, what, source) is not None
    before = tier.head(key)
    with pytest.raises(AlreadyExists):
        tier.copy(key, New(new_id()), source)
    other = replace(what, attempt=new_id())
    with pytest.raises(AlreadyExists):
        tier.copy(key, other, source)
    assert tier.head(key) == before


def test_a_version_is_copied_as_it_is_though_a_newer_one_is_there(moto: MotoServer, s3_user: Any, bucket: str) -> None:
    moto.set_versioning(bucket, "Enabled")
    s3_user.put_object(Bucket=bucket, Key=f"lake/{KEY}", Body=DATA)
    lake = S3Store(f"s3://{bucket}/lake", Opening(access=moto.access))
    tier = S3Store(f"s3://{bucket}/cold", Opening(access=moto.access))
    source = source_of(lake)
    s3_user.put_object(Bucket=bucket, Key=f"lake/{KEY}", Body=b"other")
    key, what = new()
    assert tier.copy(key, what, source) == tier.head(key)
    with tier.open(key) as reader:
        assert reader.read_at(0, len(DATA) + 1) == DATA


# MUST 4
@pytest.mark.parametrize("says", [b"other!" * 700, b""])
def test_a_copy_that_is_not_its_source_is_no_copy(
    lake: S3Store,
    tier: S3Store,
    put: Callable[..., None],
    s3_user: Any,
    bucket: str,
    says: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server says that it copied, and something else is there: as large, or nothing at all."""
    put()
    source = source_of(lake)
    assert copy(tier, source) is not None
    honest = Wire.copy
    other = says[: source.size]

    def lies(self: Wire, key: str, headers: Mapping[str, str], *, within_s: float) -> str:
        answer = honest(self, key, headers, within_s=within_s)
        told = {"storaged-origin": headers["x-amz-meta-storaged-origin"]}
        s3_user.put_object(Bucket=bucket, Key=key, Body=other, Metadata=told)
        return answer

    monkeypatch.setattr(Wire, "copy", lies)
    with pytest.raises(VerificationFailed, match="checksum" if other else "0 bytes"):
        copy(tier, source)


# MUST 4
def test_where_the_answer_tells_no_checksum_what_is_there_must_and_whose_it_is(
    lake: S3Store, tier: S3Store, put: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    put()
    source = source_of(lake)
    assert copy(tier, source) is not None
    honest = Wire.copy

    def keeps(self: Wire, key: str, headers: Mapping[str, str], *, within_s: float) -> str:
        honest(self, key, {**headers, "x-amz-metadata-directive": "COPY"}, within_s=within_s)
        return ""

    def silent(self: Wire, key: str, headers: Mapping[str, str], *, within_s: float) -> str:
        honest(self, key, headers, within_s=within_s)
        return "<CopyObjectResult><ETag>x</ETag></CopyObjectResult>"

    monkeypatch.setattr(Wire, "copy", silent)
    assert copy(tier, source) is not None
    monkeypatch.setattr(Wire, "copy", keeps)
    with pytest.raises(VerificationFailed, match="whose"):
        copy(tier, source)


def test_an_error_in_an_answer_of_status_200_is_one(
    lake: S3Store, tier: S3Store, put: Callable[..., None], moto: MotoServer
) -> None:
    put()
    source = source_of(lake)
    assert copy(tier, source) is not None
    told = moto.faults.add("ErrorIn200", operation=PUT, times=3)
    with pytest.raises(StoreUnavailable):
        copy(tier, source)
    assert moto.faults.fired(told) == 3
    moto.faults.add("ErrorIn200", operation=PUT)
    assert copy(tier, source) is not None
    moto.faults.assert_all_fired()


def test_a_lost_answer_is_looked_up(lake: S3Store, tier: S3Store, put: Callable[..., None], moto: MotoServer) -> None:
    put()
    source, (key, what) = source_of(lake), new()
    assert copy(tier, source) is not None
    moto.faults.add("Reset", operation=PUT, late=True)
    assert tier.copy(key, what, source) == tier.head(key)
    moto.faults.assert_all_fired()


# -- what goes no such way --------------------------------------------------------------------------------------------


def test_what_has_no_checksum_of_all_its_bytes_goes_through_us(
    lake: S3Store, tier: S3Store, s3_user: Any, bucket: str, moto: MotoServer
) -> None:
    """In parts, with the checksum of their checksums."""
    place = {"Bucket": bucket, "Key": f"lake/{KEY}"}
    begun = s3_user.create_multipart_upload(**place, ChecksumAlgorithm="SHA256")["UploadId"]
    sent = s3_user.upload_part(**place, UploadId=begun, PartNumber=1, Body=DATA, ChecksumAlgorithm="SHA256")
    parts = [{"PartNumber": 1, "ETag": sent["ETag"], "ChecksumSHA256": sent["ChecksumSHA256"]}]
    s3_user.complete_multipart_upload(**place, UploadId=begun, MultipartUpload={"Parts": parts})
    moto.clear_log()
    assert copy(tier, source_of(lake)) is None
    assert PUT not in [r.operation for r in moto.log()]


@pytest.mark.parametrize("what", ["server", "size"])
def test_what_is_elsewhere_or_too_large_is_not_asked_for(
    lake: S3Store, tier: S3Store, put: Callable[..., None], moto: MotoServer, what: str
) -> None:
    put()
    source = source_of(lake)
    other = {"server": replace(source, server="http://127.0.0.1:9 x"), "size": replace(source, size=(5 << 30) + 1)}
    moto.clear_log()
    assert copy(tier, other[what]) is None
    assert moto.log() == []


def test_places_of_one_server_know_each_other_by_it_and_by_nothing_else(moto: MotoServer, bucket: str) -> None:
    here = S3Store(f"s3://{bucket}/lake", Opening(access=moto.access))._session
    there = S3Store("s3://other-bucket", Opening(access=moto.access))._session
    far = S3Store("s3://other-bucket", Opening(access=replace(moto.access, region="eu-central-1")))._session
    aws = S3Store("s3://other-bucket", Opening(access=replace(moto.access, endpoint=None, path_style=False)))._session
    assert here.server == there.server
    assert len({here.server, far.server, aws.server}) == 3
    assert aws.server == "https://s3.amazonaws.com us-east-1"


def test_a_bucket_that_may_not_be_read_from_here_is_found_out_once(
    lake: S3Store, tier: S3Store, put: Callable[..., None], moto: MotoServer
) -> None:
    """The credentials of one store need not reach the other's objects."""
    put()
    source = source_of(lake)
    denied = moto.faults.add("AccessDenied", operation=PUT, key=r"\.other$", times=9)
    assert (copy(tier, source), copy(tier, source)) == (None, None)
    assert moto.faults.fired(denied) == 1


def test_one_object_that_may_not_be_copied_stops_no_other(
    lake: S3Store, tier: S3Store, put: Callable[..., None], moto: MotoServer
) -> None:
    put()
    source = source_of(lake)
    assert copy(tier, source) is not None
    moto.faults.add("AccessDenied", operation=PUT)
    assert copy(tier, source) is None
    assert copy(tier, source) is not None
    moto.faults.assert_all_fired()


LACKING: Mapping[str, tuple[str, str]] = {  # what a server does not keep to, by the header that it does not hear
    "the condition on the source": ("x-amz-copy-source-if-match", ""),
    "the checksum that is asked for": ("x-amz-checksum-algorithm", ""),
    "what we say beside it": ("x-amz-metadata-directive", "COPY"),
}


@pytest.mark.parametrize("lacking", LACKING)
def test_a_server_that_lacks_a_guard_copies_nothing(
    lake: S3Store,
    tier: S3Store,
    put: Callable[..., None],
    s3_user: Any,
    bucket: str,
    lacking: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And what it was tried with is removed again."""
    put()
    source, (header, instead) = source_of(lake), LACKING[lacking]
    honest = Wire.copy

    def deaf(self: Wire, key: str, headers: Mapping[str, str], *, within_s: float) -> str:
        heard = {name: value for name, value in headers.items() if name != header}
        return honest(self, key, heard | ({header: instead} if instead else {}), within_s=within_s)

    monkeypatch.setattr(Wire, "copy", deaf)
    assert copy(tier, source) is None
    assert [c["Key"] for c in s3_user.list_objects_v2(Bucket=bucket)["Contents"]] == [f"lake/{KEY}"]


def test_where_copies_replace_what_is_there_the_key_is_looked_at_first(
    lake: S3Store, tier: S3Store, put: Callable[..., None], moto: MotoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    put()
    source, (key, what) = source_of(lake), new()
    honest = Wire.copy

    def deaf(self: Wire, key: str, headers: Mapping[str, str], *, within_s: float) -> str:
        return honest(self, key, {n: v for n, v in headers.items() if n != "If-None-Match"}, within_s=within_s)

    monkeypatch.setattr(Wire, "copy", deaf)
    assert tier.copy(key, what, source) is not None
    with pytest.raises(AlreadyExists):
        tier.copy(key, what, source)
    moto.clear_log()
    assert copy(tier, source) is not None
    assert [r.operation for r in moto.log()] == ["HeadObject", PUT, "HeadObject"]


def test_nothing_is_copied_on_a_server_that_ignores_conditions_and_checksums(put: Callable[..., None]) -> None:
    """As Ceph's radosgw answers."""
    del put
    with moto_server(rgw=True) as rgw:
        rgw.make_bucket("ceph")
        lake = S3Store("s3://ceph/lake", Opening(access=rgw.access))
        with lake.create(KEY, New(new_id())) as upload:
            upload.write(DATA)
            upload.commit(Origin("", "0" * 32, "", "", 0, ""))
        tier = S3Store("s3://ceph/cold", Opening(access=rgw.access))
        source = source_of(lake)
        assert source.checksum == ""
        rgw.clear_log()
        assert copy(tier, source) is None
        assert copy(tier, replace(source, checksum="crc32:AAAAAA==")) is None
        assert [r for r in rgw.log() if r.operation == PUT and "probe" not in r.key] == []


def test_one_copy_takes_what_s3_says_that_it_takes() -> None:
    assert copying.LARGEST == 5 << 30
