"""What becomes of the rows of attempts: a blob, a tombstone, or nothing; and never two things of one id."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from storaged.catalog import attempts, rooms
from storaged.catalog.attempts import Proven
from storaged.catalog.engine import Catalog
from storaged.catalog.entries import told
from storaged.catalog.items import InPlace, Item, To, ToRoot, ToTier
from storaged.catalog.placements import Seen, load
from storaged.catalog.replay import apply_entries
from storaged.catalog.schema import blobs, job_items, jobs, objects, replicas
from storaged.catalog.schema_attempts import attempts as table
from storaged.errors import CatalogError, LeaseLost
from storaged.model import CodecSpec, Replica, ReplicaState
from storaged.placement import swap
from tests.catalog.test_totals import prepared, row
from tests.postgres import waits_for_a_lock

JOB, OTHER = 1, 2
ZSTD = ToTier("t2", CodecSpec("zstd", 3), 7)
BACK, COLDER = ToRoot(7), InPlace("GLACIER")


@pytest.fixture
def seen(catalog: Catalog) -> list[Seen]:
    """Three objects, and two jobs that are about one of them each."""
    prepared(catalog)
    with catalog.begin() as conn:
        rows = [row(n, dataset_id=1) | {"raw_identity": f"raw {n}"} for n in (1, 2, 3)]
        conn.execute(objects.insert(), rows)
        ids = list(conn.execute(sa.select(objects.c.id).order_by(objects.c.name)).scalars())
        for job in (JOB, OTHER):
            made = {"id": job, "kind": "rewrite", "dataset_id": 1, "state": "running", "reason": "r", "created_us": 0}
            conn.execute(jobs.insert().values(made))
        item = {"job_id": JOB, "version": 1, "codec": "zstd", "grace_us": 7, "size": 3}
        conn.execute(job_items.insert(), [item | {"object_id": i} for i in ids])
        return list(load(conn, ids).values())


def begun(catalog: Catalog, seen: list[Seen], *to: To, job: int = JOB) -> list[str]:
    """An attempt at each, called after what it does and whose object it is."""
    items = [Item(h, f"{type(t).__name__} {h.id}", t, f"key {h.id}") for h, t in zip(seen, to, strict=True)]
    with catalog.begin() as conn:
        attempts.begin(conn, job, items, 5)
    return [i.attempt for i in items]


def rows(catalog: Catalog, of: sa.Table = table) -> dict[str, Any]:
    with catalog.read() as conn:
        return {r.id: r for r in conn.execute(sa.select(of))}


def proven(attempt: str) -> Proven:
    return Proven(attempt, "zstd", 2, "its identity", "its digest", b"its index")


def test_what_an_attempt_is_going_to_do_stands_in_its_row(catalog: Catalog, seen: list[Seen]) -> None:
    blob, back, colder = begun(catalog, seen, ZSTD, BACK, COLDER)
    found = rows(catalog)
    said = {i: (r.kind, r.tier_id, r.codec, r.storage_class, r.source_identity) for i, r in found.items()}
    assert said == {
        blob: ("blob", 2, "zstd", "S", ""),
        back: ("return", None, "identity", "", ""),
        colder: ("transition", None, "identity", "GLACIER", seen[2].placement.raw.identity),
    }
    assert {(r.state, r.job_id, r.created_us, r.sign_us) for r in found.values()} == {("staged", JOB, 5, 5)}
    with catalog.read() as conn:
        newest = conn.execute(sa.select(job_items.c.attempt_id).order_by(job_items.c.object_id)).scalars().all()
    assert newest == [blob, back, colder]
    assert rows(catalog, blobs) == {}


def test_an_attempt_at_many_objects_has_one_row(catalog: Catalog, seen: list[Seen]) -> None:
    with catalog.begin() as conn:
        attempts.begin(conn, JOB, [Item(h, "pack", ZSTD, "key") for h in seen], 5)
        assert conn.execute(sa.select(job_items.c.attempt_id)).scalars().all() == ["pack"] * 3
    assert set(rows(catalog)) == {"pack"}


# MUST 1
def test_an_attempt_never_takes_the_id_of_a_blob(catalog: Catalog, seen: list[Seen]) -> None:
    """Nor that of another attempt. Nothing of its batch is written then."""
    blob, staged = begun(catalog, seen[:2], ZSTD, ZSTD)
    with catalog.begin() as conn:
        attempts.become_blobs(conn, attempts.staged(conn, JOB, [blob]), [proven(blob)])
    for taken in (blob, staged):
        items = [Item(seen[1], "new", ZSTD, "k"), Item(seen[0], taken, ZSTD, "k")]
        with pytest.raises(CatalogError, match="was made before"), catalog.begin() as conn:
            attempts.begin(conn, OTHER, items, 6)
    assert set(rows(catalog)) == {staged}
    assert set(rows(catalog, blobs)) == {blob}


def test_a_proven_attempt_is_a_blob_and_no_attempt_any_more(catalog: Catalog, seen: list[Seen]) -> None:
    blob, back, _ = begun(catalog, seen, ZSTD, BACK, COLDER)
    with catalog.begin() as conn:
        attempts.become_blobs(conn, attempts.staged(conn, JOB, [blob]), [proven(blob)])
    assert set(rows(catalog)) == {back, f"InPlace {seen[2].id}"}
    [made] = rows(catalog, blobs).values()
    assert (made.id, made.state, made.tier_id, made.key, made.storage_class) == (blob, "live", 2, "key 1", "S")
    assert (made.codec, made.size, made.identity, made.digest) == ("zstd", 2, "its identity", "its digest")
    assert (made.index, made.created_us) == (b"its index", 5)


def test_only_what_is_staged_and_its_jobs_is_discarded_and_stays_so(catalog: Catalog, seen: list[Seen]) -> None:
    first, second = begun(catalog, seen[:2], ZSTD, ZSTD)
    [other] = begun(catalog, seen[2:], ZSTD, job=OTHER)
    with catalog.begin() as conn:
        assert attempts.discard(conn, table.c.id == first, note="once", now_us=6) == 1
        assert attempts.discard(conn, table.c.job_id == JOB, note="twice", now_us=7) == 1
        attempts.sign(conn, JOB, now_us=8)
        attempts.sign(conn, OTHER, now_us=9)
        assert attempts.staged(conn, JOB, [first, second]) == {}
        for late in (
            lambda: attempts.rekey(conn, JOB, [(first, "k", "zstd")]),
            lambda: attempts.note_checksums(conn, JOB, {first: "sum"}),
            lambda: attempts.rekey(conn, JOB, [(other, "k", "zstd")]),  # another job's
        ):
            with pytest.raises(LeaseLost):
                late()
    found = {i: (r.state, r.note, r.sign_us) for i, r in rows(catalog).items()}
    dead = {first: ("tombstone", "once", 6), second: ("tombstone", "twice", 7)}
    assert found == dead | {other: ("staged", None, 9)}


def test_the_first_note_of_what_was_made_visible_stands(catalog: Catalog, seen: list[Seen]) -> None:
    [back] = begun(catalog, seen[:1], BACK)
    with catalog.begin() as conn:
        attempts.made_visible(conn, [attempts.Visible(back, "first", "d")])
        attempts.takes_away(conn, back)
        attempts.made_visible(conn, [attempts.Visible(back, "second", "e")])
    assert (rows(catalog)[back].visible_identity, rows(catalog)[back].visible_digest) == ("first", "")


def test_a_blob_that_holds_something_is_never_buried(catalog: Catalog, seen: list[Seen]) -> None:
    full, empty = begun(catalog, seen[:2], ZSTD, ZSTD)
    with catalog.begin() as conn:
        attempts.become_blobs(conn, attempts.staged(conn, JOB, [full, empty]), [proven(full), proven(empty)])
        slice_ = {"object_id": seen[0].id, "length": 3, "generation": 1, "state": "superseded"}
        conn.execute(replicas.insert().values(blob_id=full, **slice_))
        before = rooms.stored(conn)
        attempts.bury(conn, [empty, full], note="holds nothing", now_us=9)
        assert rooms.stored(conn) == before  # it is there until a sweep has been
    assert set(rows(catalog, blobs)) == {full}
    [dead] = rows(catalog).values()
    assert (dead.id, dead.kind, dead.state, dead.note, dead.sign_us) == (empty, "blob", "tombstone", "holds nothing", 9)
    assert (dead.tier_id, dead.key, dead.size, dead.created_us, dead.storage_class) == (2, "key 2", 2, 5, "S")


def test_what_is_known_is_an_attempt_or_a_blob(catalog: Catalog, seen: list[Seen]) -> None:
    blob, staged, back = begun(catalog, seen, ZSTD, ZSTD, BACK)
    with catalog.begin() as conn:
        attempts.become_blobs(conn, attempts.staged(conn, JOB, [blob]), [proven(blob)])
        assert attempts.known_ids(conn, [blob, staged, back, "nobody"]) == {blob, staged, back}
        keys = [f"key {h.id}" for h in seen]
        assert attempts.known_keys(conn, 2, [*keys, "no key"]) == set(keys[:2])  # the third is at the root
        assert attempts.known_keys(conn, 1, keys) == set()


@pytest.mark.parametrize("discarded", [False, True])
def test_a_replay_makes_a_blob_of_an_attempt_and_leaves_no_attempt(
    catalog: Catalog, seen: list[Seen], discarded: bool
) -> None:
    """As an old copy of the catalog does, whose attempt was swapped in since."""
    [attempt] = begun(catalog, seen[:1], ZSTD)
    with catalog.begin() as conn:
        if discarded:
            attempts.discard(conn, table.c.id == attempt, note="gone", now_us=6)
        new = Replica(attempt, 0, 3, 1, ReplicaState.CURRENT)
        p = swap(seen[0].placement, new, digest="d", metadata={}, until_us=9)
        blob = {"id": attempt, "tier": "t2", "key": "key 1", "codec": "zstd", "size": 2, "identity": "i", "digest": "s"}
        entry = {"id": "e", "kind": "swap", "at": "", "at_us": 8, "why": {}, "placement": told(p), "blobs": [blob]}
        apply_entries(conn, [entry])
    assert rows(catalog) == {}
    [made] = rows(catalog, blobs).values()
    assert (made.id, made.state, made.identity, made.created_us) == (attempt, "live", "i", 5)


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
def test_nobody_discards_what_is_about_to_be_swapped_in(catalog: Catalog, seen: list[Seen]) -> None:
    """Whoever tries waits for the end of the swap, and finds no such attempt."""
    [attempt] = begun(catalog, seen[:1], ZSTD)

    def discards() -> int:
        with catalog.begin() as conn:
            return attempts.discard(conn, table.c.id == attempt, note="late", now_us=9)

    with ThreadPoolExecutor(1) as other:
        with catalog.begin() as conn:
            staged = attempts.staged(conn, JOB, [attempt])
            answer = other.submit(discards)
            waits_for_a_lock(catalog)
            attempts.become_blobs(conn, staged, [proven(attempt)])
        assert answer.result(60) == 0
    assert set(rows(catalog, blobs)) == {attempt}
    assert rows(catalog) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "return", "tier_id": 1},
        {"kind": "transition", "tier_id": 1},
        {"kind": "blob", "tier_id": None},
        {"kind": "pack", "tier_id": 1},
        {"kind": "blob", "tier_id": 1, "state": "live"},
    ],
)
def test_the_database_takes_no_attempt_that_is_none(catalog: Catalog, seen: list[Seen], wrong: dict[str, Any]) -> None:
    values = {"id": "a", "key": "k", "state": "staged", "created_us": 0, "sign_us": 0}
    with pytest.raises(sa.exc.IntegrityError), catalog.begin() as conn:
        conn.execute(table.insert().values(values | wrong))


@pytest.mark.parametrize("wrong", [{"state": "staged"}, {"state": "tombstone"}, {"tier_id": None}])
def test_the_database_takes_no_blob_that_was_not_proven(
    catalog: Catalog, seen: list[Seen], wrong: dict[str, Any]
) -> None:
    values = {"id": "a", "tier_id": 1, "key": "k", "state": "live", "created_us": 0}
    with pytest.raises(sa.exc.IntegrityError), catalog.begin() as conn:
        conn.execute(blobs.insert().values(values | wrong))
