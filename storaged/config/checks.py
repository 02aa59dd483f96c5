"""What only shows when entries of storaged.yaml are held against one another: nesting, ranks, names of tiers.

They look at the file's data and not at Settings, so that one bad entry does not hide what is wrong with the others.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from storaged.config.messages import YamlPath, did_you_mean, path_text
from storaged.config.quantities import BadValueError
from storaged.config.urls import (
    Location,
    catalog_location,
    check_catalog_url,
    check_store_url,
    file_location,
    location_text,
    resolved_catalog_url,
    store_location,
)
from storaged.config.yaml import Document
from storaged.errors import Problem
from storaged.mounts import Mount, Tree, mounts, trees
from storaged.stores.local_claim import keeps_claims
from storaged.stores.local_names import FOLLOW, first_link, linked

_PLACES: Final = (("tiers", "url"), ("datasets", "root"))
_MAKE: Final = {
    "tiers": "mount it, or make it: `storagectl catalog create --make` makes the directories of tiers",
    "datasets": "mount it, or make it",
}
_NAMED: Final = {
    "policies": "make it, or correct the path: without it there are no policies",
    "price_books": "make it, or correct the path: without it there are only the books that are shipped",
}
_APART = "roots, tiers and storaged's own files lie beside one another, links and mounts included"


class _Place(NamedTuple):
    path: YamlPath  # in the file
    what: str
    location: Location


def cross_problems(document: Document, base: Path, *, catalog: str, state_dir: Path) -> Iterator[Problem]:
    """Every contradiction between entries; what is wrong with a single entry is left to its model.

    Relative paths start from `base`; `catalog` and `state_dir` count where the file names none.
    """
    if not isinstance(document.data, dict):
        return
    yield from _shared(document, _values(document, "tiers", "rank", int), "0 is the hottest; no two share a rank")
    yield from _shared(document, _values(document, "heat", "name", str), "what was counted is remembered by this name")
    yield from _unknown_tiers(document)
    yield from _cluster(document, str(document.data.get("catalog", catalog)))
    own = _own(document.data.get("catalog", catalog), document.data.get("state_dir", str(state_dir)), base)
    yield from _nested(document, list(_tiers_and_roots(document)), own)


def place_problems(document: Document, base: Path) -> Iterator[Problem]:
    """Every tier and root on this machine that is not there, or is reached through a symbolic link and does not say
    `follow: true`; and where catalog and state directory could not be made. Relative paths start from `base`."""
    if not isinstance(document.data, dict):
        return
    for own in _own(document.data.get("catalog"), document.data.get("state_dir"), base):
        yield from _nowhere(document, own)
    for key, hint in _NAMED.items():
        named = document.data.get(key)
        if not isinstance(named, str) or (base / named).is_dir():
            continue
        if (base / named).exists():
            yield _problem(document, (key,), f"{base / named} is no directory", hint)
        elif key != "policies":  # who begins has none yet: that is warned of
            yield _problem(document, (key,), f"{base / named} does not exist", hint)
    for section, key in _PLACES:
        follows = {path[1] for path, value in _values(document, section, "follow", bool) if value}
        for path, url in _values(document, section, key, str):
            place = url.removeprefix("file://").rstrip("/")
            link = first_link(place) if url.startswith("file:///") and path[1] not in follows else None
            if link is not None:
                yield _problem(document, path, linked(place, link), FOLLOW)
            elif url.startswith("file:///") and not os.path.isdir(place):
                what = "is no directory" if os.path.exists(place) else "does not exist"
                yield _problem(document, path, f"{place} {what}", _MAKE[section])
    roots = {path[1]: url for path, url in _values(document, "datasets", "root", str)}
    for path, way in _values(document, "datasets", "claim", str):
        root = str(roots.get(path[1], "")).removeprefix("file://")
        if way == "attribute" and os.path.isdir(root) and not keeps_claims(root):
            what = f"the filesystem of {root} keeps no extended attributes (user_xattr)"
            yield _problem(document, path, what, "leave `claim` out: it is then a file below .storaged")


def _nowhere(document: Document, own: _Place) -> Iterator[Problem]:
    """A catalog's directory must be there; the state directory is made, where no file is in the way."""
    path = Path(location_text(own.location))
    if own.path == ("catalog",):
        if not path.parent.is_dir():
            what = "is no directory" if path.parent.exists() else "does not exist"
            yield _problem(document, own.path, f"{path.parent} {what}", "make it, or correct the url")
        return
    there = next(place for place in (path, *path.parents) if place.exists())
    if not there.is_dir():
        yield _problem(document, own.path, f"{there} is no directory", "name another place")


