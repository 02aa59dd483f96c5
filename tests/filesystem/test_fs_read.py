"""Contents through storaged://, wherever they are."""

from __future__ import annotations

import io
import os
import random
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from operator import methodcaller

import fsspec
import pytest

from storaged.filesystem import StoragedFileSystem
from tests.filesystem.lake import FORMS, Counters, Lake
from tests.life.world import text

MIB = 1 << 20


@pytest.mark.parametrize("form", FORMS)
def test_the_content_is_the_same_before_and_after_a_move(lake: Lake, form: str) -> None:
    content = text("a", 3 * MIB + 17)
    lake.add({"2013/x.csv": content}, form)
    with lake.fs.open("lake/2013/x.csv") as file:
        assert (file.size, file.read()) == (len(content), content)
    assert lake.fs.cat_file("storaged://lake/2013/x.csv") == content


@pytest.mark.parametrize("form", FORMS)
def test_seeks_and_reads_agree_with_a_file_in_memory(lake: Lake, form: str) -> None:
    content = text("a", 2 * MIB + 5)
    lake.add({"a.bin": content}, form)
    model = io.BytesIO(content)
    with lake.fs.open("lake/a.bin") as file:
        for offset, whence, length in (
            (0, 0, 10), (MIB - 3, 0, 7), (-4, 2, 100), (5, 0, 2 * MIB), (-MIB, 1, 1), (0, 2, 5), (2 * MIB + 4, 0, -1),
            (3 * MIB, 0, 4), (100, 0, 0),
        ):  # fmt: skip
            assert file.seek(offset, whence) == model.seek(offset, whence)
            assert file.read(length) == model.read(length)
            assert file.tell() == model.tell()
        file.seek(MIB - 100)
        model.seek(MIB - 100)
        assert [file.readline() for _ in range(9)] == [model.readline() for _ in range(9)]
        room, mine = bytearray(1000), bytearray(1000)
        assert (file.readinto(room), room) == (model.readinto(mine), mine)


@pytest.mark.parametrize("form", FORMS)
def test_an_empty_object_is_read_as_nothing(lake: Lake, form: str) -> None:
    lake.add({"empty": b""}, form)
    with lake.fs.open("lake/empty") as file:
        assert (file.read(), file.read(1), file.size) == (b"", b"", 0)
    assert lake.fs.cat_file("lake/empty") == b""
    assert lake.fs.cat_ranges(["lake/empty"], [0], [10]) == [b""]


