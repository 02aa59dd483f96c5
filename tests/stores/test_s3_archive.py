"""Archive classes on S3: what a HEAD says of them, and what is asked of the store."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storaged.clock import DAY, SECOND, SystemClock, from_datetime
from storaged.errors import ObjectCold, ObjectNotFound, SourceChanged, StoreError, UsageError
from storaged.stores.archives import Warmed, Warmth
from storaged.stores.s3 import archive, classes
from storaged.stores.s3.session import S3Session
from storaged.testing.servers import ENVIRONMENT, MotoServer

NOON = from_datetime(dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC))
COLD, WARMING, READABLE = Warmed(Warmth.COLD), Warmed(Warmth.WARMING), Warmed()


@pytest.fixture
def session(bucket: str, moto: MotoServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Session]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    moto.set_time(NOON)
    yield S3Session(f"s3://{bucket}/lake", moto.access)
    moto.set_time(None)


def put(session: S3Session, key: str = "a", *, storage_class: str = "GLACIER", body: bytes = b"a") -> str:
    """A user's object in a class, as a lifecycle rule would leave it. Its identity."""
    session.call("put_object", Key=session.key(key), Body=body, StorageClass=storage_class)
    return identity(session, key)


def identity(session: S3Session, key: str = "a") -> str:
    head = session.call("head_object", Key=session.key(key))
    version = f":{head['VersionId']}" if "VersionId" in head else ""
    return f"{head['ETag'][1:-1]}:{int(head['LastModified'].timestamp())}{version}"


def ask(session: S3Session, identity: str, *, days: int = 2, speed: str = "Standard", key: str = "a") -> Warmed:
    return archive.warm(session, key, identity=identity, days=days, speed=speed)


def warmth(session: S3Session, key: str) -> Warmed:
    """As the store tells it of a HEAD."""
    return archive.told(session.wire.head(session.key(key)).archived)


def requests(moto: MotoServer) -> int:
    return sum(request.operation == "RestoreObject" for request in moto.log())


