"""The tables of surveys, and of what people are told of: notices, and each one's way to each receiver.

They say nothing of where an object is: a catalog without them loses nothing.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, Table, Text

from storaged.catalog.schema import Id, one_of, where
from storaged.catalog.schema_totals import object_totals

metadata: Final = object_totals.metadata

surveys: Final = Table(  # the last survey of each day
    "surveys",
    metadata,
    Column("day", Integer, primary_key=True, autoincrement=False),  # days since 1970-01-01 UTC
    Column("at_us", BigInteger, nullable=False),
    Column("money", Text, nullable=False),  # JSON
    Column("spread", Text, nullable=False),  # JSON: what there is by dataset, age and heat
)

notices: Final = Table(  # something that people are told of, from when it was seen until it is over
    "notices",
    metadata,
    Column("id", Id, primary_key=True),
    Column("about", Text, nullable=False),  # what it is, among those that are not over: tier:cold
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("since_us", BigInteger, nullable=False),
    Column("over_us", BigInteger),
    Index("uq_notices_open", "kind", "about", unique=True, **where("over_us IS NULL")),
    Index(None, "over_us"),
)

deliveries: Final = Table(  # the outbox of notices
    "deliveries",
    metadata,
    Column("notice_id", ForeignKey("notices.id", ondelete="CASCADE"), primary_key=True),
    Column("receiver", Text, primary_key=True),
    Column("state", Text, nullable=False, server_default="waiting"),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("due_us", BigInteger, nullable=False),  # of the next try
    Column("ended_us", BigInteger),
    Column("error", Text, nullable=False, server_default=""),  # of the last try
    one_of("state", "waiting", "delivered", "failed"),
    Index("ix_deliveries_waiting", "due_us", **where("state = 'waiting'")),
)
