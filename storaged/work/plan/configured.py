"""What storaged.yaml says of datasets, before anything is decided by it: a plan goes by the catalog."""

from __future__ import annotations

from storaged.catalog import facts
from storaged.work.context import Context


def take_in(context: Context) -> None:
    """Bring owners, tags, readers, holds and pins in the catalog up to storaged.yaml. The next scan would, and may be
    hours away; until then a plan would hold back what nothing holds any more. Writes only what is otherwise."""
    with context.catalog.read() as conn:
        said = facts.reworded(conn, context.datasets)
    if said:
        with context.catalog.begin() as conn:
            facts.reword(conn, said)
