"""Why the store of an original key would not delete what is there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("objects", sa.Column("stuck", sa.Text()))
    op.create_index(
        "ix_objects_stuck",
        "objects",
        ["dataset_id"],
        sqlite_where=sa.text("stuck IS NOT NULL"),
        postgresql_where=sa.text("stuck IS NOT NULL"),
    )
