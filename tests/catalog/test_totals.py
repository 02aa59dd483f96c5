"""The totals are what a count of everything would say, whoever writes and however, on both databases."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from storaged.catalog import migrate, totals, views
from storaged.catalog.engine import Catalog, create_catalog, open_catalog, parse_url, upgrade_catalog
from storaged.catalog.schema import blobs, datasets, objects, tiers
from storaged.catalog.schema_totals import blob_totals, object_totals
from tests.catalog.earlier import without_attempts
from tests.laws import tries

KEYS: Final = ("dataset_id", "tier_id", "format", "codec", "raw_state", "raw_class")
Counts = dict[tuple[Any, ...], tuple[int, ...]]


def counted(conn: sa.Connection) -> tuple[Counts, Counts]:
    """What the tables hold, by looking at every row."""
    of_objects: Counts = {}
    for row in conn.execute(sa.select(objects)):
        key = (*(getattr(row, name) for name in KEYS), int(row.removed_us is not None), int(row.size == 0))
        add(of_objects, key, (1, row.size, row.stored_bytes, int(row.damaged is not None)))
    of_blobs: Counts = {}
    for row in conn.execute(sa.select(blobs)):
        add(of_blobs, (row.tier_id, row.state), (1, row.size))
    return of_objects, of_blobs


def add(counts: Counts, key: tuple[Any, ...], more: tuple[int, ...]) -> None:
    counts[key] = tuple(map(sum, zip(counts.get(key, (0,) * len(more)), more, strict=True)))


def told(conn: sa.Connection) -> tuple[Counts, Counts]:
    """What the totals say, kinds of which there are none left out."""
    found: list[Counts] = []
    for table, keys in ((object_totals, 8), (blob_totals, 2)):
        counts: Counts = {}
        for row in conn.execute(sa.select(table)):
            add(counts, tuple(row[:keys]), tuple(row[keys:]))
        found.append({key: count for key, count in counts.items() if any(count)})
    return found[0], found[1]


def prepared(catalog: Catalog) -> Catalog:
    with catalog.begin() as conn:
        for number in (1, 2):
            conn.execute(tiers.insert().values(id=number, name=f"t{number}", rank=number, url="x", storage_class="S"))
            values = {"id": number, "name": f"d{number}", "root": "x", "tier_id": 1, "registered_us": 0}
            conn.execute(datasets.insert().values(values))
    return catalog


SIZES = st.sampled_from((0, 1, 7, 1 << 50))
WHEN = st.sampled_from((None, 5))
OBJECT = st.fixed_dictionaries(
    {
        "dataset_id": st.sampled_from((1, 2)),
        "tier_id": st.sampled_from((None, 1, 2)),
        "format": st.sampled_from(("csv", "json")),
        "codec": st.sampled_from(("identity", "zstd")),
        "raw_state": st.sampled_from(("current", "superseded", "absent")),
        "raw_class": st.sampled_from(("STANDARD", "GLACIER")),
        "removed_us": WHEN,
        "size": SIZES,
        "stored_bytes": SIZES,
        "damaged": st.sampled_from((None, "it is")),
    }
)
BLOB = st.fixed_dictionaries(
    {
        "tier_id": st.sampled_from((1, 2)),
        "state": st.sampled_from(("live", "releasing")),
        "size": SIZES,
    }
)
NUMBER = st.integers(0, 5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), NUMBER, OBJECT),
        st.tuples(st.just("many"), NUMBER, OBJECT),  # one statement that changes several rows, some of them alike
        st.tuples(st.just("upsert"), NUMBER, OBJECT),
        st.tuples(st.just("delete"), NUMBER, st.none()),
        st.tuples(st.just("blob"), NUMBER, BLOB),
        st.tuples(st.just("no blob"), NUMBER, st.none()),
        st.tuples(st.just("fold"), NUMBER, st.none()),
        st.tuples(st.just("roll back"), NUMBER, OBJECT),
    ),
    max_size=25,
)


UPSERT: Final = sa.text(
    "INSERT INTO objects (id, dataset_id, name, size, stored_bytes, mtime_us, created_us, tier_id, codec) "
    "VALUES (CAST(:n AS INTEGER) + 1, 1, CAST(:n AS TEXT), :size, :size, 0, 0, 1, :codec) "
    "ON CONFLICT (id) DO UPDATE SET codec = excluded.codec, size = excluded.size"
)


def step(catalog: Catalog, what: str, number: int, values: dict[str, Any] | None) -> None:
    try:
        with catalog.begin() as conn:
            match what:
                case "put" | "roll back":
                    name = {"id": number + 1, "name": str(number), "mtime_us": 0, "created_us": 0}
                    known = conn.execute(sa.select(objects.c.id).where(objects.c.id == number + 1)).scalar()
                    if known:
                        conn.execute(objects.update().where(objects.c.id == number + 1).values(values))
                    else:
                        conn.execute(objects.insert().values(name | values))
                    if what == "roll back":
                        totals.fold(conn)
                        raise KeyError
                case "many":
                    conn.execute(objects.update().where(objects.c.id >= number).values(values))
                case "upsert":  # rows that are new and rows that are known
                    conn.execute(
                        UPSERT, [{"n": n, "codec": values["codec"], "size": values["size"]} for n in range(number + 1)]
                    )
                case "delete":
                    conn.execute(objects.delete().where(objects.c.id == number + 1))
                case "blob":
                    conn.execute(blobs.delete().where(blobs.c.id == str(number)))
                    name = {"id": str(number), "key": str(number), "created_us": 0}
                    conn.execute(blobs.insert().values(name | values))
                    conn.execute(blobs.update().values(state=values["state"]))
                case "no blob":
                    conn.execute(blobs.delete().where(blobs.c.id >= str(number)))
                case "fold":
                    totals.fold(conn)
    except KeyError:
        assert what == "roll back"


@tries(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_they_are_what_a_count_says_after_every_change(catalog: Catalog, steps: list[Any]) -> None:
    with catalog.begin() as conn:  # the examples share one catalog
        for table in (objects, blobs, datasets, tiers):
            conn.execute(table.delete())
    prepared(catalog)
    for what, number, values in steps:
        step(catalog, what, number, values)
        with catalog.read() as conn:
            assert told(conn) == counted(conn), what


def row(number: int, **more: Any) -> dict[str, Any]:
    values = {"dataset_id": 1, "name": f"{number:05d}", "size": number, "stored_bytes": number, "tier_id": 1}
    return {**values, "mtime_us": 0, "created_us": 0, **more}


@pytest.mark.parametrize("dialect", ["postgres"], indirect=True)
def test_writers_at_once_wait_for_no_total_and_none_is_lost(catalog: Catalog) -> None:
    """Each holds its transaction open until all have written to the same kind, and rows are folded meanwhile."""
    prepared(catalog)
    with catalog.begin() as conn:
        conn.execute(objects.insert(), [row(n, size=3) for n in range(40)])
    all_wrote = threading.Barrier(5, timeout=240)
    failed: list[BaseException] = []

    def change(number: int) -> None:
        try:
            for again in range(6):
                with catalog.begin() as conn:
                    mine = objects.c.name.in_([f"{n:05d}" for n in range(number, 40, 4)])
                    conn.execute(objects.update().where(mine).values(codec=("zstd", "identity")[again % 2]))
                    all_wrote.wait()
        except BaseException as error:
            failed.append(error)
            raise

    threads = [threading.Thread(target=change, args=(number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(6):
        with catalog.begin() as conn:
            totals.fold(conn)
            all_wrote.wait()
    for thread in threads:
        thread.join(30)
    assert failed == []
    with catalog.read() as conn:
        assert told(conn) == counted(conn)
    with catalog.begin() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(object_totals)).scalar_one() > 1
        totals.fold(conn)
        assert conn.execute(sa.select(sa.func.count()).select_from(object_totals)).scalar_one() == 1
        assert told(conn) == counted(conn)


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_sqlite_has_one_row_of_a_kind(catalog: Catalog) -> None:
    prepared(catalog)
    with catalog.begin() as conn:
        conn.execute(objects.insert(), [row(n, tier_id=None) for n in range(1, 9)])
        conn.execute(objects.update().values(codec="zstd"))
        conn.execute(objects.update().values(codec="identity"))
        assert conn.execute(sa.select(object_totals.c.objects, object_totals.c.codec)).all() == [
            (8, "identity"),
            (0, "zstd"),
        ]


def test_an_upgrade_counts_what_is_there(empty_url: str) -> None:
    """From the revision before them, and again from the present one, whose triggers and rows are there already."""
    with create_catalog(empty_url) as catalog:
        prepared(catalog)
        with catalog.begin() as conn:
            conn.execute(objects.insert(), [row(n, dataset_id=1 + n % 2) for n in range(20)])
            conn.execute(blobs.insert().values(id="a", key="k", size=3, tier_id=1, state="live", created_us=0))
    engine = sa.create_engine(parse_url(empty_url))
    with engine.begin() as conn:
        before(conn)
    engine.dispose()
    upgrade_catalog(empty_url)
    with open_catalog(empty_url) as catalog, catalog.begin() as conn:
        assert told(conn) == counted(conn)
        assert len(told(conn)[0]) == 3  # those of 0 bytes are a kind of their own
        migrate.upgrade(conn)
        conn.execute(objects.update().where(objects.c.dataset_id == 1).values(codec="zstd"))
        assert told(conn) == counted(conn)


WITHOUT_COLLECTIONS = (
    "DROP TABLE collections",
    "ALTER TABLE plan_items DROP COLUMN apart",
    "ALTER TABLE job_items DROP COLUMN apart",
    "ALTER TABLE datasets ADD COLUMN table_format TEXT",
)


def before(conn: sa.Connection) -> None:
    """Take the catalog back to the revision before totals, with what it holds."""
    config = Config()
    config.set_main_option("script_location", str(migrate.directory()))
    revision = ScriptDirectory.from_config(config).get_revision("0006")
    assert revision.down_revision == "0005"
    views.drop(conn)
    totals.drop(conn)
    object_totals.drop(conn)
    blob_totals.drop(conn)
    without_attempts(conn)
    for later in (
        *WITHOUT_COLLECTIONS,
        "ALTER TABLE datasets DROP COLUMN claimed",
        "DROP INDEX ix_replicas_damaged",
        "DROP INDEX ix_replicas_overwritten",
        "ALTER TABLE replicas DROP COLUMN overwritten",
        "ALTER TABLE replicas DROP COLUMN damaged",
        "ALTER TABLE blobs ADD COLUMN damaged TEXT",
        "DROP INDEX ix_objects_stuck",
        "ALTER TABLE objects DROP COLUMN stuck",
        "ALTER TABLE objects DROP COLUMN not_taken",
        "DROP TABLE promises",
        "DROP TABLE moves",
    ):
        conn.execute(sa.text(later))
    conn.execute(sa.text("UPDATE alembic_version SET version_num = '0005'"))


@pytest.mark.parametrize("spoil", ["objects", "blobs"])
def test_the_check_notices_a_total_that_is_not_kept(catalog: Catalog, spoil: str) -> None:
    """Without its triggers a table's totals differ from a count: the tests above can fail."""
    prepared(catalog)
    without: dict[str, Callable[[sa.Connection], object]] = {
        "objects": lambda conn: conn.execute(objects.insert().values(row(1))),
        "blobs": lambda conn: conn.execute(
            blobs.insert().values(id="a", key="k", tier_id=1, state="live", created_us=0)
        ),
    }
    with catalog.begin() as conn:
        totals.drop(conn)
        without[spoil](conn)
        assert told(conn) != counted(conn)
