"""The tables of moves: where each object came from last, and what jobs are going to bring into each tier."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Integer, Table, Text

from storaged.catalog.schema import Id
from storaged.catalog.schema_restores import restores

metadata: Final = restores.metadata

moves: Final = Table(  # the last move of ours of each object that is still of that generation
    "moves",
    metadata,
    Column("object_id", ForeignKey("objects.id", ondelete="CASCADE"), primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("tier_id", ForeignKey("tiers.id"), nullable=False),  # that it left, or was rewritten in
    Column("codec", Text, nullable=False),  # that it had there
)

promises: Final = Table(  # what a job takes of a tier's room, until it is over
    "promises",
    metadata,
    Column("job_id", Id, ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("tier_id", Integer, ForeignKey("tiers.id"), primary_key=True, autoincrement=False),
    Column("bytes", BigInteger, nullable=False),  # as its plan expects, else the size of the content
)
