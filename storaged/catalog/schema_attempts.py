"""The table of attempts: what may have been written or changed, and is not known to be right. What an attempt made and
proved is a blob; then its row here is gone, and so it is once its late put window is over."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Table, Text

from storaged.catalog.schema import Id, Key, one_of
from storaged.catalog.schema_moves import moves

metadata: Final = moves.metadata

attempts: Final = Table(
    "attempts",
    metadata,
    Column("id", Text, primary_key=True),  # of the blob too, if one comes of it
    Column("dataset_id", ForeignKey("datasets.id")),  # None: found by listing a tier, owner unknown
    Column("tier_id", ForeignKey("tiers.id")),  # None: at an original key of the dataset
    Column("key", Key, nullable=False),  # the id, where only parts of it were found
    Column("kind", Text, nullable=False),  # a blob in a tier; a return to an original key; a transition at one
    Column("state", Text, nullable=False),
    Column("codec", Text, nullable=False, server_default="identity"),  # that it writes
    Column("storage_class", Text, nullable=False, server_default=""),  # that its key gets
    Column("source_identity", Text, nullable=False, server_default=""),  # of what a transition starts from
    Column("source_checksum", Text, nullable=False, server_default=""),  # the store's, of the same
    Column("visible_identity", Text, nullable=False, server_default=""),  # of what a return made visible there
    Column("visible_digest", Text, nullable=False, server_default=""),  # of its bytes; "": a sweep may have deleted it
    Column("size", BigInteger, nullable=False, server_default="0"),  # that its key is known to take
    Column("job_id", Id),
    Column("note", Text),  # why it became a tombstone
    Column("created_us", BigInteger, nullable=False),
    Column("sign_us", BigInteger, nullable=False),  # its last sign of life
    one_of("kind", "blob", "return", "transition"),
    one_of("state", "staged", "proposed", "tombstone"),
    CheckConstraint("(kind = 'blob') = (tier_id IS NOT NULL)", name="tier"),
    Index(None, "job_id"),
    Index(None, "tier_id", "key"),
)
