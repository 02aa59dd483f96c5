"""The catalog's tables. Instants are microseconds since 1970 UTC (`_us`), sizes are bytes, digests and ids hex text.

An object's raw key has no blob row: it stands in the object's own row, so that one compare guards it (docs/adr/0002).
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    false,
    text,
    true,
)
from sqlalchemy.types import TypeEngine

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite gives rowids only to INTEGER; Postgres wants BIGINT. Keys sort by their bytes on both.
Id: Final = BigInteger().with_variant(Integer(), "sqlite")
Key: Final = Text().with_variant(Text(collation="C"), "postgresql")


def one_of(name: str, *values: str) -> CheckConstraint:
    """A check that a column holds one of these texts."""
    return CheckConstraint(f"{name} IN ({', '.join(repr(v) for v in values)})", name=name)


def where(condition: str) -> dict[str, Any]:
    """An index of the rows for which this holds, on both databases: see schema_postgres."""
    return {"sqlite_where": text(condition)}


# catalog_id, epoch, journal_number, relist_until_us
meta: Final = Table("meta", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))

tiers: Final = Table(
    "tiers",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("rank", Integer, nullable=False),
    Column("url", Text, nullable=False),
    Column("storage_class", Text, nullable=False),
    Column("capacity_bytes", BigInteger),
)

datasets: Final = Table(
    "datasets",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", Key, nullable=False, unique=True),
    Column("root", Text, nullable=False),
    Column("tier_id", ForeignKey("tiers.id"), nullable=False),
    Column("owner", Text, nullable=False, server_default=""),
    Column("tags", Text, nullable=False, server_default="{}"),  # JSON object of text
    Column("partitions", Text),
    Column("readers", Text, nullable=False, server_default="raw"),
    Column("hold", Text),
    Column("pin_tier_id", ForeignKey("tiers.id")),
    Column("registered_us", BigInteger, nullable=False),
    Column("scanned_us", BigInteger),
    Column("versioning", Text, nullable=False, server_default="off"),  # of the root, as the scan found it
    Column("locks", Boolean, nullable=False, server_default=false()),  # objects there can be locked
    Column("conditional", Boolean, nullable=False, server_default=true()),  # its store deletes exactly what is meant
    Column("transitions", Boolean, nullable=False, server_default=false()),  # and changes storage classes in place
    Column("claimed", Boolean, nullable=False, server_default=false()),  # the root carried our marker
    one_of("readers", "raw", "storaged"),
)

blobs: Final = Table(  # what proven attempts became
    "blobs",
    metadata,
    Column("id", Text, primary_key=True),  # of its attempt
    Column("dataset_id", ForeignKey("datasets.id")),
    Column("tier_id", ForeignKey("tiers.id"), nullable=False),
    Column("key", Key, nullable=False),
    Column("state", Text, nullable=False),
    Column("codec", Text, nullable=False, server_default="identity"),
    Column("size", BigInteger, nullable=False, server_default="0"),
    Column("identity", Text, nullable=False, server_default=""),
    Column("digest", Text, nullable=False, server_default=""),
    Column("index", LargeBinary, nullable=False, default=b""),  # SQLite would take a server's '' for text
    Column("created_us", BigInteger, nullable=False),  # when its attempt was
    Column("storage_class", Text, nullable=False, server_default=""),  # that it was made in
    Column("packed_bytes", BigInteger, nullable=False, server_default="0"),  # content of all in a pack when it was made
    Column("live_bytes", BigInteger, nullable=False, server_default="0"),  # of that, what is still somebody's
    one_of("state", "live", "releasing"),
    Index("ix_blobs_packs", "id", **where("packed_bytes > 0")),
    Index(None, "state", **where("state <> 'live'")),
    Index(None, "tier_id", "key"),
)

# What conditions ask first, in the order of the rows: docs/adr/0054
_ASKED: Final = ("dataset_id", "tier_id", "id", "created_us", "last_read_us", "size", "format", "heat_reads")
objects: Final = Table(
    "objects",
    metadata,
    Column("id", Id, primary_key=True),
    Column("dataset_id", ForeignKey("datasets.id"), nullable=False),
    Column("name", Key, nullable=False),
    Column("generation", Integer, nullable=False, server_default="1"),
    Column("version", Integer, nullable=False, server_default="1"),  # counts every change of the placement
    Column("size", BigInteger, nullable=False),
    Column("mtime_us", BigInteger, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("digest", Text, nullable=False, server_default=""),
    Column("format", Text, nullable=False, server_default=""),  # from the name: csv, json, parquet, ...
    Column("partition", Text),  # JSON object of text, from the dataset's pattern
    Column("raw_state", Text, nullable=False, server_default="current"),
    Column("raw_identity", Text, nullable=False, server_default=""),
    Column("raw_attempt", Text, nullable=False, server_default=""),
    Column("raw_until_us", BigInteger),
    Column("tier_id", ForeignKey("tiers.id")),  # of the current place; None: removed
    Column("codec", Text, nullable=False, server_default="identity"),  # of the current place
    Column("stored_bytes", BigInteger, nullable=False),  # of the current place; a packed object's share
    Column("hold", Text),
    Column("pin_tier_id", ForeignKey("tiers.id")),
    Column("removed_us", BigInteger),
    Column("metadata", Text, nullable=False, server_default="{}"),  # JSON object: mode, xattrs, ... of the original
    Column("fact_id", Text),  # outbox entry of a fact that waits for the journal; guards every transition
    Column("no_gain", Integer),  # generation that a codec was asked for and did not take
    *(Column("damaged", Text), Column("last_read_us", BigInteger)),  # what verify found at the raw key; stops release
    *(Column(name, Double) for name in ("heat_reads", "heat_bytes")),  # decayed log scores, heat.py; None: never read
    Column("raw_class", Text, nullable=False, server_default="STANDARD"),  # storage class of the original key
    Column("locked_until_us", BigInteger),  # until when the store refuses to delete the original key
    Column("purge", Boolean, nullable=False, server_default=false()),  # older versions go with the source's release
    Column("stuck", Text),  # why its store would not delete what is at the original key
    Column("not_taken", Text),  # why a codec did not take the generation in `no_gain`, in words
    Column("edition", Text, nullable=False, server_default=""),  # that size and digest are of; "": as its user wrote it
    Column("raw_edition", Text, nullable=False, server_default=""),  # of what is at the original key; where that is
    Column("raw_size", BigInteger, nullable=False, server_default="0"),  # another one: its size
    Column("raw_digest", Text, nullable=False, server_default=""),  # and digest
    Column("no_gain_by", Text),  # the codecs that did not, as they were asked for: " zstd parquet:19 "
    Column("heat_recent", Double),  # of reads, forgotten sooner: heat.py::RECENT; None beside a heat_reads: not known
    *(Column(f"{span}_{what}", Double) for span in ("year", "days", "day") for what in ("reads", "bytes")),  # heat.py
    Column("raw_allocated", BigInteger),  # that the original takes, where less than its size is billed; None: its size
    one_of("raw_state", "current", "superseded", "releasing", "released", "absent"),
    Index("uq_objects_name", "dataset_id", "name", unique=True),
    Index("ix_objects_editions", "id", **where("raw_size > 0")),
    Index("ix_objects_allocated", "raw_state", **where("raw_allocated IS NOT NULL")),
    Index("ix_objects_asked", *_ASKED, **where("removed_us IS NULL")).ddl_if(dialect="sqlite"),
    Index("ix_objects_stuck", "dataset_id", **where("stuck IS NOT NULL")),
    Index("ix_objects_raw_due", "raw_until_us", **where("raw_state IN ('superseded', 'releasing')")),
)

replicas: Final = Table(
    "replicas",
    metadata,
    Column("object_id", ForeignKey("objects.id", ondelete="CASCADE"), primary_key=True),
    Column("blob_id", ForeignKey("blobs.id"), primary_key=True),
    Column("offset", BigInteger, nullable=False, server_default="0"),
    Column("length", BigInteger, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("until_us", BigInteger),
    Column("damaged", Text),  # what verify found of this object in this blob; stops release
    Column("overwritten", Boolean, nullable=False, server_default=false()),  # at a released key: kept until confirmed
    Column("edition", Text, nullable=False, server_default=""),  # of its generation
    Column("digest", Text, nullable=False, server_default=""),  # of the content, where its edition is not the object's
    Column("packed_before", BigInteger, nullable=False, server_default="0"),  # of a pack, content of members before it
    one_of("state", "current", "superseded", "releasing"),
    Index(None, "blob_id"),
    Index("uq_replicas_current", "object_id", unique=True, **where("state = 'current'")),
    Index("ix_replicas_due", "until_us", **where("state <> 'current'")),
    Index("ix_replicas_overwritten", "object_id", **where("overwritten")),
    Index("ix_replicas_damaged", "object_id", **where("damaged IS NOT NULL")),
)

outbox: Final = Table(  # journal entries on their way; popped when durable
    "outbox",
    metadata,
    Column("seq", Id, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("object_id", Id, nullable=False),
    Column("fact", Boolean, nullable=False),  # applied only once durable
    Column("entry", Text, nullable=False),  # JSON, one journal line
    Index(None, "object_id"),
    sqlite_autoincrement=True,  # a popped number must not come back
)

plans: Final = Table(
    "plans",
    metadata,
    Column("id", Id, primary_key=True),
    Column("hash", Text, nullable=False, server_default=""),
    Column("state", Text, nullable=False),  # draft while its items are written
    Column("made_us", BigInteger, nullable=False),
    Column("policies", Text, nullable=False),  # JSON list of names
    Column("summary", Text, nullable=False, server_default="{}"),  # JSON
    one_of("state", "draft", "saved", "applied", "discarded"),
)

plan_items: Final = Table(
    "plan_items",
    metadata,
    Column("plan_id", ForeignKey("plans.id", ondelete="CASCADE"), primary_key=True),
    Column("object_id", Id, primary_key=True),
    Column("policy", Text, nullable=False),
    Column("version", Integer, nullable=False),  # of the object when planned
    Column("identity", Text, nullable=False),  # of the source when planned (its "etag")
    Column("size", BigInteger, nullable=False),
    Column("stored_bytes", BigInteger, nullable=False),  # now
    Column("after_bytes", BigInteger, nullable=False),  # expected
    Column("tier_id", ForeignKey("tiers.id"), nullable=False),  # target
    Column("codec", Text, nullable=False),  # target
    Column("level", Integer),
    Column("grace_us", BigInteger, nullable=False),
    Column("allow_loss", Text, nullable=False, server_default="[]"),  # JSON list: metadata that may be lost
    Column("reason", Text, nullable=False),
    Column("held", Text),  # None: an action. Else which limit or guard holds it back
    Column("in_place", Boolean, nullable=False, server_default=false()),  # only the storage class changes
    Column("purge", Boolean, nullable=False, server_default=false()),  # older versions go with the source's release
    Column("spend", BigInteger),  # expected one-time cost, picodollars; None: no price is known
    Column("saving", BigInteger),  # expected per month, picodollars; below 0: it would cost more
    Column("apart", Boolean, nullable=False, server_default=false()),  # its policy takes collections apart
    Column("pack", Text),  # that it goes into, as people call it: group and number; None: a blob of its own
    Column("fidelity", Text, nullable=False, server_default="bytes"),  # what survives
    Column("reencode", Boolean, nullable=False, server_default=false()),  # values may be encoded otherwise
    Column("whole", Key),  # prefix of the collection that it moves with, all of it or nothing; None: it moves by itself
    Column("leaves", Text),  # the pack that it comes out of
    *(Column(name, BigInteger) for name in ("left_spend", "left_saving")),  # what of it is in these; None: others stay
    Index("ix_plan_items_leaves", "plan_id", "leaves", **where("leaves IS NOT NULL")),
)

jobs: Final = Table(
    "jobs",
    metadata,
    Column("id", Id, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("dataset_id", ForeignKey("datasets.id"), nullable=False),
    Column("plan_id", Id),
    Column("state", Text, nullable=False),
    Column("reason", Text, nullable=False),  # the policy's sentence, or who asked
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("not_before_us", BigInteger, nullable=False, server_default="0"),
    Column("lease", Text),  # random token of the claim that runs it
    Column("lease_until_us", BigInteger),
    Column("worker", Text),
    Column("error", Text),
    Column("created_us", BigInteger, nullable=False),
    Column("started_us", BigInteger),
    Column("finished_us", BigInteger),
    Column("policy", Text),  # None: a person asked for it
    Column("turn_us", BigInteger, nullable=False, server_default="0"),  # the earliest turn goes first, see queue.py
    Column("timings", Text),  # JSON: where the time of its last try went, see clock.Timings
    Column("pack", Text),  # that its objects become, as people call it
    Column("whole", Key),  # prefix of the collection that its objects are: all of them are moved or none
    one_of("kind", "rewrite", "return"),
    one_of("state", "queued", "running", "done", "failed", "cancelled"),
    Index("ix_jobs_live", "state", "turn_us", **where("state IN ('queued', 'running')")),
    Index(None, "finished_us"),
)

job_items: Final = Table(
    "job_items",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("object_id", Id, primary_key=True),
    Column("version", Integer, nullable=False),  # the object must still have it
    Column("tier_id", ForeignKey("tiers.id")),  # target; None: the original key
    Column("codec", Text, nullable=False),
    Column("level", Integer),
    Column("grace_us", BigInteger, nullable=False),
    Column("allow_loss", Text, nullable=False, server_default="[]"),  # JSON list: metadata that may be lost
    Column("size", BigInteger, nullable=False),
    Column("state", Text, nullable=False, server_default="pending"),
    Column("attempt_id", Text),  # the newest
    Column("note", Text),  # why skipped or failed
    *(Column(name, BigInteger) for name in ("before_bytes", "after_bytes")),
    Column("storage_class", Text),  # to be changed to in place; None: a rewrite
    Column("purge", Boolean, nullable=False, server_default=false()),
    Column("apart", Boolean, nullable=False, server_default=false()),
    Column("fidelity", Text, nullable=False, server_default="bytes"),
    Column("reencode", Boolean, nullable=False, server_default=false()),
    one_of("state", "pending", "done", "skipped", "failed"),
    Index("uq_job_items_live", "object_id", unique=True, **where("state = 'pending'")),  # one live job per object
)

access: Final = Table(  # integer rollups by UTC day
    "access",
    metadata,
    Column("object_id", Id, primary_key=True),
    Column("day", Integer, primary_key=True),  # days since 1970-01-01 UTC
    Column("reads", BigInteger, nullable=False, server_default="0"),
    Column("read_bytes", BigInteger, nullable=False, server_default="0"),
    Column("writes", BigInteger, nullable=False, server_default="0"),
    Column("last_us", BigInteger, nullable=False),  # latest read of the day
    sqlite_with_rowid=False,
)

access_waiting: Final = Table(  # counts of names in datasets' roots that no scan has found yet
    "access_waiting",
    metadata,
    Column("dataset_id", ForeignKey("datasets.id"), primary_key=True),
    Column("name", Key, primary_key=True),
    Column("day", Integer, primary_key=True),
    Column("reads", BigInteger, nullable=False),
    Column("read_bytes", BigInteger, nullable=False),
    Column("whole_reads", BigInteger, nullable=False),  # reads of the whole object, whatever its size is
    Column("writes", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

log_sources: Final = Table(
    "log_sources",
    metadata,
    Column("source", Text, primary_key=True),
    Column("begun_us", BigInteger, nullable=False),  # when it was first ingested
    Column("from_us", BigInteger),  # its first event
    Column("kept_from_us", BigInteger, nullable=False),  # log_lines of earlier events were dropped
)

log_lines: Final = Table(  # which lines were counted: by content, not by path
    "log_lines",
    metadata,
    Column("source", Text, primary_key=True),
    Column("minute", BigInteger, primary_key=True),  # of the events, since 1970
    Column("hashes", LargeBinary, nullable=False),  # 32-bit hashes of the lines, little-endian, in order
)

log_blocks: Final = Table(  # text whose lines are all in log_lines, so that it is not read again
    "log_blocks",
    metadata,
    Column("source", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("seen_us", BigInteger, nullable=False),
)

log_files: Final = Table(  # logs in stores that were read to their ends, so that they are not fetched again
    "log_files",
    metadata,
    Column("source", Text, primary_key=True),
    Column("key", Key, primary_key=True),
    Column("identity", Text, nullable=False),
    Column("read_us", BigInteger, nullable=False),
)

heat_coverage: Final = Table(  # up to when a source tells of a dataset's accesses
    "heat_coverage",
    metadata,
    Column("source", Text, primary_key=True),
    Column("dataset_id", ForeignKey("datasets.id"), primary_key=True),
    Column("from_us", BigInteger, nullable=False),
    Column("until_us", BigInteger, nullable=False),
)

scans: Final = Table(  # one row a scan; the unfinished one is where to resume
    "scans",
    metadata,
    Column("id", Id, primary_key=True),
    Column("dataset_id", ForeignKey("datasets.id"), nullable=False),
    Column("started_us", BigInteger, nullable=False),
    Column("finished_us", BigInteger),
    Column("cursor", Key, nullable=False, server_default=""),  # last key that was dealt with
    *(Column(name, BigInteger, nullable=False, server_default="0") for name in ("seen", "added", "changed")),
    *(Column(name, BigInteger, nullable=False, server_default="0") for name in ("vanished", "reappeared", "skipped")),
    Index(None, "dataset_id", "started_us"),
)

CLASS_CHANGES: Final = ("transition", "reclass")  # in the audit: since when something is in its storage class
audit: Final = Table(  # what was done, by whom, why
    "audit",
    metadata,
    Column("id", Id, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),  # swap, undo, release-source, adopt, remove, eject, drop, hold, pin, ...
    Column("dataset", Text),
    Column("object", Text),
    Column("job_id", Id),
    Column("plan_id", Id),
    Column("actor", Text, nullable=False),
    Column("detail", Text, nullable=False, server_default="{}"),  # JSON
    Index(None, "object", "dataset"),
    Index(None, "at_us"),
    Index("ix_audit_classes", "object", "dataset", "at_us", **where(f"kind IN {CLASS_CHANGES}")),
)

__all__ = [name for name, value in list(globals().items()) if isinstance(value, (Table, MetaData, TypeEngine))]
