"""A new object that the server itself makes of one in another of its buckets: CopyObject, on condition of both ends.

The source is pinned by its ETag (and its version), the key must be vacant. The answer tells the checksum of all bytes
of what was made, and its ETag and time: what is there then must have these and the source's size, and the checksum be
the source's. Neighbours are looked at together. Where the answer does not tell it, a HEAD must, and whose it is. Its
user's metadata and tags do not come along; the catalog has them.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple
from urllib.parse import quote

from storaged.clock import SECOND
from storaged.errors import AlreadyExists, ObjectNotFound, SourceChanged, VerificationFailed
from storaged.model import Origin
from storaged.naming import named_by
from storaged.stores.base import New, Stat
from storaged.stores.checksums import algorithm_of
from storaged.stores.copies import Copy, CopySource
from storaged.stores.origins import parse_origin, text_within
from storaged.stores.s3.checksums import Algorithm, told
from storaged.stores.s3.classes import STANDARD
from storaged.stores.s3.identity import identity_of
from storaged.stores.s3.metadata import MOST
from storaged.stores.s3.session import S3Session
from storaged.stores.s3.together import Made
from storaged.stores.s3.wire import META, ORIGIN, Head

LARGEST: Final = 5 << 30  # bytes that one CopyObject takes
_ELEMENT: Final = re.compile(r"<(\w+)>([^<]*)</")
_SLOWEST: Final = 5 << 20  # bytes a second that a server copies at least, which says nothing meanwhile


class Copies(NamedTuple):
    """How a server copies from one bucket into another, as tried."""

    form: str  # that an ETag must have in the condition on the source
    creates: bool  # it refuses to copy onto a taken key


def copy(
    session: S3Session,
    name: str,
    new: New,
    source: CopySource,
    *,
    how: Copies,
    storage_class: str,
    made: Made | None,
) -> Stat:
    """`made`: takes what may be looked at later. Raises as `Store.copy` does."""
    full = session.key(name)
    text = _text(new.origin or Origin("", new.attempt, "", "", 0, ""))
    if not (how.creates and named_by(new.attempt, name)):
        _must_be_vacant(session, name, full)
    try:
        answer = copied(
            session, full, source, form=how.form, text=text, creating=how.creates, storage_class=storage_class
        )
    except SourceChanged as refused:  # a server need not say which of the two conditions it was
        return _proven(session, name, _mine(session, name, full, new.attempt, refused), new.attempt, source)

    def look() -> Stat:
        return _proven(session, name, session.wire.head(full), new.attempt, source)

    stat = _told(answer, name, source, storage_class)
    return stat if stat and made and made.later(full, look, stat.__eq__) else look()


def copies(
    session: S3Session, wanted: Mapping[str, Copy], *, how: Copies, storage_class: str, made: Made
) -> Mapping[str, Stat]:
    """The same of some names side by side, each of which nobody but its attempt writes to, where the server refuses to
    copy onto a taken key. Only what is told is looked at when `near` ends."""
    headers = {
        session.key(name): _headers(one.source, how.form, _text(one.origin), creating=True, storage_class=storage_class)
        for name, one in wanted.items()
    }
    within_s = max((one.source.size for one in wanted.values()), default=0) / _SLOWEST
    answers = session.wire.copies(headers, within_s=within_s)
    found: dict[str, Stat] = {}
    for name, one in wanted.items():
        full = session.key(name)
        stat = _told(answers[full], name, one.source, storage_class) if full in answers else None
        if stat and made.later(full, partial(_looked, session, name, one), stat.__eq__):
            found[name] = stat
    return found


def _looked(session: S3Session, name: str, one: Copy) -> Stat:
    return _proven(session, name, session.wire.head(session.key(name)), one.origin.attempt, one.source)


def _text(origin: Origin) -> str:
    return text_within(replace(origin, mtime_us=0), MOST - len(META))


def _told(answer: str, name: str, source: CopySource, storage_class: str) -> Stat | None:
    """What the answer to a copy says that was made, where that has the source's checksum of all bytes."""
    algorithm, _, wanted = source.checksum.partition(":")
    told = {tag: html.unescape(text) for tag, text in _ELEMENT.findall(answer)}
    seconds, etag = _seconds(told), told.get("ETag", "")
    whole = told.get("ChecksumType", "FULL_OBJECT") == "FULL_OBJECT"
    if seconds is None or not etag or not whole or told.get(f"Checksum{algorithm.upper()}") != wanted:
        return None
    return Stat(name, source.size, identity_of(etag, seconds, None), seconds * SECOND, storage_class)


