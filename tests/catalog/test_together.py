"""Members of a pack are swapped in a few statements for all of them: the rows are those that one by one would make."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from storaged.catalog import changes, placements, together
from storaged.catalog.engine import Catalog
from storaged.catalog.placements import Change, Seen, Why
from storaged.catalog.schema import blobs, datasets, job_items, jobs, metadata, objects, outbox, replicas, tiers
from storaged.catalog.together import Swapped
from storaged.errors import CatalogError
from storaged.model import ItemState, Placement, Raw, RawState, Replica, ReplicaState, share
from storaged.placement import swap
from tests.laws import tries

NOW: Final = 1_000_000_000
WHY: Final = Why("test", "a pack", job_id=1)
STORED, PACKED = 900, 2**41  # bytes of the pack, and of its content
PACK, ALONE, BEFORE, OLD = ("a" * 32, "b" * 32, "c" * 32, "d" * 32)

_texts = st.sampled_from(["", "x", "é\n\"'%s:(1)"])


@st.composite
def placed(draw: st.DrawFn) -> Placement:
    """An object that may be swapped: at its original key, or in a blob of its own; with what was kept of it before."""
    size = draw(st.integers(0, 2**40))
    at_root = draw(st.booleans())
    states = [RawState.CURRENT] if at_root else [RawState.SUPERSEDED, RawState.RELEASED, RawState.RELEASING]
    raw = Raw(draw(st.sampled_from(states)), "its", damaged=draw(_texts) if at_root else "")
    if raw.state in (RawState.SUPERSEDED, RawState.RELEASING):
        raw = replace(raw, until_us=NOW // 2)
    made = []
    if not at_root:
        made.append(Replica(ALONE, 0, size, 2, ReplicaState.CURRENT, None, damaged=draw(_texts)))
    if draw(st.booleans()):
        made.append(Replica(BEFORE, 3, size, 2, ReplicaState.SUPERSEDED, NOW * 2, damaged=draw(_texts)))
    if draw(st.booleans()):
        made.append(Replica(OLD, 0, 7, 1, ReplicaState.SUPERSEDED, NOW * 3, overwritten=True))
    told = draw(st.dictionaries(st.sampled_from(["mode", "user.a", "b"]), _texts))
    digest = draw(st.sampled_from(["", "5" * 32]))
    edition = draw(st.sampled_from(["", "f" * 32]))
    of_it = [replace(r, edition=edition) if r.generation == 2 else r for r in made]
    return Placement(
        *("d", "o", 2, size, 5, 6, replace(raw, edition=edition), digest, tuple(of_it)),
        *(draw(st.none() | _texts), draw(st.none() | st.just("hot")), None, told, edition),
    )


@pytest.fixture
def lake(catalog: Catalog) -> Catalog:
    """Two tiers, a dataset, blobs alone and one pack."""
    with catalog.begin() as conn:
        conn.execute(
            sa.insert(tiers),
            [
                {"id": n, "name": name, "rank": n, "url": f"file:///{name}", "storage_class": "STANDARD"}
                for n, name in enumerate(("hot", "cold"))
            ],
        )
        conn.execute(sa.insert(datasets).values(id=1, name="d", root="file:///d", tier_id=0, registered_us=0))
        made = {"dataset_id": 1, "state": "live", "size": STORED, "created_us": 0, "identity": "i", "digest": "e" * 32}
        alone = [{"id": id_, "tier_id": 0, "key": id_, "codec": "zstd", **made} for id_ in (ALONE, BEFORE, OLD)]
        conn.execute(sa.insert(blobs), alone)
        conn.execute(
            sa.insert(blobs).values(
                id=PACK, tier_id=1, key="p", codec="pack", packed_bytes=PACKED, live_bytes=9, **made
            )
        )
    return catalog


def _object(conn: sa.Connection, number: int, placement: Placement) -> Seen:
    name = f"o{number}"
    row = {"id": number, "dataset_id": 1, "name": name, "size": 0, "mtime_us": 0, "created_us": 0, "stored_bytes": 0}
    conn.execute(sa.insert(objects).values(row))
    placements.write(conn, [placements.Row(number, 1, 1, replace(placement, name=name))])
    conn.execute(sa.insert(job_items).values(job_id=1, object_id=number, version=2, codec="pack", grace_us=1, size=0))
    return placements.load(conn, [number])[number]


def _rows(conn: sa.Connection, number: int) -> dict[str, Any]:
    """All that is told of an object, but for what it is called."""
    found: dict[str, Any] = {}
    owner = {objects: objects.c.id, replicas: replicas.c.object_id, job_items: job_items.c.object_id}
    for table, column in owner.items():
        rows = conn.execute(sa.select(table).where(column == number).order_by(*table.primary_key)).mappings()
        left = ("id", "object_id", "name")
        found[table.name] = [{k: v for k, v in row.items() if k not in left} for row in rows]
    (line,) = conn.execute(sa.select(outbox.c.entry).where(outbox.c.object_id == number)).scalars()
    entry = json.loads(line)
    entry["placement"].pop("name")
    entry["blobs"].sort(key=lambda b: b["id"])
    entry["placement"]["replicas"].sort(key=lambda r: r["blob"])
    return found | {"entry": {k: v for k, v in entry.items() if k != "id"}}


@tries(40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=placed(),
    place=st.tuples(st.integers(0, 2**41), st.integers(0, 2**40)),
    until_us=st.integers(0, 2**50),
    told=_texts,
)
def test_together_is_one_by_one(
    lake: Catalog, before: Placement, place: tuple[int, int], until_us: int, told: str
) -> None:
    digest, (offset, first) = before.digest or "9" * 32, place
    into = Replica(PACK, offset, before.size, before.generation, ReplicaState.CURRENT, edition=before.edition)
    into = replace(into, packed_before=first)
    stored = share(STORED, PACKED, before.size, first)
    with lake.begin() as conn:
        conn.execute(
            sa.insert(jobs).values(id=1, kind="rewrite", dataset_id=1, state="running", reason="", created_us=0)
        )
        made = [
            Change(seen, swap(seen.placement, into, digest=digest, metadata={"mode": told}, until_us=until_us), "swap")
            for seen in (_object(conn, 1, before), _object(conn, 2, before))
        ]
        shares = {c.seen.id: c for c in made}
        page = changes.Page(conn, [c.seen for c in made])
        assert [c.seen.id for c in page.judge(lambda now: shares[now.id])] == [1, 2]
        changes.record(conn, made[:1], now_us=NOW, why=WHY)
        together.record(
            conn,
            [Swapped(made[1], offset, first, stored, until_us, purge=False)],
            blob=PACK,
            job_id=1,
            now_us=NOW,
            why=WHY,
        )
        one, other = _rows(conn, 1), _rows(conn, 2)
        item = {c: other["job_items"][0].pop(c) for c in ("state", "before_bytes", "after_bytes")}
        for c in item:
            one["job_items"][0].pop(c)
        assert other == one
        assert one["objects"][0]["stored_bytes"] == stored
        assert item == {"state": "done", "before_bytes": 900 if before.current else before.size, "after_bytes": stored}
        for table in (outbox, job_items, jobs, replicas, objects, metadata.tables["audit"], metadata.tables["moves"]):
            conn.execute(sa.delete(table))


@pytest.mark.parametrize("changed", [{"version": 9}, {"fact_id": "f"}])
def test_nothing_is_done_where_one_of_them_changed(lake: Catalog, changed: dict[str, Any]) -> None:
    before = Placement("d", "o", 2, 5, 5, 6, Raw(RawState.CURRENT, "its"))
    into = Replica(PACK, 0, 5, 2, ReplicaState.CURRENT, None)
    with lake.begin() as conn:
        conn.execute(
            sa.insert(jobs).values(id=1, kind="rewrite", dataset_id=1, state="running", reason="", created_us=0)
        )
        seen = [_object(conn, number, before) for number in (1, 2)]
        conn.execute(sa.update(objects).where(objects.c.id == 2).values(changed))
    to = [Change(s, swap(s.placement, into, digest="9" * 32, metadata={}, until_us=9), "swap") for s in seen]
    with pytest.raises(CatalogError, match="1 of 2"), lake.begin() as conn:
        together.record(
            conn, [Swapped(c, 0, 0, 1, 9, purge=False) for c in to], blob=PACK, job_id=1, now_us=NOW, why=WHY
        )
    with lake.read() as conn:
        assert {s.placement.current for s in placements.load(conn, [1, 2]).values()} == {None}
        assert set(conn.execute(sa.select(job_items.c.state)).scalars()) == {ItemState.PENDING.value}
