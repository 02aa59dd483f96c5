"""What the catalog and its journal hold of editions, and of what was written before there were any."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from storaged.catalog import placements
from storaged.catalog.entries import placement, told
from storaged.catalog.replay import apply_entries
from storaged.catalog.schema import objects
from storaged.model import Placement, Raw, RawState, Replica, ReplicaState
from tests.life.world import World

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
