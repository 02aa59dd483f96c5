"""What of a pack's stored bytes counts as one object's, in SQL: `storaged.model.share` over columns."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from storaged.catalog.schema import blobs, replicas

# Whole numbers below 2^63: a pack's members are far below 2^31 bytes, and it below 2^32.
OF_REPLICA: Final = sa.case(
    (blobs.c.packed_bytes > 0, blobs.c.size * replicas.c.length / blobs.c.packed_bytes), else_=blobs.c.size
)
