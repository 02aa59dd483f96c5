"""What the catalog and its journal hold of editions, and of what was written before there were any."""

from __future__ import annotations

import io
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from storaged.catalog import placements
from storaged.catalog.entries import placement, told
from storaged.catalog.replay import apply_entries
from storaged.catalog.schema import objects
from storaged.digest import digest_of
from storaged.model import CodecSpec, Fidelity, Placement, Raw, RawState, Replica, ReplicaState
from storaged.work.rewrite import making
from tests.codecs.parquet_files import written
from tests.life.disks import verified
from tests.life.world import PLAIN as PLAIN_CODEC
from tests.life.world import World

ANOTHER = CodecSpec("parquet", 3, Fidelity.TABLE)
NAME = "dt=1/a.parquet"
TABLE = pa.table({"w": [f"{n * 7919 % 10_007} and some more words of it" for n in range(20_000)]})
SNAPPY = written(TABLE, compression="snappy", use_dictionary=False, data_page_size=8_192)
MADE = "a" * 32
CURRENT = Replica(MADE, 0, 70, 1, ReplicaState.CURRENT, edition=MADE)
OLD = Replica("b" * 32, 0, 100, 1, ReplicaState.SUPERSEDED, 5, digest="d0")
ORIGINAL = Raw(RawState.SUPERSEDED, "1:2:3", until_us=7, size=100, digest="d0")
PLACEMENT = Placement("lake", "a", 1, 70, 3, 3, ORIGINAL, "d1", (CURRENT, OLD), edition=MADE)
PLAIN = replace(
    PLACEMENT,
    edition="",
    raw=Raw(RawState.SUPERSEDED, "1:2:3", until_us=7),
    replicas=(replace(CURRENT, edition=""), replace(OLD, digest="")),
)


def test_an_entry_speaks_of_editions_only_where_there_is_one() -> None:
    assert placement(told(PLACEMENT)) == PLACEMENT
    assert placement(told(PLAIN)) == PLAIN
    known = {"blob", "offset", "length", "generation", "state", "until_us", "damaged", "overwritten"}
    assert {name for replica in told(PLAIN)["replicas"] for name in replica} == known, "as before there were editions"
    assert set(told(PLAIN)["raw"]) == {"state", "identity", "attempt", "until_us", "storage_class", "damaged"}
    assert "edition" not in told(PLAIN)


def test_each_place_tells_the_size_and_digest_of_its_own_edition() -> None:
    p = PLACEMENT
    assert [(p.size_of(x), p.digest_of(x)) for x in (p.raw, *p.replicas)] == [(100, "d0"), (70, "d1"), (100, "d0")]
    assert p.at_root_bytes == 100
    assert replace(p, raw=Raw(RawState.RELEASED)).at_root_bytes == 70, "it would return as it reads now"
    assert replace(p, metadata={"allocated": "40"}).at_root_bytes == 40


@pytest.mark.parametrize("p", [PLACEMENT, PLAIN], ids=["another", "none"])
def test_the_catalog_keeps_what_it_is_told(world: World, p: Placement) -> None:
    world.context.register()
    blob = {"tier": "cold", "codec": "identity", "size": 1, "identity": "i", "digest": "x"}
    entry = {"at_us": 1, "placement": told(p), "blobs": [{"id": r.blob, "key": r.blob, **blob} for r in p.replicas]}
    with world.catalog.begin() as conn:
        apply_entries(conn, [entry])
        [number] = conn.execute(sa.select(objects.c.id)).scalars()
        assert placements.load(conn, [number])[number].placement == p


# -- lives ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["local", "s3"])
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_whole_life(world: World) -> None:
    world.write(NAME, SNAPPY)
    world.write("b.txt", b"words and no table\n" * 2_000)
    world.write("c.parquet", SNAPPY[:-40] + b"x" * 36 + b"PAR1")
    world.write("d.parquet", written(TABLE, compression="zstd"))
    world.scan()
    report = world.migrate(NAME, "b.txt", "c.parquet", "d.parquet", codec=ANOTHER)
    assert report.done == 4, report.notes
    made = world.read(NAME)
    assert made is not None
    assert len(made) < 0.7 * len(SNAPPY)
    assert pq.read_table(io.BytesIO(made)).equals(TABLE)
    seen = world.seen(NAME)
    p = seen.placement
    assert (p.size, p.digest, p.generation) == (len(made), digest_of([made]), 1)
    assert p.current is not None
    assert p.edition == p.current.edition == p.current.blob
    assert (p.size_of(p.raw), p.digest_of(p.raw)) == (len(SNAPPY), digest_of([SNAPPY]))
    assert seen.blobs[p.current.blob].codec == "identity"
    assert world.stored("cold")[seen.blobs[p.current.blob].key] == made
    for name in ("b.txt", "c.parquet", "d.parquet"):
        assert world.seen(name).placement.edition == "", name
        assert world.read(name) == world.raw(name), name
    assert world.undo(f"lake/{NAME}").done == [f"lake/{NAME}"]
    assert world.read(NAME) == SNAPPY
    assert world.seen(NAME).placement.edition == ""
    world.sweep()
    assert world.migrate(NAME, codec=ANOTHER).done == 1
    world.scan()
    assert world.seen(NAME).placement.edition not in ("", p.edition), "an edition is never made twice"
    world.days(8)
    freed = world.sweep()
    assert (freed.sources, freed.freed_bytes) == (4, sum(len(x) for x in (SNAPPY, SNAPPY, *others(world))))
    assert world.read(NAME) == made
    [(_, why)] = world.undo(f"lake/{NAME}").refused
    assert "what its user wrote is gone" in why
    assert "another file of the same table" in why
    assert not verified(world).damaged
    assert world.migrate(NAME, tier="warm", codec=PLAIN_CODEC).done == 1
    assert world.seen(NAME).placement.edition
    assert world.undo(f"lake/{NAME}").done
    assert world.read(NAME) == made, "undo of a plain move brings no old bytes back"
    assert world.eject().done == 4
    assert world.raw(NAME) == made
    world.scan()
    after = world.seen(NAME).placement
    assert (after.generation, after.raw.edition, after.raw.state) == (1, after.edition, RawState.CURRENT)
    world.write(NAME, SNAPPY)
    world.scan()
    again = world.seen(NAME).placement
    assert (again.generation, again.edition, again.raw.edition) == (2, "", "")
    assert world.read(NAME) == SNAPPY


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_whoever_stores_the_bytes_of_what_should_become_another_file_has_stored_its_bytes(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was staged says what it is, whatever was asked for."""
    monkeypatch.setattr(making, "derives", lambda _item: False)
    world.write(NAME, SNAPPY)
    world.scan()
    assert world.migrate(NAME, codec=ANOTHER).done == 1
    seen = world.seen(NAME)
    assert seen.placement.edition == ""
    assert seen.blobs[str(seen.placement.current and seen.placement.current.blob)].codec == "parquet"
    assert world.read(NAME) == SNAPPY
    world.days(8)
    assert world.sweep().sources == 1
    assert world.read(NAME) == SNAPPY


def others(world: World) -> list[bytes]:
    return [b"words and no table\n" * 2_000, written(TABLE, compression="zstd")]