@pytest.mark.parametrize(
    ("head", "kind", "warmed"),
    [
        ({}, "", READABLE),
        ({"StorageClass": "STANDARD_IA"}, "", READABLE),
        ({"StorageClass": "GLACIER_IR"}, "", READABLE),
        ({"StorageClass": "GLACIER"}, "GLACIER", COLD),
        ({"StorageClass": "GLACIER", "Restore": 'ongoing-request="true"'}, "GLACIER", WARMING),
        (
            {
                "StorageClass": "DEEP_ARCHIVE",
                "Restore": 'ongoing-request="false", expiry-date="Wed, 25 Nov 2026 00:00:00 GMT"',
            },
            "DEEP_ARCHIVE",
            Warmed(Warmth.READABLE, NOON + DAY + DAY // 2),
        ),
        ({"StorageClass": "INTELLIGENT_TIERING"}, "", READABLE),
        ({"StorageClass": "INTELLIGENT_TIERING", "ArchiveStatus": "ARCHIVE_ACCESS"}, "ARCHIVE_ACCESS", COLD),
        (
            {
                "StorageClass": "INTELLIGENT_TIERING",
                "ArchiveStatus": "DEEP_ARCHIVE_ACCESS",
                "Restore": 'ongoing-request="true"',
            },
            "DEEP_ARCHIVE_ACCESS",
            WARMING,
        ),
    ],
)
def test_a_head_says_how_readable_an_object_is(head: dict[str, Any], kind: str, warmed: Warmed) -> None:
    assert (archive.archive_of(head), archive.told(head)) == (kind, warmed)
    if warmed.warmth is Warmth.READABLE:
        archive.check("a", head)
    else:
        with pytest.raises(ObjectCold, match=kind):
            archive.check("a", head)


def test_a_cold_objects_error_says_how_long_each_speed_takes_and_whether_a_copy_is_on_its_way() -> None:
    said = archive.cold("a/b", "GLACIER", under_way=False).message
    assert "'a/b' is in the archive class GLACIER" in said
    assert "5 min (Expedited), 5 h (Standard), 12 h (Bulk)" in said
    assert "none was asked for yet" in said
    said = archive.cold("a/b", "DEEP_ARCHIVE", under_way=True).message
    assert "12 h (Standard), 48 h (Bulk)" in said
    assert "Expedited" not in said
    assert "on its way" in said


def test_a_restore_is_asked_for_and_becomes_readable_until_it_ends(session: S3Session, moto: MotoServer) -> None:
    it = put(session)
    assert warmth(session, "a") == COLD
    assert ask(session, it) == WARMING
    assert warmth(session, "a") == WARMING
    moto.finish_restores(session.bucket)
    found = warmth(session, "a")
    assert found.warmth is Warmth.READABLE
    assert found.until_us is not None
    assert abs(found.until_us - NOON - 2 * DAY) < 600 * SECOND
    moto.set_time(NOON + 3 * DAY)
    assert warmth(session, "a") == COLD


def test_to_ask_twice_is_to_ask_once(session: S3Session, moto: MotoServer) -> None:
    it = put(session)
    assert [ask(session, it), ask(session, it)] == [WARMING, WARMING]
    assert [r.status for r in moto.log() if r.operation == "RestoreObject"] == [202, 409]


def test_a_copy_that_is_there_is_kept_longer_and_never_shorter(session: S3Session, moto: MotoServer) -> None:
    it = put(session)
    ask(session, it, days=5)
    moto.finish_restores(session.bucket)
    before = warmth(session, "a").until_us
    assert ask(session, it, days=2) == Warmed(Warmth.READABLE, before)
    assert requests(moto) == 1
    after = ask(session, it, days=9).until_us
    assert before is not None
    assert after is not None
    assert after - before > 3 * DAY


@pytest.mark.parametrize("days_ahead", [-400, -2, 2, 400])
def test_the_stores_own_date_counts_the_days_whatever_the_clock_is_here(
    session: S3Session, moto: MotoServer, days_ahead: int
) -> None:
    now = SystemClock().now_us() + days_ahead * DAY
    moto.set_time(now)
    it = put(session)
    ask(session, it, days=5)
    moto.finish_restores(session.bucket)
    before = warmth(session, "a")
    assert before.now_us is not None
    assert abs(before.now_us - now) < 600 * SECOND
    assert ask(session, it, days=2) == before
    assert requests(moto) == 1
    after = ask(session, it, days=9)
    assert requests(moto) == 2
    assert before.until_us is not None
    assert after.until_us is not None
    assert after.until_us - before.until_us > 3 * DAY


def test_a_store_that_tells_no_time_says_so() -> None:
    for date in ({}, {"Date": "yesterday"}):
        assert archive.told({"StorageClass": "GLACIER", **date}).now_us is None
    assert archive.told({"Date": "Mon, 23 Nov 2026 12:00:00 GMT"}).now_us == NOON


def test_only_the_thing_that_was_meant_is_restored(session: S3Session, moto: MotoServer) -> None:
    it = put(session)
    put(session, body=b"the user's own")
    with pytest.raises(SourceChanged):
        ask(session, it)
    with pytest.raises(ObjectNotFound):
        ask(session, it, key="b")
    assert requests(moto) == 0


def test_on_a_versioned_bucket_the_version_is_named(session: S3Session, moto: MotoServer) -> None:
    moto.set_versioning(session.bucket, "Enabled")
    it = put(session)
    ask(session, it)
    [asked] = [r for r in moto.log() if r.operation == "RestoreObject"]
    assert asked.query["versionId"] == it.rpartition(":")[2]


def test_what_reads_at_once_is_readable_and_nothing_is_asked(session: S3Session, moto: MotoServer) -> None:
    for kind in ("STANDARD", "STANDARD_IA", "GLACIER_IR", "INTELLIGENT_TIERING"):
        assert ask(session, put(session, storage_class=kind)) == READABLE
    assert requests(moto) == 0


def test_a_speed_that_the_class_does_not_have_is_refused_before_it_is_asked(
    session: S3Session, moto: MotoServer
) -> None:
    it = put(session, storage_class="DEEP_ARCHIVE")
    with pytest.raises(UsageError, match="DEEP_ARCHIVE cannot be restored with speed 'Expedited'") as caught:
        ask(session, it, speed="Expedited")
    assert caught.value.hint == "one of: Standard, Bulk"
    assert requests(moto) == 0


def test_a_refusal_of_the_store_is_told(session: S3Session, moto: MotoServer) -> None:
    it = put(session)
    moto.faults.add("AccessDenied", operation="RestoreObject")
    with pytest.raises(StoreError, match="AccessDenied"):
        ask(session, it)
    moto.faults.assert_all_fired()
    assert warmth(session, "a") == COLD


@given(now=st.integers(0, 2**52), days=st.integers(1, 3650))
def test_copies_end_at_midnight_and_not_before_their_days_are_over(now: int, days: int) -> None:
    until = classes.until_us(now, days)
    assert until % DAY == 0
    assert days * DAY <= until - now < (days + 1) * DAY


def test_the_example_of_the_documentation_holds() -> None:
    asked = from_datetime(dt.datetime(2012, 10, 15, 10, 30, tzinfo=dt.UTC))
    assert classes.until_us(asked, 3) == from_datetime(dt.datetime(2012, 10, 19, tzinfo=dt.UTC))


def test_every_class_says_what_is_billed_and_bulk_from_flexible_retrieval_is_free() -> None:
    for kind, speeds in classes.TAKES.items():
        for speed in speeds:
            assert "retrieval" in classes.billing(kind, speed, 7)
    assert classes.billing("GLACIER", "Bulk", 7).startswith("nothing for the retrieval")
    assert classes.billing("DEEP_ARCHIVE", "Bulk", 7).startswith("a fee")
    assert classes.billing("INTELLIGENT_TIERING", "Standard", 7).startswith("nothing")
