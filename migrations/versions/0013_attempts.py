"""Attempts have a table of their own: a blob is what a proven one became."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite gives rowids only to INTEGER
KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

# At an original key a row with a class was a transition: digest and identity were its source's. One without was a
# return: they were what it had made visible. In a tier they said what was stored, which a discarded attempt needs not.
MOVED = """
INSERT INTO attempts (id, dataset_id, tier_id, key, kind, state, codec, storage_class, source_identity,
  source_checksum, visible_identity, visible_digest, size, job_id, note, created_us, sign_us)
SELECT id, dataset_id, tier_id, key, kind, state, codec, storage_class,
  CASE WHEN kind = 'transition' THEN identity ELSE '' END, CASE WHEN kind = 'transition' THEN digest ELSE '' END,
  CASE WHEN kind = 'return' THEN identity ELSE '' END, CASE WHEN kind = 'return' THEN digest ELSE '' END,
  size, job_id, note, created_us, sign_us
FROM (
  SELECT b.*, CASE WHEN b.tier_id IS NOT NULL THEN 'blob' WHEN b.storage_class = '' THEN 'return' ELSE 'transition' END
    AS kind
  FROM blobs b
  WHERE b.state IN ('staged', 'tombstone') AND NOT EXISTS (SELECT 1 FROM replicas r WHERE r.blob_id = b.id)
) a"""
KEPT = """
INSERT INTO blobs_anew
SELECT id, dataset_id, tier_id, key, state, codec, size, identity, digest, "index", created_us, storage_class
FROM blobs"""
STATES = "state IN ('live', 'releasing')"


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("dataset_id", sa.Integer()),
        sa.Column("tier_id", sa.Integer()),
        sa.Column("key", KEY, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("codec", sa.Text(), server_default="identity", nullable=False),
        sa.Column("storage_class", sa.Text(), server_default="", nullable=False),
        sa.Column("source_identity", sa.Text(), server_default="", nullable=False),
        sa.Column("source_checksum", sa.Text(), server_default="", nullable=False),
        sa.Column("visible_identity", sa.Text(), server_default="", nullable=False),
        sa.Column("visible_digest", sa.Text(), server_default="", nullable=False),
        sa.Column("size", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("job_id", ID),
        sa.Column("note", sa.Text()),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("sign_us", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('blob', 'return', 'transition')", name=op.f("ck_attempts_kind")),
        sa.CheckConstraint("state IN ('staged', 'tombstone')", name=op.f("ck_attempts_state")),
        sa.CheckConstraint("(kind = 'blob') = (tier_id IS NOT NULL)", name=op.f("ck_attempts_tier")),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_attempts_dataset_id")),
        sa.ForeignKeyConstraint(["tier_id"], ["tiers.id"], name=op.f("fk_attempts_tier_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
    )
    op.create_index(op.f("ix_attempts_job_id"), "attempts", ["job_id"])
    op.create_index(op.f("ix_attempts_tier_id_key"), "attempts", ["tier_id", "key"])
    op.execute(sa.text(MOVED))
    op.execute(sa.text("DELETE FROM blobs WHERE id IN (SELECT id FROM attempts)"))
    op.drop_index(op.f("ix_blobs_job_id"), "blobs")
    if op.get_bind().dialect.name == "sqlite":
        _blobs_anew()
    else:
        for column in ("job_id", "note", "sign_us"):
            op.drop_column("blobs", column)
        op.alter_column("blobs", "tier_id", nullable=False)
        op.drop_constraint(op.f("ck_blobs_state"), "blobs")
        op.create_check_constraint(op.f("ck_blobs_state"), "blobs", STATES)
    op.execute(sa.text("ALTER TABLE job_items RENAME COLUMN blob_id TO attempt_id"))


def _blobs_anew() -> None:
    """SQLite changes neither a check nor NOT NULL of a table that is there. Foreign keys are off in an upgrade."""
    op.create_table(
        "blobs_anew",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("dataset_id", sa.Integer()),
        sa.Column("tier_id", sa.Integer(), nullable=False),
        sa.Column("key", KEY, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("codec", sa.Text(), server_default="identity", nullable=False),
        sa.Column("size", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("identity", sa.Text(), server_default="", nullable=False),
        sa.Column("digest", sa.Text(), server_default="", nullable=False),
        sa.Column("index", sa.LargeBinary(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("storage_class", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint(STATES, name=op.f("ck_blobs_state")),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_blobs_dataset_id")),
        sa.ForeignKeyConstraint(["tier_id"], ["tiers.id"], name=op.f("fk_blobs_tier_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_blobs")),
    )
    op.execute(sa.text(KEPT))
    op.drop_table("blobs")
    op.rename_table("blobs_anew", "blobs")
    op.create_index(op.f("ix_blobs_state"), "blobs", ["state"], sqlite_where=sa.text("state <> 'live'"))
    op.create_index(op.f("ix_blobs_tier_id_key"), "blobs", ["tier_id", "key"])
