"""The table of forecast models. It says nothing of where an object is: a catalog without it loses nothing."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text

from storaged.catalog.schema import Id, where
from storaged.catalog.schema_references import referrers

metadata: Final = referrers.metadata  # with this table it has all of the catalog's

models: Final = Table(  # forecast models that were kept
    "models",
    metadata,
    Column("id", Id, primary_key=True),  # its version
    Column("made_us", BigInteger, nullable=False),
    Column("cut_day", Integer, nullable=False),  # it was learnt of the days before this one (since 1970)
    Column("half_life_us", BigInteger, nullable=False),
    Column("in_use", Boolean, nullable=False),
    Column("text", Text, nullable=False),  # JSON, as storaged.decide.forecast.model writes it
    Column("report", Text, nullable=False),  # JSON: how good it was on days after the cut
    Index("uq_models_in_use", "in_use", unique=True, **where("in_use")),
    sqlite_autoincrement=True,  # a version that was dropped must not come back as another
)
