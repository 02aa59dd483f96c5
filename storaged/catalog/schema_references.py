"""The tables of references: files that hold where in other files something is, and the objects that they name so.

They say nothing of where an object is: a catalog without them learns them again from its next scans.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Table, Text, false

from storaged.catalog.schema import Id, Key, where
from storaged.catalog.schema_approvals import approvals

metadata: Final = approvals.metadata

referrers: Final = Table(  # each file that was looked at for references; more than one row while it is read anew
    "referrers",
    metadata,
    Column("id", Id, primary_key=True),
    Column("dataset_id", ForeignKey("datasets.id"), nullable=False),
    Column("key", Key, nullable=False),
    Column("identity", Text, nullable=False),  # that it had; "": it could not be read, and is asked again
    Column("form", Text, nullable=False, server_default=""),  # of reference; "": it holds none
    Column("unread", Text),  # why it could not be read to its end; None: it was
    Column("through", BigInteger, nullable=False, server_default="0"),  # names by `storaged://`, which hold nothing
    Column("elsewhere", BigInteger, nullable=False, server_default="0"),  # names of what is in no dataset
    Column("roots", Text, nullable=False, server_default=""),  # digest of the roots that its names were looked up in
    Column("read_us", BigInteger),  # when it was; None: it is being read
    Index(None, "dataset_id", "key"),
    Index("ix_referrers_forms", "id", **where("form <> ''")),
)

referred: Final = Table(  # what they name; of a file that could not be read all of a dataset: the empty key
    "referred",
    metadata,
    Column("dataset_id", ForeignKey("datasets.id"), primary_key=True),
    Column("key", Key, primary_key=True),
    Column("referrer_id", ForeignKey("referrers.id"), primary_key=True),
    Column("guess", Boolean, nullable=False, server_default=false()),  # a relative path: it may mean something else
    Index(None, "referrer_id", "dataset_id", "key"),
    sqlite_with_rowid=False,
)
