"""What plans have of the packs that their objects come out of."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("plan_items", sa.Column("leaves", sa.Text()))
    for name in ("left_spend", "left_saving"):
        op.add_column("plan_items", sa.Column(name, sa.BigInteger()))
    leave = sa.text("leaves IS NOT NULL")
    op.create_index(
        "ix_plan_items_leaves", "plan_items", ["plan_id", "leaves"], sqlite_where=leave, postgresql_where=leave
    )
