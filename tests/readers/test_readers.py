"""Every reader that the tests' environment has gets of a blob what the documentation says, and it says nothing else."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.cli.lake import Lake
from tests.readers.table import (
    APART,
    COMMANDS,
    HERE,
    LOCKED,
    NODE,
    NODES,
    NPM,
    PARQUET_APART,
    PARQUET_LOCKED,
    ROOT,
    THINGS_APART,
    THINGS_LOCKED,
    Blobs,
    Reader,
    Tables,
    Thing,
    versions,
)
from tests.readers.whole import documented, read_when_moved


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Blobs:
    return Blobs.make(tmp_path_factory.mktemp("blobs"))


# MUST 8
@pytest.mark.parametrize("reader", LOCKED, ids=lambda reader: reader.name)
def test_others_read_our_blobs(reader: Reader, blobs: Blobs) -> None:
    blobs.read_rightly(reader, [sys.executable, HERE / "programs.py"])


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return Tables.make(tmp_path_factory.mktemp("tables"))


@pytest.mark.parametrize("reader", PARQUET_LOCKED, ids=lambda reader: reader.name)
def test_others_read_our_parquet(reader: Reader, tables: Tables) -> None:
    tables.read_rightly(reader, [sys.executable, HERE / "programs.py"])


# MUST 11
@pytest.mark.parametrize("thing", THINGS_LOCKED, ids=lambda thing: thing.name)
def test_programs_read_what_they_wrote_when_it_was_moved_or_say_so(thing: Thing, tmp_path: Path) -> None:
    read_when_moved(thing, Lake(tmp_path))


def test_the_page_about_collections_has_each_program_with_the_version_that_was_tried() -> None:
    pinned, told = versions(), documented()
    for thing in (*THINGS_LOCKED, *THINGS_APART):
        tried = ".".join(pinned[thing.name].split(".")[:2])
        assert f"{thing.name} {tried}" in told[thing.name], thing
        assert thing.says in told[thing.name], thing


def test_the_documentation_has_each_reader_with_the_version_that_was_tried() -> None:
    pinned = versions()
    node = " and ".join(pinned[name] for name in NODES)
    said = {
        (f"`{r.name}`", node if r.package == "node" else pinned[r.package], r.gets.value)
        for r in (*LOCKED, *APART, *NPM, *NODE)
    }
    parquet = (*PARQUET_LOCKED, *PARQUET_APART)
    said |= {(f"`{r.name}`", pinned[r.package], f"{r.gets.value} | {r.texts.value}") for r in parquet}
    text = (ROOT / "docs" / "reading-without-storaged.md").read_text()
    rows = re.findall(r"^\| (`.*`) \| (.*?) \| (.*?) \|$", text, flags=re.M)
    commands = {f"`{command.name}`" for command in COMMANDS}
    assert {row for row in rows if row[0] not in commands} == said
    assert {row[0] for row in rows} >= commands


def test_no_environment_of_readers_names_where_packages_come_from() -> None:
    for path in Path(HERE).rglob("*"):
        if path.is_file() and path.suffix in (".txt", ".json", ".mjs", ".py"):
            assert not re.search(r"resolved|registry|index-url", path.read_text()) or path == Path(__file__), path
