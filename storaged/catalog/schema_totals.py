"""The tables of totals: what objects and blobs come to, by kind, kept by triggers (totals.py). On Postgres a kind may
have many rows, some below 0: readers add them up."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text

from storaged.catalog.schema_attempts import attempts

metadata: Final = attempts.metadata

object_totals: Final = Table(  # objects by kind
    "object_totals",
    metadata,
    Column("dataset_id", Integer, nullable=False),
    Column("tier_id", Integer),
    Column("format", Text, nullable=False),
    Column("codec", Text, nullable=False),
    Column("raw_state", Text, nullable=False),
    Column("raw_class", Text, nullable=False),
    Column("removed", Integer, nullable=False),  # 1: by its users
    Column("empty", Integer, nullable=False),  # 1: without content
    Column("objects", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("stored_bytes", BigInteger, nullable=False),
    Column("damaged", BigInteger, nullable=False),  # objects
    Index(None, "dataset_id", "format", "tier_id", "raw_state"),
)

blob_totals: Final = Table(  # the same of blobs
    "blob_totals",
    metadata,
    Column("tier_id", Integer),
    Column("state", Text, nullable=False),
    Column("blobs", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
)
