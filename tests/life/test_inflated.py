"""Gzip files live in a tier as what is inside, and come back as they were."""

from __future__ import annotations

import contextlib
import gzip

import pytest
import zstandard

from storaged.model import CodecSpec
from storaged.work.rebuild import lost_catalog
from tests.codecs.gzip_files import far_apart
from tests.life.crashes import Crash, CrashingCatalog, CrashingStore, Effects
from tests.life.disks import verified
from tests.life.stage import Stage
from tests.life.test_rebuild import _come_back, lake
from tests.life.world import World

__all__ = ["lake"]
ZSTD = CodecSpec("zstd")
NAME = "dt=1/a.csv.gz"
INSIDE = b"".join(b"%d,word %d,%s\n" % (n, n % 9, part.hex().encode()) for n, part in enumerate([far_apart(300_000)]))
GZIP = gzip.compress(INSIDE, mtime=7)
TWICE = GZIP + gzip.compress(b"", mtime=7)


def codec_of(world: World, name: str) -> str:
    held = world.held(name)
    return held.blobs[held.placement.replicas[0].blob].codec


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


def test_it_is_found_when_the_catalog_is_lost(lake: Stage) -> None:
    lake.write(NAME, GZIP)
    lake.scan()
    lake.enqueue([NAME], "cold", ZSTD)
    lake.work()
    lake.days(8)
    assert lake.sweep().sources == 1
    lake.takes_over(lake.databases.heir(lost_catalog(lake.context.tier("hot"))))
    _come_back(lake.new_context())
    lake.context = lake.new_context()
    assert lake.read(NAME) == GZIP


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_crash_after_every_effect_loses_nothing(lake: Stage) -> None:
    lake.write(NAME, GZIP)
    lake.scan()
    for n in range(1, 100):
        effects = Effects(stop_after=n)
        lake.enqueue([NAME], "cold", ZSTD)
        dying = lake.new_context(
            catalog=CrashingCatalog(lake.catalog, effects), wrap=lambda store, e=effects: CrashingStore(store, e)
        )
        with contextlib.suppress(Crash):
            lake.work(dying)
        assert lake.read(NAME) == lake.raw(NAME) == GZIP
        if not effects.dead:
            break
        lake.days(0.1)
        lake.work()
        assert lake.read(NAME) == GZIP
        lake.undo("lake")
    else:
        pytest.fail("the job has no end")
    assert n >= 3
