"""What sweeps clear away is what attempts left, and never a blob."""

from __future__ import annotations

import sqlalchemy as sa

from storaged.catalog.schema import blobs
from storaged.catalog.schema_attempts import attempts
from storaged.clock import new_id
from tests.life.world import World, text

NAME = "a.csv"


# MUST 1
def test_a_tombstone_of_a_blobs_id_deletes_nothing(world: World) -> None:
    """Nothing of ours makes one. Where there is one all the same, the blob may be the only copy."""
    world.write(NAME, text("a"))
    world.scan()
    world.migrate(NAME)
    world.days(8)
    world.sweep()
    assert world.raw(NAME) is None
    with world.catalog.begin() as conn:
        [blob] = conn.execute(sa.select(blobs)).all()
        same = {"id": blob.id, "dataset_id": blob.dataset_id, "tier_id": blob.tier_id, "key": blob.key}
        dead = {"kind": "blob", "state": "tombstone", "created_us": 0, "sign_us": 0}
        conn.execute(sa.insert(attempts).values(same | dead))
    assert world.sweep().tombstones == 0
    assert world.read(NAME) == text("a")
    with world.catalog.begin() as conn:
        conn.execute(sa.update(attempts).values(id=new_id()))
    swept = world.sweep()
    assert (swept.tombstones, swept.forgotten) == (1, 1)
    assert world.read(NAME) == text("a")


def test_a_blob_that_was_swapped_in_is_no_attempt_any_more(world: World) -> None:
    world.write(NAME, text("a"))
    world.scan()
    world.enqueue([NAME], "cold")
    world.work()
    seen = world.seen(NAME)
    with world.catalog.read() as conn:
        assert conn.execute(sa.select(attempts)).all() == []
        [blob] = conn.execute(sa.select(blobs)).all()
    assert [r.blob for r in seen.placement.replicas] == [blob.id]
    assert (blob.state, blob.key) == ("live", seen.blobs[blob.id].key)
