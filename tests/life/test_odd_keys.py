"""S3 takes nearly any text for a key. Each is cataloged, read, moved, undone and ejected exactly, or refused with why.

Names that other programs take for one: "n/dir" and "n/dir/", "a/b" and "a//b" and "a%2Fb" and "a/./b", composed and
decomposed letters. Each object here has its own content, so that one taken for another shows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from storaged.cli.app import build
from storaged.errors import ObjectNotFound, StoreError, UsageError
from storaged.filesystem import StoragedFileSystem
from storaged.model import RawState
from storaged.naming import MAX_KEY_BYTES, MAX_SEGMENT_BYTES, blob_key
from storaged.stores.base import RESERVED, New
from storaged.testing.servers import MotoServer
from storaged.work import targets
from tests.life.places import Directory, NewPlaces, Places, Prefix
from tests.life.world import PLAIN, ZSTD, World

ROOT = "lake/"  # of the dataset in its bucket
LONGEST = 1_024 - len(ROOT)
ODD = (
    *("n/dir", "n/dir/", "n/dir//", "n/dir/x"),
    *("a/b", "a//b", "a///b", "a/./b", "a/../b", "a%2Fb", "/a/b", "//", "/", ".", "..", "./a", "../a", "b/.", "b/.."),
    *(" ", " a ", "a b", "a+b", "a%20b", "a%2Bb", "%", "%%", "%zz", "%00"),
    *("\u00e9", "e\u0301", "\U0001f9ca", "\u65e5\u672c/\u8a9e", "\uffee", "\ue000"),
    *("tab\there", "a\nb", "a\r", "\x01", "\x1f\x7f", "a\\b", "?a=b&c#d", "*", "a[1]", "a?", "'\"`$(x)", "{a,b}"),
    *("~", "|", "a:b", "a::b", "<&>"),
    *(f".{RESERVED}", f"{RESERVED}x", f"x/{RESERVED}y", "a.0123456789abcdef.zst", "-rf", "--", "x" * 255, "x" * 256),
    *("\u00e4" * (LONGEST // 2) + "x", "d/" * (LONGEST // 2), "y" * LONGEST, "z/" + "z" * (LONGEST - 2)),
)  # fmt: skip
CONTENTS = {name: f"content of {name!r}: ".encode() + b"as long as any, " * 200 for name in ODD}


@pytest.fixture(params=["tiers in directories", "all on S3"])
def new_places(
    request: pytest.FixtureRequest, moto: MotoServer, new_bucket: Callable[[], str], s3_user: Any
) -> NewPlaces:
    on_s3 = {"lake"} if request.param == "tiers in directories" else {"lake", "hot", "warm", "cold"}

    def make(place: Path) -> Places:
        bucket = new_bucket()
        found: dict[str, Any] = {}
        for name in ("lake", "hot", "warm", "cold"):
            if name in on_s3:
                found[name] = Prefix(moto, s3_user, bucket, name, moto.access)
            else:
                (place / name).mkdir(exist_ok=True)
                found[name] = Directory(place / name)
        return Places(found)

    return make


@pytest.fixture
def dialect() -> str:
    """What differs between the databases is tested elsewhere, but for the order of keys, which is compared here too."""
    return "sqlite"


@pytest.fixture
def lake(world: World) -> World:
    """A world whose user wrote all of them."""
    for name, content in CONTENTS.items():
        world.write(name, content)
    assert world.scan().added == len(ODD)
    return world


def there(world: World) -> dict[str, bytes]:
    """What the user finds in the bucket, as another program lists it."""
    place = world.places.by_name["lake"]
    assert isinstance(place, Prefix)
    pages = place.user.get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=ROOT)
    keys = [entry["Key"].removeprefix(ROOT) for page in pages for entry in page.get("Contents", [])]
    return {key: place.read(key) or b"" for key in keys if not key.startswith(f"{RESERVED}/")}


def cataloged(world: World) -> list[str]:
    return [seen.placement.name for page in targets.pages(world.context, "lake") for seen in page]


@pytest.fixture
def config(world: World, catalog_url: str) -> Path:
    """What other programs read, with the world's own catalog in it."""
    _, rest = world.settings.file.read_text().split("\n", 1)
    world.settings.file.write_text(f"catalog: {json.dumps(catalog_url)}\n{rest}")
    return world.settings.file


