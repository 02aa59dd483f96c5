"""Not to know is not to have none: what is no answer holds an object back, and is never remembered."""

from __future__ import annotations

from typing import Any

import pytest

from storaged.errors import PermissionDenied, StoreError, StoreUnavailable
from storaged.stores.locks import Protection, Versioning
from storaged.stores.s3.grants import of_others
from storaged.stores.s3.metadata import metadata_of, not_restorable
from storaged.stores.s3.questions import (
    ACL,
    LEGAL_HOLD,
    LOCKS,
    OWNERSHIP,
    RETENTION,
    TAGS,
    VERSIONING,
    NoAnswer,
    Question,
    ask,
    ignores,
)
from storaged.stores.s3.session import S3Session
from storaged.stores.s3.versions import lock_of, protection
from storaged.testing.servers import MotoServer, RcloneServer
from tests.conftest import boto3_client
from tests.stores.canned import SPACE, answering

LISTING = f"<ListBucketResult {SPACE}><Name>lake</Name></ListBucketResult>"
QUESTIONS = (VERSIONING, LOCKS, OWNERSHIP, ACL, TAGS, RETENTION, LEGAL_HOLD)
ALWAYS = 10**6


@pytest.fixture
def session(moto: MotoServer, bucket: str) -> S3Session:
    return S3Session(f"s3://{bucket}", moto.access)


def told(session: S3Session, key: str = "a") -> dict[str, str]:
    return dict(metadata_of(session, key, session.wire.head(key), locks=False))


# MUST 12
@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: q.query)
@pytest.mark.parametrize("body", [LISTING, "<Error/>", "no document", "<", f"<html>{LISTING}</html>"])
def test_another_document_is_no_answer(question: Question, body: str) -> None:
    with (
        answering(body, headers={"ETag": '"of-something-else"'}) as session,
        pytest.raises(NoAnswer, match="not known"),
    ):
        ask(session, question, key="a", etag='"1"')


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: q.query)
@pytest.mark.parametrize(("status", "code"), [(501, "NotImplemented"), (405, "MethodNotAllowed"), (501, "")])
def test_a_store_that_has_no_such_thing_says_so(question: Question, status: int, code: str) -> None:
    body = f"<Error><Code>{code}</Code></Error>" if code else ""
    with answering(body, status=status) as session:
        assert ask(session, question, key="a", etag='"1"') is None


@pytest.mark.parametrize("status", [429, 503])
def test_a_throttled_question_is_asked_again_and_then_raises(status: int) -> None:
    with answering("", status=status) as session, pytest.raises(StoreUnavailable):
        ask(session, ACL, key="a", etag='"1"')


def test_the_object_itself_for_an_answer_is_of_a_store_that_knows_no_such_thing() -> None:
    with answering("its bytes", headers={"ETag": '"1"'}) as session:
        assert ask(session, ACL, key="a", etag='"1"') is None
        assert ignores(session, TAGS, key="a", etag='"1"')
        with pytest.raises(NoAnswer):
            ask(session, VERSIONING)


def test_an_acl_without_an_owner_is_no_answer() -> None:
    with answering(f"<AccessControlPolicy {SPACE}/>") as session, pytest.raises(NoAnswer):
        of_others(session, "a", '"1"')


def test_a_listing_for_versions_stops_a_bucket_and_one_for_locks_only_where_there_are_versions() -> None:
    with answering(LISTING) as session, pytest.raises(NoAnswer):
        protection(session)


def test_a_server_that_answers_a_listing_about_locks_has_none_as_it_keeps_no_versions(
    rclone: RcloneServer, rclone_bucket: str
) -> None:
    session = S3Session(f"s3://{rclone_bucket}", rclone.access)
    with pytest.raises(NoAnswer):
        ask(session, LOCKS)
    assert protection(session) == Protection(Versioning.OFF, locks=False)


def test_a_server_without_acls_and_tags_lets_its_objects_go(rclone: RcloneServer, rclone_bucket: str) -> None:
    user = boto3_client(rclone)
    user.put_object(Bucket=rclone_bucket, Key="a", Body=b"x" * (2 << 20))
    user.close()
    session = S3Session(f"s3://{rclone_bucket}", rclone.access)
    assert not_restorable(told(session)) == {}


