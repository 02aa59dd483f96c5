"""The contract of every store on S3: plain, under a prefix, with versions, suspended, with locks; and on a server that
ignores conditions and knows no checksums."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from botocore.exceptions import ClientError

from storaged.errors import StoreUnavailable
from storaged.stores.access import Opening
from storaged.stores.base import RESERVED, Deleted, Store, Traits
from storaged.stores.s3.parts import PART
from storaged.stores.s3.store import S3Store
from storaged.testing.servers import MotoServer, RcloneServer
from storaged.testing.stores import StoreContract
from storaged.testing.things import MINE, ODD_KEYS, Get, Put, Remove, create, origin_of
from tests.conftest import boto3_client

# Names of S3 that no directory could hold, each with all that a store must do to it.
S3_KEYS = (
    *("/a", "a/", "a//b", "//", "/", ".", "..", "a/../b", "../a", "a/..", "./a", "a/./b", "a/.."),
    *("\x01\x1f\x7f", "\n", "a%2Fb", "%41", "a+b c", "\\", "x" * 900, "\U0001f9ca/" * 50, f"a/{RESERVED}/b"),
    *(f"{RESERVED}x", "a?versionId=1", "a#b", "&amp;<>\"'", "\u2028"),
)

NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")


class _OnS3(StoreContract):
    no_keys: ClassVar[tuple[str, ...]] = (
        "",
        "a\0b",
        "\udcff",
        f"{RESERVED}/claim",
        RESERVED,
        "x" * 1_025,
        "\u00e9" * 513,
    )
    keeps_mtime: ClassVar[bool] = False  # S3 sets the time itself
    temporary_from: ClassVar[int] = 2 * PART  # what is small is one PUT, and leaves nothing behind

    folder: ClassVar[str] = ""
    s3_keys: ClassVar[tuple[str, ...]] = S3_KEYS

    @pytest.fixture
    def place(self, bucket: str) -> str:
        """The bucket, prepared."""
        return bucket

    @pytest.fixture
    def store(self, moto: MotoServer, place: str) -> Store:
        return S3Store(f"s3://{place}/{self.folder}", Opening(access=moto.access))

    @pytest.fixture
    def raw_put(self, moto: MotoServer, s3_user: Any, place: str) -> Put:
        started = time.time_ns() // 1_000
        minutes = itertools.count(1)

        def put(key: str, data: bytes) -> None:
            moto.set_time(started + next(minutes) * 60_000_000)  # an identity has whole seconds
            s3_user.put_object(Bucket=place, Key=self.folder + key, Body=data)

        return put

    @pytest.fixture
    def raw_get(self, s3_user: Any, place: str) -> Get:
        return lambda key: got(s3_user, place, self.folder + key)

    @pytest.fixture
    def raw_delete(self, s3_user: Any, place: str) -> Remove:
        return lambda key: s3_user.delete_object(Bucket=place, Key=self.folder + key)

    def test_keys_that_only_s3_has_are_made_read_and_removed(self, store: Store, raw_get: Get) -> None:
        for key in self.s3_keys:
            made = create(store, key, key.encode())
            assert store.head(key) == made
            assert list(store.list()) == [made]
            assert raw_get(key) == key.encode()
            with store.open(key, identity=made.identity) as reader:
                assert reader.read_at(0, 2_000) == key.encode()
                assert reader.read_at(1, 2_000) == key.encode()[1:]
            assert store.origin(key) == origin_of(MINE)
            assert store.delete(key, identity=made.identity) is Deleted.DELETED
            assert raw_get(key) is None
            assert list(store.list()) == []

    def test_all_those_keys_side_by_side_stay_apart(self, store: Store) -> None:
        made = {key: create(store, key, key.encode()) for key in self.s3_keys}
        assert list(store.list()) == [made[key] for key in sorted(made, key=str.encode)]
        for key, stat in made.items():
            with store.open(key, identity=stat.identity) as reader:
                assert reader.read_at(0, 2_000) == key.encode()
        for gone, key in enumerate(made, start=1):
            assert store.delete(key, identity=made[key].identity) is Deleted.DELETED
            if gone % 8 == 0:
                assert list(store.list()) == [made[k] for k in sorted(list(made)[gone:], key=str.encode)]


def got(user: Any, bucket: str, key: str) -> bytes | None:
    """What a user reads, or None."""
    try:
        body = user.get_object(Bucket=bucket, Key=key)["Body"]
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("NoSuchKey", "404"):
            raise
        return None
    with body:
        return bytes(body.read())


class TestPlain(_OnS3):
    pass


@pytest.mark.every(3)
class TestUnderPrefix(_OnS3):
    folder: ClassVar[str] = "a prefix/r\u00f6\u00f6t+%41/"
    no_keys: ClassVar[tuple[str, ...]] = (*_OnS3.no_keys, "x" * 1_005)


@pytest.mark.every(3)
class TestVersioned(_OnS3):
    @pytest.fixture
    def place(self, bucket: str, s3_user: Any) -> str:
        s3_user.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        return bucket


@pytest.mark.every(3)
class TestSuspended(_OnS3):
    @pytest.fixture
    def place(self, bucket: str, s3_user: Any) -> str:
        for status in ("Enabled", "Suspended"):
            s3_user.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        return bucket


@pytest.mark.every(3)
class TestWithLocks(_OnS3):
    @pytest.fixture
    def place(self, moto: MotoServer, bucket: str) -> str:
        moto.drop_bucket(bucket)
        moto.make_bucket(bucket, locks=True)
        return bucket


_OVERWRITES = "If-None-Match is ignored there where versions are kept: traits.create_put is False, and both win"


class TestOnRgw(_OnS3):
    """Ceph: of all conditions only create-only by PUT is kept."""

    @pytest.fixture
    def moto(self, rgw: MotoServer) -> MotoServer:
        return rgw

    @pytest.fixture
    def s3_user(self, moto: MotoServer) -> Iterator[Any]:
        client = boto3_client(moto)
        yield client
        client.close()

    def test_what_the_server_can_do_is_known(self, store: Store) -> None:
        assert store.traits == Traits(create_parts=False, delete_condition=False, one_step=PART, shows=False)
        assert not store.traits.releases


@pytest.mark.every(3)
class _RgwWithVersions(TestOnRgw):
    """A listing whose prefix has a control character that no XML can have is an error there, and only a listing tells
    versions: nothing of such a name can be deleted. And each key is made once here, since where versioning is suspended
    a create-only PUT is refused at a key that only a delete marker hides."""

    s3_keys: ClassVar[tuple[str, ...]] = tuple(dict.fromkeys(key for key in S3_KEYS if not NOT_XML.search(key)))

    def test_what_only_a_listing_could_tell_is_left_alone(self, store: Store, raw_get: Get) -> None:
        made = create(store, "a\x01b", b"x")
        with pytest.raises(StoreUnavailable):
            store.delete("a\x01b", identity=made.identity)
        assert raw_get("a\x01b") == b"x"


class TestOnSuspendedRgw(_RgwWithVersions):
    @pytest.fixture
    def place(self, bucket: str, s3_user: Any) -> str:
        for status in ("Enabled", "Suspended"):
            s3_user.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        return bucket


class TestOnVersionedRgw(_RgwWithVersions):
    """There it overwrites as well, and a delete by version id is exact."""

    @pytest.fixture
    def place(self, bucket: str, s3_user: Any) -> str:
        s3_user.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
        return bucket

    @pytest.mark.skip(_OVERWRITES)
    def test_of_two_that_race_for_a_key_exactly_one_wins(self) -> None: ...  # type: ignore[override]

    @pytest.mark.skip(_OVERWRITES)
    def test_of_many_that_write_the_same_note_exactly_one_wins(self) -> None: ...  # type: ignore[override]

    def test_what_the_server_can_do_is_known(self, store: Store) -> None:
        lacks = {"create_put": False, "create_parts": False, "delete_condition": False}
        assert store.traits == Traits(**lacks, delete_version=True, one_step=PART, shows=False)
        assert store.traits.releases


class TestOnRclone(_OnS3):
    """A server that ignores conditions, knows no checksums and keeps its objects as files."""

    folder: ClassVar[str] = "below/"
    odd_keys: ClassVar[tuple[str, ...]] = tuple(
        key for key in ODD_KEYS if "\n" not in key
    )  # it loses control characters

    @pytest.fixture
    def place(self, rclone_bucket: str) -> str:
        return rclone_bucket

    @pytest.fixture
    def store(self, rclone: RcloneServer, place: str) -> Store:
        return S3Store(f"s3://{place}/{self.folder}", Opening(access=rclone.access))

    @pytest.fixture
    def s3_user(self, rclone: RcloneServer) -> Iterator[Any]:
        client = boto3_client(rclone)
        yield client
        client.close()

    @pytest.fixture
    def raw_put(self, s3_user: Any, place: str) -> Put:
        written: dict[str, int] = {}

        def put(key: str, data: bytes) -> None:
            while written.get(key) == int(
                time.time()
            ):  # an identity has whole seconds, and this server no clock of ours
                time.sleep(0.05)
            s3_user.put_object(Bucket=place, Key=self.folder + key, Body=data)
            written[key] = int(time.time())

        return put

    @pytest.mark.skip("objects are files and directories there, which these keys cannot be")
    def test_keys_that_only_s3_has_are_made_read_and_removed(self) -> None: ...  # type: ignore[override]

    @pytest.mark.skip("objects are files and directories there, which these keys cannot be")
    def test_all_those_keys_side_by_side_stay_apart(self) -> None: ...  # type: ignore[override]

    @pytest.mark.skip("If-None-Match is ignored there: traits.create_put is False, and both win")
    def test_of_two_that_race_for_a_key_exactly_one_wins(self) -> None: ...  # type: ignore[override]

    @pytest.mark.skip("If-None-Match is ignored there: the journal is refused such a place")
    def test_of_many_that_write_the_same_note_exactly_one_wins(self) -> None: ...  # type: ignore[override]

    @pytest.mark.skip("deletes at the same time show one another half-deleted files there")
    def test_of_many_deletes_at_once_each_object_goes_and_nothing_else(self) -> None: ...  # type: ignore[override]

    def test_what_the_server_cannot_do_is_known(self, store: Store) -> None:
        assert store.traits == Traits(
            create_put=False, create_parts=False, delete_condition=False, one_step=PART, shows=False
        )
        assert not store.traits.releases
