"""Objects that a person names on the command line: DATASET, DATASET/NAME, a collection, or a glob over names."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import Final

import sqlalchemy as sa

from storaged.catalog import collections
from storaged.catalog.placements import Seen, load
from storaged.catalog.schema import datasets, objects
from storaged.errors import UsageError
from storaged.work.context import Context
from storaged.work.packs import by_place, in_pack

PAGE: Final = 1_000


def split(context: Context, target: str) -> tuple[str, str | None]:
    """(dataset, name or glob or None) of a target. The longest dataset name that fits wins. Raises UsageError."""
    fits = [name for name in context.datasets if target == name or target.startswith(f"{name}/")]
    if not fits:
        raise UsageError(
            f"{target!r} names no dataset and no object of one",
            hint=f"write DATASET or DATASET/OBJECT; datasets are: {', '.join(sorted(context.datasets)) or 'none yet'}",
        )
    dataset = max(fits, key=len)
    return dataset, target[len(dataset) + 1 :] or None


def pages(context: Context, target: str) -> Iterator[list[Seen]]:
    """The objects that a target names, removed ones too, in pages by name. Raises UsageError if it names none.

    A name that exists is taken literally, even with `*` or `[` in it; so is that of a collection, which is all that is
    in it; else `*`, `?` and `[…]` make a glob.
    """
    dataset, name = split(context, target)
    with context.catalog.read() as conn:
        dataset_id = context.dataset_id(conn, dataset)
        query = sa.select(objects.c.id, objects.c.name).where(objects.c.dataset_id == dataset_id)
        if name is not None:
            literal = conn.execute(query.where(objects.c.name == name)).first()
            part_of = None if literal else collections.inside(conn, dataset_id, name)
            if literal is None and part_of is None and not set(name) & set("*?["):
                raise UsageError(
                    f"dataset {dataset!r} has no object {name!r} in the catalog",
                    hint=f"run `storagectl scan {dataset}` if it is new",
                )
            globbed = _glob(context, name) if part_of is None else part_of
            query = query.where(objects.c.name == name if literal else globbed)
    after, found = "", False
    while True:
        with context.catalog.read() as conn:
            rows = conn.execute(query.where(objects.c.name > after).order_by(objects.c.name).limit(PAGE)).all()
            seen = load(conn, [r.id for r in rows])
        if not rows:
            break
        found, after = True, rows[-1].name
        yield [seen[r.id] for r in rows]
    if not found and name is not None:
        raise UsageError(f"no object of dataset {dataset!r} matches {name!r}")


def pack_by_pack(context: Context, found: Iterable[list[Seen]]) -> Iterator[list[Seen]]:
    """The same objects in the order in which they are best read: those in packs last, pack by pack, as they lie there,
    each page of one pack; what has left its pack meanwhile stands before the others."""
    packed: dict[str, tuple[array[int], array[int]]] = {}
    for page in found:
        there = [h for h in page if in_pack(h)]
        for seen in there:
            blob, offset = by_place(seen)
            ids, offsets = packed.setdefault(blob, (array("q"), array("q")))
            ids.append(seen.id)
            offsets.append(offset)
        if others := [h for h in page if not in_pack(h)]:
            yield others
    for ids, offsets in packed.values():
        order = sorted(range(len(ids)), key=offsets.__getitem__)
        for start in range(0, len(order), PAGE):
            with context.catalog.read() as conn:
                held_now = load(conn, [ids[n] for n in order[start : start + PAGE]])
            yield sorted(held_now.values(), key=by_place)


def known(context: Context) -> list[str]:
    """The datasets of the configuration that were scanned before."""
    with context.catalog.read() as conn:
        found = set(conn.execute(sa.select(datasets.c.name)).scalars())
    return [name for name in context.datasets if name in found]


def one(context: Context, target: str) -> Seen:
    """The single object that a target names. Raises UsageError."""
    dataset, name = split(context, target)
    if name is None:
        raise UsageError(f"{target!r} is a dataset; name one object of it", hint=f"{dataset}/OBJECT")
    return next(pages(context, target))[0]


def _glob(context: Context, pattern: str) -> sa.ColumnElement[bool]:
    if context.catalog.dialect == "sqlite":
        return objects.c.name.op("GLOB")(pattern)
    return objects.c.name.regexp_match(_regex(pattern))


def _regex(pattern: str) -> str:
    """A shell glob as a regular expression; `*` crosses slashes, as SQLite's GLOB does."""
    out, i = "", 0
    while i < len(pattern):
        c = pattern[i]
        end = pattern.find("]", i + 2)
        if c == "[" and end > 0:
            inside = pattern[i + 1 : end]
            out += "[" + ("^" + inside[1:] if inside[0] in "!^" else inside).replace("\\", "\\\\") + "]"
            i = end
        elif c in "*?":
            out += ".*" if c == "*" else "."
        else:
            out += "\\" + c if not c.isalnum() and not c.isspace() and ord(c) < 128 else c
        i += 1
    return f"^{out}$"
