"""What daemons share: due times, leases, runs, suspensions; whose policy a job is of and when its turn is; and every
change of a policy, not only every text that it ever had."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite gives rowids only to INTEGER


def upgrade() -> None:
    op.add_column("jobs", sa.Column("policy", sa.Text()))
    op.add_column("jobs", sa.Column("turn_us", sa.BigInteger(), server_default="0", nullable=False))
    op.execute(sa.text("UPDATE jobs SET turn_us = created_us"))
    op.execute(sa.text("UPDATE jobs SET policy = substr(reason, 8) WHERE reason LIKE 'policy %' AND plan_id > 0"))
    live = "state IN ('queued', 'running')"
    op.drop_index("ix_jobs_live", "jobs")
    op.create_index(
        "ix_jobs_live",
        "jobs",
        ["state", "turn_us"],
        sqlite_where=sa.text(live),
        postgresql_where=sa.text(live),
    )
    op.create_index(op.f("ix_jobs_finished_us"), "jobs", ["finished_us"])
    op.create_index(op.f("ix_blobs_tier_id_key"), "blobs", ["tier_id", "key"])
    op.drop_index("uq_policies_version", "policies")
    op.create_index(op.f("ix_policies_name_id"), "policies", ["name", "id"])
    op.create_table(
        "daemons",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("seen_us", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("problem", sa.Text()),
        sa.Column("detail", sa.Text(), server_default="{}", nullable=False),
        sa.CheckConstraint("state IN ('running', 'waiting', 'draining')", name=op.f("ck_daemons_state")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_daemons")),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "tasks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("schedule", sa.Text(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("run_id", ID),
        sa.Column("lease", sa.Text()),
        sa.Column("lease_until_us", sa.BigInteger()),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_tasks")),
    )
    op.create_table(
        "runs",
        sa.Column("id", ID, nullable=False),
        sa.Column("task", sa.Text(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("started_us", sa.BigInteger(), nullable=False),
        sa.Column("finished_us", sa.BigInteger()),
        sa.Column("daemon", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="1", nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.CheckConstraint("state IN ('running', 'done', 'failed', 'abandoned')", name=op.f("ck_runs_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_index(op.f("ix_runs_task_started_us"), "runs", ["task", "started_us"])
    op.create_index(op.f("ix_runs_started_us"), "runs", ["started_us"])
    op.create_table(
        "suspensions",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("since_us", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("retry_us", sa.BigInteger()),
        sa.Column("writes", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.CheckConstraint("kind IN ('policy', 'tier', 'dataset')", name=op.f("ck_suspensions_kind")),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_suspensions")),
    )
