"""Versions and locks: bytes are freed by version id, nothing older comes back, and what is locked stays."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from botocore.exceptions import ClientError

from storaged.catalog.facts import Identity
from storaged.clock import DAY, SystemClock, from_datetime, to_datetime
from storaged.errors import PermissionDenied, SourceChanged, StoreError
from storaged.stores.access import Opening
from storaged.stores.base import Deleted
from storaged.stores.locks import FOREVER, Protection, Versioning
from storaged.stores.s3.identity import identity_of, parts
from storaged.stores.s3.session import S3Session
from storaged.stores.s3.store import S3Store
from storaged.stores.s3.versions import lock_of
from storaged.stores.s3.wire import Head
from storaged.testing.servers import MotoServer
from storaged.testing.things import create, keys
from storaged.work.claims import Place, take


@pytest.fixture
def store(moto: MotoServer, bucket: str) -> S3Store:
    moto.set_versioning(bucket, "Enabled")
    return S3Store(f"s3://{bucket}", Opening(access=moto.access))


def put(s3_user: Any, bucket: str, data: bytes, key: str = "a") -> str:
    return str(s3_user.put_object(Bucket=bucket, Key=key, Body=data).get("VersionId", "null"))


def held(s3_user: Any, bucket: str, key: str = "a") -> list[str]:
    """Ids of the versions of a key, the newest first."""
    told = s3_user.list_object_versions(Bucket=bucket, Prefix=key).get("Versions", [])
    return [version["VersionId"] for version in told if version["Key"] == key]


def visible(s3_user: Any, bucket: str, key: str = "a") -> bool:
    try:
        s3_user.head_object(Bucket=bucket, Key=key)
    except ClientError:
        return False
    return True


def test_a_delete_frees_the_bytes_of_its_version(store: S3Store, bucket: str, s3_user: Any) -> None:
    made = create(store, "a", b"ours")
    assert store.delete("a", identity=made.identity) is Deleted.DELETED
    told = s3_user.list_object_versions(Bucket=bucket)
    assert "Versions" not in told
    assert "DeleteMarkers" not in told


def test_a_deleted_note_leaves_no_version_behind(store: S3Store, bucket: str, s3_user: Any) -> None:
    for data in (b"old", b"new"):
        store.write_note("backup/part", data, create_only=False)
    key = ".storaged/backup/part"
    assert len(held(s3_user, bucket, key)) == 2
    store.delete_note("backup/part")
    assert (held(s3_user, bucket, key), store.read_note("backup/part")) == ([], None)


def test_no_older_version_comes_back(store: S3Store, bucket: str, s3_user: Any, moto: MotoServer) -> None:
    old = put(s3_user, bucket, b"old")
    put(s3_user, bucket, b"new")
    identity = store.head("a").identity
    moto.clear_log()
    assert store.delete("a", identity=identity) is Deleted.DELETED
    assert not visible(s3_user, bucket)
    assert held(s3_user, bucket) == [old], "the older one is still there for whoever asks for it"
    marker, freed = (r for r in moto.log() if r.operation == "DeleteObject")
    assert (marker.query, marker.headers["if-match"]) == ({}, parts(identity).condition)
    assert freed.query["versionId"] == parts(identity).version
    assert store.delete("a", identity=identity) is Deleted.ABSENT


def test_older_versions_go_only_when_asked_for(store: S3Store, bucket: str, s3_user: Any, moto: MotoServer) -> None:
    ids = [put(s3_user, bucket, data) for data in (b"1", b"2", b"3")]
    put(s3_user, bucket, b"another key", key="ab")
    identity = store.head("a").identity
    moto.clear_log()
    assert store.delete("a", identity=identity, versions=True) is Deleted.DELETED
    assert held(s3_user, bucket) == []
    gone = [r.query["versionId"] for r in moto.log() if r.operation == "DeleteObject"]
    assert gone == ids, "the oldest first: none of them was ever the newest"
    assert keys(store) == ["ab"]


@pytest.mark.parametrize("versions", [False, True])
def test_a_delete_that_broke_off_is_finished_when_repeated(
    store: S3Store, bucket: str, s3_user: Any, moto: MotoServer, versions: bool
) -> None:
    put(s3_user, bucket, b"old")
    put(s3_user, bucket, b"new")
    identity = store.head("a").identity
    moto.faults.add("AccessDenied", operation="DeleteObject", nth=2)  # after the marker, or after the older one
    with pytest.raises(PermissionDenied):
        store.delete("a", identity=identity, versions=versions)
    moto.faults.assert_all_fired()
    assert visible(s3_user, bucket) == versions
    assert store.delete("a", identity=identity, versions=versions) is Deleted.DELETED
    assert not visible(s3_user, bucket)
    assert len(held(s3_user, bucket)) == (0 if versions else 1)


def test_what_somebody_wrote_meanwhile_stays(store: S3Store, bucket: str, s3_user: Any) -> None:
    put(s3_user, bucket, b"old")
    identity = store.head("a").identity
    new = put(s3_user, bucket, b"new")
    for versions in (False, True):
        assert store.delete("a", identity=identity, versions=versions) is Deleted.CHANGED
    assert held(s3_user, bucket)[0] == new
    assert visible(s3_user, bucket)


def test_a_marker_of_the_user_does_not_keep_our_bytes(store: S3Store, bucket: str, s3_user: Any) -> None:
    made = create(store, "a", b"ours")
    s3_user.delete_object(Bucket=bucket, Key="a")
    assert store.delete("a", identity=made.identity) is Deleted.DELETED
    assert held(s3_user, bucket) == []


def test_switching_versioning_on_makes_no_other_objects(moto: MotoServer, bucket: str, s3_user: Any) -> None:
    before = S3Store(f"s3://{bucket}", Opening(access=moto.access))
    put(s3_user, bucket, b"x")
    stat = before.head("a")
    moto.set_versioning(bucket, "Enabled")
    after = S3Store(f"s3://{bucket}", Opening(access=moto.access))
    assert after.head("a") == stat
    assert list(after.list()) == [stat]
    with after.open("a", identity=stat.identity) as reader:
        assert reader.read_at(0, 1) == b"x"
    assert before.delete("a", identity=stat.identity) is Deleted.DELETED, "who did not know yet frees it, too"
    assert held(s3_user, bucket) == []


def test_a_version_of_a_suspended_bucket_goes_on_condition(moto: MotoServer, bucket: str, s3_user: Any) -> None:
    moto.set_versioning(bucket, "Enabled")
    kept = put(s3_user, bucket, b"kept")
    moto.set_versioning(bucket, "Suspended")
    store = S3Store(f"s3://{bucket}", Opening(access=moto.access))
    put(s3_user, bucket, b"null")
    identity = store.head("a").identity
    assert parts(identity).version == ""
    moto.clear_log()
    assert store.delete("a", identity=identity) is Deleted.DELETED
    (request,) = (r for r in moto.log() if r.operation == "DeleteObject")
    assert (request.query, request.headers["if-match"]) == ({}, parts(identity).condition)
    assert not visible(s3_user, bucket)
    assert held(s3_user, bucket) == [kept]


def test_a_marker_that_would_destroy_an_older_version_is_not_put(moto: MotoServer, bucket: str, s3_user: Any) -> None:
    put(s3_user, bucket, b"null")
    moto.set_versioning(bucket, "Enabled")
    put(s3_user, bucket, b"new")
    moto.set_versioning(bucket, "Suspended")
    store = S3Store(f"s3://{bucket}", Opening(access=moto.access))
    identity = store.head("a").identity
    with pytest.raises(StoreError, match="older version `null`"):
        store.delete("a", identity=identity)
    assert len(held(s3_user, bucket)) == 2
    assert store.delete("a", identity=identity, versions=True) is Deleted.DELETED
    assert held(s3_user, bucket) == []


def test_a_reader_keeps_its_version_and_a_new_one_is_refused(store: S3Store, bucket: str, s3_user: Any) -> None:
    put(s3_user, bucket, b"one")
    with store.open("a") as reader:
        put(s3_user, bucket, b"two")
        assert reader.read_at(0, 3) == b"one"
        assert reader.read_at(1, 1) == b"n"
        with pytest.raises(SourceChanged):
            store.open("a", identity=reader.stat.identity)


def test_protection_is_asked_anew(moto: MotoServer, bucket: str) -> None:
    store = S3Store(f"s3://{bucket}", Opening(access=moto.access))
    assert store.protection == Protection(Versioning.OFF, locks=False)
    moto.set_versioning(bucket, "Enabled")
    assert store.protection == Protection(Versioning.ENABLED, locks=False)
    moto.set_versioning(bucket, "Suspended")
    assert store.protection == Protection(Versioning.SUSPENDED, locks=False)


@pytest.mark.parametrize("operation", ["GetBucketVersioning", "GetObjectLockConfiguration"])
def test_not_to_know_whether_versions_are_kept_is_an_error(
    moto: MotoServer, bucket: str, s3_user: Any, operation: str
) -> None:
    put(s3_user, bucket, b"x")
    store = S3Store(f"s3://{bucket}", Opening(access=moto.access))
    identity = store.head("a").identity
    moto.faults.add("AccessDenied", operation=operation, times=100)
    for call in (lambda: store.protection, lambda: keys(store), lambda: store.delete("a", identity=identity)):
        with pytest.raises(PermissionDenied) as caught:
            call()
        assert "s3:GetBucketVersioning" in (caught.value.hint or "")
    moto.faults.assert_all_fired()
    assert visible(s3_user, bucket)


def test_what_is_locked_stays_and_says_until_when(moto: MotoServer, bucket: str, s3_user: Any) -> None:
    moto.drop_bucket(bucket)
    moto.make_bucket(bucket, locks=True)
    store = S3Store(f"s3://{bucket}", Opening(access=moto.access))
    assert store.protection == Protection(Versioning.ENABLED, locks=True)
    until = dt.datetime(2099, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    put(s3_user, bucket, b"retained")
    s3_user.put_object_retention(Bucket=bucket, Key="a", Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until})
    put(s3_user, bucket, b"held", key="b")
    s3_user.put_object_legal_hold(Bucket=bucket, Key="b", LegalHold={"Status": "ON"})
    put(s3_user, bucket, b"free", key="c")
    assert [store.locked_until(key) for key in "abc"] == [from_datetime(until), FOREVER, None]
    for key in "ab":
        with pytest.raises(PermissionDenied, match="does not let its version"):
            store.delete(key, identity=store.head(key).identity)
        assert visible(s3_user, bucket, key)
    assert store.delete("c", identity=store.head("c").identity) is Deleted.DELETED


@pytest.mark.parametrize("days_ahead", [-400, 400])
def test_a_retention_is_over_by_the_stores_own_time(
    moto: MotoServer, bucket: str, s3_user: Any, days_ahead: int
) -> None:
    moto.drop_bucket(bucket)
    moto.make_bucket(bucket, locks=True)
    now = SystemClock().now_us() + days_ahead * DAY
    moto.set_time(now)
    store = S3Store(f"s3://{bucket}", Opening(access=moto.access))
    put(s3_user, bucket, b"retained")
    until = to_datetime(now + DAY).replace(microsecond=0)
    s3_user.put_object_retention(Bucket=bucket, Key="a", Retention={"Mode": "COMPLIANCE", "RetainUntilDate": until})
    assert store.locked_until("a") == from_datetime(until)
    moto.set_time(now + 2 * DAY)
    assert store.locked_until("a") is None


def test_a_store_that_tells_no_time_keeps_what_it_says_it_keeps(moto: MotoServer, bucket: str) -> None:
    session = S3Session(f"s3://{bucket}", moto.access)
    until = "2020-01-01T00:00:00.000Z"
    told = {"x-amz-object-lock-mode": "COMPLIANCE", "x-amz-object-lock-retain-until-date": until}
    assert lock_of(session, "a", Head(told), locks=False) == ("COMPLIANCE", until, False)
    dated = Head({**told, "date": "Mon, 23 Nov 2026 12:00:00 GMT"})
    assert lock_of(session, "a", dated, locks=False) == ("", "", False)


@pytest.mark.parametrize("version", ["", "null", None])
def test_an_identity_without_a_version_has_two_parts(version: str | None) -> None:
    assert identity_of('"abc-2"', 7, version) == "abc-2:7"
    assert parts("abc-2:7") == ("abc-2", 7, "")


def test_an_identity_with_a_version_gives_its_parts_back() -> None:
    assert identity_of("abc", 7, "v:1") == "abc:7:v:1"
    assert parts("abc:7:v:1") == ("abc", 7, "v:1")
    assert parts("1:2:3:4")[:2] == ("1", 2)
    assert parts("of another store") == ("of another store", -1, "")


def test_nothing_is_tried_where_it_would_be_locked_and_what_is_there_is_known(
    moto: MotoServer, bucket: str, s3_user: Any
) -> None:
    locked = f"{bucket}-locked"
    moto.make_bucket(locked, locks=True)
    s3_user.put_object_lock_configuration(
        Bucket=locked,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 30}},
        },
    )
    put(s3_user, locked, b"kept", "d/a")
    store = S3Store(f"s3://{locked}/d", Opening(access=moto.access))
    assert keys(store) == ["a"]
    assert not store.traits.releases
    assert "locks whatever is put into it" in store.traits.lacking("delete_condition")
    with pytest.raises(PermissionDenied, match="30 days, by its default retention"):
        take(store, Identity("one", 1), Place("dataset", "lake"))
    told = s3_user.list_object_versions(Bucket=locked)
    assert [version["Key"] for version in told["Versions"]] == ["d/a"]
    moto.forget(locked)