def test_ranges_of_a_zstd_blob_cost_only_the_frames_that_they_cover(lake: Lake) -> None:
    # Every frame is 1 MiB of content and half of it noise, so that a frame's stored size is known well enough.
    content = b"".join(random.Random(n).randbytes(MIB // 2) + bytes(MIB // 2) for n in range(16))
    lake.add({"big.bin": content}, "zstd")
    for offset, length, frames in ((0, 1, 1), (5 * MIB, MIB, 1), (7 * MIB - 1, 2, 2), (15 * MIB + 9, 4096, 1)):
        counted = Counters()
        fs = lake.other_fs(counted.wrap)
        with fs.open("lake/big.bin") as file:
            file.seek(offset)
            assert file.read(length) == content[offset : offset + length]
        assert frames * MIB // 2 <= counted.bytes < frames * 0.52 * MIB
        counted.stores.clear()
        assert (
            lake.other_fs(counted.wrap).cat_file("lake/big.bin", offset, offset + length)
            == (content[offset : offset + length])
        )
        assert frames * MIB // 2 <= counted.bytes < frames * 0.52 * MIB


def test_a_few_bytes_of_five_gib_cost_about_a_block(lake: Lake) -> None:
    path = lake.root / "huge.bin"
    with path.open("wb") as sparse:
        sparse.truncate(5 << 30)
        sparse.seek((5 << 30) - 3)
        sparse.write(b"end")
    lake.scan()
    counted = Counters()
    fs = lake.other_fs(counted.wrap)
    with fs.open("lake/huge.bin") as file:
        assert file.size == 5 << 30
        file.seek(-5, os.SEEK_END)
        assert file.read() == b"\0\0end"
        file.seek(1 << 32)
        assert file.read(3) == b"\0\0\0"
    assert fs.cat_file("lake/huge.bin", -3) == b"end"
    assert counted.bytes < 2.1 * MIB


def test_lines_are_read_without_reading_the_blob_twice(lake: Lake) -> None:
    content = b"".join(b"%d,%s\n" % (n, random.Random(n).randbytes(40).hex().encode()) for n in range(40_000))
    lake.add({"a.csv": content}, "zstd")
    counted = Counters()
    with lake.other_fs(counted.wrap).open("lake/a.csv") as file:
        assert b"".join(file) == content
    assert counted.bytes <= lake.fs.info("lake/a.csv")["stored_bytes"]


@pytest.mark.parametrize("form", FORMS)
def test_near_ranges_of_one_object_are_one_open_and_one_read(lake: Lake, form: str) -> None:
    content = text("a", MIB)
    lake.add({"a.bin": content, "b.bin": content[::-1]}, form)
    counted = Counters()
    fs = lake.other_fs(counted.wrap)
    starts, ends = [5, 900_000, 2000, 0, -10, 7, 50], [10, 900_100, 3000, 4, None, 7, 40]
    paths = ["lake/a.bin"] * 7
    got = fs.cat_ranges([*paths, "lake/b.bin"], [*starts, 1], [*ends, 3])
    assert got == [*(content[s:e] for s, e in zip(starts, ends, strict=True)), content[::-1][1:3]]
    assert len(counted.opened) == (1 if form == "packed" else 2)
    assert counted.reads <= 4
    assert fs.cat_ranges(["lake/a.bin"] * 2, [0, 5], [2, 7], max_gap=0) == [content[0:2], content[5:7]]


def test_many_objects_are_read_by_one_call(lake: Lake) -> None:
    contents = {f"d/{n}.csv": text(str(n), 1000 + n) for n in range(30)}
    lake.add(contents, "zstd")
    expected = {f"lake/{name}": content for name, content in contents.items()}
    assert lake.fs.cat([f"storaged://{path}" for path in expected]) == expected
    assert lake.fs.cat("lake/d", recursive=True) == expected
    assert lake.fs.cat("lake/d/*.csv") == expected
    assert lake.fs.cat("lake/d/1.csv") == contents["d/1.csv"]


def test_what_cannot_be_read_is_raised_omitted_or_returned_as_asked(lake: Lake) -> None:
    lake.add({"a.csv": b"a"})
    paths = ["lake/a.csv", "lake/none.csv"]
    with pytest.raises(FileNotFoundError):
        lake.fs.cat(paths)
    assert lake.fs.cat(paths, on_error="omit") == {"lake/a.csv": b"a"}
    assert isinstance(lake.fs.cat(paths, on_error="return")["lake/none.csv"], FileNotFoundError)
    first, second = lake.fs.cat_ranges(paths, 0, 1)
    assert (first, type(second)) == (b"a", FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        lake.fs.cat_ranges(paths, 0, 1, on_error="raise")


@pytest.mark.on_both
def test_another_process_gets_a_filesystem_and_an_open_file(lake: Lake) -> None:
    lake.add({"a.csv": b"0123456789"}, "zstd")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, lake.fs.open("lake/a.csv") as file:
        assert pool.submit(lake.fs.cat_file, "lake/a.csv").result() == b"0123456789"
        file.seek(4)
        assert pool.submit(methodcaller("read"), file).result() == b"456789"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_inherits_no_connection_and_opens_its_own(lake: Lake) -> None:
    lake.add({"a.csv": b"0123456789"}, "zstd")
    assert lake.fs.cat_file("lake/a.csv") == b"0123456789"
    engine = lake.fs.reader.context.catalog.engine
    assert "Connections in pool: 1 " in engine.pool.status()
    mine, theirs = os.pipe()
    child = os.fork()
    if child == 0:  # nothing of pytest may run here
        try:
            inherited = b"some " if "Connections in pool: 0 " not in engine.pool.status() else b""
            os.write(theirs, inherited + lake.fs.cat_file("lake/a.csv", 3))
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(mine, "rb") as told:
        assert told.read() == b"3456789"
    assert os.waitpid(child, 0)[1] == 0
    assert lake.fs.cat_file("lake/a.csv") == b"0123456789"


def test_threads_share_one_filesystem(lake: Lake) -> None:
    contents = {f"{n}.csv": text(str(n), 200_000) for n in range(8)}
    lake.add(contents, "zstd")
    started = threading.Barrier(8)

    def read(name: str) -> bool:
        started.wait()
        return all(
            lake.fs.cat_file(f"lake/{name}", at, at + 99) == contents[name][at : at + 99] for at in range(0, 10**5, 999)
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, contents))


def test_the_configuration_is_found_as_storagectl_finds_it(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    lake.add({"a.csv": b"a,b\n"})
    monkeypatch.setenv("STORAGED_CONFIG", str(lake.config))
    fs = StoragedFileSystem(skip_instance_cache=True)
    lake.opened.append(fs)
    assert fs.cat_file("lake/a.csv") == b"a,b\n"


def test_the_protocol_is_known_to_fsspec(lake: Lake) -> None:
    lake.add({"a.csv": b"a,b\n"}, "zstd")
    with fsspec.open("storaged://lake/a.csv", "rt", config=str(lake.config), skip_instance_cache=True) as file:
        assert file.read() == "a,b\n"
    of = fsspec.open("storaged://lake/a.csv", config=str(lake.config), skip_instance_cache=True)
    assert isinstance(of.fs, StoragedFileSystem)
    lake.opened.append(of.fs)
