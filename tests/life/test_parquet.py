"""Parquet files live in a tier as zstd Parquet files, and come back as they were."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from storaged.catalog.schema import objects
from storaged.model import CodecSpec
from tests.codecs.parquet_files import written
from tests.life.disks import verified
from tests.life.world import World

PARQUET = CodecSpec("parquet")
NAME = "dt=1/a.parquet"
SNAPPY = written(
    pa.table({"w": [f"{n * 7919 % 10_007} and some more words of it" for n in range(20_000)]}),
    compression="snappy",
    use_dictionary=False,
    data_page_size=8_192,
)
TABLE = b"n,word,price\r\n" + b"".join(b"%d,word %d,%d.25\r\n" % (n, n % 9, n * 7919 % 977) for n in range(20_000))


@pytest.mark.parametrize("layout", ["local", "mixed", "s3"])
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_whole_life(world: World) -> None:
    world.write(NAME, SNAPPY)
    world.write("b.txt", b"words and no table\n" * 2_000)
    world.write("c.parquet", SNAPPY[:-40] + b"x" * 36 + b"PAR1")
    world.scan()
    world.write("d.csv", TABLE)
    world.scan()
    report = world.migrate(NAME, "b.txt", "c.parquet", "d.csv", codec=PARQUET)
    assert report.done == 4
    names = {world.seen(name).id: name for name in ("b.txt", "c.parquet")}
    words = {names[number]: why for number, why in report.notes}
    begin = "stored with zstd: parquet does not take it: it is no Parquet file, and no table: "
    assert words["b.txt"].startswith(begin)
    assert len(words["b.txt"]) > len(begin)
    assert words["c.parquet"].startswith("stored as it is: ")
    stored = {key.rpartition("/")[2]: data for key, data in world.stored("cold").items()}
    [blob] = [data for key, data in stored.items() if key.startswith("a.")]
    assert blob[:4] == blob[-4:] == b"PAR1"
    assert len(blob) < 0.7 * len(SNAPPY)
    assert [key.rpartition(".")[2] for key in sorted(stored)] == ["parquet", "zst", "parquet", "parquet"]
    [table] = [data for key, data in stored.items() if key.endswith(".csv.parquet")]
    assert pq.read_table(io.BytesIO(table)).column("word").to_pylist()[:2] == ["word 0", "word 1"]
    assert len(table) < 0.5 * len(TABLE)
    assert world.seen("b.txt").blobs[world.seen("b.txt").placement.replicas[0].blob].codec == "zstd"
    assert world.seen("c.parquet").blobs[world.seen("c.parquet").placement.replicas[0].blob].codec == "identity"
    world.days(8)
    assert world.sweep().sources == 4
    assert world.read(NAME) == SNAPPY
    assert world.read("d.csv") == TABLE
    assert not verified(world).damaged
    assert world.eject().done == 4
    assert world.raw(NAME) == SNAPPY
    assert world.raw("d.csv") == TABLE


def test_what_turns_out_not_to_be_taken_is_told_and_not_planned_again(world: World) -> None:
    """A page in the middle is damaged, where a sample does not look."""
    large = written(
        pa.table({f"c{n}": [f"{m * 7919 % 10_007} and some more words" for m in range(3_000)] for n in range(60)}),
        compression="snappy",
        use_dictionary=False,
    )
    at = pq.ParquetFile(io.BytesIO(large)).metadata.row_group(0).column(17).data_page_offset
    damaged = large[: at + 500] + bytes(900) + large[at + 1_400 :]
    world.write(NAME, damaged)
    world.scan()
    report = world.migrate(NAME, codec=PARQUET)
    assert (report.done, report.skipped) == (1, 0), "with the codec that is next"
    with world.catalog.read() as conn:
        of = (objects.c.no_gain == objects.c.generation, objects.c.not_taken, objects.c.no_gain_by)
        marked, why, by = conn.execute(sa.select(*of)).one()
    assert marked
    assert by == " parquet:3 parquet zstd ", "as it was asked for, and as the sample chose"
    assert why.startswith("parquet does not take it: ")
    assert why.endswith("; zstd does not take it: it does not shrink")
    assert report.notes[0][1] == f"{why.rpartition('; ')[0]}: zstd is next"
    [stored] = world.stored("cold").values()
    assert stored == damaged
    assert world.read(NAME) == damaged