@pytest.fixture
def fs(config: Path) -> Iterator[StoragedFileSystem]:
    made = StoragedFileSystem(str(config), skip_instance_cache=True)
    yield made
    made.close()


@pytest.mark.every(2)
def test_every_key_lives_the_whole_life_under_its_exact_name(lake: World) -> None:
    """Scan, read, move, undo, move again, release, read, eject: nothing but these keys, each with its own content."""
    assert cataloged(lake) == sorted(ODD)
    assert {name: lake.read(name) for name in ODD} == CONTENTS

    report = lake.migrate(*ODD, tier="warm", codec=ZSTD)
    assert (report.done, report.notes) == (len(ODD), [])
    assert {name: lake.read(name) for name in ODD} == CONTENTS
    assert len(lake.stored("warm")) == len(ODD)
    assert len(lake.undo("lake").done) == len(ODD)
    assert {lake.seen(name).placement.raw.state for name in ODD} == {RawState.CURRENT}

    report = lake.migrate(*ODD, tier="cold", codec=PLAIN)
    assert (report.done, report.notes) == (len(ODD), [])
    lake.days(8)
    assert lake.sweep().sources == len(ODD)
    assert there(lake) == {}
    assert {name: lake.read(name) for name in ODD} == CONTENTS
    assert lake.scan().vanished == 0

    report = lake.eject()
    assert (report.done, report.notes) == (len(ODD), [])
    assert there(lake) == CONTENTS
    assert lake.scan().unchanged == len(ODD)
    lake.days(8)
    lake.sweep()
    assert lake.stored("cold") == {}
    assert there(lake) == CONTENTS


def test_a_removal_of_one_key_is_not_taken_for_another(lake: World) -> None:
    for name in ("n/dir/", "a//b", "e\u0301", "a%2Fb"):
        lake.delete(name)
    assert lake.scan().vanished == 4
    gone = [h.placement.name for page in targets.pages(lake.context, "lake") for h in page if not h.placement.exists]
    assert gone == sorted(["n/dir/", "a//b", "e\u0301", "a%2Fb"])
    assert lake.read("n/dir") == CONTENTS["n/dir"]
    assert lake.read("n/dir/") is None


@pytest.mark.every(2)
def test_the_filesystem_opens_the_exact_name_and_never_its_neighbour(lake: World, fs: StoragedFileSystem) -> None:
    for name, content in CONTENTS.items():
        assert fs.cat_file(f"lake/{name}") == content
        assert fs.cat_file(f"storaged://lake/{name}") == content
        with fs.open(f"lake/{name}") as file:
            assert file.read() == content
        assert fs.info(f"lake/{name}")["size"] == len(content)
    assert fs.find("lake") == sorted(f"lake/{name}" for name in ODD)
    assert fs.ls("lake/n/dir/", detail=False) == ["lake/n/dir/", "lake/n/dir/x"]
    lake.delete("n/dir/")
    lake.delete("n/dir//")
    lake.scan()
    for url in ("lake/n/dir/", "storaged://lake/n/dir/"):
        with pytest.raises(IsADirectoryError):  # n/dir/x is below it
            fs.open(url)
    lake.delete("n/dir/x")
    lake.scan()
    for url in ("lake/n/dir/", "storaged://lake/n/dir/"):
        with pytest.raises(FileNotFoundError):
            fs.open(url)
        assert not fs.exists(url)
    assert fs.cat_file("lake/n/dir") == CONTENTS["n/dir"]


def test_a_url_of_fsspec_keeps_its_last_slash(config: Path) -> None:
    """What goes through fsspec.open is stripped before the filesystem sees it."""
    assert StoragedFileSystem._strip_protocol("storaged://lake/n/dir/") == "lake/n/dir/"
    assert StoragedFileSystem._strip_protocol(["lake/a", "storaged://lake/a//"]) == ["lake/a", "lake/a//"]
    _, path = fsspec.core.url_to_fs("storaged://lake/n/dir/", config=str(config))
    assert path == "lake/n/dir/"


