"""New objects by the thousand: all of them, once, and never over what is known."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from storaged.catalog.bulk import COPY_ROWS, NEW_OBJECTS, insert_objects
from storaged.catalog.engine import Catalog, open_catalog
from storaged.catalog.schema import datasets, objects, tiers
from storaged.errors import CatalogError, CatalogLocked, CatalogReadOnly
from tests import memory
from tests.laws import tries


def table(names: Sequence[str], size: int = 1) -> pa.Table:
    count = len(names)
    columns = {
        "name": list(names),
        "size": [size] * count,
        "mtime_us": [11] * count,
        "created_us": [12] * count,
        "format": ["csv"] * count,
        "partition": ['{"dt": "1"}' if i % 2 else None for i in range(count)],
        "raw_identity": [f"id-{name}" for name in names],
        "raw_class": ["STANDARD_IA"] * count,
        "tier_id": [1] * count,
        "locked_until_us": [13 if i % 2 else None for i in range(count)],
        "raw_allocated": [3 if i % 2 else None for i in range(count)],
    }
    return pa.table([pa.array(columns[field.name], field.type) for field in NEW_OBJECTS], schema=NEW_OBJECTS)


def with_dataset(catalog: Catalog) -> Catalog:
    with catalog.begin() as connection:
        connection.execute(tiers.insert().values(id=1, name="hot", rank=0, url="file:///", storage_class="STANDARD"))
        for number in (1, 2):
            values = {"id": number, "name": f"d{number}", "root": "file:///", "tier_id": 1, "registered_us": 0}
            connection.execute(datasets.insert().values(values))
    return catalog


def sizes(catalog: Catalog, dataset_id: int = 1) -> dict[str, int]:
    query = sa.select(objects.c.name, objects.c.size).where(objects.c.dataset_id == dataset_id)
    with catalog.read() as connection:
        return {row.name: row.size for row in connection.execute(query)}


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    path = tmp_path / "state of 50%?#"
    path.mkdir()
    return path


def test_every_column_arrives_and_the_rest_is_the_schemas_default(catalog: Catalog, staging: Path) -> None:
    with_dataset(catalog)
    assert insert_objects(catalog, 1, table(["a", "b"], size=7), staging=staging) == 2
    with catalog.read() as connection:
        rows = {row.name: row._asdict() for row in connection.execute(sa.select(objects))}
    for field, value in table(["a", "b"], size=7).to_pylist()[1].items():
        assert rows["b"][field] == value
    assert rows["a"]["partition"] is None
    assert rows["b"]["stored_bytes"] == rows["b"]["raw_allocated"] == 3
    for field, value in {
        "tier_id": 1,
        "stored_bytes": 7,
        "generation": 1,
        "version": 1,
        "raw_state": "current",
    }.items():
        assert rows["a"][field] == value
    assert list(staging.iterdir()) == []


def test_what_is_known_already_is_left_as_it_is(catalog: Catalog, staging: Path) -> None:
    with_dataset(catalog)
    assert insert_objects(catalog, 1, table(["b", "d"], size=1), staging=staging) == 2
    assert insert_objects(catalog, 1, table(["a", "b", "c", "d"], size=2), staging=staging) == 2
    assert insert_objects(catalog, 1, table(["a", "b", "c", "d"], size=3), staging=staging) == 0
    assert insert_objects(catalog, 2, table(["a"], size=4), staging=staging) == 1
    assert sizes(catalog) == {"a": 2, "b": 1, "c": 2, "d": 1}
    assert sizes(catalog, 2) == {"a": 4}


def test_many_rows_and_none_are_both_fine(catalog: Catalog, staging: Path) -> None:
    with_dataset(catalog)
    names = [f"{i * 7919 % (COPY_ROWS + 5):07d}" for i in range(COPY_ROWS + 5)]  # in no order
    assert insert_objects(catalog, 1, table([]), staging=staging) == 0
    assert insert_objects(catalog, 1, table(names), staging=staging) == len(names)
    assert sizes(catalog).keys() == set(names)


def test_columns_in_another_order_or_of_another_text_type_are_taken(catalog: Catalog, staging: Path) -> None:
    with_dataset(catalog)
    rows = table(["x", "y"]).select(NEW_OBJECTS.names[::-1])
    at = rows.column_names.index("raw_identity")
    rows = rows.set_column(at, "raw_identity", rows.column("raw_identity").cast(pa.large_string()))
    rows = rows.append_column("more", pa.array([1, 2]))
    assert insert_objects(catalog, 1, rows, staging=staging) == 2
    with pytest.raises(KeyError):
        insert_objects(catalog, 1, table(["z"]).drop_columns("size"), staging=staging)


def test_an_insert_that_fails_leaves_nothing_behind_and_the_next_one_works(catalog: Catalog, staging: Path) -> None:
    with_dataset(catalog)
    with pytest.raises(sa.exc.IntegrityError):
        insert_objects(catalog, 99, table(["a"]), staging=staging)
    assert list(staging.iterdir()) == []
    assert insert_objects(catalog, 1, table(["a"]), staging=staging) == 1


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_staging_directory_that_is_not_there_is_named(catalog: Catalog, tmp_path: Path) -> None:
    with_dataset(catalog)
    with pytest.raises(CatalogError, match="staging file") as caught:
        insert_objects(catalog, 1, table(["a"]), staging=tmp_path / "nowhere")
    assert "state directory" in str(caught.value.hint)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_writer_that_holds_the_catalog_is_named_and_no_file_stays(
    catalog: Catalog, catalog_url: str, staging: Path
) -> None:
    with_dataset(catalog)
    with open_catalog(catalog_url, wait_s=0.1) as other, catalog.begin(), pytest.raises(CatalogLocked):
        insert_objects(other, 1, table(["a"]), staging=staging)
    assert list(staging.iterdir()) == []
    with open_catalog(catalog_url, read_only=True) as reader, pytest.raises(CatalogReadOnly):
        insert_objects(reader, 1, table(["a"]), staging=staging)
    assert sizes(catalog) == {}


names = st.sets(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8))


@tries(30)
@given(first=names, second=names)
def test_two_inserts_hold_every_name_once_with_its_first_size(
    sqlite_template: Path, first: set[str], second: set[str]
) -> None:
    with memory.directory() as directory:
        shutil.copyfile(sqlite_template, directory / "catalog.db")
        with with_dataset(open_catalog(f"sqlite:///{directory / 'catalog.db'}")) as catalog:
            assert insert_objects(catalog, 1, table(sorted(first), size=1), staging=directory) == len(first)
            new = insert_objects(catalog, 1, table(list(second), size=2), staging=directory)
            assert new == len(second - first)
            assert sizes(catalog) == dict.fromkeys(second, 2) | dict.fromkeys(first, 1)
