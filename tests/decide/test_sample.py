"""Ratios from samples: read from real stores, changing nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from storaged.catalog.engine import Catalog
from storaged.codecs.pack import Member, Packer
from storaged.errors import SourceChanged
from storaged.model import Origin
from storaged.testing import FakeClock
from storaged.testing.faults import Fault, Faults, FaultyStore
from storaged.work.plan.make import make_plan
from storaged.work.plan.sample import Sampling, remember, sample_kinds
from tests.decide.seeding import policies
from tests.decide.test_planner import everything
from tests.life.world import World

POLICY = "name: z\ntarget: {dataset: '*'}\nwhen: {size_over: 0}\nto: {tier: cold, codec: zstd}\n"


@pytest.fixture
def world(tmp_path: Path, catalog: Catalog, clock: FakeClock) -> World:
    """A dataset in a directory."""
    (tmp_path / "world").mkdir()
    return World(tmp_path / "world", catalog, clock)


def test_a_sample_tells_what_shrinks_and_changes_nothing(world: World, tmp_path: Path) -> None:
    """Repetitive text shrinks, noise counts whole, what is gone is left out; a plan made with it knows its ratios."""
    world.write("a.csv", b"1,2,3,four,five\n" * 100_000)
    world.write("b.bin", random.Random(1).randbytes(300_000))
    world.write("gone.txt", b"x" * 1000)
    world.write("empty.json", b"")
    world.scan()
    world.delete("gone.txt")
    before = everything(world.catalog)
    loaded = policies(tmp_path / "p", world.settings, POLICY)
    told = sample_kinds(world.context, loaded)
    found = told.ratios
    assert everything(world.catalog) == before
    assert set(found) == {("lake", "csv", "zstd"), ("lake", "bin", "zstd")}
    assert found["lake", "csv", "zstd"] < 0.1
    assert found["lake", "bin", "zstd"] == 1.0
    world.clock.advance(7200)
    plan = make_plan(world.catalog, world.settings, loaded, world.clock, ratios=found, not_taken=told.not_taken)
    part = plan.summary.policies[0]
    assert (part.actions.objects, part.unknown_ratio) == (3, 1)
    assert part.actions.bytes_after < 500_000
    assert part.notes == (
        "samples that are not taken: lake, bin: 1 of 1, such as b.bin: zstd does not take it: it does not shrink",
    )


@pytest.mark.parametrize("codec", ["zstd", "auto"])
def test_what_a_sample_shows_to_be_encrypted_is_known_to_plans_from_then_on(
    world: World, tmp_path: Path, codec: str
) -> None:
    """It is no action where nothing else is wanted, and does not spoil the ratio of its kind."""
    world.write("a.bin", b"1,2,3,four,five\n" * 100_000)
    world.write("b.bin", b"Salted__" + random.Random(1).randbytes(300_000))
    world.scan()
    world.clock.advance(7200)
    text = POLICY.replace("tier: cold, codec: zstd", f"codec: {codec}")
    loaded = policies(tmp_path / "p", world.settings, text)
    told = sample_kinds(world.context, loaded)
    assert told.ratios["lake", "bin", "zstd"] < 0.1
    remember(world.context, told)
    plan = make_plan(
        world.catalog,
        world.settings,
        loaded,
        world.clock,
        ratios=told.ratios,
        not_taken=told.not_taken,
        choices=told.choices,
    )
    assert plan.summary.policies[0].actions.objects == 1
    assert "encrypted, by openssl enc" in str(everything(world.catalog)["objects"])


@pytest.mark.parametrize("codec", ["zstd", "auto"])
def test_what_cannot_be_read_to_its_end_is_left_out(world: World, tmp_path: Path, codec: str) -> None:
    """It was opened, and its disk fails, or its user writes to it."""
    for name in "ab":
        world.write(f"{name}.csv", b"1,2,3,four,five\n" * 100_000)
    world.scan()
    faults = Faults(Fault("read_at", 1, SourceChanged("it was written to", key="a.csv")))
    context = world.new_context(wrap=lambda store: FaultyStore(store, faults))
    told = sample_kinds(context, policies(tmp_path / "p", world.settings, POLICY.replace("zstd", codec)))
    faults.assert_all_hit()
    assert told.ratios["lake", "csv", "zstd"] < 0.1


def test_a_policy_that_compresses_nothing_reads_nothing(world: World, tmp_path: Path) -> None:
    """Neither does one for other datasets."""
    world.write("a.csv", b"1,2,3\n" * 1000)
    world.scan()
    for other in (POLICY.replace(", codec: zstd", ""), POLICY.replace("'*'", "other")):
        assert sample_kinds(world.context, policies(tmp_path / "p", world.settings, other)) == Sampling({}, {})


def test_a_sample_for_packs_compresses_neighbours_together(world: World, tmp_path: Path) -> None:
    """Small texts that are alike shrink only so; what it tells is what packing all of them comes to."""
    files = {
        f"{n // 20}/{n:03}.json": b'{"sensor": %d, "unit": "celsius", "value": %d}\n' % (n, n * 37) for n in range(300)
    }
    for name, data in files.items():
        world.write(name, data * 3)
    world.write("noise.bin", random.Random(1).randbytes(300_000))
    world.write("gone.txt", b"x" * 1000)
    world.write("..\\not.csv", b"1,2,3")
    world.scan()
    world.delete("gone.txt")
    before = everything(world.catalog)
    text = POLICY.replace("codec: zstd", "codec: {pack: {target: 4MiB}}")
    found = sample_kinds(world.context, policies(tmp_path / "p", world.settings, text)).ratios
    assert everything(world.catalog) == before
    assert set(found) == {("lake", kind, "pack") for kind in ("json", "bin", "csv")}
    stored = 0
    origin = Origin("c", "a", "lake", "0001", 0, "")
    with Packer(lambda _: None, level=3, origin=origin) as packer:
        for name, data in files.items():
            packer.put(Member(name, len(data) * 3), data * 3)
        stored = packer.finish().stored_size
    real = stored / sum(len(data) * 3 for data in files.values())
    assert found["lake", "json", "pack"] == pytest.approx(real, rel=0.2)
    alone = sample_kinds(world.context, policies(tmp_path / "p", world.settings, POLICY)).ratios
    assert found["lake", "json", "pack"] < alone["lake", "json", "zstd"]
    assert 1.0 < found["lake", "bin", "pack"] < 1.05
