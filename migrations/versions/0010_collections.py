"""What is one thing is known by its prefix and kind, no longer by a mark on its whole dataset."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
LAST = "\U0010ffff"


def upgrade() -> None:
    made = op.create_table(
        "collections",
        sa.Column("dataset_id", sa.Integer(), sa.ForeignKey("datasets.id"), nullable=False),
        sa.Column("prefix", KEY, nullable=False),
        sa.Column("until", KEY, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("marker", KEY, nullable=False),
        sa.Column("found_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("dataset_id", "prefix", name="pk_collections"),
        sqlite_with_rowid=False,
    )
    for table in ("plan_items", "job_items"):
        op.add_column(table, sa.Column("apart", sa.Boolean(), server_default=sa.false(), nullable=False))
    conn = op.get_bind()
    marked = conn.execute(
        sa.text("SELECT id, table_format, coalesce(scanned_us, 0) FROM datasets WHERE table_format IS NOT NULL")
    )
    for number, kind, found_us in marked.all():  # all of it, as before, until the next scan tells where it is
        row = {"dataset_id": number, "prefix": "", "until": LAST, "kind": kind, "marker": "", "found_us": found_us}
        conn.execute(sa.insert(made).values(row))
    op.drop_column("datasets", "table_format")
    op.execute(sa.text("UPDATE plan_items SET held = 'collection' WHERE held = 'table'"))
    for number, summary in conn.execute(sa.text("SELECT id, summary FROM plans")).all():
        known = json.loads(summary)
        if any(_renamed(policy) for policy in known.get("policies", [])):
            statement = sa.text("UPDATE plans SET summary = :summary WHERE id = :id")
            conn.execute(statement, {"summary": json.dumps(known), "id": number})


def _renamed(policy: dict[str, Any]) -> bool:
    found = [part for part in (policy.get("held", {}), policy.get("held_money", {})) if "table" in part]
    for part in found:
        part["collection"] = part.pop("table")
    return bool(found)
