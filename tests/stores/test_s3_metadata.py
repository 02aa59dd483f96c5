"""What an object has beside its bytes: read, given back, or named as lost."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping
from email.header import decode_header, make_header
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storaged.clock import SECOND
from storaged.stores.access import Opening
from storaged.stores.base import New
from storaged.stores.local import LocalStore
from storaged.stores.losses import LOSSES
from storaged.stores.s3.metadata import _LOST, MOST, OURS, metadata_of, not_restorable, put_arguments
from storaged.stores.s3.session import S3Session
from storaged.stores.s3.store import S3Store
from storaged.testing.servers import MotoServer
from storaged.testing.things import MINE, origin_of
from tests.stores.canned import answering

TYPE = {"content-type": "binary/octet-stream"}


def told_by(session: S3Session, key: str) -> Mapping[str, str]:
    """The metadata of what is at the key now."""
    return metadata_of(session, key, session.wire.head(session.key(key)))


@pytest.fixture
def session(moto: MotoServer, bucket: str) -> S3Session:
    return S3Session(f"s3://{bucket}", moto.access)


@pytest.fixture
def everything(bucket: str, s3_user: Any) -> str:
    """The key of an object with all that can be given back."""
    s3_user.put_object(
        Bucket=bucket,
        Key="a",
        Body=b"x",
        ContentType="text/csv; charset=utf-8",
        ContentEncoding="gzip",
        ContentLanguage="de",
        ContentDisposition='attachment; filename="a.csv"',
        CacheControl="max-age=60",
        Expires=dt.datetime(2033, 12, 1, 16, tzinfo=dt.UTC),
        WebsiteRedirectLocation="/b",
        Metadata={"kind": "plain", "city": "=?UTF-8?B?S8O2bG4=?="},
        Tagging="team=growth+%2B%20co&a%2Fb=c%3A%40d",
        ServerSideEncryption="aws:kms",
        SSEKMSKeyId="arn:aws:kms:us-east-1:123456789012:key/abc",
        BucketKeyEnabled=True,
        StorageClass="STANDARD_IA",
    )
    return "a"


def test_all_that_an_object_has_is_told_by_readable_names(session: S3Session, everything: str) -> None:
    told = dict(told_by(session, everything))
    assert int(told.pop("last-modified")) == session.wire.head("a").seconds
    assert told == {
        "content-type": "text/csv; charset=utf-8",
        "content-encoding": "gzip",
        "content-language": "de",
        "content-disposition": 'attachment; filename="a.csv"',
        "cache-control": "max-age=60",
        "expires": "Thu, 01 Dec 2033 16:00:00 GMT",
        "website-redirect": "/b",
        "meta:kind": "plain",
        "meta:city": "=?UTF-8?B?S8O2bG4=?=",
        "tag:team": "growth + co",
        "tag:a/b": "c:@d",
        "sse": "aws:kms",
        "sse-kms-key": "arn:aws:kms:us-east-1:123456789012:key/abc",
        "bucket-key": "true",
        "storage-class": "STANDARD_IA",
    }


@pytest.mark.parametrize("size", [1, 9 << 20])  # one PUT, and a multipart upload
def test_an_object_that_is_put_back_has_all_of_it_again_and_its_old_time_as_mtime(
    moto: MotoServer, session: S3Session, everything: str, bucket: str, size: int
) -> None:
    store = S3Store(f"s3://{bucket}", Opening(access=moto.access))
    before = store.open(everything).metadata()
    assert store.not_restorable(before) == {}
    moto.set_time(4_000_000_000 * SECOND)
    with store.create("b", New(MINE, size=size, origin=origin_of(MINE), metadata=before)) as upload:
        upload.write(bytes(size))
        upload.commit(origin_of(MINE), metadata=before)
    after = dict(store.open("b").metadata())
    assert after.pop("last-modified") > before["last-modified"]
    assert after.pop("meta:mtime") == before["last-modified"]
    lacks = {"last-modified"} if size == 1 else {"last-modified", "bucket-key"}  # moto keeps no bucket key of parts
    assert after == {name: value for name, value in before.items() if name not in lacks}


def test_a_time_that_a_user_or_rclone_wrote_stays() -> None:
    metadata = {"meta:mtime": "1600000000.123456789", "last-modified": "1700000000"}
    assert put_arguments(metadata)["Metadata"] == {"mtime": "1600000000.123456789"}


@given(st.text(min_size=1).filter(lambda text: "\x00" not in text))
def test_what_is_not_ascii_is_put_as_s3_takes_it(text: str) -> None:
    """Read with the standard library's RFC 2047; ASCII goes as it is."""
    [value] = put_arguments({"meta:city": text})["Metadata"].values()
    assert value.isascii()
    assert value == text if text.isascii() else str(make_header(decode_header(value))) == text


