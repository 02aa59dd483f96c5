"""What readers get while users write and delete, and while objects are moved and released."""

from __future__ import annotations

import errno

import pytest
import sqlalchemy as sa

from storaged.catalog.schema_attempts import attempts
from storaged.clock import new_id
from storaged.model import Origin
from storaged.stores.base import New
from tests.filesystem.lake import FORMS, Lake, Meanwhile, WithoutHandles
from tests.life.world import text

MIB = 1 << 20


@pytest.fixture
def dialect() -> str:
    """fsspec gets the same answers from both databases: test_fs_read.py and test_fs_list.py ask both."""
    return "sqlite"


def test_what_a_user_wrote_since_the_last_scan_is_read_whole(lake: Lake) -> None:
    lake.add({"a.csv": text("old", 5000)})
    before = lake.fs.info("lake/a.csv")
    lake.clock.advance(60)
    new = text("new", 7001)
    lake.write("a.csv", new)
    with lake.fs.open("lake/a.csv") as file:
        assert (file.size, file.read()) == (7001, new)
        assert file.info()["generation"] == 2
    info = lake.fs.info("lake/a.csv")
    assert (info["size"], info["stored_bytes"], info["generation"]) == (7001, 7001, 2)
    assert info["mtime"] == before["mtime"] + 60
    assert info["checksum"] is None
    assert lake.fs.cat_file("lake/a.csv", -7001, 10) == new[:10]
    lake.scan()
    assert lake.fs.info("lake/a.csv") == info  # it was what a scan says


# MUST 5
def test_a_generation_written_while_it_is_read_never_mixes_with_the_one_before(lake: Lake) -> None:
    old, new = text("old", 3 * MIB), text("new", 3 * MIB)
    lake.add({"a.csv": old})
    with lake.fs.open("lake/a.csv", cache_type="none") as file:
        assert file.read(MIB) == old[:MIB]
        lake.write("a.csv", new)  # by another name first: what is open stays what it was
        assert file.read() == old[MIB:]
    with lake.fs.open("lake/a.csv", cache_type="none") as file:
        assert file.read(MIB) == new[:MIB]
        with (lake.root / "a.csv").open("r+b") as careless:
            careless.write(b"in place")
        with pytest.raises(OSError, match="written by its user"):
            file.read()
    lake.scan()
    with lake.fs.open("lake/a.csv", cache_type="none") as file:
        assert file.read(8) == b"in place"
        with (lake.root / "a.csv").open("r+b") as careless:
            careless.write(b"again")
        with pytest.raises(OSError, match="not the file that the catalog knows"):
            file.read()


def test_what_a_user_deleted_is_not_found_before_the_scan_knows(lake: Lake) -> None:
    lake.add({"a.csv": b"a"})
    lake.delete("a.csv")
    assert not lake.fs.exists("lake/a.csv")
    with pytest.raises(FileNotFoundError):
        lake.fs.open("lake/a.csv")
    with pytest.raises(FileNotFoundError):
        lake.fs.cat_file("lake/a.csv")


def test_a_moved_object_is_served_whatever_is_at_its_original_key(lake: Lake) -> None:
    lake.add({"a.csv": text("old")})
    lake.move("a.csv")
    assert lake.fs.cat_file("lake/a.csv") == text("old")
    lake.write("a.csv", text("new"))
    assert lake.fs.cat_file("lake/a.csv") == text("old")
    assert lake.fs.info("lake/a.csv")["codec"] == "zstd"
    lake.scan()
    assert lake.fs.cat_file("lake/a.csv") == text("new")


# MUST 2
def test_what_an_uncommitted_attempt_put_at_an_original_key_is_no_new_generation(lake: Lake) -> None:
    lake.add({"a.csv": b"the user's"})
    lake.delete("a.csv")
    attempt = new_id()
    with lake.catalog.begin() as conn:
        row = {
            "id": attempt,
            "dataset_id": lake.seen("a.csv").dataset_id,
            "key": "a.csv",
            "kind": "return",
            "created_us": 1,
            "sign_us": 1,
        }
        conn.execute(sa.insert(attempts).values(state="tombstone", **row))
    late = b"a late put of ours"
    origin = Origin("c", attempt, "lake", "a.csv", 1, "source", size=len(late), mtime_us=5_000_000)
    with lake.context.root("lake").create("a.csv", New(attempt, mtime_us=5_000_000)) as upload:
        upload.write(late)
        upload.commit(origin)
    assert not lake.fs.exists("lake/a.csv")
    with pytest.raises(FileNotFoundError):
        lake.fs.open("lake/a.csv")
    with (lake.root / "a.csv").open("ab") as file:  # its user takes it for his own
        file.write(b", and mine")
    assert lake.fs.cat_file("lake/a.csv") == late + b", and mine"