def _seconds(told: Mapping[str, str]) -> int | None:
    """LastModified of an answer, since 1970; None: it tells none."""
    try:
        return int(datetime.fromisoformat(told["LastModified"]).timestamp())
    except (KeyError, ValueError):
        return None


def copied(
    session: S3Session,
    full: str,
    source: CopySource,
    *,
    form: str,
    text: str,
    creating: bool,
    algorithm: Algorithm | None = None,
    storage_class: str = STANDARD,
) -> str:
    """The request alone, and the document of its answer. `algorithm`: of the copy's checksum, where it shall not be the
    source's. Raises SourceChanged where a condition fails, of whichever end."""
    headers = _headers(source, form, text, creating=creating, algorithm=algorithm, storage_class=storage_class)
    return session.wire.copy(full, headers, within_s=source.size / _SLOWEST)


def _headers(
    source: CopySource,
    form: str,
    text: str,
    *,
    creating: bool,
    algorithm: Algorithm | None = None,
    storage_class: str,
) -> dict[str, str]:
    version = f"?versionId={quote(source.version, safe='~')}" if source.version else ""
    headers = {
        "x-amz-copy-source": quote(f"{source.bucket}/{source.key}", safe="/~") + version,
        "x-amz-copy-source-if-match": form.format(source.etag),
        "x-amz-metadata-directive": "REPLACE",
        "x-amz-tagging-directive": "REPLACE",
        "x-amz-checksum-algorithm": algorithm or algorithm_of(source.checksum).upper(),
        ORIGIN: text,
    }
    if creating:
        headers["If-None-Match"] = "*"
    if storage_class != STANDARD:
        headers["x-amz-storage-class"] = storage_class
    return headers


def _proven(session: S3Session, name: str, found: Head, attempt: str, source: CopySource) -> Stat:
    """What is at the key, where that is the copy. Raises VerificationFailed."""
    stat, origin = found.stat(name), parse_origin(found.headers.get(ORIGIN, ""))
    algorithm = algorithm_of(source.checksum)
    if stat.size != source.size:
        raise VerificationFailed(f"{name}: {stat.size} bytes were copied of {source.size}")
    if f"{algorithm}:{told(found.headers, Algorithm(algorithm.upper()))}" != source.checksum:
        raise VerificationFailed(f"{name}: by {session.url} its checksum is not that of what it is a copy of")
    if origin is None or origin.attempt != attempt:
        raise VerificationFailed(f"{name}: the copy does not say whose it is")
    return stat


def _mine(session: S3Session, name: str, full: str, attempt: str, refused: SourceChanged) -> Head:
    """What is at the key, if this attempt made it: the answer to the first of two tries was lost. Raises what was
    refused where nothing is there, AlreadyExists."""
    try:
        found = session.wire.head(full)
    except ObjectNotFound:
        raise refused from None
    origin = parse_origin(found.headers.get(ORIGIN, ""))
    if origin is None or origin.attempt != attempt:
        raise AlreadyExists(f"{name!r} is there already", key=name) from refused
    return found


def _must_be_vacant(session: S3Session, name: str, full: str) -> None:
    try:
        session.wire.head(full)
    except ObjectNotFound:
        return
    raise AlreadyExists(f"{name!r} is there already", key=name)
