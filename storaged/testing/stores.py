"""What every store must hold to. Inherit from StoreContract, give it four fixtures, and pytest runs it.

class TestMine(StoreContract):
    @pytest.fixture
    def store(self) -> Store: ...                             # empty, new for each test
    @pytest.fixture
    def raw_put(self) -> Callable[[str, bytes], None]: ...    # as a user does, behind the store's back: replaces
    @pytest.fixture
    def raw_get(self) -> Callable[[str], bytes | None]: ...
    @pytest.fixture
    def raw_delete(self) -> Callable[[str], None]: ...

What stores rightly differ in are attributes of the class, to be overridden with a reason.
"""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import ClassVar

import pytest

from storaged.errors import AlreadyExists, MarkerLost, NotANote, ObjectNotFound, SourceChanged, StoreError
from storaged.model import Origin
from storaged.stores.archives import Warmth
from storaged.stores.base import RESERVED, Deleted, New, Stat, Store
from storaged.stores.locks import Protection, Versioning
from storaged.stores.notes import LARGEST_MARKER

Put = Callable[[str, bytes], None]
Get = Callable[[str], bytes | None]
Remove = Callable[[str], None]

MINE = "a" * 32
OTHER = "b" * 32
ODD_KEYS = (
    " leading and trailing ",
    "#?%20&=+,;:@!$'()*[]",
    "a\tb\nc",
    "back\\slash",
    "dt=2026-11-23/part 0.csv",
    "e\u0301 is not \u00e9",
    "\u00e9",
    "...",
    "n" * 255,
    "\u65e5\u672c/\u8a9e.txt",
    "\U0001f9ca" * 63 + "abc",  # 255 bytes
    "\uffee sorts before the next, in UTF-8 but not in UTF-16",
)


def origin_of(attempt: str, name: str = "a/b.csv", mtime_us: int = 0) -> Origin:
    """An origin with something in every field; an mtime of 0 is one that nobody told."""
    return Origin("c" * 32, attempt, "lake", name, 3, "1:2:3", 4, mtime_us, "d" * 32)


def seeded(seed: int) -> random.Random:
    """Chance that is the same in every run."""
    return random.Random(seed)  # noqa: S311 (test content, not a secret)


def create(store: Store, key: str, data: bytes, attempt: str = MINE, mtime_us: int | None = None) -> Stat:
    """Make one object in one go."""
    with store.create(key, New(attempt, mtime_us=mtime_us)) as upload:
        upload.write(data)
        return upload.commit(origin_of(attempt, mtime_us=mtime_us or 0))


def keys(store: Store, prefix: str = "", after: str = "") -> list[str]:
    """The keys of a listing, in its order."""
    return [entry.key for entry in store.list(prefix, after)]


