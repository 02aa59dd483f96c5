"""Listing a bucket in key order, many requests at a time and a bounded number of pages ahead.

A store lists one prefix page by page, each page after the one before. What can be asked for side by side are different
prefixes, and which there are only a listing with a delimiter tells. So the listing is a *line* of places in key order:
pages that have come, requests under way, and what is still to be asked for. Readers take pages from its head; each of
some threads takes the first thing to be asked for and puts in its place what the answer shows:

- a *stretch* (one folder, or many small ones side by side) is listed flat. Where its first page does not end it, it is
  cut at the child folder in which the page ended: the rest of that folder, and the rest of the level;
- a *level* is listed with the delimiter; its folders become stretches. Folders are taken together so far as those
  before them were small, so that many tiny ones do not cost a request each.

Where a level has no folders it is a flat listing that is read ahead.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import itemgetter
from typing import Final, NamedTuple

from storaged.stores.base import RESERVED, Skipped, Stat
from storaged.stores.s3.pages import Mark, Page, ask
from storaged.stores.s3.session import S3Session

THREADS: Final = 8  # requests at a time
AHEAD: Final = 50  # pages of at most 1,000 keys that wait for the reader
TOGETHER: Final = 4_000  # keys that folders which are listed together should have
SMALL: Final = 500  # keys; a folder of more is listed alone
MOST: Final = 1_000  # folders listed together

_LAST: Final = "\U0010fffd"  # sorts behind what names begin with
_FRESH: Final = Mark()
_Entries = list[Stat | Skipped]


def list_pages(
    session: S3Session, prefix: str, after: str, *, versioned: bool = False
) -> Iterator[Sequence[Stat | Skipped]]:
    """Page by page what is under the session's prefix and begins with `prefix` and sorts after `after`, in byte order.

    `versioned`: through the listing of versions, which tells version ids; of each key the latest, if that is not a
    delete marker. Raises StoreError, also where the store does not list in byte order.
    """
    base, start = session.key(prefix), session.key(after) if after else ""
    own = session.key(RESERVED)
    if base.startswith(f"{own}/") or (start > base and not start.startswith(base)):
        return
    mark = Mark(start, start) if start >= base else _FRESH
    yield from _Line(partial(ask, session, versioned=versioned), own).read(_Stretch([(base, None)], mark))


def list_folder(session: S3Session, prefix: str, most: int) -> list[str]:
    """The first names directly under a prefix, at most `most`; folders with their slash."""
    base, own = session.key(prefix), session.key(RESERVED)
    told: list[str] = []
    mark: Mark | None = _FRESH
    while mark is not None and len(told) < most:
        page = ask(session, base, mark, by_folder=True)
        told += sorted(key for key in (*page.keys, *page.folders) if key not in (own, f"{own}/"))
        mark = page.onward if page.more else None
    return [key[len(base) :] for key in told[:most]]


def list_notes(session: S3Session, prefix: str) -> Iterator[str]:
    """What is under the store's own name and a prefix, in byte order."""
    begin = session.key(f"{RESERVED}/")
    goes_on: dict[str, str] = {}
    while True:
        page = session.call("list_objects_v2", Prefix=begin + prefix, **goes_on)
        for told in page.get("Contents", []):
            if told["Key"] != begin:
                yield told["Key"].removeprefix(begin)
        if not page.get("IsTruncated"):
            return
        goes_on = {"ContinuationToken": page["NextContinuationToken"]}


