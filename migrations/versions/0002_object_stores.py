"""What object stores have beside bytes: storage classes, versions, locks, archive classes; and logs that are there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite gives rowids only to INTEGER
KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # sorts by bytes on both


def _flag(name: str, *, default: bool = False) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), server_default=sa.true() if default else sa.false(), nullable=False)


def upgrade() -> None:
    op.add_column("datasets", sa.Column("versioning", sa.Text(), server_default="off", nullable=False))
    op.add_column("datasets", _flag("locks"))
    op.add_column("datasets", _flag("conditional", default=True))
    op.add_column("datasets", _flag("transitions"))
    op.add_column("blobs", sa.Column("storage_class", sa.Text(), server_default="", nullable=False))
    op.add_column("objects", sa.Column("raw_class", sa.Text(), server_default="STANDARD", nullable=False))
    op.add_column("objects", sa.Column("locked_until_us", sa.BigInteger()))
    op.add_column("objects", _flag("purge"))
    op.add_column("plan_items", _flag("in_place"))
    op.add_column("plan_items", _flag("purge"))
    op.add_column("job_items", sa.Column("storage_class", sa.Text()))
    op.add_column("job_items", _flag("purge"))
    # The new ledger knows nothing of what the old one counted. So nothing is counted, or the same logs would count
    # twice; and nothing is covered, so that nothing is idle, until they are read again.
    op.drop_index("ix_log_segments_source_to_us", "log_segments")
    op.drop_table("log_segments")
    op.execute(sa.text("DELETE FROM access"))
    op.execute(sa.text("DELETE FROM heat_coverage"))
    op.execute(sa.text("UPDATE objects SET last_read_us = NULL, heat_reads = NULL, heat_bytes = NULL"))
    op.create_table(
        "log_sources",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("begun_us", sa.BigInteger(), nullable=False),
        sa.Column("from_us", sa.BigInteger()),
        sa.Column("kept_from_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_log_sources")),
    )
    op.create_table(
        "log_lines",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("source", "minute", name=op.f("pk_log_lines")),
    )
    op.create_table(
        "log_blocks",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("seen_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "digest", name=op.f("pk_log_blocks")),
    )
    op.create_table(
        "access_waiting",
        sa.Column("dataset_id", sa.Integer(), nullable=False),
        sa.Column("name", KEY, nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("reads", sa.BigInteger(), nullable=False),
        sa.Column("read_bytes", sa.BigInteger(), nullable=False),
        sa.Column("whole_reads", sa.BigInteger(), nullable=False),
        sa.Column("writes", sa.BigInteger(), nullable=False),
        sa.Column("last_us", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_access_waiting_dataset_id")),
        sa.PrimaryKeyConstraint("dataset_id", "name", "day", name=op.f("pk_access_waiting")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "log_files",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("key", KEY, nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("read_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("source", "key", name=op.f("pk_log_files")),
    )
    op.create_table(
        "restores",
        sa.Column("id", ID, nullable=False),
        sa.Column("object_id", ID, nullable=False),
        sa.Column("blob_id", sa.Text()),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("speed", sa.Text(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("asked_us", sa.BigInteger(), nullable=False),
        sa.Column("expected_us", sa.BigInteger(), nullable=False),
        sa.Column("looked_us", sa.BigInteger()),
        sa.Column("ready_us", sa.BigInteger()),
        sa.Column("until_us", sa.BigInteger()),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("error", sa.Text()),
        sa.CheckConstraint("state IN ('warming', 'readable', 'expired', 'failed')", name=op.f("ck_restores_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_restores")),
    )
    op.create_index(
        "uq_restores_live",
        "restores",
        ["object_id"],
        unique=True,
        sqlite_where=sa.text("state IN ('warming', 'readable')"),
        postgresql_where=sa.text("state IN ('warming', 'readable')"),
    )
