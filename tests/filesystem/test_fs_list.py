"""Names through storaged://: listings, globs and what is told of an object."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fsspec
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from storaged.catalog.schema import datasets, objects
from storaged.clock import to_datetime
from storaged.config.settings import load_settings
from storaged.filesystem import StoragedFileSystem
from tests.filesystem.lake import FORMS, Lake
from tests.laws import tries
from tests.life.world import text

TREE = {
    "readme.md": b"r",
    "2013/x.csv": b"x",
    "2013/y.csv": b"yy",
    "2013.csv": b"sorts before 2013/",
    "2013/deep/er/z.csv": b"zzz",
    "2014/x.csv": b"x",
    "a b/ö[1]*.csv": b"odd",
}


def names(fs: StoragedFileSystem, path: str) -> list[str]:
    return list(fs.ls(path, detail=False))


def test_datasets_are_the_top_and_folders_are_beginnings_of_names(lake: Lake) -> None:
    lake.add(TREE)
    fs = lake.fs
    assert names(fs, "") == names(fs, "storaged://") == ["lake"]
    assert names(fs, "lake") == ["lake/2013", "lake/2013.csv", "lake/2014", "lake/a b", "lake/readme.md"]
    assert names(fs, "storaged://lake/2013/") == ["lake/2013/deep", "lake/2013/x.csv", "lake/2013/y.csv"]
    assert names(fs, "lake/2013/deep") == ["lake/2013/deep/er"]
    assert names(fs, "lake/a b") == ["lake/a b/ö[1]*.csv"]
    assert fs.cat_file("lake/a b/ö[1]*.csv") == b"odd"
    assert names(fs, "lake/readme.md") == ["lake/readme.md"]
    kinds = {e["name"]: e["type"] for e in fs.ls("lake")}
    assert (kinds["lake/2013"], kinds["lake/2013.csv"]) == ("directory", "file")


@pytest.mark.parametrize(
    "path", ["lake/none", "lake/2013/x", "lake/readme.md/x", "other", "la", "lake/a\0b", "lake/\ud800"]
)
def test_what_is_not_there_is_not_found(lake: Lake, path: str) -> None:
    lake.add(TREE)
    fs = lake.fs
    with pytest.raises(FileNotFoundError):
        fs.ls(path)
    with pytest.raises(FileNotFoundError):
        fs.info(path)
    with pytest.raises(FileNotFoundError):
        fs.open(path)
    assert [fs.exists(path), fs.isdir(path), fs.isfile(path)] == [False] * 3
    assert fs.find(path) == []


def test_a_folder_is_a_folder(lake: Lake) -> None:
    lake.add(TREE)
    for path in ("", "lake", "lake/2013", "lake/2013/deep"):
        assert lake.fs.info(path) == {"name": path, "size": 0, "type": "directory"}
        assert lake.fs.isdir(path)
        assert not lake.fs.isfile(path)
        with pytest.raises(IsADirectoryError):
            lake.fs.open(path)


def test_find_walk_glob_and_du_agree_with_a_filesystem_in_memory(lake: Lake) -> None:
    lake.add(TREE)
    memory = fsspec.filesystem("memory", skip_instance_cache=True)
    memory.store, memory.pseudo_dirs = {}, [""]
    memory.pipe({f"/lake/{name}": content for name, content in TREE.items()})

    def plain(paths: list[str]) -> list[str]:
        return [path.lstrip("/") for path in paths]

    for path in ("lake", "lake/2013", "lake/2013/x.csv"):
        assert lake.fs.find(path) == plain(memory.find(f"/{path}"))
        assert lake.fs.du(path) == memory.du(f"/{path}")
    for path in ("lake", "lake/2013"):
        for depth in (None, 1, 2):
            assert lake.fs.find(path, depth, withdirs=True) == plain(memory.find(f"/{path}", depth, withdirs=True))
    assert lake.fs.du("lake/2013", total=False) == {
        "lake/2013/deep/er/z.csv": 3, "lake/2013/x.csv": 1, "lake/2013/y.csv": 2,
    }  # fmt: skip
    walked = [(top, sorted(dirs), sorted(files)) for top, dirs, files in lake.fs.walk("lake")]
    assert walked == [(t.lstrip("/"), sorted(d), sorted(f)) for t, d, f in memory.walk("/lake")]
    for pattern in (
        "lake/*.csv",
        "lake/*/x.csv",
        "lake/**/*.csv",
        "lake/201?",
        "lake/**",
        "lake/2013/[xy].csv",
        "*",
        "lake/*/",
    ):
        assert lake.fs.glob(pattern) == plain(memory.glob(f"/{pattern}")), pattern


@pytest.mark.parametrize("form", FORMS)
def test_info_tells_content_and_place(lake: Lake, form: str) -> None:
    content = text("a", 100_000)
    wrote = lake.clock.now_us()
    lake.add({"2013/x.csv": content}, form)
    [listed] = lake.fs.ls("lake/2013")
    info = lake.fs.info("lake/2013/x.csv")
    assert info == listed
    assert (info["name"], info["type"], info["size"]) == ("lake/2013/x.csv", "file", len(content))
    assert (info["dataset"], info["generation"], info["warm"]) == ("lake", 1, True)
    assert info["mtime"] == pytest.approx(wrote / 1e6, abs=1e-3)
    assert abs(lake.fs.modified("lake/2013/x.csv") - to_datetime(wrote)) < dt.timedelta(milliseconds=1)
    assert lake.fs.created("lake/2013/x.csv") == lake.fs.modified("lake/2013/x.csv")
    assert info["tier"] == ("hot" if form == "raw" else "cold")
    small = form in ("zstd", "packed")
    assert info["codec"] == {"zstd": "zstd", "packed": "pack"}.get(form, "identity")
    assert info["stored_bytes"] < len(content) / 5 if small else info["stored_bytes"] == len(content)
    seen = lake.seen("2013/x.csv").placement.digest
    assert info["checksum"] == (seen or None)
    assert (form == "raw") == (seen == "")


def test_a_move_keeps_the_keys_of_caches_and_a_write_does_not(lake: Lake) -> None:
    lake.add({"a.csv": text("a")})
    before = lake.fs.ukey("lake/a.csv"), lake.fs.checksum("lake/a.csv")
    lake.move("a.csv")
    lake.release("a.csv")
    assert (lake.fs.ukey("lake/a.csv"), lake.fs.checksum("lake/a.csv")) == before
    lake.write("a.csv", text("b"))
    lake.scan()
    assert lake.fs.ukey("lake/a.csv") != before[0]
    assert lake.fs.checksum("lake/a.csv") != before[1]


def test_removed_objects_are_not_shown(lake: Lake) -> None:
    lake.add({"d/a.csv": b"a", "d/b.csv": b"b"})
    lake.delete("d/a.csv")
    lake.scan()
    assert names(lake.fs, "lake/d") == ["lake/d/b.csv"]
    assert lake.fs.find("lake") == ["lake/d/b.csv"]
    assert not lake.fs.exists("lake/d/a.csv")
    lake.delete("d/b.csv")
    lake.scan(confirm_empty=True)
    assert names(lake.fs, "lake") == []
    assert not lake.fs.exists("lake/d")


def test_a_dataset_that_was_never_scanned_is_an_empty_folder_and_its_objects_say_what_to_do(lake: Lake) -> None:
    assert names(lake.fs, "") == ["lake"]
    assert names(lake.fs, "lake") == []
    with pytest.raises(FileNotFoundError, match="storagectl scan lake"):
        lake.fs.open("lake/a.csv")


@pytest.fixture
def nested(lake: Lake) -> Lake:
    """Datasets whose names hold slashes; `lake` has objects that one of them hides."""
    config = lake.config.read_text()
    for name in ("lake/a", "lake/b/c", "sea/north/x"):
        root = lake.place / name.replace("/", "-")
        root.mkdir()
        (root / "in.csv").write_text(name)
        config = config.replace("datasets:\n", f'datasets:\n  {name}: {{root: "file://{root}", readers: storaged}}\n')
    lake.config.write_text(config)
    lake.add({"a/hidden.csv": b"", "b/seen.csv": b"", "b/c/hidden.csv": b"", "b/d.csv": b"", "z.csv": b""})
    lake.settings = load_settings(lake.config)
    lake.context = lake.new_context()
    for name in ("lake/a", "lake/b/c", "sea/north/x"):
        lake.scan_dataset(name)
    return lake


def test_the_longest_dataset_name_wins(nested: Lake) -> None:
    fs = nested.fs
    assert names(fs, "") == ["lake", "sea"]
    assert names(fs, "sea") == ["sea/north"]
    assert names(fs, "sea/north/x") == ["sea/north/x/in.csv"]
    assert names(fs, "lake") == ["lake/a", "lake/b", "lake/z.csv"]
    assert names(fs, "lake/a") == ["lake/a/in.csv"]
    assert names(fs, "lake/b") == ["lake/b/c", "lake/b/d.csv", "lake/b/seen.csv"]
    assert fs.cat_file("lake/b/c/in.csv") == b"lake/b/c"
    assert not fs.exists("lake/a/hidden.csv")
    everything = ["lake/a/in.csv", "lake/b/c/in.csv", "lake/b/d.csv", "lake/b/seen.csv", "lake/z.csv"]
    assert fs.find("lake") == everything
    assert fs.find("") == [*everything, "sea/north/x/in.csv"]
    assert fs.find("lake/b", withdirs=True) == [
        "lake/b",
        "lake/b/c",
        "lake/b/c/in.csv",
        "lake/b/d.csv",
        "lake/b/seen.csv",
    ]
    assert [path for path, _, _ in fs.walk("")] == [
        "",
        "lake",
        "lake/a",
        "lake/b",
        "lake/b/c",
        "sea",
        "sea/north",
        "sea/north/x",
    ]


def add_rows(lake: Lake, dataset: str, found: list[str]) -> None:
    """Objects of these names in the catalog, without files."""
    with lake.catalog.begin() as conn:
        home = conn.execute(sa.select(datasets).where(datasets.c.name == dataset)).one()
        conn.execute(sa.delete(objects))
        rows = [
            {
                "dataset_id": home.id,
                "name": name,
                "size": 1,
                "mtime_us": 1,
                "created_us": 1,
                "stored_bytes": 1,
                "tier_id": home.tier_id,
            }
            for name in found
        ]
        if rows:
            conn.execute(sa.insert(objects), rows)


@contextmanager
def limits(lake: Lake) -> Iterator[list[int]]:
    """How many rows each question of the reader to its catalog asks for at most."""
    seen: list[int] = []
    engine = lake.fs.reader.context.catalog.engine

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        values = parameters.values() if isinstance(parameters, dict) else parameters
        if "LIMIT" in statement:
            seen.append(max(value for value in values if isinstance(value, int)))

    sa.event.listen(engine, "after_cursor_execute", note)
    yield seen
    sa.event.remove(engine, "after_cursor_execute", note)


def test_a_listing_costs_what_it_shows_not_what_the_dataset_holds(lake: Lake) -> None:
    lake.context.register()
    add_rows(lake, "lake", [f"dt={day:02}/part-{n:05}.parquet" for day in range(20) for n in range(2000)])
    with limits(lake) as asked:
        assert names(lake.fs, "lake") == [f"lake/dt={day:02}" for day in range(20)]
    assert 20 <= len(asked) < 30
    assert sum(asked) < 2000
    with limits(lake) as asked:
        assert len(names(lake.fs, "lake/dt=07")) == 2000
    assert len(asked) < 5
    with limits(lake) as asked:
        assert lake.fs.exists("lake/dt=19")
    assert asked == [1]


# Names as stores have them: with empty segments, a name that is a beginning of another, and what sorts around a slash.
segments = st.lists(
    st.sampled_from(["a", "a.", "a-", "a0", "b", "", "ö", "\U0001f6f7", " ", "%", "_"]), min_size=1, max_size=4
)


@tries(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=st.lists(segments.map("/".join), unique=True, max_size=30))
def test_every_listing_is_what_the_names_say(lake: Lake, found: list[str]) -> None:
    found = [name for name in found if name]
    lake.context.register()
    add_rows(lake, "lake", found)
    assert lake.fs.find("lake") == sorted(f"lake/{name}" for name in found)
    shown: set[str] = set()
    for top, dirs, files in lake.fs.walk("lake"):
        assert [d for d in dirs if not d] == []
        shown.update(f"{top}/{name}" for name in files)
    clean = {f"lake/{name}" for name in found if "" not in name.split("/")}
    assert clean <= shown <= {f"lake/{name}" for name in found}
    for top in {name.rpartition("/")[0] for name in clean}:
        below = {name.removeprefix(f"{top}/") for name in clean if name.startswith(f"{top}/")}
        entries = lake.fs.ls(top)
        files = {e["name"] for e in entries if e["type"] == "file"} & clean
        assert files == {f"{top}/{rest}" for rest in below if "/" not in rest}
        folders = {e["name"] for e in entries if e["type"] == "directory"}
        assert folders >= {f"{top}/{rest.partition('/')[0]}" for rest in below if "/" in rest}
        assert len(entries) == len({(e["name"], e["type"]) for e in entries})
