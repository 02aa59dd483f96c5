"""A file's identity loses the number of its device, another one after a remount; claimed roots are noted."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

DATASETS = sa.table("datasets", *map(sa.column, ("id", "root", "claimed")))
TIERS = sa.table("tiers", *map(sa.column, ("id", "url")))
OBJECTS = sa.table("objects", *map(sa.column, ("id", "dataset_id", "raw_state", "raw_identity")))
BLOBS = sa.table("blobs", *map(sa.column, ("id", "dataset_id", "tier_id", "identity")))
RESTORES = sa.table("restores", *map(sa.column, ("object_id", "blob_id", "identity")))
PLAN_ITEMS = sa.table("plan_items", *map(sa.column, ("object_id", "identity")))


def _drop_the_device(table: sa.TableClause, column: sa.ColumnClause[Any], mine: sa.ColumnElement[bool]) -> None:
    """Device, inode, size, mtime and ctime become the last four of these."""
    first = sa.func.instr if op.get_bind().dialect.name == "sqlite" else sa.func.strpos
    five = sa.and_(column.like("%:%:%:%:%"), column.not_like("%:%:%:%:%:%"))
    rest = sa.func.substr(column, first(column, ":") + 1)
    op.execute(sa.update(table).where(five, mine).values({column.name: rest}))


def upgrade() -> None:
    op.add_column("datasets", sa.Column("claimed", sa.Boolean(), server_default=sa.false(), nullable=False))
    # Only what is known to have had our marker: whatever was moved from a root was moved under its claim.
    moved = sa.select(OBJECTS.c.dataset_id).where(OBJECTS.c.raw_state.not_in(["current", "absent"]))
    op.execute(sa.update(DATASETS).where(DATASETS.c.id.in_(moved)).values(claimed=sa.true()))
    roots = sa.select(DATASETS.c.id).where(DATASETS.c.root.like("file:%"))
    tiers = sa.select(TIERS.c.id).where(TIERS.c.url.like("file:%"))
    in_tiers = sa.select(BLOBS.c.id).where(BLOBS.c.tier_id.in_(tiers))
    at_roots = sa.select(OBJECTS.c.id).where(OBJECTS.c.dataset_id.in_(roots))
    _drop_the_device(OBJECTS, OBJECTS.c.raw_identity, OBJECTS.c.dataset_id.in_(roots))
    at_root = sa.and_(BLOBS.c.tier_id.is_(None), BLOBS.c.dataset_id.in_(roots))
    _drop_the_device(BLOBS, BLOBS.c.identity, sa.or_(BLOBS.c.tier_id.in_(tiers), at_root))
    at_key = sa.and_(RESTORES.c.blob_id.is_(None), RESTORES.c.object_id.in_(at_roots))
    _drop_the_device(RESTORES, RESTORES.c.identity, sa.or_(RESTORES.c.blob_id.in_(in_tiers), at_key))
    _drop_the_device(PLAN_ITEMS, PLAN_ITEMS.c.identity, PLAN_ITEMS.c.object_id.in_(at_roots))