# MUST 12
@pytest.mark.parametrize(
    ("operation", "answer", "error"),
    [
        ("GetBucketOwnershipControls", "SlowDown", StoreUnavailable),
        ("GetObjectAcl", "SlowDown", StoreUnavailable),
        ("GetObjectAcl", "InternalError", StoreUnavailable),
        ("GetObjectAcl", "AccessDenied", PermissionDenied),
        ("GetObjectAcl", "ErrorIn200", NoAnswer),
        ("GetObjectTagging", "SlowDown", StoreUnavailable),
        ("GetObjectTagging", "AccessDenied", PermissionDenied),
        ("GetObjectTagging", "ErrorIn200", NoAnswer),
    ],
)
def test_a_public_tagged_object_is_held_back_while_it_is_not_known_and_known_afterwards(
    session: S3Session,
    moto: MotoServer,
    bucket: str,
    s3_user: Any,
    operation: str,
    answer: str,
    error: type[StoreError],
) -> None:
    s3_user.put_object(Bucket=bucket, Key="a", Body=b"x", ACL="public-read", Tagging="a=b")
    fault = moto.faults.add(answer, operation=operation, times=ALWAYS)
    for _ in range(2):
        with pytest.raises(error):
            told(session)
    assert moto.faults.fired(fault) >= (6 if error is StoreUnavailable else 2), "tried again, and never remembered"
    moto.faults.clear()
    found = told(session)
    assert (found["acl"], found["tag:a"]) == ("READ to AllUsers", "b")


def test_a_moment_of_throttling_is_not_seen(session: S3Session, moto: MotoServer, bucket: str, s3_user: Any) -> None:
    s3_user.put_object(Bucket=bucket, Key="a", Body=b"x", ACL="public-read")
    for operation in ("GetBucketOwnershipControls", "GetObjectAcl", "GetObjectTagging"):
        moto.faults.add("SlowDown", operation=operation)
    assert told(session)["acl"] == "READ to AllUsers"
    moto.faults.assert_all_fired()


def test_a_refused_ownership_is_not_remembered(session: S3Session, moto: MotoServer, bucket: str, s3_user: Any) -> None:
    s3_user.put_object(Bucket=bucket, Key="a", Body=b"x")
    moto.faults.add("AccessDenied", operation="GetBucketOwnershipControls")
    assert "acl" in told(session)
    moto.faults.assert_all_fired()
    assert "acl" not in told(session)


@pytest.mark.parametrize("operation", ["GetObjectRetention", "GetObjectLegalHold"])
def test_where_there_are_locks_one_that_may_not_be_asked_for_is_not_none(
    moto: MotoServer, bucket: str, s3_user: Any, operation: str
) -> None:
    moto.drop_bucket(bucket)
    moto.make_bucket(bucket, locks=True)
    s3_user.put_object(Bucket=bucket, Key="a", Body=b"x")
    session = S3Session(f"s3://{bucket}", moto.access)
    head = session.wire.head("a")
    assert lock_of(session, "a", head, locks=True) == ("", "", False)
    moto.faults.add("AccessDenied", operation=operation)
    with pytest.raises(PermissionDenied):
        lock_of(session, "a", head, locks=True)
    moto.faults.assert_all_fired()


@pytest.mark.parametrize("operation", ["GetBucketVersioning", "GetObjectLockConfiguration"])
@pytest.mark.parametrize(
    ("answer", "error"), [("SlowDown", StoreUnavailable), ("AccessDenied", PermissionDenied), ("ErrorIn200", NoAnswer)]
)
def test_a_bucket_with_locks_is_not_taken_for_one_without(
    moto: MotoServer,
    bucket: str,
    operation: str,
    answer: str,
    error: type[StoreError],
) -> None:
    moto.drop_bucket(bucket)
    moto.make_bucket(bucket, locks=True)
    session = S3Session(f"s3://{bucket}", moto.access)
    fault = moto.faults.add(answer, operation=operation, times=ALWAYS)
    with pytest.raises(error):
        protection(session)
    assert moto.faults.fired(fault)
    moto.faults.clear()
    assert protection(session) == Protection(Versioning.ENABLED, locks=True)