def test_an_empty_object_that_marks_a_folder_is_shown_as_the_folder_and_can_be_read(
    world: World, fs: StoragedFileSystem
) -> None:
    world.write("n/", b"")
    world.write("n/a", b"1")
    world.scan()
    assert fs.info("lake/n/")["type"] == "directory"
    assert fs.ls("lake/n/", detail=False) == ["lake/n/a"]
    assert fs.find("lake") == ["lake/n/a"]
    assert fs.cat_file("lake/n/") == b""
    assert world.read("n/") == b""
    assert world.migrate("n/", "n/a").done == 2
    assert world.read("n/") == b""


@pytest.mark.every(2)
def test_the_command_line_names_each_exactly(lake: World, config: Path) -> None:
    def storagectl(*arguments: str) -> bytes:
        result = CliRunner().invoke(build(), ["--config", str(config), *arguments])
        assert result.exit_code == 0, result.output
        return result.stdout_bytes

    for name in ODD:
        assert json.loads(storagectl("--json", "locate", f"lake/{name}"))["object"] == name
    for name in ("n/dir", "n/dir/", "a//b", "/a/b", "a/../b", "\x01"):
        assert storagectl("cat", f"lake/{name}") == CONTENTS[name]
    assert [entry["name"] for entry in json.loads(storagectl("--json", "ls", "--recursive", "lake"))] == sorted(ODD)
    for folder, shown in (
        ("lake/a", ["lake/a/", "lake/a/.", "lake/a/..", "lake/a/b"]),
        ("lake/a/", ["lake/a/", "lake/a/.", "lake/a/..", "lake/a/b"]),
        ("lake/a//", ["lake/a//", "lake/a//b"]),
        ("lake/n/dir/", ["lake/n/dir/", "lake/n/dir/", "lake/n/dir/x"]),  # the object, and the folder of "n/dir//"
        ("lake//", ["lake//", "lake//a", "lake//"]),
    ):
        found = json.loads(storagectl("--json", "ls", folder))
        assert sorted(entry["path"] for entry in found) == sorted(shown), folder


def test_a_target_is_the_very_name_before_it_is_a_pattern(lake: World) -> None:
    def named(target: str) -> list[str]:
        return [seen.placement.name for page in targets.pages(lake.context, target) for seen in page]

    for name in ODD:
        assert named(f"lake/{name}") == [name]
    lake.delete("*")
    assert named("lake/n/dir/*") == ["n/dir/", "n/dir//", "n/dir/x"]
    with pytest.raises(UsageError, match="no object 'n/di'"):
        named("lake/n/di")


# -- refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "it is empty"),
        ("a\0b", "it holds a NUL"),
        ("\udcff", "it is not UTF-8"),
        ("x" * (LONGEST + 1), "1,025 bytes"),
        (f"{RESERVED}/claim", "storaged's own"),
        (RESERVED, "storaged's own"),
    ],
)
def test_what_no_bucket_or_catalog_can_hold_is_refused_with_why(world: World, name: str, why: str) -> None:
    root = world.context.root("lake")
    for ask in (root.head, root.open, root.origin, root.identity):
        with pytest.raises(StoreError, match=why) as caught:
            ask(name)
        assert not isinstance(caught.value, ObjectNotFound)


def test_a_name_that_no_directory_can_hold_is_not_written_to_one(lake: World, tmp_path: Path) -> None:
    """Its user has moved the root from S3 to a directory: what cannot be there is said, one by one."""
    from storaged.stores.local import LocalStore

    (tmp_path / "moved").mkdir()
    root = LocalStore((tmp_path / "moved").as_uri())
    for name in ("n/dir/", "a//b", "/a/b", "a/./b", "a/../b", ".", "..", "b/.."):
        with pytest.raises(StoreError, match=r"a segment of it is empty"):
            root.create(name, New("a" * 32))


# -- keys of blobs --------------------------------------------------------------------------------------------------

