"""A file's identity without the number of its device, which changes with a remount; and which roots carry our marker."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_FIVE = "{0} LIKE '%:%:%:%:%' AND {0} NOT LIKE '%:%:%:%:%:%'"  # device, inode, size, mtime, ctime


def _drop_the_device(table: str, column: str, mine: str) -> None:
    at = "instr({0}, ':')" if op.get_bind().dialect.name == "sqlite" else "strpos({0}, ':')"
    rest = f"substr({column}, {at.format(column)} + 1)"
    op.execute(sa.text(f"UPDATE {table} SET {column} = {rest} WHERE {_FIVE.format(column)} AND {mine}"))


def upgrade() -> None:
    op.add_column("datasets", sa.Column("claimed", sa.Boolean(), server_default=sa.false(), nullable=False))
    # Only what is known to have had our marker: whatever was moved from a root was moved under its claim.
    moved = "SELECT dataset_id FROM objects WHERE raw_state NOT IN ('current', 'absent')"
    op.execute(sa.text(f"UPDATE datasets SET claimed = true WHERE id IN ({moved})"))
    roots = "SELECT id FROM datasets WHERE root LIKE 'file:%'"
    tiers = "SELECT id FROM tiers WHERE url LIKE 'file:%'"
    at_roots = f"SELECT id FROM objects WHERE dataset_id IN ({roots})"
    _drop_the_device("objects", "raw_identity", f"dataset_id IN ({roots})")
    _drop_the_device("blobs", "identity", f"(tier_id IN ({tiers}) OR (tier_id IS NULL AND dataset_id IN ({roots})))")
    local_blobs = f"SELECT id FROM blobs WHERE tier_id IN ({tiers})"
    for table, rest in (("restores", f"blob_id IN ({local_blobs}) OR (blob_id IS NULL AND"), ("plan_items", "(true AND")):
        _drop_the_device(table, "identity", f"({rest} object_id IN ({at_roots})))")
