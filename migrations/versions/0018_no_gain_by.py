"""Which codecs did not take a content."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

CODECS = ("zstd", "parquet", "inflated")


def upgrade() -> None:
    op.add_column("objects", sa.Column("no_gain_by", sa.Text()))
    objects = sa.table("objects", sa.column("no_gain"), sa.column("not_taken", sa.Text()), sa.column("no_gain_by"))
    o = objects.c
    for codec in CODECS:  # at which level was not told: mostly they were asked for without one
        said = f"{codec} does not take it: "
        told = sa.or_(o.not_taken.startswith(said), o.not_taken.contains(f"; {said}"))
        added = sa.func.coalesce(o.no_gain_by, " ").concat(f"{codec} ")
        op.execute(sa.update(objects).where(o.no_gain.is_not(None), told).values(no_gain_by=added))
    # Of what is not known by whom, each codec is asked once more.
    nobody = sa.and_(o.no_gain.is_not(None), o.no_gain_by.is_(None))
    op.execute(sa.update(objects).where(nobody).values(no_gain=None, not_taken=None))
