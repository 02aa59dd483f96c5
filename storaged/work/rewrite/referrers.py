"""References, once more right before something is moved: a file with references may have been written since the scan.

The files that are known to hold references to objects of a dataset, or are in it, are asked whether they are as they
were; and what is new beside a job's objects and above them is looked into. What they name is in the catalog from then
on, so that every door knows of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from storaged.catalog import references
from storaged.catalog.placements import dataset_ids
from storaged.errors import ObjectNotFound, StoreError
from storaged.work.context import Context
from storaged.work.scan.references import ASK_AGAIN, File, References
from storaged.work.scan.referring import FIXED, may_hold

MOST: Final = 1_000  # files that are asked for at once: those that were read last


class ReadAnew(NamedTuple):
    """What a look came to. `away`: why one of the files cannot be read; `changed`: some were read anew."""

    away: StoreError | None
    changed: bool


At = tuple[str, str]  # dataset and key
Asked = str | StoreError | None
Each = Callable[[Callable[[At], Asked], Sequence[At]], Iterable[Asked]]


def look_again(context: Context, dataset: str, each: Each) -> ReadAnew:
    """ReadAnew those of the known files anew that were changed."""
    with context.catalog.read() as conn:
        numbers = dataset_ids(conn)
        if dataset not in numbers:
            return ReadAnew(None, changed=False)
        known = references.watched(conn, numbers[dataset], MOST, FIXED)
    names = {number: name for name, number in numbers.items()}
    there = {
        (names[number], key): identity
        for number, key, identity, _ in known
        if identity not in ("", ASK_AGAIN) and names[number] in context.datasets
    }
    asked = list(there)
    return _read(context, numbers, asked, _identities(context, asked, each), there)


def look_beside(context: Context, dataset: str, keys: Iterable[str], each: Each) -> ReadAnew:
    """Look into those of these files that nobody has looked into."""
    new = [key for key in keys if may_hold(key)]
    if not new:
        return ReadAnew(None, changed=False)
    with context.catalog.read() as conn:
        number = context.dataset_id(conn, dataset)
        known = references.looked(conn, number, new)
    asked = [(dataset, key) for key in new if key not in known][:MOST]
    return _read(context, {dataset: number}, asked, _identities(context, asked, each), {})


def _identities(context: Context, asked: Sequence[At], each: Each) -> Iterable[Asked]:
    def one(at: At) -> Asked:
        dataset, key = at
        try:
            return context.root(dataset).identity(key)
        except ObjectNotFound:  # what it named is held until a scan finds it gone
            return None
        except StoreError as error:
            return error

    return each(one, asked)


def _read(
    context: Context,
    numbers: dict[str, int],
    asked: Sequence[At],
    found: Iterable[Asked],
    known: dict[At, str],
) -> ReadAnew:
    changed: dict[str, list[File]] = {}
    for (dataset, key), now in zip(asked, found, strict=True):
        if isinstance(now, StoreError):
            return ReadAnew(now, changed=False)
        if now is not None and now != known.get((dataset, key)):
            changed.setdefault(dataset, []).append(File(key, now))
    for dataset, files in changed.items():
        References(context, dataset, numbers[dataset]).look(files)
    return ReadAnew(None, bool(changed))