suffix = st.sampled_from([".csv", ".gz", ".0123456789abcdef", ".1", ".", ".tar.gz", "x" * 230, ".c*v"])
segment = st.one_of(
    st.sampled_from(["", ".", "..", "%", "%2E", "%00", RESERVED, "a", "x" * 250, "x" * 260]),
    st.text(max_size=300),
    st.lists(suffix, max_size=6).map("".join),
)
names = st.lists(segment, min_size=1, max_size=8).map("/".join).filter(lambda name: name and "\0" not in name)


# MUST 2
@given(one=names, other=names)
def test_a_blobs_key_fits_any_store_and_no_two_names_share_one(one: str, other: str) -> None:
    """Not even in one attempt: segments within limits and never empty, "." or "..", nothing that clients mangle."""
    made = [blob_key("lake", name, "0123456789abcdef" * 2, ".zst") for name in (one, other)]
    for key in made:
        assert len(key.encode()) <= MAX_KEY_BYTES
        assert all(0 < len(part.encode()) <= MAX_SEGMENT_BYTES and part not in (".", "..") for part in key.split("/"))
        assert key.startswith("lake/")
        assert re.search(r"\.0123456789abcdef(\.[\w-]{1,16}){0,2}\.zst$", key, re.ASCII)
        assert key.isprintable() or not any(ord(c) < 32 or ord(c) == 127 for c in key)
    assert (made[0] == made[1]) == (one == other)


# MUST 2
@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("a.csv", "a.ID.csv"),
        ("2026/11/a.csv", "2026/11/a.ID.csv"),
        ("A.CSV", "A.ID.CSV"),
        ("a.csv.gz", "a.ID.csv.gz"),
        ("a.tar.GZ", "a.ID.tar.GZ"),
        ("a.gz", "a.ID.gz"),
        ("a.csv.zst", "a.ID.csv.zst"),
        ("a.gz.csv", "a.gz.ID.csv"),
        ("part-0.snappy.parquet", "part-0.snappy.ID.parquet"),
        ("events.2026-11-28.json", "events.2026-11-28.ID.json"),
        ("v1.2/model.safetensors", "v1.2/model.ID.safetensors"),
        ("x.7z", "x.ID.7z"),
        ("x.h5", "x.ID.h5"),
        # nothing that a program would go by
        ("README", "README.ID"),
        ("v1.2/README", "v1.2/README.ID"),
        ("app.log.1", "app.log.1.ID"),
        ("app.log.1.gz", "app.log.1.ID.gz"),
        (".csv", ".csv.ID"),
        ("..csv", "..csv.ID"),
        (".a.csv", ".a.ID.csv"),
        ("a.", "a..ID"),
        ("a..csv", "a..ID.csv"),
        ("a.c v", "a.c v.ID"),
        ("a.c*v", "a.c%2Av.ID"),
        ("a.\u65e5", "a.\u65e5.ID"),
        ("a." + "x" * 16, "a.ID." + "x" * 16),
        ("a." + "x" * 17, "a." + "x" * 17 + ".ID"),
        (".csv.gz", ".csv.ID.gz"),
        (".gz", ".gz.ID"),
    ],
)
def test_the_attempt_stands_before_a_names_own_suffix(name: str, key: str) -> None:
    """So that programs which go by the end of a name infer the format, whatever the codec adds to it."""
    for added in ("", ".zst"):
        expected = f"lake/{key.replace('ID', '0123456789abcdef')}{added}"
        assert blob_key("lake", name, "0123456789abcdef" * 2, added) == expected


@pytest.mark.parametrize("name", ["x" * 300 + ".csv.gz", "d/" * 500 + "x.csv.gz", "\u00e4" * 200 + ".csv.gz"])
def test_a_name_that_is_cut_keeps_its_suffix(name: str) -> None:
    key = blob_key("lake", name, "0123456789abcdef" * 2, ".zst")
    assert key.endswith(".0123456789abcdef.csv.gz.zst")
    assert key != blob_key("lake", "x" + name, "0123456789abcdef" * 2, ".zst")


def test_all_odd_keys_have_keys_of_their_own_beside_a_tiers_long_prefix() -> None:
    made = {name: blob_key("a/dataset", name, "0123456789abcdef" * 2, ".zst") for name in ODD}
    assert len(set(made.values())) == len(ODD)
    assert max(len(key.encode()) for key in made.values()) <= 1_024 - 256
