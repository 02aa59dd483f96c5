"""Gzip files live in a tier as what is inside, and come back as they were."""

from __future__ import annotations

import gzip
import io

import pyarrow.parquet as pq
import pytest
import zstandard

from storaged.model import CodecSpec
from tests.codecs.gzip_files import far_apart
from tests.life.disks import verified
from tests.life.world import World

ZSTD = CodecSpec("zstd")
NAME = "dt=1/a.csv.gz"
INSIDE = far_apart(600_000)  # no table
GZIP = gzip.compress(INSIDE, mtime=7)
TABLE = gzip.compress(b"n,word,m\n" + b"".join(b"%d,word %d,%d\n" % (n, n % 9, n * 31) for n in range(20_000)), mtime=7)
TWICE = GZIP + gzip.compress(b"", mtime=7)


def codec_of(world: World, name: str) -> str:
    seen = world.seen(name)
    return seen.blobs[seen.placement.replicas[0].blob].codec


@pytest.mark.parametrize("layout", ["local", "mixed", "s3"])
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_whole_life_of_a_table(world: World) -> None:
    """It is a table while it lies there, and the identical .gz to its user."""
    world.write("a.csv.gz", TABLE)
    world.write(NAME, GZIP)
    world.scan()
    assert world.migrate("a.csv.gz", NAME, codec=CodecSpec("parquet")).done == 2
    assert [codec_of(world, name) for name in ("a.csv.gz", NAME)] == ["parquet", "inflated"]
    [blob] = [data for key, data in world.stored("cold").items() if key.endswith(".csv.parquet")]
    assert pq.read_table(io.BytesIO(blob))["word"][1].as_py() == "word 1"
    assert len(blob) < 0.9 * len(TABLE)
    world.days(8)
    assert world.sweep().sources == 2
    assert world.read("a.csv.gz") == TABLE
    assert not verified(world).damaged
    assert world.eject().done == 2
    assert world.raw("a.csv.gz") == TABLE


@pytest.mark.parametrize("layout", ["local", "mixed", "s3"])
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
@pytest.mark.parametrize("asked", [ZSTD, CodecSpec("parquet")], ids=str)
def test_a_whole_life(world: World, asked: CodecSpec) -> None:
    damaged = GZIP[:-9] + bytes(9)
    world.write(NAME, GZIP)
    world.write("b.bin", TWICE)
    world.write("damaged.gz", damaged)
    world.scan()
    assert world.migrate(NAME, "b.bin", "damaged.gz", codec=asked).done == 3
    assert [codec_of(world, name) for name in (NAME, "b.bin", "damaged.gz")] == ["inflated", "inflated", "identity"]
    stored = {key.rpartition("/")[2]: data for key, data in world.stored("cold").items()}
    [blob] = [data for key, data in stored.items() if key.startswith("a.") and key.endswith(".csv.zst")]
    with zstandard.ZstdDecompressor().stream_reader(blob, read_across_frames=True) as stream:
        assert stream.read() == INSIDE
    assert len(blob) < 0.9 * len(GZIP)
    world.days(8)
    assert world.sweep().sources == 3
    assert world.read(NAME) == GZIP
    assert not verified(world).damaged
    assert world.eject().done == 3
    assert world.raw(NAME) == GZIP
    assert world.raw("b.bin") == TWICE
    assert world.raw("damaged.gz") == damaged
