"""Which objects a server copies by itself, as far as a plan can know, so that no byte of them passes through us."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.schema import objects
from storaged.decide import sql
from storaged.decide.guards import AT_ITS_KEY
from storaged.decide.money import LARGEST_COPY
from storaged.decide.places import CopiedFrom
from storaged.decide.selection import Selection
from storaged.model import IDENTITY

_NONE: ColumnElement[int] = sa.literal(0, sa.BigInteger())


def copied(selection: Selection, known: Mapping[int, CopiedFrom]) -> ColumnElement[int]:
    """1: one server has both places, its content is stored as it is in both, and was stored in one piece, or by us."""
    to, tiers = selection.policy.to, selection.inputs.evidence.tiers
    one_server = None if to.tier is None else known.get(tiers[to.tier])
    if one_server is None or to.in_place or to.packing is not None:
        return _NONE
    whole = objects.c.raw_identity.not_like(one_server.in_parts)
    theirs = sa.case(
        (AT_ITS_KEY, sa.and_(sql.in_ids(objects.c.dataset_id, one_server.datasets), whole)),
        else_=sql.in_ids(objects.c.tier_id, one_server.tiers),
    )
    plain = sa.and_(objects.c.codec == IDENTITY.name, selection.codec() == IDENTITY.name)
    return sa.case((sa.and_(plain, objects.c.size <= LARGEST_COPY, theirs), 1), else_=0)
