"""Notices in the catalog, and the outbox of what receivers are still to be told.

A notice is open from when something is first seen until it is seen no more, so that it is told once, by whichever
daemon leads, and a restart tells nothing again. Its deliveries are written in the same transaction: each is tried until
it succeeds or has failed TRIES times. A process that dies in between has it sent once more: at least once, not exactly.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from storaged.catalog.inserts import into
from storaged.catalog.schema_surveys import deliveries, notices
from storaged.clock import SECOND

TRIES: Final = 30  # about a day
FIRST_US: Final = 30 * SECOND  # to the second try; doubled at every further one
LONGEST_US: Final = 3_600 * SECOND
CLAIM_US: Final = 60 * SECOND  # a try takes no longer


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that people are told of. `about`: what it is, of its kind. `kind` is one of `notify.on`."""

    kind: str
    about: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """A notice on its way to one receiver, in our hands until CLAIM_US have passed."""

    id: int
    receiver: str
    tries: int  # this one included
    notice: Notice
    since_us: int
    over_us: int | None


@dataclass(frozen=True, slots=True)
class NoticeTold:
    """A notice with what became of each delivery: (receiver, state, tries, error)."""

    id: int
    notice: Notice
    since_us: int
    over_us: int | None
    ways: tuple[tuple[str, str, int, str], ...]


def open_ones(conn: sa.Connection) -> set[tuple[str, str]]:
    """Kind and `about` of what is not over."""
    query = sa.select(notices.c.kind, notices.c.about).where(sa.text("over_us IS NULL"))  # the index's words
    return {(row.kind, row.about) for row in conn.execute(query)}


def note(conn: sa.Connection, found: Iterable[Notice], receivers: Mapping[str, Collection[str]], now_us: int) -> int:
    """Open what is new of all that is so now, with a delivery to each receiver of its kind, and end what is over.
    `receivers`: the kinds that each wants. Returns how many are new."""
    known, now = open_ones(conn), {(n.kind, n.about): n for n in found}
    for kind, about in known - now.keys():
        over = sa.and_(notices.c.kind == kind, notices.c.about == about, notices.c.over_us.is_(None))
        conn.execute(sa.update(notices).where(over).values(over_us=now_us))
    new = 0
    for key in now.keys() - known:
        n = now[key]
        values = {"kind": n.kind, "about": n.about, "subject": n.subject, "text": n.text, "since_us": now_us}
        row = into(notices, conn.dialect.name).values(values)
        once = row.on_conflict_do_nothing(index_elements=["kind", "about"], index_where=sa.text("over_us IS NULL"))
        number = conn.execute(once.returning(notices.c.id)).scalar()
        if number is None:  # another daemon was faster
            continue
        new += 1
        for receiver, kinds in receivers.items():
            if n.kind in kinds:
                conn.execute(sa.insert(deliveries).values(notice_id=number, receiver=receiver, due_us=now_us))
    return new


def is_due(conn: sa.Connection, now_us: int) -> bool:
    """Whether some delivery is to be tried now."""
    waiting = sa.text("state = 'waiting'")  # the index's words, that SQLite takes it
    return (
        conn.execute(sa.select(deliveries.c.due_us).where(waiting, deliveries.c.due_us <= now_us).limit(1)).first()
        is not None
    )


def take(conn: sa.Connection, now_us: int) -> Delivery | None:
    """The delivery that is due longest, claimed; None: none is."""
    waiting = sa.text("state = 'waiting'")  # the index's words, that SQLite takes it
    due = sa.select(deliveries, notices).join(notices, notices.c.id == deliveries.c.notice_id)
    due = due.where(waiting, deliveries.c.due_us <= now_us).order_by(deliveries.c.due_us).limit(10)
    for row in conn.execute(due).all():
        mine = sa.and_(_same(row.notice_id, row.receiver), deliveries.c.tries == row.tries, waiting)
        claimed = sa.update(deliveries).where(mine).values(tries=row.tries + 1, due_us=now_us + CLAIM_US)
        if conn.execute(claimed).rowcount:
            told = Notice(row.kind, row.about, row.subject, row.text)
            return Delivery(row.notice_id, row.receiver, row.tries + 1, told, row.since_us, row.over_us)
    return None


def end(conn: sa.Connection, tried: Delivery, error: str | None, now_us: int, *, last: bool = False) -> None:
    """What came of a try: None is well. `last`: there is no sense in another one."""
    mine = sa.and_(_same(tried.id, tried.receiver), deliveries.c.tries == tried.tries)
    if error is None:
        values: dict[str, object] = {"state": "delivered", "ended_us": now_us, "error": ""}
    elif last or tried.tries >= TRIES:
        values = {"state": "failed", "ended_us": now_us, "error": error}
    else:
        pause = min(LONGEST_US, FIRST_US * 2 ** (tried.tries - 1))
        values = {"due_us": now_us + pause, "error": error}
    conn.execute(sa.update(deliveries).where(mine).values(values))


def counted(conn: sa.Connection) -> tuple[tuple[str, str, int], ...]:
    """Deliveries by receiver and state."""
    kind = (deliveries.c.receiver, deliveries.c.state)
    rows = conn.execute(sa.select(*kind, sa.func.count()).group_by(*kind).order_by(*kind))
    return tuple((receiver, state, number) for receiver, state, number in rows)


def newest(conn: sa.Connection, limit: int) -> list[NoticeTold]:
    """The newest notices, newest first."""
    rows = conn.execute(sa.select(notices).order_by(notices.c.id.desc()).limit(limit)).all()
    ways: dict[int, list[tuple[str, str, int, str]]] = {row.id: [] for row in rows}
    mine = sa.select(deliveries).where(deliveries.c.notice_id.in_(ways)).order_by(deliveries.c.receiver)
    for row in conn.execute(mine):
        ways[row.notice_id].append((row.receiver, row.state, row.tries, row.error))
    return [
        NoticeTold(
            row.id, Notice(row.kind, row.about, row.subject, row.text), row.since_us, row.over_us, tuple(ways[row.id])
        )
        for row in rows
    ]


def _same(notice_id: int, receiver: str) -> sa.ColumnElement[bool]:
    return sa.and_(deliveries.c.notice_id == notice_id, deliveries.c.receiver == receiver)
