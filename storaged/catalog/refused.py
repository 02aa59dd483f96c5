"""What codecs said of generations that they do not take: no plan picks these again for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import sqlalchemy as sa

from storaged.catalog.schema import objects


class Refused(NamedTuple):
    """A generation of an object that a codec does not take, and why, in words that name it. `asked`: the codec with its
    level, as `CodecSpec.asked` tells it."""

    object_id: int
    generation: int
    asked: str
    words: str


def note(conn: sa.Connection, refused: Sequence[Refused]) -> None:
    """Remember these, beside what other codecs said of the same generation."""
    if not refused:
        return
    o = objects.c
    words: sa.BindParameter[str] = sa.bindparam("b_why", type_=sa.Text())
    spec: sa.BindParameter[str] = sa.bindparam("b_spec", type_=sa.Text())
    others = sa.and_(o.no_gain == o.generation, o.no_gain_by.is_not(None))
    by = sa.case((o.no_gain_by.contains(" " + spec), o.no_gain_by), else_=o.no_gain_by + spec)
    told = sa.and_(o.no_gain == o.generation, o.not_taken.is_not(None))
    both = sa.case((o.not_taken.contains(words), o.not_taken), else_=o.not_taken + "; " + words)
    conn.execute(
        sa.update(objects)
        .where(o.id == sa.bindparam("b_id"), o.generation == sa.bindparam("b_generation"))
        .values(
            no_gain=sa.bindparam("b_generation"),
            no_gain_by=sa.case((others, by), else_=" " + spec),
            not_taken=sa.case((told, both), else_=words),
        ),
        [
            {"b_id": one.object_id, "b_generation": one.generation, "b_why": one.words, "b_spec": f"{one.asked} "}
            for one in refused
        ],
    )
