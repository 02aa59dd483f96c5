"""Files that hold references into other files, and the objects that they name.

What a file names is written page by page under a new number, which counts from its first row on, and takes the place of
what the file named before when all of it is there. So at every moment at least what is named is held.
"""

from __future__ import annotations

import operator
from collections.abc import Collection as Names
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.among import among
from storaged.catalog.engine import Catalog
from storaged.catalog.inserts import into
from storaged.catalog.placements import dataset_ids
from storaged.catalog.schema import datasets, objects
from storaged.catalog.schema_references import referred, referrers
from storaged.model import RawState

PAGE: Final = 10_000  # rows that are read or written at once
FEW: Final = 100
ALL: Final = ""  # in place of a key: what is named is not known, and may be anything of the dataset


class NamedObject(NamedTuple):
    """An object that a reference names, whether it is there or not. `guess`: its path is relative, and may mean another
    file."""

    dataset_id: int
    key: str
    guess: bool = False


class LastLook(NamedTuple):
    """A file as it was when it was last looked at. `form` empty: it holds no references."""

    identity: str
    form: str
    roots: str


@dataclass(frozen=True, slots=True)
class Referrer:
    """A file that holds references. `targets`: the objects that it names; of these `missing` are not there and `moved`
    are not at their paths any more. `unread`: why what it names is not known; empty: it is."""

    id: int
    dataset: str
    key: str
    form: str
    unread: str
    targets: int
    missing: int
    moved: int
    through: int
    elsewhere: int
    datasets: tuple[str, ...]
    read_us: int


def names_object() -> ColumnElement[bool]:
    """Whether a reference names an object by its path."""
    r = referred.c
    found = sa.select(sa.literal(1)).where(r.dataset_id == objects.c.dataset_id, r.key == objects.c.name)
    return found.correlate(objects).exists()


def may_name_object() -> ColumnElement[bool]:
    """Whether references that could not be read may name an object."""
    r = referred.c
    found = sa.select(sa.literal(1)).where(r.dataset_id == objects.c.dataset_id, r.key == ALL)
    return found.correlate(objects).exists()


def first_of_object() -> ColumnElement[str]:
    """One of the files that name an object, or may: `dataset/key`; NULL: there is none."""
    r, by, of = referred.c, referrers.alias("by"), datasets.alias("of")
    query = (
        sa.select(of.c.name.concat("/").concat(by.c.key))
        .select_from(referred.join(by, by.c.id == r.referrer_id).join(of, of.c.id == by.c.dataset_id))
        .where(r.dataset_id == objects.c.dataset_id, r.key.in_([objects.c.name, sa.literal(ALL)]))
    )
    return query.order_by(r.key.desc(), r.referrer_id).limit(1).correlate(objects).scalar_subquery()


def of_object(conn: sa.Connection, object_id: int, most: int) -> tuple[list[str], int]:
    """The first so many of the files that name an object, as `dataset/key`, and how many there are."""
    r = referred.c
    found = (
        sa.select(datasets.c.name, referrers.c.key)
        .select_from(
            objects.join(referred, sa.and_(r.dataset_id == objects.c.dataset_id, r.key == objects.c.name))
            .join(referrers, referrers.c.id == r.referrer_id)
            .join(datasets, datasets.c.id == referrers.c.dataset_id)
        )
        .where(objects.c.id == object_id)
        .distinct()
    )
    rows = conn.execute(found.order_by(datasets.c.name, referrers.c.key).limit(most)).all()
    number = conn.execute(sa.select(sa.func.count()).select_from(found.subquery())).scalar_one()
    return [f"{name}/{key}" for name, key in rows], int(number)


# -- what was looked at ----------------------------------------------------------------------------------------------


def looked(conn: sa.Connection, dataset_id: int, keys: Sequence[str]) -> dict[str, LastLook]:
    """Those of these files of a dataset that were looked at, as they were. Of files that are many and in key order the
    database is asked for all between them, which is a third of asking for each."""
    c, wanted = referrers.c, set(keys)
    query = sa.select(c.key, c.identity, c.form, c.roots).where(c.dataset_id == dataset_id, c.read_us.is_not(None))
    many = len(keys) > FEW and all(map(operator.lt, keys, keys[1:]))
    query = query.where(sa.and_(c.key >= keys[0], c.key <= keys[-1]) if many else among(c.key, keys)).order_by(c.id)
    return {key: LastLook(*told) for key, *told in conn.execute(query) if key in wanted}


def unlooked(*, signs: Sequence[str], roots: str) -> sa.ColumnElement[bool]:
    """Of which objects the key has one of the signs, and the file at it was not looked at as it is. An empty one that
    was never looked at is none of them; one that held references when roots were others is."""
    o, r = objects.c, referrers.c
    same_file = sa.and_(r.dataset_id == o.dataset_id, r.key == o.name, r.read_us.is_not(None))
    as_it_is = sa.and_(same_file, r.identity == o.raw_identity, sa.or_(r.form == "", r.roots == roots))
    return sa.and_(
        o.raw_state.in_([RawState.CURRENT.value, RawState.SUPERSEDED.value]),
        sa.or_(sa.false(), *(o.name.contains(sign, autoescape=True) for sign in signs)),
        sa.or_(o.size > 0, sa.exists().where(same_file)),
        ~sa.exists().where(as_it_is),
    )


