"""What every store must hold to where it is read: listings, heads and open objects."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest

from storaged.errors import ObjectNotFound, SourceChanged, StoreError
from storaged.stores.base import RESERVED, Deleted, New, Stat, Store, Wanted
from storaged.testing.things import MINE, ODD_KEYS, Put, Remove, keys, seeded


class ReadingContract:
    """A part of StoreContract."""

    no_keys: ClassVar[tuple[str, ...]] = (
        *("", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", "a/..", "./a", "a\0b", "\udcff", f"{RESERVED}/claim"),
    )
    odd_keys: ClassVar[tuple[str, ...]] = ODD_KEYS

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

    # MUST 5
    def test_what_many_hold_is_told_together_as_each_tells_it(
        self, store: Store, raw_put: Put, raw_delete: Remove
    ) -> None:
        """Or of none of them, and never of one that is not what it must be. A server may refuse some for once."""
        for number in range(18):
            raw_put(f"a/{number:02}", b"x" * 100 * number)
        raw_put("b", b"")
        wanted = [Wanted(one.key, one.identity, one.size) for one in store.list() if isinstance(one, Stat)]
        raw_put("a/03", b"y" * 300)
        raw_delete("a/04")
        wanted[5] = wanted[5]._replace(size=501)
        right = {one.key for one in wanted} - {"a/03", "a/04", "a/05"}
        with store.near():
            had, now = dict(store.contents(wanted)), store.identities([one.key for one in wanted])
            if had.keys() < right:
                had |= store.contents(wanted)
        assert had.keys() in (set(), right)
        assert now.items() <= {one.key: one.identity for one in store.list() if isinstance(one, Stat)}.items()
        for key, found in had.items():
            with store.open(key) as reader:
                assert found == (reader.read_at(0, 2_000), reader.metadata())

    # MUST 5
    def test_what_is_opened_together_reads_as_each_by_itself(
        self, store: Store, raw_put: Put, raw_delete: Remove
    ) -> None:
        """Or none of it is, and never what is another thing by now."""
        for number in range(12):
            raw_put(f"a/{number:02}", b"x" * number)
        wanted = {one.key: one.identity for one in store.list() if isinstance(one, Stat)}
        raw_put("a/03", b"other")
        raw_delete("a/04")
        found = store.opened(wanted)
        assert found.keys() <= wanted.keys() - {"a/03", "a/04"}
        for key, together in found.items():
            with together, store.open(key) as alone:
                assert (together.stat, together.metadata()) == (alone.stat, alone.metadata())
                assert together.read_at(0, 100) == alone.read_at(0, 100)

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
