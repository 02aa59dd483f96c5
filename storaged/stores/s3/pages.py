"""One page of a listing: asked for, and parsed by expat, as botocore's own parser takes ten times as long."""

from __future__ import annotations

import datetime as dt
import xml.etree.ElementTree as ET
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from storaged.clock import SECOND
from storaged.errors import StoreError, StoreUnavailable
from storaged.stores.base import Skipped, Stat
from storaged.stores.s3.classes import STANDARD
from storaged.stores.s3.identity import identity_of
from storaged.stores.s3.session import S3Session

PAGE: Final = 1_000  # keys asked for at once; S3 gives no more


class Mark(NamedTuple):
    """Where a listing goes on. Nothing up to `after` is wanted; the others are what the store is told."""

    after: str = ""
    marker: str = ""
    token: str = ""


@dataclass(slots=True)
class Page:
    """What one request told. Keys are full keys; `entries` are named by what stands behind the session's prefix."""

    keys: list[str]  # of the entries, in order
    entries: list[Stat | Skipped]
    folders: list[str]  # common prefixes, in order
    strange: list[Skipped]  # keys and folders that are no text
    more: bool
    onward: Mark  # where the same request goes on; `after` is the last key or folder that was told
    elsewhere: Mark  # where one of another prefix goes on, or one by folder


def ask(
    session: S3Session,
    prefix: str,
    mark: Mark,
    *,
    by_folder: bool = False,
    versioned: bool = False,
    most: int | None = None,
) -> Page:
    """The page of full keys under `prefix` from a mark on. `by_folder`: what has a slash behind the prefix is told as a
    folder; `most`: keys, at most PAGE, which is what None asks for. Raises StoreError where what is told is not in byte
    order.
    """
    query = {"prefix": prefix, "encoding-type": "url", "max-keys": str(most or PAGE)}
    if by_folder:
        query["delimiter"] = "/"
    if versioned:
        query["versions"] = ""
        names = ("key-marker", "version-id-marker")
    else:
        query["list-type"] = "2"
        names = ("", "continuation-token") if mark.token else ("start-after", "")
    query |= {name: told for name, told in zip(names, mark[1:], strict=True) if name and told}
    page = parse(session.wire.page(query), session.prefix, versioned=versioned)
    for told in (page.keys, page.folders):
        wrong = [after for before, after in pairwise(told) if before > after]
        wrong += [key for key in told[:1] if not key.startswith(prefix)]
        if wrong or (page.keys and page.keys[0] <= mark.after and not versioned):
            raise StoreError(
                f"{session.url} does not list its keys in the order of their bytes: see {(wrong or page.keys)[0]!r}",
                hint="directory buckets (S3 Express) and some servers cannot; a catalog of them would have holes",
            )
    if page.more and page.onward[1:] in (("", ""), mark[1:]):
        raise StoreError(f"{session.url}: the store says that a listing goes on, but not where", key=mark.after)
    # whether a marker of versions is told again is not documented
    again = bisect_right(page.keys, mark.after)
    del page.keys[:again], page.entries[:again]
    del page.folders[: bisect_right(page.folders, mark.after)]
    return page


def parse(body: bytes, root: str, *, versioned: bool) -> Page:
    """A page of ListObjectsV2 or of ListObjectVersions, of which only what is there now is taken. `root` is what the
    keys begin with and the entries' names do not. Raises StoreUnavailable for what is no such page."""
    try:
        document = ET.fromstring(body)  # noqa: S314 (botocore does the same; expat limits what entities can do)
    except ET.ParseError as error:
        raise StoreUnavailable(f"the answer to a listing is no XML: {error}") from error
    space = document.tag[: document.tag.find("}") + 1]
    if document.tag == f"{space}Error":
        raise StoreUnavailable(f"a listing was answered with an error: {document.findtext(f'{space}Code')}")
    return _Parser(document, space, root, versioned).page()


class _Parser:
    def __init__(self, document: ET.Element, space: str, root: str, versioned: bool) -> None:
        self.document = document
        self.space = space
        self.root = root
        self.versioned = versioned
        self.encoded = self.text("EncodingType") == "url"
        self.strange: list[Skipped] = []

    def text(self, name: str) -> str:
        return self.document.findtext(self.space + name) or ""

    def page(self) -> Page:
        keys, entries = self.objects()
        folders = self.decoded(e.findtext(f"{self.space}Prefix") for e in self.each("CommonPrefixes"))
        more = self.text("IsTruncated") == "true"
        last = max([*keys[-1:], *folders[-1:]], default="")
        if not self.versioned:
            onward, elsewhere = Mark(last, last, self.text("NextContinuationToken")), Mark(last, last)
        else:  # what is there no more was told too
            ends = [list(self.each(kind))[-1:] for kind in ("Version", "DeleteMarker")]
            told = self.decoded(e.findtext(f"{self.space}Key") for end in ends for e in end)
            marker = "".join(self.decoded([self.text("NextKeyMarker")]))
            onward = elsewhere = Mark(max([last, *told]), marker, self.text("NextVersionIdMarker"))
        return Page(keys, entries, folders, self.strange, more, onward, elsewhere)

    def each(self, name: str) -> Iterator[ET.Element]:
        return self.document.iterfind(self.space + name)

    def decoded(self, written: Iterable[str | None]) -> list[str]:
        return [key for text in written if text and (key := self.key(text)) is not None]

    def key(self, written: str) -> str | None:
        """A key as it is; None for what is no text. As botocore does it: "+" for a space, then percent escapes."""
        if not self.encoded:
            return written
        if "+" in written:
            written = written.replace("+", " ")
        if "%" not in written:
            return written
        raw = unquote_to_bytes(written)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            self.strange.append(Skipped(raw.decode(errors="backslashreplace"), "key is not UTF-8"))
            return None

    def objects(self) -> tuple[list[str], list[Stat | Skipped]]:
        """Written out in one loop: this is where the time of a listing goes."""
        space, versioned, cut = self.space, self.versioned, len(self.root)
        key_tag, size_tag, etag_tag = f"{space}Key", f"{space}Size", f"{space}ETag"
        when_tag, class_tag = f"{space}LastModified", f"{space}StorageClass"
        latest_tag, version_tag = f"{space}IsLatest", f"{space}VersionId"
        keys: list[str] = []
        entries: list[Stat | Skipped] = []
        for element in self.each("Version" if versioned else "Contents"):
            facts = {child.tag: child.text for child in element}
            if versioned and facts.get(latest_tag) != "true":
                continue
            key = self.key(facts.get(key_tag) or "")
            if key is None:
                continue
            keys.append(key)
            name = key[cut:]
            if not name:
                entries.append(Skipped(key, "folder marker of the root itself"))
                continue
            if "\0" in name:
                entries.append(Skipped(name.replace("\0", "\\x00"), "key holds a NUL"))
                continue
            seconds = _seconds(facts.get(when_tag) or "")
            identity = identity_of(facts.get(etag_tag) or "", seconds, facts.get(version_tag))
            told_class = facts.get(class_tag) or STANDARD
            storage_class = STANDARD if told_class == STANDARD else told_class  # one text for all of them
            entries.append(Stat(name, int(facts.get(size_tag) or 0), identity, seconds * SECOND, storage_class))
        return keys, entries


@lru_cache(maxsize=10_000)
def _seconds(written: str) -> int:
    """Whole seconds since 1970 of an ISO 8601 time: a HEAD tells no fraction of them."""
    return int(dt.datetime.fromisoformat(written).timestamp())