@pytest.mark.parametrize("ask", ["cat_file", "info"])
@pytest.mark.parametrize("form", FORMS)
def test_an_object_that_moves_between_the_look_into_the_catalog_and_the_store_is_found(
    lake: Lake, form: str, ask: str
) -> None:
    content = text("a")
    lake.add({"a.csv": content}, form)
    moved: list[bool] = []

    def move() -> None:
        if not moved:
            moved.append(True)
            lake.migrate("a.csv", tier="warm")
            lake.days(8)
            swept = lake.sweep()
            assert swept.sources + swept.blobs == 1

    fs = lake.other_fs(lambda store: Meanwhile(store, move))
    if ask == "cat_file":
        assert fs.cat_file("lake/a.csv") == content
        assert moved
    else:
        assert fs.info("lake/a.csv")["size"] == len(content)
        assert bool(moved) == (form == "raw")


@pytest.mark.parametrize("without_handles", [False, True])
def test_an_open_file_is_read_on_while_its_object_is_moved_and_its_source_released(
    lake: Lake, without_handles: bool
) -> None:
    content = text("a", 3 * MIB)
    lake.add({"a.csv": content})
    fs = lake.other_fs(WithoutHandles) if without_handles else lake.fs
    with fs.open("lake/a.csv", cache_type="none") as file:
        assert file.read(MIB) == content[:MIB]
        lake.move("a.csv")
        lake.release("a.csv")
        assert file.read(MIB) == content[MIB : 2 * MIB]
        lake.migrate("a.csv", tier="warm")
        lake.days(8)
        assert lake.sweep().blobs == 1
        assert file.read() == content[2 * MIB :]


def test_an_open_file_never_goes_over_to_another_generation(lake: Lake) -> None:
    lake.add({"a.csv": text("old", 3 * MIB)}, "zstd")
    with lake.other_fs(WithoutHandles).open("lake/a.csv") as file:
        assert file.read(10) == text("old")[:10]
        lake.clock.advance(60)
        lake.write("a.csv", text("new", 3 * MIB))
        lake.scan()
        lake.days(366)  # what was overwritten at a released key is kept for a year
        lake.sweep()
        file.seek(2 * MIB)
        with pytest.raises(OSError, match="written by its user") as caught:
            file.read(10)
    assert not isinstance(caught.value, FileNotFoundError)


@pytest.mark.parametrize("form", FORMS)
def test_an_undone_or_returned_object_is_read_at_its_original_key(lake: Lake, form: str) -> None:
    content = text("a")
    lake.add({"a.csv": content}, form)
    if form == "raw":
        lake.move("a.csv")
        lake.undo("lake/a.csv")
    else:
        lake.eject("lake/a.csv")
    assert lake.is_raw("a.csv")
    assert lake.fs.cat_file("lake/a.csv") == content
    assert (lake.fs.info("lake/a.csv")["tier"], lake.fs.info("lake/a.csv")["generation"]) == ("hot", 1)


def test_a_lost_or_damaged_blob_is_no_missing_file_and_gives_no_wrong_bytes(lake: Lake) -> None:
    lake.add({"a.csv": text("a", 3 * MIB)}, "zstd")
    [key] = lake.stored("cold")
    blob = lake.place / "cold" / key
    with blob.open("r+b") as file:
        file.seek(5000)
        file.write(b"bit rot")
    for _ in range(2):
        with pytest.raises(OSError, match="storagectl verify lake") as caught:
            lake.fs.cat_file("lake/a.csv")
        assert caught.value.errno == errno.EIO
        blob.unlink(missing_ok=True)