def note_none(conn: sa.Connection, dataset_id: int, seen: Sequence[tuple[str, str]], *, now_us: int) -> None:
    """Record files (key, identity) that were never looked at before and hold no references."""
    if seen:
        rows = [
            {"dataset_id": dataset_id, "key": key, "identity": identity, "read_us": now_us} for key, identity in seen
        ]
        conn.execute(sa.insert(referrers), rows)


def watched(conn: sa.Connection, dataset_id: int, most: int, fixed: Names[str] = ()) -> list[tuple[int, str, str, str]]:
    """The files with references that name objects of a dataset, or are in it, those read last first: dataset id, key,
    identity and form. Without those of the forms that are `fixed`: these never change."""
    c = referrers.c
    named = sa.select(sa.literal(1)).where(referred.c.referrer_id == c.id, referred.c.dataset_id == dataset_id)
    query = sa.select(c.dataset_id, c.key, c.identity, c.form).where(
        c.form.not_in(["", *fixed]), c.read_us.is_not(None)
    )
    query = query.where(sa.or_(c.dataset_id == dataset_id, named.exists()))
    return [tuple(row) for row in conn.execute(query.order_by(c.id.desc()).limit(most))]


# -- what they name --------------------------------------------------------------------------------------------------


def begin(catalog: Catalog, dataset_id: int, key: str, *, identity: str, form: str) -> int:
    """A new number for what a file names, which is about to be read."""
    values = {"dataset_id": dataset_id, "key": key, "identity": identity, "form": form}
    with catalog.begin() as conn:
        return int(conn.execute(sa.insert(referrers).values(values).returning(referrers.c.id)).scalar_one())


def add(catalog: Catalog, number: int, targets: Sequence[NamedObject]) -> bool:
    """Let it name these too; twice is once. False: it was forgotten meanwhile."""
    rows = [{**target._asdict(), "referrer_id": number} for target in targets]
    with catalog.begin() as conn:
        if not _is_there(conn, number):
            return False
        if rows:
            conn.execute(into(referred, conn.dialect.name).on_conflict_do_nothing(), rows)
    return True


def finish(
    catalog: Catalog,
    number: int,
    *,
    identity: str,
    form: str,
    unread: str,
    through: int,
    elsewhere: int,
    roots: str,
    now_us: int,
) -> bool:
    """All that it names is there: let it take the place of what the same file named before. False: it was forgotten."""
    values: dict[str, Any] = {"identity": identity, "form": form, "unread": unread or None, "roots": roots}
    values |= {"through": through, "elsewhere": elsewhere, "read_us": now_us}
    c = referrers.c
    with catalog.begin() as conn:
        row = conn.execute(sa.select(c.dataset_id, c.key).where(c.id == number)).one_or_none()
        if row is None:
            return False
        conn.execute(sa.update(referrers).where(c.id == number).values(values))
        same = (c.dataset_id == row.dataset_id, c.key == row.key, c.id < number)
        before = list(conn.execute(sa.select(c.id).where(*same)).scalars())
    forget(catalog, before)
    return True


def last(conn: sa.Connection) -> int:
    """The highest number that was given."""
    return int(conn.execute(sa.select(sa.func.coalesce(sa.func.max(referrers.c.id), 0))).scalar_one())


def forget_gone(catalog: Catalog, dataset_id: int, *, until: int) -> None:
    """Forget the files of a dataset that are not there any more; what another row of the same file took the place of;
    and what nobody came to the end of, of the numbers up to `until`."""
    c, later = referrers.c, referrers.alias("later")
    there = sa.select(sa.literal(1)).where(
        objects.c.dataset_id == c.dataset_id, objects.c.name == c.key, objects.c.removed_us.is_(None)
    )
    newer = sa.select(sa.literal(1)).where(
        later.c.dataset_id == c.dataset_id, later.c.key == c.key, later.c.id > c.id, later.c.read_us.is_not(None)
    )
    dead = sa.and_(c.read_us.is_(None), c.id <= until)
    over = sa.or_(sa.not_(there.exists()), newer.exists(), dead)
    query = sa.select(c.id).where(c.dataset_id == dataset_id, c.id <= until, over).order_by(c.id).limit(PAGE)
    while True:
        with catalog.read() as conn:
            numbers = list(conn.execute(query).scalars())
        forget(catalog, numbers)
        if len(numbers) < PAGE:
            return


