"""The tables of what people said of plans in the browser, and of what doctor found."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Table, Text

from storaged.catalog.schema import Id, one_of, where
from storaged.catalog.schema_surveys import surveys

metadata: Final = surveys.metadata

approvals: Final = Table(  # what somebody said of a plan last
    "approvals",
    metadata,
    Column("plan_id", Id, primary_key=True, autoincrement=False),
    Column("verb", Text, nullable=False),
    Column("hash", Text, nullable=False),  # of the plan that was shown
    Column("approver", Text, nullable=False),
    Column("asked_us", BigInteger, nullable=False),
    Column("state", Text, nullable=False, server_default="waiting"),
    Column("ended_us", BigInteger),
    Column("note", Text, nullable=False, server_default=""),  # what came of it
    one_of("verb", "apply", "discard"),
    one_of("state", "waiting", "done", "refused"),
    Index("ix_approvals_waiting", "asked_us", **where("state = 'waiting'")),
)

examinations: Final = Table(  # what doctor found when a daemon asked it last
    "examinations",
    metadata,
    Column("at_us", BigInteger, primary_key=True, autoincrement=False),
    Column("findings", Text, nullable=False),  # JSON
)
