"""What every store must hold to at the ports beside its objects: notes, archives and locks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from storaged.errors import AlreadyExists, MarkerLost, NotANote, StoreError
from storaged.stores.archives import Warmth
from storaged.stores.base import RESERVED, Store
from storaged.stores.locks import Protection
from storaged.stores.notes import LARGEST_MARKER
from storaged.testing.things import Put, keys


class NotesContract:
    """A part of StoreContract."""

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

    # MUST 8
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


class ArchivesContract:
    """A part of StoreContract."""

    def test_what_was_put_in_no_archive_is_readable_for_good(self, store: Store, raw_put: Put) -> None:
        raw_put("a", b"x")
        stat = store.head("a")
        for found in (store.warmth("a"), store.warm("a", identity=stat.identity, days=1, speed="Standard")):
            assert (found.warmth, found.until_us) == (Warmth.READABLE, None)
        assert store.head("a") == stat


class LocksContract:
    """A part of StoreContract."""

    def test_what_a_place_protects_is_known(self, store: Store, raw_put: Put) -> None:
        assert isinstance(store.protection, Protection)
        raw_put("a", b"x")
        assert store.locked_until("a") is None