def forget(catalog: Catalog, numbers: Sequence[int]) -> None:
    """Forget these and what they name, page by page."""
    r = referred.c
    for start in range(0, len(numbers), PAGE):
        part = numbers[start : start + PAGE]
        with catalog.read() as conn:
            naming = list(conn.execute(sa.select(r.referrer_id).where(among(r.referrer_id, part)).distinct()).scalars())
        for number in naming:
            while _forget_page(catalog, number):
                pass
        with catalog.begin() as conn:
            conn.execute(sa.delete(referrers).where(among(referrers.c.id, part), _names_nothing()))


def _forget_page(catalog: Catalog, number: int) -> bool:
    """Returns whether there is more."""
    r = referred.c
    mine = sa.select(r.dataset_id, r.key).where(r.referrer_id == number).order_by(r.dataset_id, r.key)
    with catalog.begin() as conn:
        upto = conn.execute(mine.offset(PAGE - 1).limit(1)).one_or_none()
        gone = sa.delete(referred).where(r.referrer_id == number)
        if upto is not None:
            before = sa.and_(r.dataset_id == upto.dataset_id, r.key <= upto.key)
            gone = gone.where(sa.or_(r.dataset_id < upto.dataset_id, before))
        conn.execute(gone)
    return upto is not None


def _names_nothing() -> ColumnElement[bool]:
    named = sa.select(sa.literal(1)).where(referred.c.referrer_id == referrers.c.id)
    return sa.not_(named.correlate(referrers).exists())


def _is_there(conn: sa.Connection, number: int) -> bool:
    query = sa.select(referrers.c.id).where(referrers.c.id == number).with_for_update(key_share=True)
    return conn.execute(query).first() is not None


# -- for people ------------------------------------------------------------------------------------------------------


def counts(conn: sa.Connection, dataset_id: int) -> tuple[int, int]:
    """How many files of a dataset hold references, and how many of these could not be read."""
    c = referrers.c
    query = sa.select(sa.func.count(), sa.func.count(c.unread))
    there = (c.form != "", c.dataset_id == dataset_id, c.read_us.is_not(None))
    row = conn.execute(query.where(*there)).one()
    return int(row[0]), int(row[1])


def listed(conn: sa.Connection, names: Names[str] = (), *, limit: int | None = None) -> Iterator[Referrer]:
    """The files with references of these datasets (none named: of all), by dataset and key."""
    c, r = referrers.c, referred.c
    known = {number: name for name, number in dataset_ids(conn).items()}
    query = sa.select(datasets.c.name.label("dataset"), referrers).join(datasets, datasets.c.id == c.dataset_id)
    query = query.where(c.form != "", c.read_us.is_not(None))
    if names:
        query = query.where(datasets.c.name.in_(sorted(names)))
    for row in conn.execute(query.order_by(datasets.c.name, c.key).limit(limit)).all():
        moved = objects.c.raw_state.in_([RawState.RELEASED.value, RawState.SUPERSEDED.value, RawState.RELEASING.value])
        sums: tuple[ColumnElement[Any], ...] = (
            sa.func.count().filter(sa.or_(objects.c.id.is_not(None), sa.not_(r.guess))),
            sa.func.count().filter(objects.c.id.is_(None), sa.not_(r.guess)),
            sa.func.count().filter(moved),
        )
        rows = conn.execute(
            sa.select(r.dataset_id, *sums)
            .select_from(referred.outerjoin(objects, _object()))
            .where(r.referrer_id == row.id, r.key != ALL)
            .group_by(r.dataset_id)
        ).all()
        targets, missing, gone = (sum(int(found[n]) for found in rows) for n in (1, 2, 3))
        told = tuple(sorted(known[found[0]] for found in rows if found[1]))
        facts = (targets, missing, gone, row.through, row.elsewhere, told, row.read_us)
        yield Referrer(row.id, row.dataset, row.key, row.form, row.unread or "", *facts)


def total(conn: sa.Connection, names: Names[str] = ()) -> int:
    """How many files with references these datasets have (none named: all)."""
    c = referrers.c
    query = sa.select(sa.func.count()).select_from(referrers.join(datasets, datasets.c.id == c.dataset_id))
    query = query.where(c.form != "", c.read_us.is_not(None))
    if names:
        query = query.where(datasets.c.name.in_(sorted(names)))
    return int(conn.execute(query).scalar_one())


def missing(conn: sa.Connection, number: int, most: int) -> list[str]:
    """The first so many of the objects that a file names and that are not there, as `dataset/key`."""
    r = referred.c
    query = (
        sa.select(datasets.c.name, r.key)
        .select_from(referred.outerjoin(objects, _object()).join(datasets, datasets.c.id == r.dataset_id))
        .where(r.referrer_id == number, r.key != ALL, sa.not_(r.guess), objects.c.id.is_(None))
    )
    return [f"{name}/{key}" for name, key in conn.execute(query.order_by(datasets.c.name, r.key).limit(most))]


def _object() -> ColumnElement[bool]:
    return sa.and_(
        objects.c.dataset_id == referred.c.dataset_id,
        objects.c.name == referred.c.key,
        objects.c.removed_us.is_(None),
    )