def test_utf_8_that_a_server_sends_in_a_header_is_read_as_such() -> None:
    headers = {"Last-Modified": "Mon, 23 Nov 2026 12:00:00 GMT", "x-amz-meta-City": "Köln".encode().decode("latin-1")}
    with answering(headers=headers) as place:
        assert told_by(place, "a")["meta:city"] == "Köln"


def test_what_the_store_does_not_tell_of_user_metadata_is_counted_and_named_as_lost() -> None:
    headers = {"Last-Modified": "Mon, 23 Nov 2026 12:00:00 GMT", "x-amz-missing-meta": "2"}
    with answering(headers=headers) as place:
        told = told_by(place, "a")
    assert told == {"missing-meta": "2", "last-modified": "1795435200"}
    assert set(_LOST) <= set(LOSSES), "a policy's allow_loss can name all of it"
    assert not_restorable(told) == {"missing-meta": "user metadata that the store does not tell (values: 2)"}


def test_an_expires_header_that_is_no_date_is_named_as_lost() -> None:
    assert list(not_restorable({"expires": "0"})) == ["expires"]
    assert put_arguments({"expires": "0"}) == {}
    assert not_restorable({"expires": "Thu, 01 Dec 2033 16:00:00 GMT"}) == {}


def test_user_metadata_that_leave_no_room_for_ours_are_named_as_lost_and_then_left_out() -> None:
    room = MOST - OURS - len("name")
    for length, lost in ((room + 1, ["meta"]), (room, ["mtime"]), (room - len("mtime1700000000"), [])):
        metadata = {"meta:name": "x" * length, "last-modified": "1700000000"}
        assert list(not_restorable(metadata)) == lost
        put = put_arguments(metadata).get("Metadata", {})
        assert ("name" in put, "mtime" in put) == ("meta" not in lost, lost == [])


# -- requests --------------------------------------------------------------------------------------------------------


def test_an_object_without_tags_in_a_bucket_without_acls_costs_one_request(
    session: S3Session, moto: MotoServer, bucket: str, s3_user: Any
) -> None:
    rules = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    s3_user.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=rules)
    s3_user.put_object(Bucket=bucket, Key="plain", Body=b"x")
    s3_user.put_object(Bucket=bucket, Key="tagged", Body=b"x", Tagging="a=b")
    told_by(session, "plain")
    moto.clear_log()
    assert told_by(session, "plain") == TYPE | {"last-modified": str(session.wire.head("plain").seconds)}
    assert [request.operation for request in moto.log()] == ["HeadObject", "HeadObject"]  # the second is ours, above
    moto.clear_log()
    assert told_by(session, "tagged")["tag:a"] == "b"
    assert [request.operation for request in moto.log()] == ["HeadObject", "GetObjectTagging"]


# -- what cannot be given back ---------------------------------------------------------------------------------------


def test_grants_to_others_are_named_as_lost_and_the_owners_own_are_not(
    session: S3Session, bucket: str, s3_user: Any
) -> None:
    rules = {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    s3_user.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=rules)
    s3_user.put_object(Bucket=bucket, Key="private", Body=b"x")
    s3_user.put_object(Bucket=bucket, Key="public", Body=b"x", ACL="public-read")
    assert not_restorable(told_by(session, "private")) == {}
    told = told_by(session, "public")
    assert told["acl"] == "READ to AllUsers"
    assert not_restorable(told) == {"acl": "its grants to others (READ to AllUsers)"}


