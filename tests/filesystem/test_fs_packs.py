"""Members of packs through storaged://: what lies together costs one request, and each is read by itself."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet
import pytest
import sqlalchemy as sa

import storaged
from storaged.catalog.schema import blobs
from storaged.codecs.pack.packer import FRAME
from storaged.filesystem import StoragedFileSystem
from storaged.work import targets
from storaged.work.packs import IDLE
from storaged.work.rewrite.returns import restage
from tests.filesystem.lake import Counters, Lake, WithoutHandles
from tests.life.world import noise

SIZE = 4 << 10
NAMES = [f"dt=1/{n:03}.bin" for n in range(500)]


def content(name: str, size: int = SIZE) -> bytes:
    return noise(name, size)


@pytest.fixture
def packed(lake: Lake) -> Lake:
    """Five hundred objects in one pack that do not shrink."""
    lake.add({name: content(name) for name in NAMES}, "packed")
    return lake


def files_of(lake: Lake) -> list[Path]:
    """The packs."""
    return sorted(_cold(lake).rglob("*.tar.zst"))


def _cold(lake: Lake) -> Path:
    return Path(lake.context.tiers["cold"].url.removeprefix("file://"))


@pytest.mark.on_sqlite
def test_one_member_costs_one_frame_and_its_neighbours_nothing(packed: Lake) -> None:
    counted = Counters()
    fs = packed.other_fs(counted.wrap)
    assert fs.cat_file(f"lake/{NAMES[250]}") == content(NAMES[250])
    assert len(counted.opened) == counted.reads == 1
    assert counted.bytes <= FRAME + (4 << 10)
    assert fs.cat_file(f"lake/{NAMES[251]}", 100, 200) == content(NAMES[251])[100:200]
    assert (len(counted.opened), counted.reads) == (1, 1)
    assert fs.cat_file(f"lake/{NAMES[0]}") == content(NAMES[0])
    assert (len(counted.opened), counted.reads) == (1, 2)


def test_a_folder_of_members_is_a_few_requests_and_no_byte_twice(packed: Lake) -> None:
    counted = Counters()
    fs = packed.other_fs(counted.wrap)
    assert fs.cat("lake", recursive=True) == {f"lake/{name}": content(name) for name in NAMES}
    [file] = files_of(packed)
    assert len(counted.opened) == 1
    assert counted.reads <= 2
    assert counted.bytes <= file.stat().st_size
    assert sorted(packed.spooled()) == sorted((f"lake/{name}", SIZE) for name in NAMES)


def test_ranges_of_neighbours_are_fetched_together_and_of_others_not(packed: Lake) -> None:
    counted = Counters()
    fs = packed.other_fs(counted.wrap)
    near, far = NAMES[100:140], NAMES[400]
    paths = [f"lake/{name}" for name in [*reversed(near), far]]
    got = fs.cat_ranges(paths, 10, 30)
    assert got == [content(name)[10:30] for name in [*reversed(near), far]]
    assert len(counted.opened) == 1
    assert counted.reads == 2
    assert counted.bytes < 3 * FRAME


def test_what_nobody_asked_for_is_not_fetched_afterwards(packed: Lake) -> None:
    """What `cat` expected is over with it."""
    counted = Counters()
    fs = packed.other_fs(counted.wrap)
    with pytest.raises(FileNotFoundError):
        fs.cat([*(f"lake/{name}" for name in NAMES), "lake/none"])
    counted.stores.clear()
    fs = packed.other_fs(counted.wrap)
    for name in (NAMES[0], NAMES[300]):
        fs.cat_file(f"lake/{name}")
    assert (counted.reads, len(counted.opened)) == (2, 1)


def test_threads_fetch_a_frame_once(packed: Lake) -> None:
    counted = Counters()
    fs = packed.other_fs(counted.wrap)
    names = NAMES[::3]
    with ThreadPoolExecutor(16) as pool:
        read = dict(zip(names, pool.map(lambda name: fs.cat_file(f"lake/{name}"), names), strict=True))
    assert read == {name: content(name) for name in names}
    [file] = files_of(packed)
    assert len(counted.opened) == 1
    assert counted.bytes <= file.stat().st_size


def test_a_forked_child_reads_while_its_parent_has_members_open(packed: Lake) -> None:
    counted = Counters()
    fs = packed.other_fs(counted.wrap)
    with fs.open(f"lake/{NAMES[3]}") as file:
        assert file.read(10) == content(NAMES[3])[:10]
        child = os.fork()
        if not child:
            right = file.read() == content(NAMES[3])[10:]
            right &= fs.cat_file(f"lake/{NAMES[400]}") == content(NAMES[400])
            os._exit(0 if right else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert file.read() == content(NAMES[3])[10:]


def test_a_member_that_was_moved_meanwhile_is_found_again(packed: Lake) -> None:
    """Also where its pack is gone, and a deleted key ends the reads of those who have it open."""
    fs = packed.other_fs(WithoutHandles)
    first, second = NAMES[0], NAMES[450]
    with fs.open(f"lake/{second}") as file:
        assert fs.cat_file(f"lake/{first}") == content(first)
        restage(packed.context, targets.pages(packed.context, "lake"), "warm", reason="test")
        assert packed.work().done == len(NAMES)
        packed.days(8)
        assert packed.sweep().blobs == 1
        assert files_of(packed) == []
        assert file.read() == content(second)
    assert fs.cat_file(f"lake/{first}") == content(first)
    assert fs.cat([f"lake/{name}" for name in NAMES[:5]]) == {f"lake/{n}": content(n) for n in NAMES[:5]}


def test_a_pack_that_is_lost_is_told_and_one_that_comes_back_is_read(packed: Lake) -> None:
    fs = packed.other_fs(WithoutHandles)
    assert fs.cat_file(f"lake/{NAMES[0]}") == content(NAMES[0])
    [file] = files_of(packed)
    aside = packed.place / "aside"
    file.rename(aside)
    with pytest.raises(OSError, match="the pack that holds its content is missing"):
        fs.cat_file(f"lake/{NAMES[499]}")
    found = fs.cat([f"lake/{name}" for name in NAMES[490:]], on_error="return")
    assert {type(error) for error in found.values()} == {OSError}
    aside.rename(file)
    assert fs.cat_file(f"lake/{NAMES[499]}") == content(NAMES[499])


def test_damage_of_a_frame_is_of_those_in_it(packed: Lake) -> None:
    [file] = files_of(packed)
    times = os.stat(file)
    with file.open("r+b") as stored:
        stored.seek(3 * FRAME + FRAME // 2)
        stored.write(b"\0" * 64)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    now = packed.context.tier("cold").identity(file.relative_to(_cold(packed)).as_posix())
    with packed.catalog.begin() as conn:
        conn.execute(sa.update(blobs).values(identity=now))
    found = packed.fs.cat("lake", recursive=True, on_error="return")
    wrong = [name for name in NAMES if found[f"lake/{name}"] != content(name)]
    assert FRAME // SIZE // 2 < len(wrong) < FRAME // SIZE
    assert all(isinstance(found[f"lake/{name}"], OSError) for name in wrong)
    assert wrong == NAMES[NAMES.index(wrong[0]) : NAMES.index(wrong[-1]) + 1]


@pytest.mark.on_sqlite
def test_few_packs_are_kept_open_and_none_once_it_is_closed(lake: Lake) -> None:
    names = [f"g{pack}/{n}" for pack in range(IDLE + 3) for n in range(2)]
    for name in names:
        lake.write(name, content(name))
    lake.scan()
    for pack in range(IDLE + 3):
        lake.enqueue_pack([n for n in names if n.startswith(f"g{pack}/")], pack=f"000{pack}")
    assert lake.work().done == len(names)
    lake.release(*names)
    fs = StoragedFileSystem(str(lake.config), skip_instance_cache=True)
    lake.opened.append(fs)
    assert [fs.cat_file(f"lake/{name}") for name in names] == [content(name) for name in names]
    assert _descriptors(lake) == IDLE
    fs.close()
    assert _descriptors(lake) == 0
    assert fs.cat_file(f"lake/{names[0]}") == content(names[0])


def _descriptors(lake: Lake) -> int:
    """Packs that this process has open."""
    found = [os.readlink(entry.path) for entry in os.scandir("/proc/self/fd") if os.path.islink(entry.path)]
    return sum(path.startswith(str(_cold(lake))) for path in found)


# -- tables ------------------------------------------------------------------------------------------------------------

ROWS = 40


def rows_of(day: int) -> pandas.DataFrame:
    chance = random.Random(day)
    return pandas.DataFrame(
        {"id": [day * ROWS + n for n in range(ROWS)], "price": [chance.random() for _ in range(ROWS)]}
    )


@pytest.fixture(params=["csv", "jsonl", "parquet"])
def tables(request: pytest.FixtureRequest, lake: Lake) -> tuple[Lake, str]:
    """Three hundred tables in one pack."""
    contents = {}
    for day in range(300):
        frame = rows_of(day)
        if request.param == "csv":
            data = frame.to_csv(index=False).encode()
        elif request.param == "jsonl":
            data = frame.to_json(orient="records", lines=True).encode()
        else:
            sink = pa.BufferOutputStream()
            pyarrow.parquet.write_table(pa.Table.from_pandas(frame), sink)
            data = sink.getvalue().to_pybytes()
        contents[f"dt={day:03}/part.{request.param}"] = data
    lake.add(contents, "packed")
    return lake, request.param


@pytest.mark.on_sqlite
def test_a_dataset_of_members_is_a_table(tables: tuple[Lake, str]) -> None:
    lake, _ = tables
    found = storaged.dataset("lake", config=lake.config).to_table(columns=["id", "dt"])
    assert sorted(found["id"].to_pylist()) == list(range(300 * ROWS))
    [(count, total)] = storaged.sql(
        "SELECT count(*), sum(id) FROM lake WHERE dt >= '150'", config=lake.config
    ).fetchall()
    assert (count, total) == (150 * ROWS, sum(range(150 * ROWS, 300 * ROWS)))


@pytest.mark.on_sqlite
def test_programs_that_read_member_after_member_fetch_each_frame_once(tables: tuple[Lake, str]) -> None:
    lake, kind = tables
    counted = Counters()
    fs = lake.other_fs(counted.wrap)
    [file] = files_of(lake)
    if kind == "jsonl":
        for day in range(300):
            with fs.open(f"lake/dt={day:03}/part.jsonl") as part:
                pandas.read_json(part, lines=True)
    else:
        whole = ds.dataset("lake", filesystem=fs, format=kind, partitioning="hive", exclude_invalid_files=False)
        assert whole.to_table().num_rows == 300 * ROWS
    assert len(counted.opened) == 1
    assert counted.bytes <= file.stat().st_size
