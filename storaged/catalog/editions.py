"""What is asked in SQL of originals whose object is another edition by now (storaged.model.Placement)."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from storaged.catalog.schema import objects

ORIGINAL_BYTES: Final = sa.case(  # of the content at an original key
    (objects.c.raw_edition == objects.c.edition, objects.c.size), else_=objects.c.raw_size
)
# What is there is of another edition than the object: in the index's own words, that SQLite takes it.
ANOTHER: Final = objects.c.raw_size > sa.literal_column("0")