def test_where_nobody_may_say_whether_there_are_grants_they_count_as_lost(
    session: S3Session, moto: MotoServer, bucket: str, s3_user: Any
) -> None:
    s3_user.put_object(Bucket=bucket, Key="a", Body=b"x")
    fault = moto.faults.add("AccessDenied", operation="GetBucketOwnershipControls")
    told = told_by(session, "a")
    assert moto.faults.fired(fault)
    assert "s3:GetBucketOwnershipControls" in not_restorable(told)["acl"]


def test_a_lock_is_named_as_lost_until_it_is_over(
    moto: MotoServer, request: pytest.FixtureRequest, s3_user: Any
) -> None:
    name = f"locked-{os.getpid()}-metadata"
    moto.make_bucket(name, locks=True)
    try:
        session = S3Session(f"s3://{name}", moto.access)
        now = dt.datetime.now(dt.UTC)
        s3_user.put_object(
            Bucket=name,
            Key="kept",
            Body=b"x",
            ObjectLockMode="GOVERNANCE",
            ObjectLockRetainUntilDate=now + dt.timedelta(days=1),
        )
        s3_user.put_object(Bucket=name, Key="held", Body=b"x", ObjectLockLegalHoldStatus="ON")
        told = told_by(session, "kept")
        assert told["retention"].startswith("GOVERNANCE until 20")
        assert list(not_restorable(told)) == ["retention"]
        assert list(not_restorable(told_by(session, "held"))) == ["legal-hold"]
    finally:
        moto.forget(name)
    past = {
        "Last-Modified": "Mon, 23 Nov 2026 12:00:00 GMT",
        "x-amz-object-lock-mode": "GOVERNANCE",
        "x-amz-object-lock-retain-until-date": "2020-01-01T00:00:00.000Z",
    }
    with answering(headers=past) as place:
        assert "retention" not in told_by(place, "a")


# -- from files to buckets and back ----------------------------------------------------------------------------------


def test_what_only_a_file_has_is_named_as_lost_in_a_bucket_and_its_time_is_kept(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "a").chmod(0o640)
    os.link(tmp_path / "a", tmp_path / "b")
    os.setxattr(tmp_path / "a", "user.team", b"growth")
    os.utime(tmp_path / "a", ns=(0, 1_600_000_000_120_000_000))
    told = LocalStore(tmp_path.as_uri()).open("a").metadata()
    lost = not_restorable(told)
    assert list(lost) == ["mode", "owner", "links", "xattr"]
    assert set(lost) <= set(LOSSES)
    assert lost["mode"] == "its mode (0640)"
    assert put_arguments(told) == {"Metadata": {"mtime": "1600000000.12"}}


def test_what_only_a_bucket_has_is_named_as_lost_by_a_directory_and_its_time_is_kept(
    moto: MotoServer, everything: str, bucket: str, tmp_path: Path
) -> None:
    told = S3Store(f"s3://{bucket}", Opening(access=moto.access)).open(everything).metadata()
    store = LocalStore(tmp_path.as_uri())
    lost = store.not_restorable(told)
    assert sorted(lost) == sorted(
        {
            *("content-type", "content-encoding", "content-language", "content-disposition", "cache-control"),
            *("expires", "website-redirect", "meta", "tag", "sse", "sse-kms-key", "bucket-key"),
        }
    )
    assert set(lost) <= set(LOSSES), "a policy's allow_loss can name all of it"
    assert lost["meta"] == "its user metadata"
    assert lost["content-encoding"] == "its content-encoding (gzip)"
    plain = {"content-type": "binary/octet-stream", "sse": "AES256", "last-modified": "1700000000"}
    assert store.not_restorable(plain) == {}
    with store.create("a", New(MINE, mtime_us=5)) as upload:
        upload.commit(origin_of(MINE), metadata=plain)
    assert store.head("a").mtime_us == 1_700_000_000 * SECOND
    with store.create("b", New(MINE, mtime_us=5)) as upload:
        upload.commit(origin_of(MINE), metadata={**plain, "meta:mtime": "1600000000.123456"})
    assert store.head("b").mtime_us == 1_600_000_000_123_456
