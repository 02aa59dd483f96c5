"""Catalogs taken back to earlier schemas, with what they hold."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from storaged.catalog import totals, views
from storaged.catalog.engine import parse_url

_STATES: Final = "CONSTRAINT ck_blobs_state CHECK (state IN ('staged', 'live', 'releasing', 'tombstone'))"
_LOOSER: Final = {
    "sqlite": (
        f"""CREATE TABLE blobs_before (id TEXT NOT NULL CONSTRAINT pk_blobs PRIMARY KEY,
          dataset_id INTEGER CONSTRAINT fk_blobs_dataset_id REFERENCES datasets (id),
          tier_id INTEGER CONSTRAINT fk_blobs_tier_id REFERENCES tiers (id), "key" TEXT NOT NULL, state TEXT NOT NULL,
          codec TEXT DEFAULT 'identity' NOT NULL, size BIGINT DEFAULT '0' NOT NULL, identity TEXT DEFAULT '' NOT NULL,
          digest TEXT DEFAULT '' NOT NULL, "index" BLOB NOT NULL, created_us BIGINT NOT NULL,
          storage_class TEXT DEFAULT '' NOT NULL, {_STATES})""",
        "INSERT INTO blobs_before SELECT id, dataset_id, tier_id, key, state, codec, size, identity, digest, "
        '"index", created_us, storage_class FROM blobs',
        "DROP TABLE blobs",
        "ALTER TABLE blobs_before RENAME TO blobs",
        "CREATE INDEX ix_blobs_state ON blobs (state) WHERE state <> 'live'",
        "CREATE INDEX ix_blobs_tier_id_key ON blobs (tier_id, key)",
    ),
    "postgresql": (
        "ALTER TABLE blobs DROP CONSTRAINT ck_blobs_state",
        f"ALTER TABLE blobs ADD {_STATES}",
        "ALTER TABLE blobs ALTER COLUMN tier_id DROP NOT NULL",
    ),
}
_UNREFERRED: Final = ("DROP TABLE referred", "DROP TABLE referrers")
_UNSURVEYED: Final = tuple(
    f"DROP TABLE {name}" for name in ("models", "examinations", "approvals", "deliveries", "notices", "surveys")
)
_UNASKED: Final = ("DROP INDEX IF EXISTS ix_objects_asked", "DROP INDEX ix_audit_classes")
_ONE_BY_ONE: Final = tuple(f"ALTER TABLE {table} DROP COLUMN whole" for table in ("plan_items", "jobs"))
_UNSHARED: Final = (
    "DROP INDEX ix_ledger_items_source_blob",
    *(f"ALTER TABLE ledger_items DROP COLUMN {name}" for name in ("source_blob", "source_bytes", "size")),
    "ALTER TABLE replicas DROP COLUMN packed_before",
)
_UNPACKED: Final = (
    "ALTER TABLE objects DROP COLUMN no_gain_by",
    "ALTER TABLE plan_items DROP COLUMN pack",
    "ALTER TABLE jobs DROP COLUMN pack",
    "DROP INDEX ix_blobs_packs",
    "ALTER TABLE blobs DROP COLUMN packed_bytes",
    "ALTER TABLE blobs DROP COLUMN live_bytes",
)
_STAYING: Final = (
    "DROP INDEX ix_plan_items_leaves",
    *(f"ALTER TABLE plan_items DROP COLUMN {name}" for name in ("leaves", "left_spend", "left_saving")),
)
_MEMORY: Final = ("year_reads", "year_bytes", "days_reads", "days_bytes", "day_reads", "day_bytes")
_FORGOTTEN: Final = (
    "DROP INDEX ix_objects_allocated",
    *(f"ALTER TABLE objects DROP COLUMN {name}" for name in ("raw_allocated", *_MEMORY)),
)
_UNHEATED: Final = (*_FORGOTTEN, "ALTER TABLE objects DROP COLUMN heat_recent")
_OF_NO_EDITION: Final = (
    "DROP INDEX ix_objects_editions",
    *(f"ALTER TABLE objects DROP COLUMN {name}" for name in ("edition", "raw_edition", "raw_size", "raw_digest")),
    *(f"ALTER TABLE replicas DROP COLUMN {name}" for name in ("edition", "digest")),
    *(
        f"ALTER TABLE {table} DROP COLUMN {name}"
        for table in ("plan_items", "job_items")
        for name in ("fidelity", "reencode")
    ),
)
_JOINED: Final = (
    "ALTER TABLE blobs ADD COLUMN job_id BIGINT",
    "ALTER TABLE blobs ADD COLUMN note TEXT",
    "ALTER TABLE blobs ADD COLUMN sign_us BIGINT NOT NULL DEFAULT 0",
    "CREATE INDEX ix_blobs_job_id ON blobs (job_id)",
    """INSERT INTO blobs (id, dataset_id, tier_id, key, state, codec, size, identity, digest, "index", created_us,
      storage_class, job_id, note, sign_us)
    SELECT id, dataset_id, tier_id, key, state, codec, size,
      CASE WHEN kind = 'transition' THEN source_identity ELSE visible_identity END,
      CASE WHEN kind = 'transition' THEN source_checksum ELSE visible_digest END,
      CAST('' AS {bytes}), created_us, storage_class, job_id, note, sign_us FROM attempts""",
    "DROP TABLE attempts",
    "ALTER TABLE job_items RENAME COLUMN attempt_id TO blob_id",
)


def without_attempts(conn: sa.Connection) -> None:
    """To schema 0012, where attempts were blobs and a blob was of one object. Views and totals are gone already."""
    dialect = conn.dialect.name
    for statement in (
        *(*_STAYING, *_UNHEATED, *_UNREFERRED, *_UNSHARED, *_ONE_BY_ONE, *_UNASKED, *_UNSURVEYED),
        *(*_OF_NO_EDITION, *_UNPACKED),
    ):
        conn.execute(sa.text(statement))
    for statement in (*_LOOSER[dialect], *_JOINED):
        conn.execute(sa.text(statement.format(bytes="BLOB" if dialect == "sqlite" else "BYTEA")))
    conn.execute(sa.text("UPDATE alembic_version SET version_num = '0012'"))


def take_back_to_0012(url: str) -> None:
    """A catalog that nobody has open."""
    engine = sa.create_engine(parse_url(url))
    with engine.begin() as conn:
        views.drop(conn)
        totals.drop(conn)
        without_attempts(conn)
        totals.create(conn)
    engine.dispose()
