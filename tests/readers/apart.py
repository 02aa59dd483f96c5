"""The same of the readers that are too heavy for the tests' environment: `make readers` makes theirs and runs this."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.readers.table import APART, COMMANDS, HERE, NODE, NODES, NPM, PARQUET_APART, Blobs, Reader, Tables

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
