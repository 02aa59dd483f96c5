"""What storaged does on Ceph's answers: tags, a class that is only called an archive, deletes by version, listings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from storaged.errors import AlreadyExists, StoreError
from storaged.stores.access import Opening
from storaged.stores.archives import Warmed
from storaged.stores.base import Deleted, New
from storaged.stores.s3.metadata import not_restorable
from storaged.stores.s3.store import S3Store
from storaged.testing.servers import MotoServer, moto_server
from storaged.testing.things import MINE, create, origin_of
from tests.conftest import boto3_client

LARGE = 20 << 20


@pytest.fixture
def moto(rgw: MotoServer) -> MotoServer:
    """Ceph's answers."""
    return rgw


@pytest.fixture
def s3_user(moto: MotoServer) -> Iterator[Any]:
    client = boto3_client(moto)
    yield client
    client.close()


@pytest.fixture
def store(moto: MotoServer, bucket: str) -> S3Store:
    return S3Store(f"s3://{bucket}", Opening(access=moto.access))


@pytest.mark.parametrize("size", [1, LARGE])
def test_tags_come_back_whatever_the_way(store: S3Store, bucket: str, s3_user: Any, size: int) -> None:
    before = {"tag:a + b": "c d", "tag:e": "1+1=2 @ a/b:c", "content-type": "text/csv"}
    with store.create("a", New(MINE, size=size, origin=origin_of(MINE), metadata=before)) as upload:
        upload.write(bytes(size))
        made = upload.commit(origin_of(MINE), metadata=before)
    with store.open("a", identity=made.identity) as reader:
        after = reader.metadata()
    assert {name: after.get(name) for name in before} == before
    told = s3_user.get_object_tagging(Bucket=bucket, Key="a")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in told} == {"a + b": "c d", "e": "1+1=2 @ a/b:c"}


# MUST 2
def test_an_object_of_a_users_is_seen_before_the_store_overwrites_it(store: S3Store, bucket: str, s3_user: Any) -> None:
    assert not store.traits.create_parts
    with store.create("a", New(MINE, size=LARGE, origin=origin_of(MINE))) as upload:
        upload.write(bytes(LARGE))
        s3_user.put_object(Bucket=bucket, Key="a", Body=b"the user's")
        with pytest.raises(AlreadyExists):
            upload.commit(origin_of(MINE))
    assert s3_user.get_object(Bucket=bucket, Key="a")["Body"].read() == b"the user's"


def test_a_public_object_is_known_to_be_public(store: S3Store, bucket: str, s3_user: Any) -> None:
    s3_user.put_object(Bucket=bucket, Key="public", Body=b"x", ACL="public-read")
    s3_user.put_object(Bucket=bucket, Key="private", Body=b"x")
    assert not_restorable(store.open("public").metadata()) == {"acl": "its grants to others (READ to AllUsers)"}
    assert not_restorable(store.open("private").metadata()) == {}


def test_a_class_that_is_called_an_archive_and_reads_at_once_is_none(moto: MotoServer, bucket: str) -> None:
    store = S3Store(f"s3://{bucket}", Opening(storage_class="GLACIER", access=moto.access))
    assert store.traits.at_once
    made = create(store, "a", b"content")
    assert made.storage_class == "GLACIER"
    assert store.warmth("a") == Warmed()
    assert store.warm("a", identity=made.identity, days=1, speed="Standard") == Warmed()
    with store.open("a", identity=made.identity) as reader:
        assert reader.read_at(0, 10) == b"content"


def test_on_s3_the_same_class_is_an_archive() -> None:
    with moto_server() as s3:
        s3.make_bucket("archive")
        assert not S3Store("s3://archive", Opening(storage_class="GLACIER", access=s3.access)).traits.at_once
        assert S3Store("s3://archive", Opening(access=s3.access)).traits.at_once


# MUST 7
def test_only_the_version_that_was_meant_goes_and_no_older_one_comes_back(
    store: S3Store, moto: MotoServer, bucket: str, s3_user: Any
) -> None:
    moto.set_versioning(bucket, "Enabled")
    s3_user.put_object(Bucket=bucket, Key="a", Body=b"one")
    assert store.traits.releases
    meant = store.head("a").identity
    s3_user.put_object(Bucket=bucket, Key="a", Body=b"two")
    assert store.delete("a", identity=meant) is Deleted.CHANGED
    now = store.head("a").identity
    with pytest.raises(StoreError, match="delete_condition") as refused:
        store.delete("a", identity=now)
    assert "purge_noncurrent" in (refused.value.hint or "")
    assert s3_user.get_object(Bucket=bucket, Key="a")["Body"].read() == b"two"
    assert store.delete("a", identity=now, versions=True) is Deleted.DELETED
    assert s3_user.list_object_versions(Bucket=bucket, Prefix="a").get("Versions", []) == []


def test_traits_are_tried_anew_once_the_bucket_keeps_versions(store: S3Store, moto: MotoServer, bucket: str) -> None:
    assert (store.traits.create_put, store.traits.releases) == (True, False)
    moto.set_versioning(bucket, "Enabled")
    create(store, "a", b"x")  # a user's key: looked at again
    assert (store.traits.create_put, store.traits.releases) == (False, True)


@pytest.mark.parametrize("status", ["", "Enabled", "Suspended"])
def test_the_trial_leaves_nothing_behind(
    store: S3Store, moto: MotoServer, bucket: str, s3_user: Any, status: str
) -> None:
    if status:
        moto.set_versioning(bucket, status)
    assert store.traits.writable
    left = s3_user.list_object_versions(Bucket=bucket)
    assert left.get("Versions", []) + left.get("DeleteMarkers", []) == []
    assert s3_user.list_multipart_uploads(Bucket=bucket).get("Uploads", []) == []
