"""What is asked of a bucket or an object beside its bytes: versions, locks, ownership, ACLs, tags; and what answers it.

An answer is the document that was asked for. The code of a store that has none, or that does not have such a thing at
all (501 NotImplemented, 405 MethodNotAllowed), is one as well. Nothing else is: a request that was throttled or refused
raises, and so does a 200 with another document in it. Not to know is not to have none: an object that counts as private
because its ACL could not be asked for comes back private.

There are servers that ignore a question they do not know and answer the rest of the request: of an object its own bytes
(with its own ETag), of a bucket a listing. The first is an answer, since nothing but the object itself has its ETag:
such a server knows no such thing of objects. A listing is none.
"""

from __future__ import annotations

import threading
import weakref
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from enum import Enum
from typing import Final

from storaged.clock import SECOND, SystemClock
from storaged.errors import PermissionDenied, StoreError
from storaged.stores.s3.errors import code_of, unsigned
from storaged.stores.s3.session import S3Session

_CANNOT: Final = frozenset({"NotImplemented", "MethodNotAllowed", "501", "405"})
_LAST_US: Final = 5 * 60 * SECOND  # how long what a store said of all its objects is taken for true


class NoAnswer(StoreError):
    """What came back is no answer to what was asked, so that nothing is known."""


@dataclass(frozen=True, slots=True)
class Question:
    """`query`: of the request. `root`: the element of the document that answers it. `right`: what it needs. `none`: the
    codes that say that there is nothing of the kind. `empty`: whether some servers say so with no document at all."""

    query: str
    root: str
    right: str
    none: frozenset[str] = frozenset()
    empty: bool = False
    also: str = ""  # another name of the root


VERSIONING: Final = Question(
    "versioning",
    "VersioningConfiguration",
    "s3:GetBucketVersioning",
    also="GetBucketVersioningResponse",  # moto
)
LOCKS: Final = Question(
    "object-lock",
    "ObjectLockConfiguration",
    "s3:GetBucketObjectLockConfiguration",
    frozenset({"ObjectLockConfigurationNotFoundError", "NoSuchObjectLockConfiguration"}),
)
OWNERSHIP: Final = Question(
    "ownershipControls",
    "OwnershipControls",
    "s3:GetBucketOwnershipControls",
    frozenset({"OwnershipControlsNotFoundError"}),
)
ACL: Final = Question("acl", "AccessControlPolicy", "s3:GetObjectAcl", frozenset({"AccessControlListNotSupported"}))
TAGS: Final = Question("tagging", "Tagging", "s3:GetObjectTagging", frozenset({"NoSuchTagSet"}), empty=True)  # Ceph
_NO_LOCK: Final = frozenset({"NoSuchObjectLockConfiguration"})
RETENTION: Final = Question("retention", "Retention", "s3:GetObjectRetention", _NO_LOCK)
LEGAL_HOLD: Final = Question("legal-hold", "LegalHold", "s3:GetObjectLegalHold", _NO_LOCK)


class Ignored(Enum):
    """That the store does not know the question."""

    IGNORED = "ignored"


IGNORED: Final = Ignored.IGNORED


class Answer:
    """A document by the names of its elements, whatever its namespace."""

    def __init__(self, element: ET.Element) -> None:
        self._element = element

    def text(self, name: str) -> str:
        """Of the first element of this name below; empty where there is none."""
        return next((one.text or "" for one in self._element.iter() if _bare(one) == name), "").strip()

    def each(self, name: str) -> list[Answer]:
        """The elements of this name below."""
        return [Answer(one) for one in self._element.iter() if _bare(one) == name]


def ask(session: S3Session, question: Question, *, key: str = "", etag: str = "") -> Answer | None:
    """The store's answer about a full key, or about the bucket; None: there is nothing of the kind. `etag`: the
    object's. Raises PermissionDenied, which names the right, StoreUnavailable, NoAnswer."""
    return None if (found := _heard(session, question, key, etag)) is IGNORED else found


def ignores(session: S3Session, question: Question, *, key: str, etag: str) -> bool:
    """Whether the store answers a question about an object with the object itself. Such a one would take a PUT of such
    a document for the object, too. Raises as `ask` does."""
    return _heard(session, question, key, etag) is IGNORED


def _heard(session: S3Session, question: Question, key: str, etag: str) -> Answer | Ignored | None:
    try:
        headers, body = session.wire.ask(question.query, key)
    except PermissionDenied as error:
        raise PermissionDenied(
            f"{session.url}: {question.root} cannot be asked for: {error.message}",
            key=error.key,
            hint=error.hint if unsigned(error) else f"allow {question.right}",
        ) from error
    except StoreError as error:
        if code_of(error) in _CANNOT | question.none:
            return None
        raise
    if question.empty and not body:
        return None
    try:
        found = ET.fromstring(body)  # noqa: S314 (of a store that serves all our bytes; expat takes no bombs since 2.4)
    except ET.ParseError:
        found = None
    if found is not None and _bare(found) in (question.root, question.also):
        return Answer(found)
    if key and headers.get("etag", "").strip('"') == etag.strip('"'):
        return IGNORED
    told = "no document" if found is None else f"a {_bare(found)}"
    raise NoAnswer(
        f"{session.name(key)!r}: asked for its {question.root}, {session.url} answered {told}: it is not known",
        key=session.name(key),
    )


def _bare(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


class Known:
    """What was answered once for all objects of a session's bucket. It is asked again after some minutes, since rights
    and settings change; what was no answer is not kept."""

    def __init__(self) -> None:
        self._told: weakref.WeakKeyDictionary[S3Session, dict[str, tuple[str, int]]] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()
        self.asking = threading.Lock()  # many threads meet their first objects at once: one of them asks for all

    def get(self, session: S3Session, what: str) -> str | None:
        with self._lock:
            told, until_us = self._told.get(session, {}).get(what, ("", 0))
        return told if SystemClock().now_us() < until_us else None

    def keep(self, session: S3Session, what: str, told: str) -> str:
        with self._lock:
            self._told.setdefault(session, {})[what] = told, SystemClock().now_us() + _LAST_US
        return told


known: Final = Known()


def tells_of_tags(session: S3Session, *, key: str, etag: str) -> bool:
    """Whether an object without a count of tags has none. A store leaves the count out for whoever may not ask for
    them, too; and some never tell it. So it is asked now and then, by an object without. Raises as `ask` does."""
    told = known.get(session, TAGS.query)
    if told is None:
        with known.asking:
            told = known.get(session, TAGS.query)
            if told is None:
                found = ask(session, TAGS, key=key, etag=etag)
                if found is not None and found.each("Tag"):
                    return False
                told = known.keep(session, TAGS.query, "told where there are any")
    return bool(told)
