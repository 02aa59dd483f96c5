"""What objects take elsewhere whose originals take less than their size where they are."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.schema import objects
from storaged.decide.guards import AT_ITS_KEY
from storaged.decide.policy import Policy


def written(policy: Policy) -> ColumnElement[int]:
    """What it takes elsewhere in the form that it has: of such an original all is written, but in place nothing."""
    less = sa.false() if policy.to.in_place else sa.and_(AT_ITS_KEY, objects.c.raw_allocated.is_not(None))
    return sa.case((less, objects.c.size), else_=objects.c.stored_bytes)


def shrunk(policy: Policy, expected: ColumnElement[int]) -> ColumnElement[int]:
    """What a codec makes of it, which is `expected` of its size: no more than the original takes, since holes are
    nothing to a codec. But a file of several names, which its policy has to allow, becomes as many blobs."""
    less = sa.and_(AT_ITS_KEY, objects.c.raw_allocated < expected)
    return expected if "links" in policy.allow_loss else sa.case((less, objects.c.raw_allocated), else_=expected)
