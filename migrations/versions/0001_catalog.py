"""The catalog's first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite gives rowids only to INTEGER
KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # sorts by bytes on both


def upgrade() -> None:
    op.create_table(
        "access",
        sa.Column("object_id", ID, nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("reads", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("read_bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("writes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("last_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("object_id", "day", name=op.f("pk_access")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "audit",
        sa.Column("id", ID, nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("dataset", sa.Text()),
        sa.Column("object", sa.Text()),
        sa.Column("job_id", ID),
        sa.Column("plan_id", ID),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), server_default="{}", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_at_us"), "audit", ["at_us"])
    op.create_index(op.f("ix_audit_object_dataset"), "audit", ["object", "dataset"])
    op.create_table(
        "log_segments",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("before_hash", sa.BigInteger()),
        sa.Column("end_hash", sa.BigInteger()),
        sa.Column("lines", sa.LargeBinary(), nullable=False),
        sa.Column("from_us", sa.BigInteger()),
        sa.Column("to_us", sa.BigInteger()),
        sa.Column("counted_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "digest", name=op.f("pk_log_segments")),
    )
    op.create_index(op.f("ix_log_segments_source_to_us"), "log_segments", ["source", "to_us"])
    op.create_table(
        "meta",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_meta")),
    )
    op.create_table(
        "outbox",
        sa.Column("seq", ID, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("object_id", ID, nullable=False),
        sa.Column("fact", sa.Boolean(), nullable=False),
        sa.Column("entry", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_outbox")),
        sa.UniqueConstraint("id", name=op.f("uq_outbox_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_outbox_object_id"), "outbox", ["object_id"])
    op.create_table(
        "plans",
        sa.Column("id", ID, nullable=False),
        sa.Column("hash", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("made_us", sa.BigInteger(), nullable=False),
        sa.Column("policies", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), server_default="{}", nullable=False),
        sa.CheckConstraint("state IN ('draft', 'saved', 'applied', 'discarded')", name=op.f("ck_plans_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_plans")),
    )
    op.create_table(
        "policies",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("loaded_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_policies")),
    )
    op.create_index("uq_policies_version", "policies", ["name", "digest"], unique=True)
    op.create_table(
        "tiers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("storage_class", sa.Text(), nullable=False),
        sa.Column("capacity_bytes", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tiers")),
        sa.UniqueConstraint("name", name=op.f("uq_tiers_name")),
    )
    op.create_table(
        "datasets",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", KEY, nullable=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.Column("tier_id", sa.Integer(), nullable=False),
        sa.Column("owner", sa.Text(), server_default="", nullable=False),
        sa.Column("tags", sa.Text(), server_default="{}", nullable=False),
        sa.Column("partitions", sa.Text()),
        sa.Column("readers", sa.Text(), server_default="raw", nullable=False),
        sa.Column("hold", sa.Text()),
        sa.Column("pin_tier_id", sa.Integer()),
        sa.Column("table_format", sa.Text()),
        sa.Column("registered_us", sa.BigInteger(), nullable=False),
        sa.Column("scanned_us", sa.BigInteger()),
        sa.CheckConstraint("readers IN ('raw', 'storaged')", name=op.f("ck_datasets_readers")),
        sa.ForeignKeyConstraint(["pin_tier_id"], ["tiers.id"], name=op.f("fk_datasets_pin_tier_id")),
        sa.ForeignKeyConstraint(["tier_id"], ["tiers.id"], name=op.f("fk_datasets_tier_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datasets")),
        sa.UniqueConstraint("name", name=op.f("uq_datasets_name")),
    )
    op.create_table(
        "plan_items",
        sa.Column("plan_id", ID, nullable=False),
        sa.Column("object_id", ID, nullable=False),
        sa.Column("policy", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.Column("after_bytes", sa.BigInteger(), nullable=False),
        sa.Column("tier_id", sa.Integer(), nullable=False),
        sa.Column("codec", sa.Text(), nullable=False),
        sa.Column("level", sa.Integer()),
        sa.Column("grace_us", sa.BigInteger(), nullable=False),
        sa.Column("allow_loss", sa.Text(), nullable=False, server_default="[]"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("held", sa.Text()),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name=op.f("fk_plan_items_plan_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tier_id"], ["tiers.id"], name=op.f("fk_plan_items_tier_id")),
        sa.PrimaryKeyConstraint("plan_id", "object_id", name=op.f("pk_plan_items")),
    )
    op.create_table(
        "blobs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("dataset_id", sa.Integer()),
        sa.Column("tier_id", sa.Integer()),
        sa.Column("key", KEY, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("codec", sa.Text(), server_default="identity", nullable=False),
        sa.Column("size", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("identity", sa.Text(), server_default="", nullable=False),
        sa.Column("digest", sa.Text(), server_default="", nullable=False),
        sa.Column("index", sa.LargeBinary(), nullable=False),
        sa.Column("job_id", ID),
        sa.Column("damaged", sa.Text()),
        sa.Column("note", sa.Text()),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("sign_us", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("state IN ('staged', 'live', 'releasing', 'tombstone')", name=op.f("ck_blobs_state")),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_blobs_dataset_id")),
        sa.ForeignKeyConstraint(["tier_id"], ["tiers.id"], name=op.f("fk_blobs_tier_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_blobs")),
    )
    op.create_index(op.f("ix_blobs_job_id"), "blobs", ["job_id"])
    op.create_index(
        op.f("ix_blobs_state"),
        "blobs",
        ["state"],
        sqlite_where=sa.text("state <> 'live'"),
        postgresql_where=sa.text("state <> 'live'"),
    )
    op.create_table(
        "heat_coverage",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("from_us", sa.BigInteger(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_heat_coverage_dataset_id")),
        sa.PrimaryKeyConstraint("source", "dataset_id", name=op.f("pk_heat_coverage")),
    )
    op.create_table(
        "jobs",
        sa.Column("id", ID, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("plan_id", ID),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("not_before_us", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("lease", sa.Text()),
        sa.Column("lease_until_us", sa.BigInteger()),
        sa.Column("worker", sa.Text()),
        sa.Column("error", sa.Text()),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("started_us", sa.BigInteger()),
        sa.Column("finished_us", sa.BigInteger()),
        sa.CheckConstraint("kind IN ('rewrite', 'return')", name=op.f("ck_jobs_kind")),
        sa.CheckConstraint("state IN ('queued', 'running', 'done', 'failed', 'cancelled')", name=op.f("ck_jobs_state")),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_jobs_dataset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index(
        "ix_jobs_live",
        "jobs",
        ["state", "not_before_us"],
        sqlite_where=sa.text("state IN ('queued', 'running')"),
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.create_table(
        "objects",
        sa.Column("id", ID, nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("name", KEY, nullable=False),
        sa.Column("generation", sa.Integer(), server_default="1", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("mtime_us", sa.BigInteger(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.Text(), server_default="", nullable=False),
        sa.Column("format", sa.Text(), server_default="", nullable=False),
        sa.Column("partition", sa.Text()),
        sa.Column("raw_state", sa.Text(), server_default="current", nullable=False),
        sa.Column("raw_identity", sa.Text(), server_default="", nullable=False),
        sa.Column("raw_attempt", sa.Text(), server_default="", nullable=False),
        sa.Column("raw_until_us", sa.BigInteger()),
        sa.Column("tier_id", sa.Integer()),
        sa.Column("codec", sa.Text(), server_default="identity", nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.Column("hold", sa.Text()),
        sa.Column("pin_tier_id", sa.Integer()),
        sa.Column("removed_us", sa.BigInteger()),
        sa.Column("metadata", sa.Text(), nullable=False, server_default="{}"),
        sa.Column("fact_id", sa.Text()),
        sa.Column("no_gain", sa.Integer()),
        sa.Column("damaged", sa.Text()),
        sa.Column("last_read_us", sa.BigInteger()),
        sa.Column("heat_reads", sa.Double()),
        sa.Column("heat_bytes", sa.Double()),
        sa.CheckConstraint(
            "raw_state IN ('current', 'superseded', 'releasing', 'released', 'absent')",
            name=op.f("ck_objects_raw_state"),
        ),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_objects_dataset_id")),
        sa.ForeignKeyConstraint(["pin_tier_id"], ["tiers.id"], name=op.f("fk_objects_pin_tier_id")),
        sa.ForeignKeyConstraint(["tier_id"], ["tiers.id"], name=op.f("fk_objects_tier_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_objects")),
    )
    op.create_index(
        "ix_objects_raw_due",
        "objects",
        ["raw_until_us"],
        sqlite_where=sa.text("raw_state IN ('superseded', 'releasing')"),
        postgresql_where=sa.text("raw_state IN ('superseded', 'releasing')"),
    )
    op.create_index("uq_objects_name", "objects", ["dataset_id", "name"], unique=True)
    op.create_table(
        "scans",
        sa.Column("id", ID, nullable=False),
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("finished_us", sa.BigInteger()),
        sa.Column("cursor", KEY, server_default="", nullable=False),
        sa.Column("seen", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("added", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("changed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("vanished", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reappeared", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("skipped", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_scans_dataset_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scans")),
    )
    op.create_index(op.f("ix_scans_dataset_id_started_us"), "scans", ["dataset_id", "started_us"])
    op.create_table(
        "job_items",
        sa.Column("job_id", ID, nullable=False),
        sa.Column("object_id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("tier_id", sa.Integer()),
        sa.Column("codec", sa.Text(), nullable=False),
        sa.Column("level", sa.Integer()),
        sa.Column("grace_us", sa.BigInteger(), nullable=False),
        sa.Column("allow_loss", sa.Text(), nullable=False, server_default="[]"),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="pending", nullable=False),
        sa.Column("blob_id", sa.Text()),
        sa.Column("note", sa.Text()),
        sa.Column("before_bytes", sa.BigInteger()),
        sa.Column("after_bytes", sa.BigInteger()),
        sa.CheckConstraint("state IN ('pending', 'done', 'skipped', 'failed')", name=op.f("ck_job_items_state")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_items_job_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["tier_id"], ["tiers.id"], name=op.f("fk_job_items_tier_id")),
        sa.PrimaryKeyConstraint("job_id", "object_id", name=op.f("pk_job_items")),
    )
    op.create_index(
        "uq_job_items_live",
        "job_items",
        ["object_id"],
        unique=True,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_table(
        "replicas",
        sa.Column("object_id", ID, nullable=False),
        sa.Column("blob_id", sa.Text(), nullable=False),
        sa.Column("offset", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("length", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("until_us", sa.BigInteger()),
        sa.CheckConstraint("state IN ('current', 'superseded', 'releasing')", name=op.f("ck_replicas_state")),
        sa.ForeignKeyConstraint(["blob_id"], ["blobs.id"], name=op.f("fk_replicas_blob_id")),
        sa.ForeignKeyConstraint(["object_id"], ["objects.id"], name=op.f("fk_replicas_object_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("object_id", "blob_id", name=op.f("pk_replicas")),
    )
    op.create_index(op.f("ix_replicas_blob_id"), "replicas", ["blob_id"])
    op.create_index(
        "ix_replicas_due",
        "replicas",
        ["until_us"],
        sqlite_where=sa.text("state <> 'current'"),
        postgresql_where=sa.text("state <> 'current'"),
    )
    op.create_index(
        "uq_replicas_current",
        "replicas",
        ["object_id"],
        unique=True,
        sqlite_where=sa.text("state = 'current'"),
        postgresql_where=sa.text("state = 'current'"),
    )