class StoreContract:
    """Each method alone, then what they promise to each other."""

    no_keys: ClassVar[tuple[str, ...]] = (
        *("", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", "a/..", "./a", "a\0b", "\udcff", f"{RESERVED}/claim"),
    )
    odd_keys: ClassVar[tuple[str, ...]] = ODD_KEYS
    keeps_mtime: ClassVar[bool] = True
    # after so many bytes something of an upload is there that `delete_attempt` finds
    temporary_from: ClassVar[int] = 1

    # -- list and head ----------------------------------------------------------------------------------------------

    def test_an_empty_store_lists_nothing(self, store: Store) -> None:
        assert keys(store) == []

    def test_keys_come_in_byte_order_of_the_whole_key(self, store: Store, raw_put: Put) -> None:
        names = ["a-/x", "a.b", "a/b", "a/b.c", "a/b0", "a/b-/c", "a0", "b", "n-", "n/x", "n0", *self.odd_keys]
        for name in seeded(7).sample(names, len(names)):
            raw_put(name, b"")
        assert keys(store) == sorted(names, key=str.encode)

    def test_a_folder_tells_what_is_directly_in_it(self, store: Store, raw_put: Put) -> None:
        for name in ("a/b", "a/c/d", "a/c/e", "a/c.f", "a0", "b", "n/o/p"):
            raw_put(name, b"")
        store.write_note("claim", b"ours", create_only=True)
        assert sorted(store.folder("", 10)) == ["a/", "a0", "b", "n/"]
        assert sorted(store.folder("a/", 10)) == ["b", "c.f", "c/"]
        assert store.folder("n/o/", 10) == ["p"]
        assert list(store.folder("z/", 10)) == []
        some = store.folder("", 3)
        assert len(some) == 3
        assert set(some) < {"a/", "a0", "b", "n/"}

    def test_after_and_prefix_cut_the_listing_where_they_say(self, store: Store, raw_put: Put) -> None:
        names = ["a.b", "a/b", "a/c/d", "a/c/e", "a/d", "a0", "ab/c", "b", "n-", "n/x"]
        for name in names:
            raw_put(name, b"")
        for after in ["", *names, "a", "a/", "a/c", "a/c/", "a/c/d0", "a/z", "m", "zz"]:
            assert keys(store, after=after) == [name for name in names if name > after]
            for prefix in ["a", "a/", "a/c", "a/c/", "a/c/d", "n", "x", "x/y", "b/"]:
                expected = [name for name in names if name > after and name.startswith(prefix)]
                assert keys(store, prefix, after) == expected

    def test_head_and_list_say_the_same_of_an_object(self, store: Store, raw_put: Put) -> None:
        raw_put("a/b", b"123")
        raw_put("empty", b"")
        assert list(store.list()) == [store.head("a/b"), store.head("empty")]
        assert [stat.size for stat in store.list() if isinstance(stat, Stat)] == [3, 0]

    def test_an_identity_stays_until_the_user_writes_even_the_same_size(self, store: Store, raw_put: Put) -> None:
        raw_put("a", b"one")
        before = store.head("a").identity
        assert store.head("a").identity == before
        raw_put("a", b"two")
        after = store.head("a").identity
        assert after != before
        assert store.alike(before, before)
        assert not store.alike(before, after)

    def test_what_is_not_there_is_not_found(self, store: Store, raw_put: Put) -> None:
        raw_put("a/b", b"1")
        raw_put("file", b"1")
        for key in ("b", "a/c", "a", "b/c", "file/below"):
            with pytest.raises(ObjectNotFound):
                store.head(key)
            with pytest.raises(ObjectNotFound):
                store.open(key)
            with pytest.raises(ObjectNotFound):
                store.origin(key)
            assert store.delete(key, identity="1:1:1:1:1") in (Deleted.ABSENT, Deleted.CHANGED)

    def test_what_is_no_key_is_refused_everywhere(self, store: Store) -> None:
        for key in self.no_keys:
            calls: list[Callable[[], object]] = [
                lambda key=key: store.head(key),  # type: ignore[misc]  # mypy cannot infer a lambda with a default
                lambda key=key: store.open(key),  # type: ignore[misc]
                lambda key=key: store.origin(key),  # type: ignore[misc]
                lambda key=key: store.create(key, New(MINE)),  # type: ignore[misc]
                lambda key=key: store.delete(key, identity="1"),  # type: ignore[misc]
                lambda key=key: store.delete_attempt(key, attempt=MINE),  # type: ignore[misc]
            ]
            for call in calls:
                with pytest.raises(StoreError) as caught:
                    call()
                assert not isinstance(caught.value, ObjectNotFound), key

    # -- open -------------------------------------------------------------------------------------------------------

    def test_reads_give_the_bytes_asked_for_and_fewer_only_at_the_end(self, store: Store, raw_put: Put) -> None:
        raw_put("a", b"0123456789")
        with store.open("a") as reader:
            assert reader.stat == store.head("a")
            assert reader.read_at(0, 4) == b"0123"
            assert reader.read_at(8, 100) == b"89"
            assert reader.read_at(3, 0) == b""
            assert reader.read_at(10, 5) == b""
            assert reader.read_at(1_000, 5) == b""

    def test_opening_with_another_identity_is_refused(self, store: Store, raw_put: Put) -> None:
        raw_put("a", b"one")
        old = store.head("a").identity
        with store.open("a", identity=old) as reader:
            assert reader.read_at(0, 10) == b"one"
        raw_put("a", b"two")
        with pytest.raises(SourceChanged):
            store.open("a", identity=old)

    def test_a_reader_never_gives_the_bytes_of_a_later_write(self, store: Store, raw_put: Put) -> None:
        raw_put("a", b"one")
        with store.open("a") as reader:
            raw_put("a", b"two")
            with contextlib.suppress(SourceChanged):
                assert reader.read_at(0, 3) == b"one"

    def test_a_closed_reader_reads_no_more(self, store: Store, raw_put: Put) -> None:
        raw_put("a", b"one")
        reader = store.open("a")
        reader.close()
        reader.close()
        with pytest.raises(StoreError):
            reader.read_at(0, 1)

    def test_many_threads_read_one_reader(self, store: Store, raw_put: Put) -> None:
        data = seeded(1).randbytes(1 << 20)
        raw_put("a", data)
        with store.open("a") as reader, ThreadPoolExecutor(8) as pool:
            offsets = range(0, len(data), 4_099)
            assert b"".join(pool.map(lambda at: reader.read_at(at, 4_099), offsets)) == data

    # -- create -----------------------------------------------------------------------------------------------------

    def test_any_key_can_be_made_read_and_removed(self, store: Store, raw_get: Get) -> None:
        for key in self.odd_keys:
            made = create(store, key, key.encode())
            assert (made.key, made.size) == (key, len(key.encode()))
            assert store.head(key) == made
            assert list(store.list()) == [made]
            assert raw_get(key) == key.encode()
            assert store.origin(key) == origin_of(MINE)
            assert store.delete(key, identity=made.identity) is Deleted.DELETED
            assert raw_get(key) is None

    def test_nothing_is_visible_before_commit(self, store: Store, raw_get: Get) -> None:
        with store.create("a/b", New(MINE)) as upload:
            upload.write(b"x" * (3 << 20))
            assert keys(store) == []
            assert raw_get("a/b") is None
            upload.commit(origin_of(MINE))
        assert raw_get("a/b") == b"x" * (3 << 20)

    def test_an_aborted_upload_leaves_nothing(self, store: Store) -> None:
        upload = store.create("a", New(MINE))
        upload.write(b"x" * (3 << 20))
        upload.abort()
        upload.abort()
        with store.create("b", New(OTHER)) as left_uncommitted:
            left_uncommitted.write(b"y")
        assert keys(store) == []
        assert store.delete_attempt("a", attempt=MINE) is Deleted.ABSENT
        assert store.delete_attempt("b", attempt=OTHER) is Deleted.ABSENT
        with pytest.raises(StoreError):
            upload.write(b"more")
        with pytest.raises(StoreError):
            upload.commit(origin_of(MINE))

    def test_an_upload_commits_once(self, store: Store, raw_get: Get) -> None:
        upload = store.create("a", New(MINE))
        upload.write(b"x")
        upload.commit(origin_of(MINE))
        with pytest.raises(StoreError):
            upload.commit(origin_of(MINE))
        upload.abort()
        assert raw_get("a") == b"x"

    def test_a_large_stream_of_uneven_pieces_arrives_whole(self, store: Store) -> None:
        rng = seeded(5)
        pieces = [rng.randbytes(rng.choice([0, 1, 1_000, 1 << 20, (1 << 20) + 1])) for _ in range(40)]
        known = replace(origin_of(MINE), digest="")  # as it is before the last byte was read
        with store.create("big", New(MINE, size=20 << 20, origin=known)) as upload:
            for piece in pieces:
                upload.write(piece)
            made = upload.commit(origin_of(MINE))
        assert store.origin("big") in (known, origin_of(MINE))
        with store.open("big", identity=made.identity) as reader:
            assert reader.read_at(0, made.size + 1) == b"".join(pieces)

    def test_the_given_mtime_is_kept(self, store: Store) -> None:
        made = create(store, "a", b"x", mtime_us=1_600_000_000_123_456)
        assert made.mtime_us == store.head("a").mtime_us
        assert (made.mtime_us == 1_600_000_000_123_456) == self.keeps_mtime
        assert store.delete_attempt("a", attempt=MINE) is Deleted.DELETED, "nobody wrote into it since"

    def test_create_never_overwrites_the_users_object(self, store: Store, raw_put: Put, raw_get: Get) -> None:
        with store.create("a", New(MINE)) as upload:
            upload.write(b"ours")
            raw_put("a", b"user's")
            with pytest.raises(AlreadyExists):
                upload.commit(origin_of(MINE))
        assert raw_get("a") == b"user's"
        assert store.origin("a") is None
        assert store.delete_attempt("a", attempt=MINE) is Deleted.CHANGED

    def test_of_two_that_race_for_a_key_exactly_one_wins(self, store: Store, raw_get: Get) -> None:
        for turn in range(20):
            key = f"race/{turn}"
            barrier = threading.Barrier(2)

            def run(attempt: str, key: str = key, barrier: threading.Barrier = barrier) -> bool:
                with store.create(key, New(attempt)) as upload:
                    upload.write(attempt.encode())
                    barrier.wait(30)
                    try:
                        upload.commit(origin_of(attempt))
                    except AlreadyExists:
                        return False
                    return True

            with ThreadPoolExecutor(2) as pool:
                won = list(pool.map(run, (MINE, OTHER)))
            assert sorted(won) == [False, True]
            winner = MINE if won[0] else OTHER
            assert raw_get(key) == winner.encode()
            assert store.origin(key) == origin_of(winner)

    def test_many_threads_make_many_objects(self, store: Store) -> None:
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda n: create(store, f"{n % 3}/{n}", b"x" * n, f"{n:032x}"), range(60)))
        assert list(store.list()) == sorted(made, key=lambda stat: stat.key)

    # -- origin -----------------------------------------------------------------------------------------------------

    def test_a_users_object_has_no_origin(self, store: Store, raw_put: Put) -> None:
        raw_put("a", b"x")
        assert store.origin("a") is None

    def test_the_origin_keeps_any_name_of_an_object(self, store: Store) -> None:
        for number, name in enumerate(ODD_KEYS):
            with store.create(f"{number}", New(MINE)) as upload:
                upload.commit(origin_of(MINE, name))
            assert store.origin(f"{number}") == origin_of(MINE, name)

    # -- delete -----------------------------------------------------------------------------------------------------

    def test_delete_removes_only_the_identity_asked_for(self, store: Store, raw_put: Put, raw_get: Get) -> None:
        raw_put("a", b"one")
        old = store.head("a").identity
        raw_put("a", b"two")
        assert store.delete("a", identity=old) is Deleted.CHANGED
        assert raw_get("a") == b"two"
        assert store.delete("a", identity=store.head("a").identity) is Deleted.DELETED
        assert raw_get("a") is None

    def test_a_repeated_delete_finds_nothing_and_touches_nothing(
        self, store: Store, raw_put: Put, raw_get: Get, raw_delete: Remove
    ) -> None:
        raw_put("a", b"one")
        identity = store.head("a").identity
        assert store.delete("a", identity=identity) is Deleted.DELETED
        assert store.delete("a", identity=identity) is Deleted.ABSENT
        raw_put("a", b"one")
        assert store.delete("a", identity=identity) is Deleted.CHANGED
        assert raw_get("a") == b"one"
        raw_delete("a")
        assert store.delete("a", identity=identity) is Deleted.ABSENT

    def test_of_many_deletes_at_once_each_object_goes_and_nothing_else(self, store: Store, raw_put: Put) -> None:
        for n in range(20):
            raw_put(f"d/{n}", b"x")
        stats = [store.head(f"d/{n}") for n in range(0, 20, 2)]
        with ThreadPoolExecutor(8) as pool:
            done = list(pool.map(lambda stat: store.delete(stat.key, identity=stat.identity), stats * 3))
        assert set(done) <= {Deleted.DELETED, Deleted.ABSENT}
        assert done.count(Deleted.DELETED) >= len(stats)
        assert keys(store) == sorted(f"d/{n}" for n in range(1, 20, 2))

    def test_delete_attempt_removes_its_parts_and_its_object_only(
        self, store: Store, raw_put: Put, raw_get: Get
    ) -> None:
        create(store, "ours", b"x", MINE)
        create(store, "theirs", b"y", OTHER)
        raw_put("users", b"z")
        assert store.delete_attempt("theirs", attempt=MINE) is Deleted.CHANGED
        assert store.delete_attempt("users", attempt=MINE) is Deleted.CHANGED
        assert store.delete_attempt("ours", attempt=MINE) is Deleted.DELETED
        assert store.delete_attempt("ours", attempt=MINE) is Deleted.ABSENT
        assert store.delete_attempt("never/was", attempt=MINE) is Deleted.ABSENT
        assert keys(store) == ["theirs", "users"]
        assert raw_get("users") == b"z"

    def test_an_attempt_that_was_deleted_while_writing_cannot_commit(self, store: Store) -> None:
        with store.create("a", New(MINE)) as upload, store.create("a", New(OTHER)) as other:
            upload.write(b"x" * self.temporary_from)
            other.write(b"y" * self.temporary_from)
            assert sorted(store.attempts()) == [MINE, OTHER]
            assert store.delete_attempt("a", attempt=MINE) is Deleted.DELETED
            with pytest.raises(StoreError):
                upload.commit(origin_of(MINE))
            other.commit(origin_of(OTHER))
        found = store.origin("a")
        assert found is not None
        assert found.attempt == OTHER
        assert list(store.attempts()) == []

    def test_what_came_back_is_told_until_its_upload_is_left_or_by_nobody(self, store: Store) -> None:
        with store.create("a", New(MINE)) as upload:
            upload.write(b"x")
            assert store.shown() == {}
            made = upload.commit(origin_of(MINE), metadata={})
            assert store.shown() in ({MINE: made.identity}, {})
            assert store.head("a").identity == made.identity
        assert store.shown() == {}
        store.forget_shown(MINE)

    def test_a_blob_is_told_by_nobody(self, store: Store) -> None:
        with store.create("a", New(MINE)) as upload:
            upload.commit(origin_of(MINE))
            assert store.shown() == {}

    def test_what_came_back_is_told_when_its_process_ended_before_it_was_noted(self, store: Store) -> None:
        upload = store.create("a", New(MINE, metadata={}))
        made = upload.commit(origin_of(MINE), metadata={})
        upload.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
        told = store.shown()
        assert told in ({MINE: made.identity}, {})
        assert list(store.attempts()) == list(told)
        store.delete_attempt("a", attempt=MINE)
        assert store.shown() == {}
        assert list(store.attempts()) == []

    # -- proof --------------------------------------------------------------------------------------------------------

    def test_an_upload_is_proven_only_once_it_is_there(self, store: Store) -> None:
        with store.create("a", New(MINE)) as upload:
            upload.write(b"x")
            assert not upload.proven
            upload.commit(origin_of(MINE))
            assert upload.proven or not store.traits.checksums

    def test_a_checksum_is_of_the_bytes_and_nothing_else(self, store: Store) -> None:
        for key, data in {"a": b"one", "b": b"one", "c": b"two", "empty": b""}.items():
            create(store, key, data)
        told = [store.checksum(key) for key in ("a", "b", "c", "empty")]
        if store.traits.checksums:
            assert all(told)
            assert told[0] == told[1]
            assert len(set(told)) == 3
        else:
            assert told == [""] * 4

    def test_a_size_that_was_told_wrong_changes_nothing(self, store: Store, raw_get: Get) -> None:
        for number, size in enumerate((0, 1, 3 << 20, 1 << 40)):
            with store.create(f"{number}", New(MINE, size=size)) as upload:
                upload.write(b"x" * (2 << 20))
                assert upload.commit(origin_of(MINE)).size == 2 << 20
            assert raw_get(f"{number}") == b"x" * (2 << 20)

    # -- what the place keeps -----------------------------------------------------------------------------------------

    def test_a_delete_of_all_versions_removes_only_the_identity_asked_for(
        self, store: Store, raw_put: Put, raw_get: Get
    ) -> None:
        raw_put("a", b"one")
        old = store.head("a").identity
        raw_put("a", b"two")
        assert store.delete("a", identity=old, versions=True) is Deleted.CHANGED
        assert raw_get("a") == b"two"
        identity = store.head("a").identity
        assert store.delete("a", identity=identity, versions=True) is Deleted.DELETED
        assert store.delete("a", identity=identity, versions=True) is Deleted.ABSENT
        assert raw_get("a") is None
        assert keys(store) == []

    def test_nothing_speaks_against_a_delete_and_asking_changes_nothing(self, store: Store, raw_put: Put) -> None:
        names = ["a", "d/b", "d/e/c"]
        for name in names:
            raw_put(name, b"x")
        before = [store.head(name) for name in names]
        for ask in (False, True):
            assert store.undeletable([*names, "none", "none/a"], ask=ask) == {}
            assert store.undeletable([], ask=ask) == {}
            assert [store.unwritable(name) for name in (*names, "none", "none/a/b")] == [""] * 5
        assert [store.head(name) for name in names] == before
        assert keys(store) == names

    def test_what_a_place_protects_is_known(self, store: Store, raw_put: Put) -> None:
        assert isinstance(store.protection, Protection)
        raw_put("a", b"x")
        assert store.locked_until("a") is None

    def test_a_transition_is_refused_where_the_store_has_none(self, store: Store, raw_put: Put, raw_get: Get) -> None:
        raw_put("a", b"x")
        before = store.head("a")
        if store.traits.transitions:
            assert store.protection.versioning is Versioning.OFF
            return
        with pytest.raises(StoreError):
            store.transition("a", identity=before.identity, storage_class="STANDARD_IA")
        assert store.head("a") == before
        assert raw_get("a") == b"x"

    def test_what_was_put_in_no_archive_is_readable_for_good(self, store: Store, raw_put: Put) -> None:
        raw_put("a", b"x")
        stat = store.head("a")
        for found in (store.warmth("a"), store.warm("a", identity=stat.identity, days=1, speed="Standard")):
            assert (found.warmth, found.until_us) == (Warmth.READABLE, None)
        assert store.head("a") == stat

    # -- notes ------------------------------------------------------------------------------------------------------

    def test_notes_are_written_whole_and_never_listed_as_objects(self, store: Store) -> None:
        assert store.read_note("claim") is None
        store.write_note("claim", b"one", create_only=True)
        with pytest.raises(AlreadyExists):
            store.write_note("claim", b"two", create_only=True)
        assert store.read_note("claim") == b"one"
        store.write_note("claim", b"three", create_only=False)
        store.write_note("empty", b"", create_only=False)
        assert (store.read_note("claim"), store.read_note("empty")) == (b"three", b"")
        assert keys(store) == []
        assert keys(store, RESERVED) == keys(store, f"{RESERVED}/") == []

    def test_a_note_is_read_in_bounds(self, store: Store) -> None:
        store.write_note("journal/1", b"x" * 1_000, create_only=True)
        assert store.read_note("journal/1", limit=1_000) == b"x" * 1_000
        with pytest.raises(NotANote, match="1,000 bytes"):
            store.read_note("journal/1", limit=999)
        store.write_note("claim", b"x" * (LARGEST_MARKER + 1), create_only=True)
        with pytest.raises(StoreError, match="bytes"):
            store.confirm("claim", lambda _data: None)

    def test_a_place_is_confirmed_by_a_note_of_it(self, store: Store) -> None:
        seen: list[bytes | None] = []
        store.confirm("claim", seen.append)
        store.write_note("claim", b"one", create_only=True)
        store.confirm("claim", seen.append)
        assert seen == [None, b"one"]

        def refuse(_data: bytes | None) -> None:
            raise MarkerLost("not this one")

        with pytest.raises(MarkerLost):
            store.confirm("claim", refuse)
        assert store.read_note("claim") == b"one"  # the place that was confirmed before is there still

    def test_notes_are_listed_by_prefix_in_order(self, store: Store) -> None:
        assert list(store.list_notes("")) == []
        for name in ("journal/2", "journal/10", "journal/1/x", "claim", "journal-old"):
            store.write_note(name, name.encode(), create_only=True)
        assert list(store.list_notes("journal/")) == ["journal/1/x", "journal/10", "journal/2"]
        assert list(store.list_notes("")) == ["claim", "journal-old", "journal/1/x", "journal/10", "journal/2"]

    def test_a_note_that_is_deleted_is_gone_and_its_name_is_free_again(self, store: Store) -> None:
        for name in ("backup/x/1", "backup/x/2", "claim"):
            store.write_note(name, b"old", create_only=True)
        for name in ("backup/x/1", "backup/x/1", "backup/x/2", "backup/none"):  # what is not there is no error
            store.delete_note(name)
        assert store.read_note("backup/x/1") is None
        assert list(store.list_notes("")) == ["claim"]
        store.write_note("backup/x", b"a name that was a folder before", create_only=True)
        assert list(store.list_notes("")) == ["backup/x", "claim"]

    def test_of_many_that_write_the_same_note_exactly_one_wins(self, store: Store) -> None:
        def run(n: int) -> bool:
            try:
                store.write_note("journal/7", b"%d" % n, create_only=True)
            except AlreadyExists:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(run, range(16)))
        assert won.count(True) == 1
        assert store.read_note("journal/7") == b"%d" % won.index(True)

    @pytest.mark.parametrize("name", ["", "/a", "../a", "a/../../b", "a\0"])
    def test_what_is_no_name_of_a_note_is_refused(self, store: Store, name: str) -> None:
        with pytest.raises(StoreError):
            store.read_note(name)
        with pytest.raises(StoreError):
            store.write_note(name, b"", create_only=False)
        with pytest.raises(StoreError):
            store.delete_note(name)

    def test_a_clock_of_its_own_tells_the_time_or_there_is_none(self, store: Store) -> None:
        told = store.clock_us()
        assert told is None or told > 0

    def test_free_space_is_a_number_or_unknown(self, store: Store) -> None:
        free = store.free_bytes()
        assert free is None or free > 0
