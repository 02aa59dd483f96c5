"""What an original takes where that is less than its size: the next scan tells."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("objects", sa.Column("raw_allocated", sa.BigInteger()))
    told = sa.text("raw_allocated IS NOT NULL")
    op.create_index("ix_objects_allocated", "objects", ["raw_state"], sqlite_where=told, postgresql_where=told)
