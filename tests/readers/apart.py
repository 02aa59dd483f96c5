"""The same of the readers that are too heavy for the tests' environment: `make readers` makes theirs and runs this."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.lake import Lake
from tests.filesystem.page import EXAMPLES, FORMS, lake_of, reader_of, run
from tests.readers.table import (
    APART,
    COMMANDS,
    HERE,
    NODE,
    NODES,
    NPM,
    PAGE_APART,
    PARQUET_APART,
    THINGS_APART,
    Blobs,
    Reader,
    Tables,
    Thing,
)
from tests.readers.whole import read_when_moved

PLACE = Path(os.environ["READERS"])  # where the environments are


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Blobs:
    return Blobs.make(tmp_path_factory.mktemp("blobs"))


@pytest.mark.parametrize("reader", [*COMMANDS, *APART], ids=lambda reader: reader.name)
def test_others_read_our_blobs(reader: Reader, blobs: Blobs) -> None:
    blobs.read_rightly(reader, [PLACE / "python/bin/python", HERE / "programs.py"])


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    return Tables.make(tmp_path_factory.mktemp("tables"))


@pytest.mark.parametrize("reader", PARQUET_APART, ids=lambda reader: reader.name)
def test_others_read_our_parquet(reader: Reader, tables: Tables) -> None:
    tables.read_rightly(reader, [PLACE / "python/bin/python", HERE / "programs.py"])


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("reader", NODE, ids=lambda reader: reader.name)
def test_node_reads_our_blobs(reader: Reader, node: str, blobs: Blobs) -> None:
    modules = PLACE / "npm/node_modules"
    blobs.read_rightly(reader, [modules / node / "bin/node", PLACE / "npm/programs.mjs"])


@pytest.mark.parametrize("reader", NPM, ids=lambda reader: reader.name)
def test_packages_of_npm_read_our_blobs(reader: Reader, blobs: Blobs) -> None:
    modules = PLACE / "npm/node_modules"
    blobs.read_rightly(reader, [modules / NODES[-1] / "bin/node", PLACE / "npm/programs.mjs"])


# MUST 11
@pytest.mark.parametrize("thing", THINGS_APART, ids=lambda thing: thing.name)
def test_programs_read_what_they_wrote_when_it_was_moved_or_say_so(thing: Thing, tmp_path: Path) -> None:
    [there] = PLACE.glob("python/lib/python*/site-packages")
    read_when_moved(thing, Lake(tmp_path), apart=there)


@pytest.fixture(scope="module", params=FORMS)
def lake(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return lake_of(request.param, tmp_path_factory.mktemp("page"))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("reader", PAGE_APART)
def test_examples_of_the_page_about_reading_find_what_is_there(
    reader: str, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They need storaged and what they speak to: that is looked for there last."""
    monkeypatch.chdir(lake.place)  # Spark leaves a folder there
    [there] = PLACE.glob("python/lib/python*/site-packages")
    monkeypatch.setattr(sys, "path", [*sys.path, str(there)])
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("STORAGED_CONFIG", str(lake.config))
    found = [run(code) for title, code in EXAMPLES if reader_of(title) == reader]
    assert WANTED[reader](*found)


def _of_polars(scanned: dict[str, Any], files: dict[str, Any]) -> bool:
    assert scanned["worst"]["len"].sum() == 6 * 80
    return (len(files["day"]), files["trips"].columns) == (4_000, ["fare"])


def _of_spark(table: dict[str, Any], blob: dict[str, Any]) -> bool:
    try:
        assert table["frame"].count() == 6 * 80
        [told] = blob["trips"].selectExpr("count(*)", "sum(fare)").collect()
        return tuple(told) == (1_000, 999 * 1_000 / 8)
    finally:
        blob["spark"].stop()


WANTED = {"polars": _of_polars, "Spark": _of_spark}