class _Folders:
    """How many folders of one level to list together, learned from those that were listed."""

    def __init__(self, together: int = 1) -> None:
        self.together = together

    def had(self, folders: int, keys: int) -> None:
        """So many folders had so many keys."""
        small = keys < SMALL * folders
        self.together = min(MOST, max(1, TOGETHER * folders // max(1, keys))) if small else 1


_Entry = tuple[str, Stat | Skipped | None]  # a full key and what is there; None for a folder
_key: Final = itemgetter(0)


@dataclass(slots=True)
class _Stretch:
    """Folders to be listed flat, with the keys of their level between them, from a mark on."""

    entries: list[_Entry]  # first and last are folders
    mark: Mark = _FRESH
    level: str = ""  # the folder that they are in; of no meaning for one alone
    folders: _Folders = field(default_factory=_Folders)


@dataclass(slots=True)
class _Level:
    """One folder to be listed with the delimiter, from a mark on."""

    prefix: str
    mark: Mark
    folders: _Folders


@dataclass(slots=True)
class _Found:
    """What a level told and is not yet asked for; its first entry is a folder."""

    level: str
    entries: list[_Entry]
    folders: _Folders


class _Asked(NamedTuple):
    """A request that is under way."""

    by: object


_Todo = _Stretch | _Level
_Place = _Todo | _Found | _Asked | _Entries | Exception


class _Line:
    """What is to be asked for, under way and there, in key order."""

    def __init__(self, ask: Callable[..., Page], own: str) -> None:
        self._ask = ask
        self._own = own
        self._places: list[_Place] = []
        self._changed = threading.Condition()
        self._stopped = False

    def read(self, first: _Stretch) -> Iterator[_Entries]:
        """All pages in order. The first request is made alone: most prefixes are one page."""
        self._places = self._answers(first)
        threads: list[threading.Thread] = []
        if not all(isinstance(place, list) for place in self._places):
            # daemons: whoever drops a listing half read must not keep the process from ending
            threads = [threading.Thread(target=self._work, name="storaged-list", daemon=True) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        try:
            while (page := self._next()) is not None:
                yield page
        finally:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()
            for thread in threads:
                thread.join()

    def _next(self) -> _Entries | None:
        """The page at the head, once it has come; None at the end."""
        with self._changed:
            while self._places:
                head = self._places[0]
                if isinstance(head, Exception):
                    raise head
                if isinstance(head, list):
                    self._changed.notify_all()
                    self._places.pop(0)
                    return head
                self._changed.wait()
            return None

    def _work(self) -> None:
        """One thread: ask for the first thing that is to be asked for, until nothing can come any more."""
        while (taken := self._take()) is not None:
            todo, asked = taken
            try:
                answers: list[_Place] = self._answers(todo)
            except Exception as error:  # noqa: BLE001 (raised by the reader, when it gets there)
                answers = [error]
            with self._changed:
                at = next(n for n, place in enumerate(self._places) if place is asked)
                self._places[at : at + 1] = answers
                self._changed.notify_all()

    def _take(self) -> tuple[_Todo, _Asked] | None:
        with self._changed:
            while not self._stopped and not all(isinstance(p, list | Exception) for p in self._places):
                held = sum(isinstance(place, list | _Asked) for place in self._places)
                for at, place in enumerate(self._places):
                    if isinstance(place, _Stretch | _Level | _Found):
                        if held < AHEAD or at == 0:
                            asked = _Asked(object())
                            todo, rest = _first_of(place) if isinstance(place, _Found) else (place, [])
                            self._places[at : at + 1] = [asked, *rest]
                            return todo, asked
                        break
                self._changed.wait()
            return None

    def _answers(self, todo: _Todo) -> list[_Place]:
        return self._of_level(todo) if isinstance(todo, _Level) else self._of_stretch(todo)

    def _of_level(self, level: _Level) -> list[_Place]:
        page = self._ask(level.prefix, level.mark, by_folder=True)
        self._hide_own(page)
        entries: list[_Entry] = [*zip(page.keys, page.entries, strict=True), *((f, None) for f in page.folders)]
        entries.sort(key=_key)
        out = _told(page.strange) + _keys_and_folders(level.prefix, entries, level.folders)
        if page.more:
            out.append(_Level(level.prefix, _ahead(page.onward, level.mark), level.folders))
        return out

    def _of_stretch(self, stretch: _Stretch) -> list[_Place]:
        first, last = stretch.entries[0][0], stretch.entries[-1][0]
        if len(stretch.entries) == 1:
            page = self._ask(first, stretch.mark)
        else:
            # a folder's name ends with "/", the sign behind "."
            start = stretch.mark if any(stretch.mark) else Mark(marker=f"{first[:-1]}.{_LAST}")
            page = self._ask(stretch.level, start)
            _cut(page, first, last)
        self._hide_own(page)
        out = _told([*page.strange, *page.entries])
        onward = _ahead(page.onward, stretch.mark)
        if not page.more:
            stretch.folders.had(_count(stretch.entries), len(page.keys))
            return out
        if onward.after <= stretch.mark.after or onward.after < first:  # nothing was told yet but that there is more
            return [*out, _Stretch(stretch.entries, onward, stretch.level, stretch.folders)]
        if onward.after.startswith(first):  # all of the page is in the first one
            stretch.folders.had(1, SMALL)
            rest = _keys_and_folders(stretch.level, stretch.entries[1:], stretch.folders)
            return [*out, *self._rest(first, page), *rest]
        reached = bisect_right(stretch.entries, onward.after, key=_key)
        begun = max(n for n in range(reached) if stretch.entries[n][1] is None)
        stretch.folders.had(_count(stretch.entries[:begun]), len(page.keys))
        if begun + 1 == len(stretch.entries):  # the last one, alone
            onward = page.elsewhere
        return [*out, _Stretch(stretch.entries[begun:], onward, stretch.level, stretch.folders)]

    def _rest(self, prefix: str, page: Page) -> list[_Place]:
        """What comes under a prefix behind a page of it: the rest of the child where it ended, then of the level."""
        folders = _Folders()
        children = {key[len(prefix) :].partition("/")[0] for key in page.keys}
        folders.had(max(1, len(children) - 1), len(page.keys))
        level = _Level(prefix, page.elsewhere, folders)
        folder, slash, _ = page.elsewhere.after[len(prefix) :].partition("/")
        child = f"{prefix}{folder}/"
        return [level] if not slash or child == f"{self._own}/" else [_Stretch([(child, None)], page.elsewhere), level]

    def _hide_own(self, page: Page) -> None:
        """Leave out the names that are storaged's own."""
        low, high = bisect_left(page.keys, f"{self._own}/"), bisect_left(page.keys, f"{self._own}0")
        del page.keys[low:high], page.entries[low:high]
        at = bisect_left(page.keys, self._own)
        if page.keys[at : at + 1] == [self._own]:
            del page.keys[at], page.entries[at]
        if f"{self._own}/" in page.folders:
            page.folders.remove(f"{self._own}/")


def _keys_and_folders(level: str, entries: Sequence[_Entry], folders: _Folders) -> list[_Place]:
    """The keys before the first folder as a page, and the rest as what was found."""
    at = next((n for n, (_, what) in enumerate(entries) if what is None), len(entries))
    out: list[_Place] = []
    if at:
        out.append([what for _, what in entries[:at] if what is not None])
    if at < len(entries):
        out.append(_Found(level, list(entries[at:]), folders))
    return out


def _first_of(found: _Found) -> tuple[_Stretch, list[_Place]]:
    """The next folders to be listed together, and what is left."""
    entries, left = found.entries, found.folders.together
    end = 0
    for n, (_, what) in enumerate(entries):
        if what is None:
            end, left = n + 1, left - 1
            if not left:
                break
    stretch = _Stretch(entries[:end], level=found.level, folders=found.folders)
    return stretch, _keys_and_folders(found.level, entries[end:], found.folders)


def _cut(page: Page, first: str, last: str) -> None:
    """Leave of a page what belongs to folders from `first` to `last`; nothing more comes where something was behind."""
    low = bisect_left(page.keys, first)
    high = len(page.keys)
    while high > low and page.keys[high - 1] > last and not page.keys[high - 1].startswith(last):
        high -= 1
    end = page.onward.after
    page.more = page.more and (end < last or end.startswith(last))
    page.keys, page.entries = page.keys[low:high], page.entries[low:high]


def _told(entries: Sequence[Stat | Skipped]) -> list[_Place]:
    return [list(entries)] if entries else []


def _ahead(onward: Mark, before: Mark) -> Mark:
    """The mark behind a page; never back, where the page told nothing."""
    return onward._replace(after=max(onward.after, before.after))


def _count(entries: Sequence[_Entry]) -> int:
    return sum(what is None for _, what in entries)
