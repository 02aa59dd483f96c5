"""References, once more right before something is moved: a file with references may have been written since the scan.

The files that are known to hold references to objects of a dataset, or are in it, are asked whether they are as they
were; and what is new beside a job's objects and above them is looked into. What they name is in the catalog from then
on, so that every door knows of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from storaged.catalog import references
from storaged.catalog.placements import dataset_ids
from storaged.errors import ObjectNotFound, StoreError
from storaged.work.context import Context
from storaged.work.scan.references import ASK_AGAIN, File, References
from storaged.work.scan.referring import FIXED, may_hold

MOST: Final = 10_000  # files that are asked for at once: those that were read last

At = tuple[str, str]  # dataset and key
Asked = str | StoreError | None
Each = Callable[[Callable[[At], Asked], Sequence[At]], Iterable[Asked]]


def look_again(context: Context, dataset: str, each: Each) -> StoreError | None:
    """Read those of the known files anew that were changed. Returns why that cannot be told of one of them."""
    with context.catalog.read() as conn:
        numbers = dataset_ids(conn)
        if dataset not in numbers:
            return None
        known = references.watched(conn, numbers[dataset], MOST, FIXED)
    names = {number: name for name, number in numbers.items()}
    there = {
        (names[number], key): identity
        for number, key, identity, _ in known
        if identity not in ("", ASK_AGAIN) and names[number] in context.datasets
    }
    asked = list(there)
    return _read(context, numbers, asked, _identities(context, asked, each), there)


def look_beside(context: Context, dataset: str, keys: Iterable[str], each: Each) -> StoreError | None:
    """Look into those of these files that nobody has looked into. Returns why that cannot be done with one of them."""
    new = [key for key in keys if may_hold(key) and _is_text(key)]
    if not new:
        return None
    with context.catalog.read() as conn:
        number = context.dataset_id(conn, dataset)
        known = references.looked(conn, number, new)
    asked = [(dataset, key) for key in new if key not in known][:MOST]
    return _read(context, {dataset: number}, asked, _identities(context, asked, each), {})


def _is_text(key: str) -> bool:
    """Whether scans take it for an object at all."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


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
) -> StoreError | None:
    changed: dict[str, list[File]] = {}
    for (dataset, key), now in zip(asked, found, strict=True):
        if isinstance(now, StoreError):
            return now
        if now is not None and now != known.get((dataset, key)):
            changed.setdefault(dataset, []).append(File(key, now))
    for dataset, files in changed.items():
        References(context, dataset, numbers[dataset]).look(files)
    return None
