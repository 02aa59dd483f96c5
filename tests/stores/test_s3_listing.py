"""Listing a bucket: exact, in order, with few requests, many at a time, and never further ahead than it may."""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from storaged.errors import PermissionDenied, StoreError, StoreUnavailable
from storaged.stores.access import Opening
from storaged.stores.base import Skipped, Stat
from storaged.stores.s3 import listing, pages
from storaged.stores.s3.listing import list_pages
from storaged.stores.s3.session import S3Session
from storaged.stores.s3.store import S3Store
from storaged.testing.servers import MotoServer, RcloneServer
from tests.laws import tries
from tests.stores.canned import answering, page

# no control character but the tab: moto echoes where a listing starts into XML that cannot hold it
SEGMENTS = ("a", "b", "a.", "a-", "a0", "", "..", ".", "\u00e9", " ", "+", "%2F", "\U0001f9ca", "\t", "~", "c")


@pytest.fixture
def session(moto: MotoServer, bucket: str) -> S3Session:
    return S3Session(f"s3://{bucket}", moto.access)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Pages of so many keys, and folders taken together as that asks for."""

    def set_to(keys: int) -> None:
        monkeypatch.setattr(pages, "PAGE", keys)
        monkeypatch.setattr(listing, "SMALL", max(1, keys // 2))
        monkeypatch.setattr(listing, "TOGETHER", keys * 4)

    return set_to


def put(session: S3Session, names: Iterable[str]) -> None:
    for name in names:
        session.call("put_object", Key=session.key(name), Body=b"x")


def list_objects(session: S3Session, prefix: str, after: str, *, versioned: bool = False) -> Iterator[Stat | Skipped]:
    for found in list_pages(session, prefix, after, versioned=versioned):
        yield from found


def names(found: Iterable[Stat | Skipped]) -> list[str]:
    return [entry.key for entry in found if isinstance(entry, Stat)]


_numbers = itertools.count()

# -- laws ------------------------------------------------------------------------------------------------------------

key = st.lists(st.sampled_from(SEGMENTS), min_size=1, max_size=4).map("/".join).filter(bool)
few = tries(20, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("versioned", [False, True])
@few
@given(
    keys=st.sets(key, max_size=25),
    gone=st.sets(key, max_size=4),
    size=st.sampled_from([1, 2, 3, 7, 1_000]),
    cuts=st.lists(st.tuples(st.one_of(st.just(""), key), st.one_of(st.just(""), key)), min_size=2, max_size=4),
)
@example(keys={"a/b/c", "a/b/d", "a/c", "a.", "b"}, gone=set(), size=1, cuts=[("a/b", "a/b"), ("a/b/c", "a/b/c")])
@example(keys={f"{a}/{b}" for a in "abc" for b in "abc"} | {"a", "b0"}, gone={"c"}, size=3, cuts=[("", "a/b")])
def test_what_is_listed_is_what_is_there_in_byte_order_however_it_is_cut(
    session: S3Session,
    moto: MotoServer,
    small_pages: Callable[[int], None],
    versioned: bool,
    keys: set[str],
    gone: set[str],
    size: int,
    cuts: list[tuple[str, str]],
) -> None:
    """Every page size takes other ways through stretches and levels."""
    if versioned:
        moto.set_versioning(session.bucket, "Enabled")
    small_pages(size)
    place = copy.copy(session)  # a session takes a second to connect
    place.prefix = f"{next(_numbers)}/"
    put(place, keys | gone)
    for name in gone:
        place.call("delete_object", Key=place.key(name))
    wanted = sorted(keys - gone)
    for prefix, after in [("", ""), *cuts]:
        found = names(list_objects(place, prefix, after, versioned=versioned))
        assert found == [name for name in wanted if name.startswith(prefix) and name > after]


def test_a_page_of_ours_says_what_botocore_makes_of_it(moto: MotoServer, bucket: str, s3_user: Any) -> None:
    odd = ["a b", "a+b", "a%2Bb", "a//b", "/a", "n/dir", "n/dir/", "\u00e9", "\U0001f9ca", "<&>\"'", "\x01\x1f", "a\tb"]
    for n, name in enumerate(odd):
        s3_user.put_object(Bucket=bucket, Key=name, Body=b"x" * n, StorageClass=["STANDARD", "GLACIER_IR"][n % 2])
    theirs = s3_user.list_objects_v2(Bucket=bucket)["Contents"]
    ours = list(list_objects(S3Session(f"s3://{bucket}", moto.access), "", ""))
    assert names(ours) == sorted(odd) == [t["Key"] for t in theirs]
    for stat, told in zip(ours, theirs, strict=True):
        assert isinstance(stat, Stat)
        seconds = int(told["LastModified"].timestamp())
        assert stat == Stat(
            told["Key"],
            told["Size"],
            f"{told['ETag'].strip(chr(34))}:{seconds}",
            seconds * 1_000_000,
            told["StorageClass"],
        )


# -- what there is ---------------------------------------------------------------------------------------------------


def test_of_each_key_the_latest_version_is_listed_with_its_id_and_a_delete_marker_is_absence(
    moto: MotoServer, bucket: str, s3_user: Any, small_pages: Callable[[int], None]
) -> None:
    s3_user.put_object(Bucket=bucket, Key="before", Body=b"x")
    moto.set_versioning(bucket, "Enabled")
    for name in ("a", "b", "c"):
        for n in range(4):
            s3_user.put_object(Bucket=bucket, Key=name, Body=b"x" * n)
    s3_user.delete_object(Bucket=bucket, Key="b")
    store = S3Store(f"s3://{bucket}", Opening(access=moto.access))
    for size in (1, 2, 3, 5, 1_000):
        small_pages(size)
        assert list(store.list()) == [store.head("a"), store.head("before"), store.head("c")]
    versions = s3_user.list_object_versions(Bucket=bucket, Prefix="c")["Versions"]
    latest = next(v["VersionId"] for v in versions if v["IsLatest"])
    assert store.head("c").identity.endswith(f":{latest}")
    assert store.head("c").size == 3


def test_names_of_our_own_are_never_listed_and_not_even_walked_through(
    moto: MotoServer, bucket: str, small_pages: Callable[[int], None]
) -> None:
    place = S3Session(f"s3://{bucket}/lake", moto.access)
    theirs = [".a", ".storaged.txt", ".storaged0", ".storagee", "a", "b/.storaged/x"]
    put(place, [*(f".storaged/journal/{n:03}" for n in range(40)), ".storaged", *theirs])
    assert names(list_objects(place, "", "")) == theirs
    small_pages(3)
    moto.clear_log()
    assert names(list_objects(place, "", "")) == theirs
    assert len(moto.log()) < 12
    assert names(list_objects(place, ".storaged/", "")) == []


def test_the_marker_of_the_root_itself_is_skipped_and_its_neighbours_are_not_in_the_root(
    moto: MotoServer, bucket: str
) -> None:
    put(S3Session(f"s3://{bucket}", moto.access), ["lake", "lake/", "lake/a", "lake0", "lake./a"])
    found = list(list_objects(S3Session(f"s3://{bucket}/lake", moto.access), "", ""))
    assert [(entry.key, type(entry)) for entry in found] == [("lake/", Skipped), ("a", Stat)]


def test_the_second_server_lists_the_same(rclone: RcloneServer, rclone_bucket: str) -> None:
    theirs = ["a-/x", "a.b", "a/b", "a/b.c", "a/b0", "a/c d/e+f", "a0", "\u00e9/\u65e5", "n/%41"]
    for name in theirs:
        path = rclone.directory / rclone_bucket / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    place = S3Session(f"s3://{rclone_bucket}", rclone.access)
    assert names(list_objects(place, "", "")) == sorted(theirs)
    assert names(list_objects(place, "a/", "a/b.c")) == ["a/b0", "a/c d/e+f"]


# -- how it is asked for ---------------------------------------------------------------------------------------------


def test_many_small_folders_do_not_cost_a_request_each(
    session: S3Session, moto: MotoServer, small_pages: Callable[[int], None]
) -> None:
    theirs = [f"user{n:04}/{part}" for n in range(300) for part in "ab"]
    put(session, theirs)
    small_pages(50)
    moto.clear_log()
    assert names(list_objects(session, "", "")) == theirs
    asked = moto.log()
    assert len(asked) < 40  # 12 full pages of keys, 6 of folders, and where the folders taken together end
    assert sum("delimiter" in request.query for request in asked) <= 8


def test_large_folders_are_asked_for_side_by_side_by_their_prefix(
    session: S3Session, moto: MotoServer, small_pages: Callable[[int], None]
) -> None:
    theirs = [f"y=2026/d={d}/h={h}/{n}" for d in range(3) for h in range(3) for n in range(7)]
    put(session, theirs)
    small_pages(5)
    moto.clear_log()
    assert names(list_objects(session, "", "")) == theirs
    asked = {request.query.get("prefix") for request in moto.log()}
    assert {f"y=2026/d={d}/h={h}/" for d in range(1, 3) for h in range(1, 3)} <= asked


def test_a_prefix_of_one_page_is_one_request(session: S3Session, moto: MotoServer) -> None:
    put(session, ["a/b", "a/c/d", "b"])
    moto.clear_log()
    assert names(list_objects(session, "a/", "")) == ["a/b", "a/c/d"]
    assert len(moto.log()) == 1


def test_no_more_pages_are_held_than_may_be_and_closing_ends_what_is_under_way(
    session: S3Session, moto: MotoServer, small_pages: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(session, [f"{a}/{b}" for a in range(8) for b in range(12)])
    small_pages(1)
    monkeypatch.setattr(listing, "AHEAD", 5)
    moto.clear_log()
    found = list_objects(session, "", "")
    first = [next(found) for _ in range(3)]
    for _ in range(20):  # each takes its turn on the server, after those that are under way
        session.call("head_bucket")
    found.close()  # type: ignore[attr-defined]  # a generator
    asked = [request for request in moto.log() if request.operation == "ListObjectsV2"]
    assert names(first) == ["0/0", "0/1", "0/10"]
    assert len(asked) <= len(first) + 5 + 2 * listing.THREADS
    assert not [thread for thread in threading.enumerate() if thread.name == "storaged-list"]


def test_what_fails_on_the_way_is_raised_where_it_stands_and_what_is_before_it_is_delivered(
    session: S3Session, moto: MotoServer, small_pages: Callable[[int], None]
) -> None:
    theirs = [f"{a}/{b}" for a in range(4) for b in range(4)]
    put(session, theirs)
    small_pages(2)
    fault = moto.faults.add("AccessDenied", operation="ListObjectsV2", nth=6, times=1_000)
    delivered: list[str] = []
    with pytest.raises(PermissionDenied):
        delivered.extend(entry.key for entry in list_objects(session, "", ""))
    assert moto.faults.fired(fault)
    assert delivered
    assert delivered == theirs[: len(delivered)]


# -- what a server may say -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        page("b", "a"),
        page("a", "c", "b"),
        page(
            prefixes="<CommonPrefixes><Prefix>b/</Prefix></CommonPrefixes><CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>"
        ),
    ],
)
def test_a_store_that_does_not_list_in_byte_order_is_refused(said: str) -> None:
    with answering(said) as place, pytest.raises(StoreError, match="order of their bytes"):
        list(list_objects(place, "", ""))


def test_keys_that_were_not_asked_for_are_refused() -> None:
    with answering(page("a", "b")) as place:
        for prefix, after in (("b", ""), ("", "a")):
            with pytest.raises(StoreError, match="order of their bytes"):
                list(list_objects(place, prefix, after))


@pytest.mark.parametrize("versioned", [False, True])
def test_a_listing_that_goes_on_nowhere_is_an_error_and_not_its_end(versioned: bool) -> None:
    said = page(more="<IsTruncated>true</IsTruncated>")
    with answering(said) as place, pytest.raises(StoreError, match="not where"):
        list(list_objects(place, "", "", versioned=versioned))


@pytest.mark.parametrize("said", [page("a")[:-9], "<Error><Code>InternalError</Code></Error>", ""])
def test_half_a_page_and_an_error_with_status_200_are_worth_another_try(said: str) -> None:
    with answering(said) as place, pytest.raises(StoreUnavailable):
        list(list_objects(place, "", ""))


def test_what_no_catalog_can_hold_is_skipped_with_its_reason() -> None:
    with answering(page("a", "b%FF", "c%00d", "e%2Bf+g")) as place:
        found = {entry.key: entry for entry in list_objects(place, "", "")}
    assert found["b\\xff"] == Skipped("b\\xff", "key is not UTF-8")
    assert found["c\\x00d"] == Skipped("c\\x00d", "key holds a NUL")
    assert names(found.values()) == ["a", "e+f g"]


def test_keys_that_are_not_encoded_are_taken_as_they_are_and_without_a_class_it_is_standard() -> None:
    with answering(page("a%2Bb+c", encoded=False)) as place:
        assert list(list_objects(place, "", "")) == [
            Stat("a%2Bb+c", 3, "abc:1795435200", 1_795_435_200_000_000, "STANDARD")
        ]


def test_other_requests_of_the_session_are_parsed_as_ever(session: S3Session) -> None:
    put(session, ["a"])
    assert names(list_objects(session, "", "")) == ["a"]
    assert session.call("list_objects_v2")["Contents"][0]["Key"] == "a"
    assert session.call("list_object_versions")["Versions"][0]["Key"] == "a"
