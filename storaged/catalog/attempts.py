"""What is noted of an attempt before anybody else may meet what it did."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from storaged.catalog.queue import Claimed
from storaged.catalog.schema import blobs
from storaged.errors import LeaseLost
from storaged.model import BlobState


def note_checksums(conn: sa.Connection, claimed: Claimed, checksums: Mapping[str, str]) -> None:
    """What the store says of all bytes that a transition starts from, by attempt, before anything is changed: whoever
    meets the changed key after a crash knows by it whose doing it is. Raises LeaseLost."""
    done = conn.execute(
        sa.update(blobs)
        .where(
            blobs.c.id == sa.bindparam("b_id"), blobs.c.state == BlobState.STAGED.value, blobs.c.job_id == claimed.id
        )
        .values(digest=sa.bindparam("b_digest")),
        [{"b_id": attempt, "b_digest": checksum} for attempt, checksum in checksums.items()],
    )
    if done.rowcount != len(checksums):
        raise LeaseLost(f"job {claimed.id} was taken over")


def made_visible(conn: sa.Connection, attempt: str, *, identity: str, digest: str) -> None:
    """Note what an attempt has put at an original key. Should it never be recorded, then whoever meets that key knows
    by this whose doing it is; and that its user deleted it, if nothing is there. The first note stands: what a sweep
    made of it since is not taken back."""
    unnoted = sa.and_(blobs.c.id == attempt, blobs.c.identity == "")
    conn.execute(sa.update(blobs).where(unnoted).values(identity=identity, digest=digest))
