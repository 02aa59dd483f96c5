"""Uploads to S3: create-only, proven by the store's own checksum, and nothing left behind."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from storaged.clock import SECOND, SystemClock
from storaged.errors import AlreadyExists, ObjectCold, StoreError, VerificationFailed
from storaged.stores.access import Opening
from storaged.stores.base import RESERVED, Deleted, New, Stat
from storaged.stores.s3.checksums import OURS, Algorithm, sum_of
from storaged.stores.s3.errors import code_of
from storaged.stores.s3.parts import PART
from storaged.stores.s3.session import S3Session
from storaged.stores.s3.store import S3Store
from storaged.stores.s3.underway import uploads_at
from storaged.stores.s3.upload import PARTS
from storaged.testing.servers import MotoServer, RcloneServer
from storaged.testing.things import MINE, OTHER, create, origin_of, seeded

PIECE = 1 << 20
LARGE = 2 * PART + 12_345


@pytest.fixture
def store(moto: MotoServer, bucket: str) -> S3Store:
    return S3Store(f"s3://{bucket}/lake", Opening(access=moto.access))


def content(size: int) -> bytes:
    return seeded(size).randbytes(size)


def put_large(store: S3Store, key: str = "big", attempt: str = MINE, data: bytes | None = None) -> Any:
    """An upload with all its bytes written and not committed."""
    upload = store.create(key, New(attempt, size=LARGE, origin=origin_of(attempt), metadata={}))
    for at in range(0, LARGE, PIECE):
        upload.write((data or bytes(LARGE))[at : at + PIECE])
    return upload


def begun(s3_user: Any, bucket: str) -> list[str]:
    """Keys of multipart uploads that the bucket knows."""
    return [told["Key"] for told in s3_user.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]


def notes(s3_user: Any, bucket: str) -> list[str]:
    """Keys of our own objects."""
    told = s3_user.list_objects_v2(Bucket=bucket, Prefix=f"lake/{RESERVED}/").get("Contents", [])
    return [entry["Key"] for entry in told]


@pytest.mark.parametrize("algorithm", OURS)
@pytest.mark.parametrize("size", [0, 1, PART, LARGE])
def test_what_was_stored_is_proven_by_a_checksum_of_all_of_it(
    moto: MotoServer, store: S3Store, bucket: str, algorithm: Algorithm, size: int
) -> None:
    for other in OURS[: OURS.index(algorithm)]:  # a server that does not have those
        moto.faults.add("AccessDenied", operation="PutObject", key=rf"probe/.*\.{other}$")
    data = content(size)
    with store.create("a", New(MINE, size=size)) as upload:
        upload.write(data)
        assert not upload.proven
        stat = upload.commit(origin_of(MINE))
    whole = size <= PART or algorithm.whole
    assert upload.proven is whole
    assert store.checksum("a") == (f"{algorithm.lower()}:{sum_of(algorithm, data)}" if whole else "")
    with store.open("a", identity=stat.identity) as reader:
        assert reader.read_at(0, size + 1) == data
    moto.faults.assert_all_fired() if algorithm is not Algorithm.CRC64NVME else None


def test_checksums_are_those_of_the_published_check_values() -> None:
    assert (
        int.from_bytes(__import__("base64").b64decode(sum_of(Algorithm.CRC64NVME, b"123456789"))) == 0xAE8B14860A799888
    )
    assert int.from_bytes(__import__("base64").b64decode(sum_of(Algorithm.CRC32C, b"123456789"))) == 0xE3069283


def test_a_multipart_etag_is_never_taken_for_a_digest(store: S3Store) -> None:
    with put_large(store) as upload:
        stat = upload.commit(origin_of(MINE))
    assert stat.identity.split(":")[0].endswith("-3")
    assert store.checksum("big").startswith("crc64nvme:")


@pytest.mark.parametrize("algorithm", ["CRC64NVME", "CRC32"])
def test_something_else_at_the_key_right_after_the_commit_is_no_proof(
    moto: MotoServer, store: S3Store, bucket: str, s3_user: Any, algorithm: str
) -> None:
    assert store.traits.checksums
    stalled = moto.faults.add(
        "Stall", operation="HeadObject", key="lake/a$", nth=2, seconds=2
    )  # the first sees that the key is vacant
    with store.create("a", New(MINE)) as upload, ThreadPoolExecutor(1) as pool:
        upload.write(b"ours")
        committed = pool.submit(upload.commit, origin_of(MINE))
        while not moto.faults.fired(stalled):
            pass
        s3_user.put_object(Bucket=bucket, Key="lake/a", Body=b"user", ChecksumAlgorithm=algorithm)
        if algorithm == "CRC64NVME":
            with pytest.raises(VerificationFailed):
                committed.result()
        else:  # another one, which says nothing: the caller reads it back
            committed.result()
    assert not upload.proven


def test_parts_are_as_large_as_ten_thousand_of_them_need(store: S3Store, moto: MotoServer) -> None:
    size = 9 * PARTS * (1 << 20)  # parts of 9 MiB; only three of them are sent
    with store.create("big", New(MINE, size=size, origin=origin_of(MINE))) as upload:
        for _ in range(20):
            upload.write(b"x" * PIECE)
        upload.commit(origin_of(MINE))
    sent = sorted(
        request.size for request in moto.log() if request.operation == "UploadPart" and request.key == "lake/big"
    )
    assert sent == [2 * PIECE, 9 * PIECE, 9 * PIECE]


def test_a_note_tells_of_an_upload_before_its_first_part(store: S3Store, moto: MotoServer) -> None:
    with put_large(store) as upload:
        upload.commit(origin_of(MINE))
    log = [(r.operation, r.key) for r in moto.log() if "probe" not in r.key]
    note = f"lake/{RESERVED}/uploads/{MINE}"
    steps = [
        ("CreateMultipartUpload", "lake/big"),
        ("PutObject", note),
        ("UploadPart", "lake/big"),
        ("CompleteMultipartUpload", "lake/big"),
        ("DeleteObject", note),
    ]
    assert [log.index(step) for step in steps] == sorted(log.index(step) for step in steps)
    conditions = {r.operation: r.headers.get("if-none-match") for r in moto.log()}
    assert conditions["CompleteMultipartUpload"] == "*"


def test_what_a_killed_process_left_is_known_and_aborted(
    store: S3Store, moto: MotoServer, bucket: str, s3_user: Any
) -> None:
    dead = put_large(store)
    dead._session.call("list_parts", Key="lake/big", UploadId=dead._upload)  # and is never heard of again
    fresh = S3Store(store.url, Opening(access=moto.access))
    assert list(fresh.attempts()) == [MINE]
    note = fresh._read(f"{RESERVED}/uploads/{MINE}")
    assert json.loads(note or b"") == {"key": "big", "upload": dead._upload}
    assert begun(s3_user, bucket) == ["lake/big"]
    assert fresh.delete_attempt("big", attempt=MINE) is Deleted.DELETED
    assert (begun(s3_user, bucket), list(fresh.attempts()), notes(s3_user, bucket)) == ([], [], [])
    assert fresh.delete_attempt("big", attempt=MINE) is Deleted.ABSENT
    with pytest.raises(StoreError):
        dead.commit(origin_of(MINE))
    assert list(fresh.list()) == []


@pytest.mark.parametrize("how", ["abort", "leave", "interrupt"])
def test_a_cancelled_upload_leaves_nothing(store: S3Store, bucket: str, s3_user: Any, how: str) -> None:
    upload = put_large(store)
    assert begun(s3_user, bucket) == ["lake/big"]
    if how == "abort":
        upload.abort()
    elif how == "leave":
        with upload:
            pass
    else:
        with pytest.raises(KeyboardInterrupt), upload:
            raise KeyboardInterrupt
    assert (begun(s3_user, bucket), notes(s3_user, bucket), list(store.list())) == ([], [], [])


def test_of_two_large_uploads_that_race_for_a_key_one_wins(store: S3Store, bucket: str, s3_user: Any) -> None:
    first, second = put_large(store, attempt=MINE), put_large(store, attempt=OTHER)
    with first, second:
        first.commit(origin_of(MINE))
        with pytest.raises(AlreadyExists):
            second.commit(origin_of(OTHER))
    origin = store.origin("big")
    assert origin is not None
    assert origin.attempt == MINE
    assert (begun(s3_user, bucket), notes(s3_user, bucket)) == ([], [])


def test_a_large_object_carries_what_was_told_before_its_first_byte(store: S3Store, bucket: str, s3_user: Any) -> None:
    metadata = {"content-type": "text/csv", "meta:team": "growth"}
    known = replace(origin_of(MINE), digest="")
    with store.create("big", New(MINE, size=LARGE, origin=known, metadata=metadata)) as upload:
        upload.write(bytes(LARGE))
        upload.commit(origin_of(MINE), metadata=metadata)
    assert store.origin("big") == known
    told = s3_user.head_object(Bucket=bucket, Key="lake/big")
    assert (told["ContentType"], told["Metadata"]["team"]) == ("text/csv", "growth")
    with store.create("other", New(OTHER, size=LARGE, origin=known)) as upload:
        upload.write(bytes(LARGE))
        with pytest.raises(StoreError, match="must be told at `create`"):
            upload.commit(origin_of(OTHER), metadata=metadata)
    assert begun(s3_user, bucket) == []


def test_the_storage_class_is_set_on_blobs_and_never_on_notes(moto: MotoServer, bucket: str, s3_user: Any) -> None:
    store = S3Store(f"s3://{bucket}/lake", Opening(storage_class="STANDARD_IA", access=moto.access))
    assert create(store, "small", b"x").storage_class == "STANDARD_IA"
    with put_large(store) as upload:
        assert upload.commit(origin_of(MINE)).storage_class == "STANDARD_IA"
        (note,) = (r for r in moto.log() if r.operation == "PutObject" and "/uploads/" in r.key)
    store.write_note("claim", b"x", create_only=True)
    assert "x-amz-storage-class" not in note.headers
    assert "StorageClass" not in s3_user.head_object(Bucket=bucket, Key=f"lake/{RESERVED}/claim")
    assert {entry.storage_class for entry in store.list()} == {"STANDARD_IA"}  # type: ignore[union-attr]  # no Skipped


def test_an_archive_class_takes_only_what_the_store_itself_can_prove(
    moto: MotoServer, bucket: str, rclone: RcloneServer, rclone_bucket: str
) -> None:
    archive = S3Store(f"s3://{bucket}", Opening(storage_class="DEEP_ARCHIVE", access=moto.access))
    with archive.create("a", New(MINE)) as upload:
        upload.write(b"x")
        upload.commit(origin_of(MINE))
    assert upload.proven
    with pytest.raises(ObjectCold):
        archive.open("a")
    none = S3Store(f"s3://{rclone_bucket}", Opening(storage_class="DEEP_ARCHIVE", access=rclone.access))
    with pytest.raises(StoreError, match="checksum"):
        none.create("a", New(MINE))


def test_a_server_without_checksums_is_read_back(rclone: RcloneServer, rclone_bucket: str) -> None:
    store = S3Store(f"s3://{rclone_bucket}", Opening(access=rclone.access))
    data = content(100_000)
    with store.create("a", New(MINE)) as upload:
        upload.write(data)
        stat = upload.commit(origin_of(MINE))
    assert upload.proven
    assert store.head("a") == stat
    with store.create("big", New(OTHER, size=LARGE)) as large:
        large.write(bytes(LARGE))
        stat = large.commit(origin_of(OTHER))
    assert not large.proven, "the caller reads it back"
    with store.open("big", identity=stat.identity) as reader:
        assert reader.read_at(PART - 5, 10) == bytes(10)


def test_a_long_name_of_an_object_is_kept_as_its_digest(store: S3Store) -> None:
    from storaged.stores.origins import tells_of

    name = "\U0001f9ca" * 250  # 3,000 bytes percent-encoded
    with store.create("a", New(MINE)) as upload:
        upload.commit(origin_of(MINE, name))
    assert tells_of(store.origin("a"), "lake", name)


def test_our_requests_say_who_they_are(store: S3Store, moto: MotoServer) -> None:
    with put_large(store) as upload:
        stat = upload.commit(origin_of(MINE))
    with store.open("big") as reader:
        reader.read_at(0, 10)
    store.delete("big", identity=stat.identity)
    agents = {request.headers["user-agent"].split("/")[0] for request in moto.log()}
    assert agents == {"storaged"}


def test_a_server_that_denies_having_uploads_has_none(rclone: RcloneServer, rclone_bucket: str) -> None:
    rclone.restart()  # it has had no upload in any bucket since
    session = S3Session(f"s3://{rclone_bucket}/lake", rclone.access)
    with pytest.raises(StoreError) as told:
        session.call("list_multipart_uploads", Prefix="lake/big")
    assert code_of(told.value) == "NoSuchUpload"
    assert uploads_at(session, "big") == []


@pytest.mark.parametrize("answer", ["Reset", "InternalError"])
def test_an_upload_that_the_store_began_twice_leaves_none(
    moto: MotoServer, s3_user: Any, bucket: str, store: S3Store, answer: str
) -> None:
    assert store.traits.create_parts  # it has tried what it can do
    moto.faults.add(answer, operation="CreateMultipartUpload", key="lake/big", late=True)
    name = f"big.{MINE[:16]}"  # as keys of ours are, which nobody else writes to
    with put_large(store, name) as upload:
        assert len(begun(s3_user, bucket)) == 2
        upload.commit(origin_of(MINE))
    assert begun(s3_user, bucket) == []
    assert notes(s3_user, bucket) == []
    assert store.head(name).size == LARGE


def test_a_trial_that_died_is_aborted_by_the_next_an_hour_later_and_not_before(
    moto: MotoServer, bucket: str, s3_user: Any
) -> None:
    key = f"lake/{RESERVED}/probe/{OTHER}.parts"
    s3_user.create_multipart_upload(Bucket=bucket, Key=key)
    at = SystemClock().now_us()
    try:
        for hours, left in ((0.9, [key]), (1.1, [])):
            moto.set_time(at + int(hours * 3600 * SECOND))
            assert S3Store(f"s3://{bucket}/lake", Opening(access=moto.access)).traits.writable
            assert begun(s3_user, bucket) == left
    finally:
        moto.set_time(None)


def test_what_is_left_of_an_upload_that_has_ended_is_forgotten(
    store: S3Store, moto: MotoServer, bucket: str, s3_user: Any
) -> None:
    with put_large(store, "going/on", attempt=OTHER) as other:
        moto.faults.add("InternalError", operation="DeleteObject", key=f"lake/{RESERVED}/uploads/{MINE}", times=20)
        with put_large(store) as upload:
            upload.commit(origin_of(MINE))
        assert sorted(store.attempts()) == sorted([MINE, OTHER])
        moto.faults.clear()
        assert store.tidy() == 1
        assert list(store.attempts()) == [OTHER]
        other.commit(origin_of(OTHER))
    assert (store.tidy(), notes(s3_user, bucket), begun(s3_user, bucket)) == (0, [], [])
    assert {stat.key for stat in store.list() if isinstance(stat, Stat)} == {"big", "going/on"}
