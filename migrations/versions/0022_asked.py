"""What plans ask of every object, in an index of its own on SQLite; and when storage classes were changed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.create_index(
            "ix_objects_asked",
            "objects",
            ["dataset_id", "tier_id", "id", "created_us", "last_read_us", "size", "format", "heat_reads"],
            sqlite_where=sa.text("removed_us IS NULL"),
        )
    changes = sa.text("kind IN ('transition', 'reclass')")
    op.create_index(
        "ix_audit_classes",
        "audit",
        ["object", "dataset", "at_us"],
        sqlite_where=changes,
        postgresql_where=changes,
    )
