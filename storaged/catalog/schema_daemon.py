"""The tables of what daemons do again and again: what is due when, who is at it, who leads, and what is suspended.

They say when work is done and by whom, never what becomes of an object: a catalog without them loses nothing.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Table, Text, false

from storaged.catalog.schema import Id, metadata, one_of

daemons: Final = Table(  # those that run, and those whose end nobody saw
    "daemons",
    metadata,
    Column("name", Text, primary_key=True),  # host:pid:random
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", Text, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("seen_us", BigInteger, nullable=False),  # its last sign of life
    Column("state", Text, nullable=False),
    Column("problem", Text),  # why it keeps an older configuration, or does not act
    Column("detail", Text, nullable=False, server_default="{}"),  # JSON: what it is at
    one_of("state", "running", "waiting", "draining"),
)

leases: Final = Table(  # what only one daemon may be at a time: `leader`
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),  # a daemon's name
    Column("until_us", BigInteger, nullable=False),
)

tasks: Final = Table(  # recurring work; its next due time is written before it runs
    "tasks",
    metadata,
    Column("name", Text, primary_key=True),  # scan:DATASET, ingest:SOURCE, plan:POLICY, sweep, verify, ...
    Column("schedule", Text, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("run_id", Id),  # the run that is under way, or was when its daemon died
    Column("lease", Text),  # random token of that run
    Column("lease_until_us", BigInteger),
    Column("tries", Integer, nullable=False, server_default="0"),  # of this due time, its daemons having died
    Column("failures", Integer, nullable=False, server_default="0"),  # in a row
)

runs: Final = Table(  # what ran when: one row for each due time that was taken up
    "runs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("task", Text, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("finished_us", BigInteger),
    Column("daemon", Text, nullable=False),  # the last that was at it
    Column("tries", Integer, nullable=False, server_default="1"),
    Column("state", Text, nullable=False),
    Column("message", Text, nullable=False, server_default=""),
    one_of("state", "running", "done", "failed", "abandoned"),
    Index(None, "task", "started_us"),
    Index(None, "started_us"),
)

suspensions: Final = Table(  # what nothing is done for, until it is resumed
    "suspensions",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("since_us", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("retry_us", BigInteger),  # when it is tried again; None: a person resumes it
    Column("writes", Boolean, nullable=False, server_default=false()),  # nothing is written there; reads go on
    Column("tries", Integer, nullable=False, server_default="0"),
    one_of("kind", "policy", "tier", "dataset"),
)

policies: Final = Table(  # every change of a policy; the newest row of a name is what it says now
    "policies",
    metadata,
    Column("id", Id, primary_key=True),
    Column("name", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("body", Text, nullable=False),  # the YAML as written; empty: it was removed
    Column("loaded_us", BigInteger, nullable=False),
    Index(None, "name", "id"),
)
