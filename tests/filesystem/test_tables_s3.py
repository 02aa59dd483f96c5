"""Tables whose objects lie in buckets: only the ranges that a query needs are fetched."""

from __future__ import annotations

import gc
import io
import os
import random
import re
import select
import signal
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import storaged
from storaged.filesystem import StoragedFileSystem
from storaged.testing.servers import ENVIRONMENT, MotoServer
from tests.cli.lake import Lake

ROWS, GROUP = 40_000, 10_000  # of each day; in a row group
DAYS = ("2026-01-01", "2026-01-02")
MOVE = "name: shrink\ntarget: {dataset: events}\nwhen: {size_over: 1KiB}\nto: {tier: far, codec: parquet}\n"


def day(number: int) -> pa.Table:
    """Most bytes are in a column that hardly shrinks."""
    chance = random.Random(number)
    ids = range(number * ROWS, (number + 1) * ROWS)
    return pa.table({"id": ids, "price": [n % 97 / 4 for n in ids], "token": [chance.randbytes(20).hex() for _ in ids]})


def file_of(number: int, suffix: str) -> bytes:
    sink = io.BytesIO()
    if suffix == "csv":
        pyarrow.csv.write_csv(day(number), sink)
    else:
        pq.write_table(day(number), sink, compression="none", row_group_size=GROUP, use_dictionary=False)
    return sink.getvalue()


class Bucket:
    """A dataset `events` in a bucket, whose objects are as they were or Parquet in a tier of the bucket."""

    def __init__(self, lake: Lake, moto: MotoServer, bucket: str, user: Any) -> None:
        self.lake, self.moto, self.name, self.user = lake, moto, bucket, user
        access = f"{{endpoint: {moto.access.endpoint}, region: {moto.access.region}, path_style: true}}"
        more = f'  events: {{root: "s3://{bucket}/events", readers: storaged}}\n'
        lake.configure(grace="0s", more=f"{more}quiet_for: 0s\nbuckets: {{{bucket}: {access}}}\n")
        text = lake.config.read_text().replace("tiers:\n", f'tiers:\n  far: {{rank: 3, url: "s3://{bucket}/far"}}\n')
        lake.config.write_text(text)

    def fill(self, suffix: str, *, moved: bool) -> None:
        for number, name in enumerate(DAYS):
            key = f"events/dt={name}/part-0.{suffix}"
            self.user.put_object(Bucket=self.name, Key=key, Body=file_of(number, suffix))
        self.lake.policy(MOVE)
        self.lake.make_catalog()
        self.lake.good("scan")
        if moved:
            self.lake.good("plan")
            self.lake.good("apply", "1", "--yes")
            self.lake.good("sweep", "--yes")

    def sizes(self) -> Mapping[str, int]:
        """Bytes of each day's object, by its key."""
        listed = self.user.list_objects_v2(Bucket=self.name)["Contents"]
        found = {entry["Key"]: entry["Size"] for entry in listed if "part-0." in entry["Key"]}
        assert len(found) == len(DAYS)
        return found

    def fetched(self) -> Mapping[str, int]:
        """Bytes that were asked for of each object since the log was cleared. Raises AssertionError where one was asked
        for without a range."""
        found: dict[str, int] = {}
        for request in self.moto.log():
            if request.operation == "GetObject" and "part-0." in request.key:
                asked = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
                assert asked is not None, request
                found[request.key] = found.get(request.key, 0) + int(asked[2]) - int(asked[1]) + 1
        return found


@pytest.fixture
def place(tmp_path: Path, moto: MotoServer, bucket: str, s3_user: Any, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return Bucket(Lake(tmp_path), moto, bucket, s3_user)


FORMS = [("parquet", False), ("parquet", True), ("csv", True)]


@pytest.mark.parametrize(("suffix", "moved"), FORMS, ids=["as it is", "moved", "text that lies as Parquet"])
def test_a_query_fetches_the_columns_and_row_groups_that_it_needs(place: Bucket, suffix: str, moved: bool) -> None:
    place.fill(suffix, moved=moved)
    sizes = place.sizes()
    place.moto.clear_log()
    schema = storaged.dataset("events", config=place.lake.config).schema
    columns = place.fetched()
    assert all(columns[key] < size / 8 for key, size in sizes.items()), "what there is stands at their ends"

    place.moto.clear_log()
    table = storaged.dataset("events", config=place.lake.config, schema=schema)
    where = (ds.field("dt") == ds.scalar(DAYS[1]).cast("date32")) & (ds.field("id") < ROWS + 10)
    got = table.to_table(columns=["id", "price"], filter=where).sort_by("id")
    assert got["id"].to_pylist() == list(range(ROWS, ROWS + 10))
    [(key, bytes_)] = place.fetched().items()
    assert f"dt={DAYS[1]}" in key
    assert bytes_ < sizes[key] / 4

    place.moto.clear_log()
    found = storaged.sql(f"SELECT count(*), sum(id) FROM events WHERE dt = '{DAYS[0]}'", config=place.lake.config)
    assert found.fetchall() == [(ROWS, ROWS * (ROWS - 1) // 2)]
    assert sum(place.fetched().values()) < sum(sizes.values()) / 3


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_reads_what_its_parent_read_and_what_it_has_open(place: Bucket, tmp_path: Path) -> None:
    """As a DataLoader of PyTorch does. Of the library by which a bucket is read the threads stay with the parent. What
    other tests left for the garbage collector may wait for threads too, when it goes: not in the child."""
    content = b"0123456789" * 1_000
    place.user.put_object(Bucket=place.name, Key="events/a.csv", Body=content)
    place.lake.make_catalog()
    place.lake.good("scan")
    files = StoragedFileSystem(place.lake.config)
    assert files.cat_file("events/a.csv") == content
    with files.open("events/a.csv") as file:
        assert file.read(10) == content[:10]
        mine, theirs = os.pipe()
        gc.collect()
        child = os.fork()
        if child == 0:  # nothing of pytest may run here
            gc.disable()
            said_by_child = (tmp_path / "said_by_child").open("w")
            try:
                file.seek(len(content) - 5)
                os.write(theirs, file.read() + files.cat_file("events/a.csv", 3, 6))
            except BaseException:  # noqa: BLE001 (told below: nothing of pytest runs here)
                traceback.print_exc(file=said_by_child)
                said_by_child.flush()
            finally:
                os._exit(0)
        os.close(theirs)
        with os.fdopen(mine, "rb") as told:
            said = told.read() if select.select([mine], [], [], 100)[0] else b"nothing in time"
        os.kill(child, signal.SIGKILL)  # or it is a zombie already
        os.waitpid(child, 0)
        assert said == b"56789345", (tmp_path / "said_by_child").read_text()
        file.seek(0)
        assert file.read() == content
    assert files.cat_file("events/a.csv") == content
