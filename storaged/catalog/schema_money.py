"""The tables of money: what every applied plan is expected to come to, what is charged for it, and what it moved.

Money is in picodollars (a millionth of a millionth of a USD), whole numbers that databases add up exactly; months are
UTC calendar months as text (2026-11). The ledger outlives its plans and jobs: rows refer to them by number only.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, Table, Text

from storaged.catalog.schema import Id, one_of, where
from storaged.catalog.schema_daemon import daemons

metadata: Final = daemons.metadata

ledger: Final = Table(  # a row for each policy of each plan that was applied: a part
    "ledger",
    metadata,
    Column("plan_id", Id, primary_key=True, autoincrement=False),
    Column("policy", Text, primary_key=True),
    Column("applied_us", BigInteger, nullable=False),
    Column("month", Text, nullable=False),  # that it was charged to
    Column("actor", Text, nullable=False),
    Column("objects", BigInteger, nullable=False),  # that the plan listed
    Column("expected", Text),  # JSON: one_time, before, after, each by kind; None: some prices are not known
    Column("monthly_limit", BigInteger),  # of its policy when it was applied; further tries go by it
    Column("settled_us", BigInteger),  # all its jobs are in the queue, and what was left out is paid back
    Column("closed_us", BigInteger),  # its ledger_items were deleted; `outcome` has what they said
    Column("outcome", Text),  # JSON
    Index(None, "applied_us"),
)

ledger_items: Final = Table(  # every object that came into the queue from a plan, and from where it was to move
    "ledger_items",
    metadata,
    Column("plan_id", Id, primary_key=True, autoincrement=False),
    Column("object_id", Id, primary_key=True, autoincrement=False),
    Column("policy", Text, nullable=False),
    Column("job_id", Id, nullable=False),
    Column("dataset_id", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("source_tier_id", Integer, nullable=False),
    Column("source_class", Text, nullable=False),  # storage class of its original key; empty: it was in a tier
    Column("tier_id", Integer, nullable=False),  # where it was to go
    Column("storage_class", Text),  # that its key was to get in place; None: it was to be rewritten
    Column("before_bytes", BigInteger, nullable=False),  # stored, when it was planned; of what is in a pack its share
    Column("spend", BigInteger),  # expected of one try; None: some price is not known
    Column("charged", Integer, nullable=False),  # how many tries of it are charged
    Column("tries", Integer, nullable=False),  # how many were made
    Column("month", Text, nullable=False),  # that its newest charge is in
    Column("done_us", BigInteger),  # when it was swapped
    Column("blob_id", Text),  # what the swap made; None: in place
    Column("after_bytes", BigInteger),  # stored, after the swap
    Column("source_blob", Text),  # the pack that it was in; None: it was in none
    Column("source_bytes", BigInteger),  # stored, of all of that pack
    Column("size", BigInteger),  # of the content; None in rows of before schema 0024
    Index(None, "job_id"),
    Index(None, "source_blob", **where("source_blob IS NOT NULL")),
    sqlite_with_rowid=False,
)

charges: Final = Table(  # money that may be spent, before it is; and what was paid back of it
    "charges",
    metadata,
    Column("id", Id, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("month", Text, nullable=False),  # of the spending: money goes back to the month that it was charged to
    Column("plan_id", Id, nullable=False),
    Column("policy", Text, nullable=False),
    Column("job_id", Id),  # None: of the whole part
    Column("kind", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),  # a refund is below 0
    one_of("kind", "apply", "try", "refund"),
    Index(None, "month", "policy"),
    Index(None, "plan_id"),
)