def mount_problems(document: Document, table: list[Mount] | None = None) -> Iterator[Problem]:
    """Every tier and root on this machine that shows files of another one by a bind mount, though no path tells so."""
    if not isinstance(document.data, dict):
        return
    table = mounts() if table is None else table
    before: list[tuple[_Place, list[Tree]]] = []
    for place in _tiers_and_roots(document):
        if place.location[0] != "file":
            continue
        mine = list(trees(location_text(place.location), table))
        for other, theirs in before:
            if place.location[: len(other.location)] == other.location[: len(place.location)]:
                continue  # the paths tell
            met = next(((one, two) for one in mine for two in theirs if one.meets(two)), None)
            if met is not None:
                where = f"{met[0].seen} and {met[1].seen} show the same by a mount"
                yield _problem(document, place.path, f"{place.what} shows files of {other.what}: {where}", _APART)
                break
        before.append((place, mine))


def _values(document: Document, section: str, key: str, kind: type) -> Iterator[tuple[YamlPath, Any]]:
    """Path and value of `key` in every entry of a section where it is of the right kind."""
    entries = document.data.get(section)
    named = entries.items() if isinstance(entries, dict) else enumerate(entries) if isinstance(entries, list) else ()
    for name, entry in named:
        if isinstance(entry, dict) and type(entry.get(key)) is kind:  # exactly: true is no rank
            yield (section, name, key), entry[key]


def _problem(document: Document, path: YamlPath, message: str, hint: str | None) -> Problem:
    return Problem(document.file, document.line(path), path_text(path), message, hint)


def _shared(document: Document, values: Iterable[tuple[YamlPath, Any]], hint: str) -> Iterator[Problem]:
    first: dict[Any, YamlPath] = {}
    for path, value in values:
        other = first.setdefault(value, path)
        if other != path:
            message = f"{path[-1]} {value} is the {path[-1]} of {path_text(other[:-1])} too"
            yield _problem(document, path, message, hint)


def _unknown_tiers(document: Document) -> Iterator[Problem]:
    known = document.data.get("tiers")
    if isinstance(known, dict):
        for key in ("tier", "pin"):
            for path, tier in _values(document, "datasets", key, str):
                if tier and tier not in known:
                    yield _problem(document, path, f"there is no tier `{tier}`", did_you_mean(tier, known))


def _cluster(document: Document, catalog: str) -> Iterator[Problem]:
    workers = document.data.get("workers")
    if isinstance(workers, dict) and workers.get("engine") == "dask" and catalog.startswith("sqlite"):
        message = "a Dask cluster cannot work with an SQLite catalog, which is of one machine"
        yield _problem(document, ("workers", "engine"), message, "catalog: postgresql://user@host/database")


def _tiers_and_roots(document: Document) -> Iterator[_Place]:
    for (section, key), what in zip(_PLACES, ("tier", "the root of"), strict=True):
        for path, url in _values(document, section, key, str):
            try:
                yield _Place(path, f"{what} `{path[1]}`", store_location(check_store_url(url)))
            except BadValueError:
                continue  # its model reports it


def _own(catalog: object, state_dir: object, base: Path) -> Iterator[_Place]:
    """Our own files. They may hold tiers (all under one directory of a daemon), but not the other way round."""
    if isinstance(state_dir, str):
        yield _Place(("state_dir",), "state_dir", file_location(base / state_dir))
    if not isinstance(catalog, str):
        return
    try:
        url = check_catalog_url(catalog)
    except BadValueError:
        return  # its model reports it
    location = catalog_location(resolved_catalog_url(url, base))
    if location is not None:
        yield _Place(("catalog",), "the catalog", location)


def _nested(document: Document, outer: list[_Place], own: Iterable[_Place]) -> Iterator[Problem]:
    by_location: dict[Location, _Place] = {}
    for place in outer:
        by_location.setdefault(place.location, place)
    for place in (*outer, *own):
        for length in range(1, len(place.location) + 1):
            other = by_location.get(place.location[:length])
            if other is None or other is place:
                continue
            where, whole = location_text(place.location), location_text(other.location)
            if where == whole:
                message = f"{place.what} is the same place as {other.what}: {where}"
            else:
                message = f"{place.what} lies inside {other.what}: {where} is in {whole}"
            yield _problem(document, place.path, message, _APART)
            break
