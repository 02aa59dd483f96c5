"""CopyObject onto itself: conditions on both ends, what is kept, and what is refused before anything is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from storaged.errors import ObjectCold, ObjectNotFound, SourceChanged, StoreError
from storaged.stores.access import Opening
from storaged.stores.s3.session import S3Session
from storaged.stores.s3.store import S3Store
from storaged.stores.s3.transition import LARGEST, transition
from storaged.stores.s3.wire import Head
from storaged.testing.servers import MotoServer

KEY = "a b/ü+%.csv"


class Meddled(S3Session):
    """A session in which a user does something right before or after an operation."""

    before: dict[str, Callable[[], object]]
    after: dict[str, Callable[[], object]]

    def call(self, operation: str, **params: Any) -> dict[str, Any]:
        self.before.pop(operation, lambda: None)()
        answer = super().call(operation, **params)
        self.after.pop(operation, lambda: None)()
        return answer


@pytest.fixture
def session(moto: MotoServer, bucket: str) -> Meddled:
    made = Meddled(f"s3://{bucket}/lake", moto.access)
    made.before, made.after = {}, {}
    return made


@pytest.fixture
def put(s3_user: Any, bucket: str) -> Callable[..., None]:
    def one(content: bytes = b"a,b\n", **more: Any) -> None:
        s3_user.put_object(Bucket=bucket, Key=f"lake/{KEY}", Body=content, **more)

    return one


def identity(moto: MotoServer, bucket: str) -> str:
    return S3Store(f"s3://{bucket}/lake", Opening(access=moto.access)).head(KEY).identity


def head(s3_user: Any, bucket: str) -> dict[str, Any]:
    found: dict[str, Any] = s3_user.head_object(Bucket=bucket, Key=f"lake/{KEY}", ChecksumMode="ENABLED")
    return found


def test_what_is_told_afterwards_is_what_a_head_tells(
    session: Meddled, moto: MotoServer, bucket: str, put: Callable[..., None]
) -> None:
    put(ContentType="text/csv", Metadata={"who": "ann"})
    told = transition(session, KEY, identity=identity(moto, bucket), storage_class="STANDARD_IA")
    assert told == S3Store(f"s3://{bucket}/lake", Opening(access=moto.access)).head(KEY)
    assert told.storage_class == "STANDARD_IA"


def test_encryption_checksum_and_redirect_are_kept(
    session: Meddled, moto: MotoServer, bucket: str, put: Callable[..., None], s3_user: Any
) -> None:
    put(ServerSideEncryption="AES256", ChecksumAlgorithm="SHA256", WebsiteRedirectLocation="/elsewhere")
    before = head(s3_user, bucket)
    transition(session, KEY, identity=identity(moto, bucket), storage_class="ONEZONE_IA")
    now = head(s3_user, bucket)
    for name in ("ServerSideEncryption", "ChecksumSHA256", "WebsiteRedirectLocation"):
        assert now[name] == before[name]


def test_another_object_than_was_meant_is_left_alone(
    session: Meddled, moto: MotoServer, bucket: str, put: Callable[..., None], s3_user: Any
) -> None:
    put()
    old = identity(moto, bucket)
    put(b"other")
    with pytest.raises(SourceChanged):
        transition(session, KEY, identity=old, storage_class="STANDARD_IA")
    assert "StorageClass" not in head(s3_user, bucket)
    s3_user.delete_object(Bucket=bucket, Key=f"lake/{KEY}")
    with pytest.raises(ObjectNotFound):
        transition(session, KEY, identity=old, storage_class="STANDARD_IA")


# MUST 2
def test_a_write_between_the_look_and_the_copy_is_never_replaced(
    session: Meddled, moto: MotoServer, bucket: str, put: Callable[..., None], s3_user: Any
) -> None:
    put()
    old = identity(moto, bucket)
    session.before["copy_object"] = lambda: put(b"other")
    with pytest.raises(SourceChanged):
        transition(session, KEY, identity=old, storage_class="STANDARD_IA")
    assert s3_user.get_object(Bucket=bucket, Key=f"lake/{KEY}")["Body"].read() == b"other"
    assert "StorageClass" not in head(s3_user, bucket)


def test_a_write_right_after_the_copy_is_noticed(
    session: Meddled, moto: MotoServer, bucket: str, put: Callable[..., None], s3_user: Any
) -> None:
    put()
    old = identity(moto, bucket)
    session.after["copy_object"] = lambda: put(b"other", StorageClass="STANDARD_IA")
    with pytest.raises(SourceChanged, match="right after"):
        transition(session, KEY, identity=old, storage_class="STANDARD_IA")
    assert s3_user.get_object(Bucket=bucket, Key=f"lake/{KEY}")["Body"].read() == b"other"


def test_a_delete_between_the_look_and_the_copy_stays_one(
    session: Meddled, moto: MotoServer, bucket: str, put: Callable[..., None], s3_user: Any
) -> None:
    put()
    old = identity(moto, bucket)
    session.before["copy_object"] = lambda: s3_user.delete_object(Bucket=bucket, Key=f"lake/{KEY}")
    with pytest.raises((ObjectNotFound, SourceChanged)):
        transition(session, KEY, identity=old, storage_class="STANDARD_IA")
    assert "Contents" not in s3_user.list_objects_v2(Bucket=bucket, Prefix="lake/")


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ({"content-length": str(LARGEST + 1)}, "5 GiB"),
        ({"x-amz-version-id": "v1"}, "keeps versions"),
        ({"x-amz-object-lock-legal-hold": "ON"}, "locked"),
        ({"x-amz-object-lock-mode": "GOVERNANCE"}, "locked"),
        ({"x-amz-server-side-encryption-customer-algorithm": "AES256"}, "SSE-C"),
    ],
)
def test_what_a_copy_would_not_keep_is_refused_before_it_is_made(
    session: Meddled,
    moto: MotoServer,
    bucket: str,
    put: Callable[..., None],
    told: dict[str, str],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put()
    old = identity(moto, bucket)
    meant = f"{old}:{told['x-amz-version-id']}" if "x-amz-version-id" in told else old
    head_of = session.wire.head

    def also_told(key: str) -> Head:
        return Head({name.lower(): value for name, value in head_of(key).headers.items()} | told)

    monkeypatch.setattr(session.wire, "head", also_told)
    moto.clear_log()
    with pytest.raises(StoreError, match=why):
        transition(session, KEY, identity=meant, storage_class="STANDARD_IA")
    assert "CopyObject" not in {request.operation for request in moto.log()}


def test_an_acl_that_would_be_lost_or_cannot_be_read_refuses_it(
    session: Meddled, moto: MotoServer, bucket: str, put: Callable[..., None], s3_user: Any
) -> None:
    put()
    old = identity(moto, bucket)
    moto.faults.add("AccessDenied", operation="GetObjectAcl")
    with pytest.raises(StoreError, match="s3:GetObjectAcl"):
        transition(session, KEY, identity=old, storage_class="STANDARD_IA")
    moto.faults.assert_all_fired()
    s3_user.put_object_acl(Bucket=bucket, Key=f"lake/{KEY}", ACL="public-read")
    with pytest.raises(StoreError, match="ACL would be lost"):
        transition(session, KEY, identity=old, storage_class="STANDARD_IA")


def test_what_is_in_an_archive_class_must_be_warmed_first(
    session: Meddled, moto: MotoServer, bucket: str, put: Callable[..., None]
) -> None:
    put(StorageClass="GLACIER")
    with pytest.raises(ObjectCold):
        transition(session, KEY, identity=identity(moto, bucket), storage_class="STANDARD")


def test_an_error_in_an_answer_of_200_is_an_error(
    session: Meddled, moto: MotoServer, bucket: str, put: Callable[..., None], s3_user: Any
) -> None:
    put()
    moto.faults.add("ErrorIn200", operation="CopyObject", times=9)
    with pytest.raises(StoreError):
        transition(session, KEY, identity=identity(moto, bucket), storage_class="STANDARD_IA")
    moto.faults.assert_all_fired()
    assert "StorageClass" not in head(s3_user, bucket)
