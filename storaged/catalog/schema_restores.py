"""The table of restores: what was asked for of what is in archive classes."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text

from storaged.catalog.schema import Id, one_of, where
from storaged.catalog.schema_collections import collections

metadata: Final = collections.metadata

restores: Final = Table(  # readable copies asked for of what is in an archive class
    "restores",
    metadata,
    Column("id", Id, primary_key=True),
    Column("object_id", Id, nullable=False),
    Column("blob_id", Text),  # None: at the original key
    Column("identity", Text, nullable=False),  # of the stored thing
    Column("state", Text, nullable=False),
    Column("speed", Text, nullable=False),  # the store's word: Expedited, Standard, Bulk
    Column("days", Integer, nullable=False),
    Column("asked_us", BigInteger, nullable=False),
    Column("expected_us", BigInteger, nullable=False),  # the store's promise for this class and speed
    Column("looked_us", BigInteger),  # when the store was last asked
    Column("ready_us", BigInteger),  # when it was first seen readable
    Column("until_us", BigInteger),  # when the readable copy goes
    Column("actor", Text, nullable=False),
    Column("error", Text),
    one_of("state", "warming", "readable", "expired", "failed"),
    Index("uq_restores_live", "object_id", unique=True, **where("state IN ('warming', 'readable')")),
)
