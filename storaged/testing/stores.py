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

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import ClassVar

import pytest

from storaged.errors import AlreadyExists, StoreError
from storaged.stores.base import Deleted, New, Store
from storaged.stores.locks import Versioning
from storaged.testing.ports import ArchivesContract, LocksContract, NotesContract
from storaged.testing.reading import ReadingContract
from storaged.testing.things import MINE, ODD_KEYS, OTHER, Get, Put, Remove, create, keys, origin_of, seeded


class StoreContract(ReadingContract, NotesContract, ArchivesContract, LocksContract):
    """Each method alone, then what they promise to each other."""

    keeps_mtime: ClassVar[bool] = True
    # after so many bytes something of an upload is there that `delete_attempt` finds
    temporary_from: ClassVar[int] = 1

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

    def test_what_a_server_copies_is_whole_and_says_whose_it_is(self, store: Store, raw_put: Put, raw_get: Get) -> None:
        """Or it says that it does not copy, and nothing was made."""
        raw_put("a", b"x" * 1_000)
        with store.open("a") as reader:
            source = reader.copy_source
        key = f"b.{MINE}"
        made = None if source is None else store.copy(key, New(MINE, origin=origin_of(MINE)), source)
        if made is None:
            assert keys(store) == ["a"]
            return
        assert made == store.head(key)
        assert raw_get(key) == b"x" * 1_000
        assert store.origin(key) == origin_of(MINE)

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

    # MUST 2
    def test_create_never_overwrites_the_users_object(self, store: Store, raw_put: Put, raw_get: Get) -> None:
        with store.create("a", New(MINE)) as upload:
            upload.write(b"ours")
            raw_put("a", b"user's")
            with pytest.raises(AlreadyExists):
                upload.commit(origin_of(MINE))
        assert raw_get("a") == b"user's"
        assert store.origin("a") is None
        assert store.delete_attempt("a", attempt=MINE) is Deleted.CHANGED

    # MUST 2
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

    # MUST 8
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

    # MUST 1
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

    def test_a_clock_of_its_own_tells_the_time_or_there_is_none(self, store: Store) -> None:
        told = store.clock_us()
        assert told is None or told > 0

    def test_free_space_is_a_number_or_unknown(self, store: Store) -> None:
        free = store.free_bytes()
        assert free is None or free > 0
