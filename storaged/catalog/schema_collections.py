"""The table of things of many files: what the last scan found them to be, none inside another."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Table, Text

from storaged.catalog.schema import Key
from storaged.catalog.schema_money import ledger

metadata: Final = ledger.metadata

collections: Final = Table(
    "collections",
    metadata,
    Column("dataset_id", ForeignKey("datasets.id"), primary_key=True),
    Column("prefix", Key, primary_key=True),  # its first key may be this one; empty: all of the root
    Column("until", Key, nullable=False),  # its keys are before this one
    Column("kind", Text, nullable=False),
    Column("marker", Key, nullable=False),  # a key that shows it
    Column("found_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
