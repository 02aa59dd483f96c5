"""S3 in trouble: refusals, lost answers, cut and slow streams, full disks, expired credentials. Each is tried again or
fails cleanly, and what is there afterwards is right."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from storaged.errors import (
    ObjectNotFound,
    PermissionDenied,
    StoreError,
    StoreFull,
    StoreUnavailable,
    UsageError,
)
from storaged.stores.access import Access, Opening
from storaged.stores.base import DENIED, LACKS, RESERVED, Deleted, New
from storaged.stores.s3.parts import PART
from storaged.stores.s3.session import S3Session
from storaged.stores.s3.store import S3Store
from storaged.stores.wrappers import Retrying
from storaged.testing import FakeClock
from storaged.testing.servers import MotoServer
from storaged.testing.things import MINE, create, keys, origin_of

ALWAYS = 1_000
LARGE = PART + 5


@pytest.fixture
def store(moto: MotoServer, bucket: str) -> S3Store:
    store = S3Store(f"s3://{bucket}/lake", Opening(access=moto.access), read_timeout_s=1.5)
    assert store.traits.create_parts  # tried before there is trouble
    moto.clear_log()
    return store


def small(store: S3Store) -> bool:
    with store.create("a", New(MINE)) as upload:
        upload.write(b"small")
        upload.commit(origin_of(MINE))
    return upload.proven


def large(store: S3Store) -> bool:
    with store.create("a", New(MINE, size=LARGE, origin=origin_of(MINE))) as upload:
        upload.write(bytes(LARGE))
        upload.commit(origin_of(MINE))
    return upload.proven


SMALL = ("PutObject", "HeadObject")
MANY = ("CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "HeadObject")


@pytest.mark.parametrize("answer", ["SlowDown", "InternalError", "ServiceUnavailable", "Reset"])
@pytest.mark.parametrize(
    ("write", "operation"), [*((small, name) for name in SMALL), *((large, name) for name in MANY)]
)
def test_a_moment_of_trouble_is_not_seen_by_a_writer(
    store: S3Store, moto: MotoServer, answer: str, write: Callable[[S3Store], bool], operation: str
) -> None:
    moto.faults.add(answer, operation=operation, key="lake/a$")
    assert write(store)
    moto.faults.assert_all_fired()


@pytest.mark.parametrize(
    ("write", "operation"), [(small, "PutObject"), (large, "UploadPart"), (large, "CompleteMultipartUpload")]
)
@pytest.mark.parametrize("answer", ["InternalError", "Reset"])
def test_a_lost_answer_is_found_out(
    store: S3Store, moto: MotoServer, answer: str, write: Callable[[S3Store], bool], operation: str
) -> None:
    moto.faults.add(answer, operation=operation, key="lake/a$", late=True)
    assert write(store)
    moto.faults.assert_all_fired()
    assert store.delete_attempt("a", attempt=MINE) is Deleted.DELETED
    assert keys(store) == []


def test_an_error_in_the_body_of_a_200_is_none_that_succeeded(store: S3Store, moto: MotoServer) -> None:
    moto.faults.add("ErrorIn200", operation="CompleteMultipartUpload")
    assert large(store)
    moto.faults.assert_all_fired()
    assert store.head("a").size == LARGE


@pytest.mark.parametrize(
    ("answer", "raises", "words"),
    [
        ("SlowDown", StoreUnavailable, ""),
        ("InternalError", StoreUnavailable, ""),
        ("ConditionalRequestConflict", StoreUnavailable, ""),
        ("BadDigest", StoreUnavailable, ""),
        ("RequestTimeout", StoreUnavailable, ""),
        ("Reset", StoreUnavailable, ""),
        ("ErrorIn200", StoreUnavailable, ""),
        ("InsufficientStorage", StoreFull, ""),
        ("QuotaExceeded", StoreFull, ""),
        ("AccessDenied", PermissionDenied, "role or user"),
        ("ExpiredToken", PermissionDenied, "sign in again"),
        ("RequestTimeTooSkewed", PermissionDenied, "clock"),
    ],
)
@pytest.mark.parametrize(
    ("write", "operation"), [(small, "PutObject"), (large, "UploadPart"), (large, "CompleteMultipartUpload")]
)
def test_lasting_trouble_fails_cleanly_and_leaves_nothing(
    store: S3Store,
    moto: MotoServer,
    bucket: str,
    s3_user: Any,
    answer: str,
    raises: type[StoreError],
    words: str,
    write: Callable[[S3Store], bool],
    operation: str,
) -> None:
    if answer == "ErrorIn200" and operation != "CompleteMultipartUpload":
        pytest.skip("S3 answers so only where it takes long")
    moto.faults.add(answer, operation=operation, key="lake/a$", times=ALWAYS)
    with pytest.raises(raises) as caught:
        write(store)
    moto.faults.assert_all_fired()
    assert words in (caught.value.hint or "")
    assert isinstance(caught.value, StoreUnavailable) == (raises is StoreUnavailable)
    moto.faults.clear()
    assert store.delete_attempt("a", attempt=MINE) is Deleted.ABSENT
    assert s3_user.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
    assert s3_user.list_objects_v2(Bucket=bucket, Prefix="lake/").get("Contents", []) == []


def test_what_cannot_be_aborted_now_is_swept_later(store: S3Store, moto: MotoServer) -> None:
    moto.faults.add("ServiceUnavailable", operation="UploadPart", times=ALWAYS)
    moto.faults.add("AccessDenied", operation="AbortMultipartUpload")
    with pytest.raises(StoreUnavailable):
        large(store)
    moto.faults.assert_all_fired()
    moto.faults.clear()
    assert list(store.attempts()) == [MINE]
    assert store.delete_attempt("a", attempt=MINE) is Deleted.DELETED
    assert list(store.attempts()) == []


@pytest.mark.parametrize("answer", ["SlowDown", "Reset", "Cut"])
@pytest.mark.parametrize("span", [(0, LARGE), (10, LARGE - 20)])
def test_a_stream_that_breaks_off_is_read_again_or_an_error_and_never_short(
    store: S3Store, moto: MotoServer, bucket: str, s3_user: Any, answer: str, span: tuple[int, int]
) -> None:
    data = random.Random(1).randbytes(LARGE)
    s3_user.put_object(Bucket=bucket, Key="lake/a", Body=data)
    reading = Retrying(store, FakeClock(), rng=random.Random(1))
    with reading.open("a") as reader:
        moto.faults.add(answer, operation="GetObject", key="lake/a$", times=4)
        assert reader.read_at(span[0], span[1]) == data[span[0] : span[0] + span[1]]
        moto.faults.assert_all_fired()
        moto.faults.clear()
        moto.faults.add(answer, operation="GetObject", key="lake/a$", times=ALWAYS)
        with pytest.raises(StoreUnavailable):
            reader.read_at(*span)


def test_an_odd_key_is_read_again_too(store: S3Store, moto: MotoServer, bucket: str, s3_user: Any) -> None:
    s3_user.put_object(Bucket=bucket, Key="lake//a/", Body=b"0123456789")
    with store.open("/a/") as reader:
        moto.faults.add("Cut", operation="GetObject")
        moto.faults.add("SlowDown", operation="GetObject", nth=2)
        assert reader.read_at(2, 5) == b"23456"
    moto.faults.assert_all_fired()


@pytest.mark.parametrize("operation", ["HeadObject", "PutObject", "GetObject", "DeleteObject"])
def test_a_silent_server_is_given_up(
    store: S3Store, moto: MotoServer, bucket: str, s3_user: Any, operation: str
) -> None:
    s3_user.put_object(Bucket=bucket, Key="lake/there", Body=b"x")
    stat = store.head("there")
    reader = store.open("there")
    calls: dict[str, Callable[[], object]] = {
        "HeadObject": lambda: store.head("there"),
        "PutObject": lambda: create(store, "new", b"x"),
        "GetObject": lambda: reader.read_at(0, 1),
        "DeleteObject": lambda: store.delete("there", identity=stat.identity),
    }
    moto.faults.add("Stall", operation=operation, seconds=4, times=ALWAYS)
    with pytest.raises(StoreUnavailable):
        calls[operation]()
    moto.faults.assert_all_fired()


def test_expired_credentials_in_mid_read_say_so(store: S3Store, moto: MotoServer, bucket: str, s3_user: Any) -> None:
    s3_user.put_object(Bucket=bucket, Key="lake/a", Body=b"0123456789")
    with store.open("a") as reader:
        moto.faults.add("ExpiredToken", operation="GetObject", times=ALWAYS)
        with pytest.raises(PermissionDenied, match="expired"):
            reader.read_at(0, 5)
    moto.faults.add("ExpiredToken", operation="HeadObject", times=ALWAYS)
    with pytest.raises(PermissionDenied) as caught:  # a HEAD has no body that could say why
        store.head("a")
    assert "expired" in (caught.value.hint or "")
    moto.faults.assert_all_fired()


def test_a_server_that_is_away_is_unavailable_and_not_empty(bucket: str) -> None:
    store = S3Store(f"s3://{bucket}", Opening(access=Access(endpoint="http://127.0.0.1:9", path_style=True)))
    for call in (lambda: keys(store), lambda: store.head("a"), lambda: store.read_note("claim")):
        with pytest.raises(StoreUnavailable):
            call()


def test_a_missing_bucket_is_an_error_and_not_an_empty_listing(moto: MotoServer) -> None:
    store = S3Store("s3://nobody-made-this", Opening(access=moto.access))
    asks = (lambda: keys(store), lambda: create(store, "a", b"x"), lambda: store.read_note("claim"), store.clock_us)
    for call in asks:
        with pytest.raises(StoreError, match="no such bucket") as caught:
            call()
        assert not isinstance(caught.value, ObjectNotFound)


def test_without_credentials_nothing_is_tried(moto: MotoServer, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    store = S3Store(f"s3://{bucket}", Opening(access=moto.access))
    for call in (lambda: keys(store), lambda: store.head("a"), lambda: store.read_note("claim")):
        with pytest.raises(PermissionDenied, match="credentials"):
            call()


@pytest.mark.parametrize("url", ["s3://", "s3:///a", "s3://a", "s3://b c/d", "gs://bucket", "s3://-bucket-/a"])
def test_what_is_no_place_in_a_bucket_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        S3Session(url)


def test_a_condition_that_the_client_does_not_know_is_never_dropped(store: S3Store, moto: MotoServer) -> None:
    create(store, "a", b"x")
    with pytest.raises(StoreError, match="IfNeverHeardOf"):
        store._session.call("delete_object", Key="lake/a", IfNeverHeardOf="x")
    assert keys(store) == ["a"]


def test_where_nothing_may_be_written_the_store_says_so(moto: MotoServer, bucket: str) -> None:
    moto.faults.add("AccessDenied", operation="PutObject", times=ALWAYS)
    store = S3Store(f"s3://{bucket}", Opening(access=moto.access))
    assert (store.traits.writable, store.traits.create_put, store.traits.releases) == (False, False, False)
    moto.faults.assert_all_fired()


def test_the_trial_leaves_nothing_and_a_failed_one_is_made_again(moto: MotoServer, bucket: str, s3_user: Any) -> None:
    moto.faults.add("SlowDown", operation="PutObject", key=f"{RESERVED}/probe", times=6)
    store = S3Store(f"s3://{bucket}", Opening(access=moto.access))
    with pytest.raises(StoreUnavailable):
        _ = store.traits
    moto.faults.assert_all_fired()
    moto.faults.clear()
    assert store.traits.checksums
    assert s3_user.list_objects_v2(Bucket=bucket).get("Contents", []) == []
    moto.clear_log()
    assert store.traits.create_put
    assert moto.log() == [], "tried once"


@pytest.mark.parametrize(
    ("operation", "denied"),
    [
        ("DeleteObject", {"delete_condition"}),
        ("CreateMultipartUpload", {"create_parts"}),
        ("CopyObject", {"copy_source", "copy_target"}),
        ("PutObject", set(LACKS)),
    ],
)
def test_what_may_not_be_tried_is_told_from_what_the_store_lacks(
    moto: MotoServer, bucket: str, operation: str, denied: set[str]
) -> None:
    moto.faults.add("AccessDenied", operation=operation, times=ALWAYS)
    traits = S3Store(f"s3://{bucket}", Opening(access=moto.access)).traits
    moto.faults.assert_all_fired()
    assert traits.denied == denied
    for trait in LACKS:
        assert (DENIED in traits.lacking(trait)) is (trait in denied)
