"""The programs of a house read their data under the old names, before and after it is moved and compressed."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import duckdb
import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from storaged.filesystem import StoragedFileSystem
from tests.daemon.processes import wait_for
from tests.filesystem.lake import FORMS, Lake

ROWS = 5_000


@pytest.fixture
def dialect() -> str:
    """fsspec gets the same answers from both databases: test_fs_read.py and test_fs_list.py ask both."""
    return "sqlite"


def frame(seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "carrier": rng.choice(["AA", "UA", "DL"], ROWS),
            "flight": rng.integers(1, 9999, ROWS),
            "delay": np.round(rng.normal(10, 30, ROWS), 1),
        }
    )


def csv(data: pd.DataFrame) -> bytes:
    return bytes(data.to_csv(index=False).encode())


def parquet(data: pd.DataFrame) -> bytes:
    out = io.BytesIO()
    data.to_parquet(out, index=False, compression=None)  # so that zstd finds something to do
    return out.getvalue()


@pytest.fixture(params=FORMS)
def flights(request: pytest.FixtureRequest, lake: Lake) -> Lake:
    """The same objects in each form."""
    objects = {
        "2013/x.csv": csv(frame(1)),
        "2013/x.csv.gz": gzip.compress(csv(frame(1)), 1),
        "x.parquet": parquet(frame(1)),
    }
    for month in (1, 2, 3):
        objects[f"by_month/month={month}/part-0.parquet"] = parquet(frame(month))
    lake.add(objects, request.param)
    assert lake.is_raw("x.parquet") == (request.param == "raw")
    return lake


def options(lake: Lake) -> dict[str, Any]:
    return {"storage_options": {"config": str(lake.config)}}


@pytest.fixture(autouse=True)
def _no_instances(lake: Lake) -> Any:
    """pandas keeps the filesystems that it makes: close them."""
    yield
    for fs in StoragedFileSystem._cache.values():
        fs.close()
    StoragedFileSystem.clear_instance_cache()


def test_pandas_reads_csv(flights: Lake) -> None:
    assert_frame_equal(pd.read_csv("storaged://lake/2013/x.csv", **options(flights)), frame(1))
    first = pd.read_csv("storaged://lake/2013/x.csv", nrows=3, **options(flights))
    assert_frame_equal(first, frame(1).head(3))


def test_pandas_finds_the_configuration_by_itself(flights: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGED_CONFIG", str(flights.config))
    assert_frame_equal(pd.read_csv("storaged://lake/2013/x.csv"), frame(1))


def test_pandas_and_fsspec_unpack_gzip_by_the_name(flights: Lake) -> None:
    assert_frame_equal(pd.read_csv("storaged://lake/2013/x.csv.gz", compression="infer", **options(flights)), frame(1))
    with flights.fs.open("lake/2013/x.csv.gz", compression="infer") as file:
        assert file.read() == csv(frame(1))


def test_pandas_reads_parquet_files_and_directories(flights: Lake) -> None:
    assert_frame_equal(pd.read_parquet("storaged://lake/x.parquet", **options(flights)), frame(1))
    assert pd.read_parquet("storaged://lake/x.parquet", columns=["flight"], **options(flights)).shape == (ROWS, 1)
    whole = pd.read_parquet("storaged://lake/by_month", **options(flights))
    assert whole.groupby("month", observed=True).size().to_dict() == {1: ROWS, 2: ROWS, 3: ROWS}


def test_pyarrow_reads_a_partitioned_dataset_and_only_what_the_filter_needs(flights: Lake) -> None:
    data = ds.dataset("lake/by_month", filesystem=flights.fs, partitioning="hive")
    assert data.files == [f"lake/by_month/month={month}/part-0.parquet" for month in (1, 2, 3)]
    assert data.count_rows() == 3 * ROWS
    before = len(flights.spooled())
    table = data.to_table(filter=pa.compute.field("month") == 2)
    assert_frame_equal(table.drop_columns(["month"]).to_pandas(), frame(2))
    # Arrow's threads close their files, which tells what was read, in their own time.
    read = wait_for(lambda: flights.spooled()[before:], "what was read is told")
    assert all("month=2" in name for name, _ in read)
    assert ds.dataset("lake/2013/x.csv", filesystem=flights.fs, format="csv").to_table().to_pandas().equals(frame(1))


def test_pyarrow_reads_one_column_without_the_others(flights: Lake) -> None:
    table = pq.read_table("lake/x.parquet", filesystem=flights.fs, columns=["flight"], pre_buffer=False)
    assert table.column("flight").to_pylist() == frame(1)["flight"].to_list()
    file = pq.ParquetFile(flights.fs.open("lake/x.parquet"))
    assert file.read_row_group(0, columns=["carrier"]).num_rows == ROWS
    file.close(force=True)


def test_duckdb_reads_csv_and_parquet(flights: Lake) -> None:
    with duckdb.connect() as db:
        db.register_filesystem(flights.fs)
        assert_frame_equal(db.sql("FROM read_csv('storaged://lake/2013/x.csv')").df(), frame(1))
        assert_frame_equal(db.sql("FROM read_parquet('storaged://lake/x.parquet')").df(), frame(1))
        assert db.sql("SELECT count(*), min(carrier) FROM 'storaged://lake/2013/x.csv.gz'").fetchall() == [(ROWS, "AA")]
        counts = db.sql("SELECT month, count(*) FROM 'storaged://lake/by_month/*/*.parquet' GROUP BY 1 ORDER BY 1")
        assert counts.fetchall() == [(month, ROWS) for month in (1, 2, 3)]
        db.unregister_filesystem("storaged")


def test_duckdb_reads_what_was_written_since_the_scan_at_its_present_size(lake: Lake) -> None:
    lake.add({"a.parquet": parquet(frame(1).head(10))})
    lake.clock.advance(60)
    lake.write("a.parquet", parquet(frame(2)))
    with duckdb.connect() as db:
        db.register_filesystem(lake.fs)
        assert_frame_equal(db.sql("FROM 'storaged://lake/a.parquet'").df(), frame(2))
        db.unregister_filesystem("storaged")


def test_fsspec_caches_and_copies_to_local_files(flights: Lake, tmp_path: Path) -> None:
    flights.fs.get("lake/2013/x.csv", str(tmp_path / "x.csv"))
    assert (tmp_path / "x.csv").read_bytes() == csv(frame(1))
    cached = fsspec.filesystem("filecache", fs=flights.fs, cache_storage=str(tmp_path / "cache"), check_files=True)
    for _ in range(2):
        with cached.open("lake/2013/x.csv") as file:
            assert file.read() == csv(frame(1))
    assert [name for name, _ in flights.spooled()] == ["lake/2013/x.csv"] * 2
