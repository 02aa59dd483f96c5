"""Schema 0013: what was no blob leaves `blobs` for `attempts`, with what it said in columns that say what they hold."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from storaged.catalog import migrate, totals
from storaged.catalog.engine import open_catalog, parse_url, upgrade_catalog
from storaged.catalog.schema import blobs, job_items, objects, replicas
from storaged.catalog.schema_attempts import attempts
from tests.catalog.test_totals import counted, told

OLD = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)",
    "INSERT INTO alembic_version VALUES ('0012')",
    "INSERT INTO tiers (id, name, rank, url, storage_class) VALUES (1, 'hot', 0, 'file:///t', 'STANDARD')",
    "INSERT INTO datasets (id, name, root, tier_id, registered_us) VALUES (1, 'lake', 'file:///l', 1, 0)",
    "INSERT INTO objects (id, dataset_id, name, size, mtime_us, created_us, stored_bytes) "
    "VALUES (1, 1, 'a', 5, 0, 0, 5), (2, 1, 'b', 5, 0, 0, 5)",
    "INSERT INTO jobs (id, kind, dataset_id, state, reason, created_us) VALUES (7, 'rewrite', 1, 'running', '', 0)",
    "INSERT INTO job_items (job_id, object_id, version, codec, grace_us, size, blob_id) "
    "VALUES (7, 1, 1, 'zstd', 0, 5, 'staged')",
)
TIER: dict[str, Any] = {"tier_id": 1, "codec": "zstd", "storage_class": "STANDARD"}
PROVEN = TIER | {"size": 3, "identity": "i", "digest": "d", "index": b"ix"}
ROWS: dict[str, dict[str, Any]] = {
    # what it was, by id
    "live": PROVEN | {"state": "live", "note": "n"},
    "releasing": PROVEN | {"state": "releasing"},
    "staged": TIER | {"state": "staged", "job_id": 7},
    "discarded": TIER | {"state": "tombstone", "note": "its worker died", "job_id": 7},
    "replaced": PROVEN | {"state": "tombstone", "note": "replaced before this entry"},
    "parts": {"state": "tombstone", "tier_id": 1, "dataset_id": None},
    "returning": {"state": "staged", "job_id": 7},
    "visible": {"state": "staged", "identity": "of it", "digest": "its bytes'", "job_id": 7},
    "taken away": {"state": "tombstone", "identity": "of it"},
    "noted": {"state": "staged", "storage_class": "GLACIER", "identity": "source", "digest": "sum", "job_id": 7},
    "not noted": {"state": "tombstone", "storage_class": "GLACIER", "identity": "source"},
}
EMPTY = dict.fromkeys(("source_identity", "source_checksum", "visible_identity", "visible_digest"), "")
NEW: dict[str, dict[str, Any]] = {
    "staged": {"kind": "blob"},
    "discarded": {"kind": "blob"},
    "replaced": {"kind": "blob", "size": 3},
    "parts": {"kind": "blob"},
    "returning": {"kind": "return"},
    "visible": {"kind": "return", "visible_identity": "of it", "visible_digest": "its bytes'"},
    "taken away": {"kind": "return", "visible_identity": "of it"},
    "noted": {"kind": "transition", "source_identity": "source", "source_checksum": "sum"},
    "not noted": {"kind": "transition", "source_identity": "source"},
}
KEPT = ("dataset_id", "tier_id", "state", "codec", "storage_class", "job_id", "note")
DEFAULTS = {"dataset_id": 1, "tier_id": None, "codec": "identity", "storage_class": "", "job_id": None, "note": None}


HELD = "INSERT INTO replicas (object_id, blob_id, length, generation, state) VALUES "
REPLICAS = f"{HELD} (1, 'live', 5, 1, 'current'), (2, 'releasing', 5, 1, 'releasing')"


def as_it_was(url: str, *more: str) -> None:
    """A catalog of schema 0012 with a row of each kind."""
    config = Config()
    config.set_main_option("script_location", str(migrate.directory()))
    scripts = ScriptDirectory.from_config(config)
    engine = sa.create_engine(parse_url(url))
    with engine.begin() as conn:
        with Operations.context(MigrationContext.configure(conn)):
            for number in range(1, 13):
                scripts.get_revision(f"{number:04d}").module.upgrade()
        totals.create(conn)
        for statement in OLD:
            conn.execute(sa.text(statement))
        table = sa.Table("blobs", sa.MetaData(), autoload_with=conn)
        for blob, values in ROWS.items():
            always = {"id": blob, "key": f"key of {blob}", "created_us": 1, "sign_us": 2, "index": b"", "dataset_id": 1}
            conn.execute(table.insert().values(always | values))
        for statement in (REPLICAS, *more):
            conn.execute(sa.text(statement))
    engine.dispose()


def test_each_row_goes_where_it_belongs_and_says_what_it_said(empty_url: str) -> None:
    as_it_was(empty_url)
    assert upgrade_catalog(empty_url) == ("0012", migrate.HEAD)
    with open_catalog(empty_url) as catalog, catalog.read() as conn:
        found = {row.id: row._mapping for row in conn.execute(sa.select(attempts))}
        assert found.keys() == NEW.keys()
        for attempt, values in NEW.items():
            kept = {k: v for k, v in (DEFAULTS | ROWS[attempt]).items() if k in KEPT}
            always = {"id": attempt, "key": f"key of {attempt}", "created_us": 1, "sign_us": 2, "size": 0}
            assert dict(found[attempt]) == always | EMPTY | kept | values
        left = {row.id: row for row in conn.execute(sa.select(blobs))}
        assert {i: row.state for i, row in left.items()} == {"live": "live", "releasing": "releasing"}
        for row in left.values():
            assert (row.dataset_id, row.tier_id, row.key, row.codec) == (1, 1, f"key of {row.id}", "zstd")
            assert (row.size, row.identity, row.digest, row.index) == (3, "i", "d", b"ix")
            assert (row.created_us, row.storage_class) == (1, "STANDARD")
        assert set(conn.execute(sa.select(replicas.c.blob_id)).scalars()) == left.keys()
        assert conn.execute(sa.select(job_items.c.attempt_id)).scalars().all() == ["staged"]
        assert told(conn) == counted(conn)
        if catalog.dialect == "sqlite":
            assert conn.exec_driver_sql("PRAGMA foreign_key_check").all() == []


def test_replicas_still_refer_to_blobs(empty_url: str) -> None:
    as_it_was(empty_url)
    upgrade_catalog(empty_url)
    with open_catalog(empty_url) as catalog:
        for wrong in (
            sa.delete(blobs).where(blobs.c.id == "live"),
            sa.insert(replicas).values(object_id=2, blob_id="staged", length=5, generation=1, state="current"),
        ):
            with pytest.raises(sa.exc.IntegrityError), catalog.begin() as conn:
                conn.execute(wrong)


@pytest.mark.parametrize(
    ("words", "by"),
    [
        ("zstd does not take it: it does not shrink", " zstd "),
        ("parquet does not take it: it is no table; zstd does not take it: it does not shrink", " zstd parquet "),
        ("later does not take it: zstd does", None),
    ],
)
def test_the_codecs_that_did_not_take_an_object_are_those_that_its_reasons_name(
    empty_url: str, words: str, by: str | None
) -> None:
    """By schema 0016. What names none is asked of each codec anew."""
    as_it_was(empty_url, f"UPDATE objects SET no_gain = 1, not_taken = '{words}' WHERE id = 1")
    upgrade_catalog(empty_url)
    with open_catalog(empty_url) as catalog, catalog.read() as conn:
        of = sa.select(objects.c.no_gain, objects.c.no_gain_by, objects.c.not_taken).order_by(objects.c.id)
        marked = (1, by, words) if by else (None, None, None)
        assert [tuple(row) for row in conn.execute(of)] == [marked, (None, None, None)]


def test_what_holds_something_is_never_taken_for_an_attempt(empty_url: str) -> None:
    """There is no such row. Were there one, nothing is changed: what has the content of an object must not be cleared
    away."""
    held = (
        "INSERT INTO replicas (object_id, blob_id, length, generation, state) VALUES (2, 'replaced', 5, 1, 'current')"
    )
    as_it_was(empty_url, held)
    with pytest.raises(sa.exc.IntegrityError):
        upgrade_catalog(empty_url)
    engine = sa.create_engine(parse_url(empty_url))
    with engine.connect() as conn:
        assert migrate.revision(conn) == "0012"
        assert set(conn.execute(sa.text("SELECT id FROM blobs")).scalars()) == ROWS.keys()
        assert not sa.inspect(conn).has_table("attempts")
    engine.dispose()
