"""What attempts left in a bucket: copies at keys of ours, and multipart uploads that nobody has seen the end of."""

from __future__ import annotations

import abc
import json
from collections.abc import Iterator

from storaged.errors import ObjectNotFound
from storaged.naming import named_by
from storaged.stores.base import RESERVED, Deleted
from storaged.stores.keys import check_attempt
from storaged.stores.notes import LARGEST_NOTE
from storaged.stores.origins import left_by, parse_origin
from storaged.stores.s3 import listing, underway
from storaged.stores.s3.session import S3Session
from storaged.stores.s3.wire import ORIGIN, Head


class Attempts(abc.ABC):
    """The part of the port that clears up after attempts."""

    _session: S3Session

    @abc.abstractmethod
    def _name(self, key: str) -> str: ...

    @abc.abstractmethod
    def _head(self, key: str) -> Head: ...

    @abc.abstractmethod
    def _delete(self, name: str, identity: str, *, purge: bool = False) -> Deleted: ...

    @abc.abstractmethod
    def _read(self, note: str, limit: int = LARGEST_NOTE) -> bytes | None: ...

    @abc.abstractmethod
    def _remove(self, note: str) -> None: ...

    def attempts(self) -> Iterator[str]:
        """Of multipart uploads that were begun and of which nobody has seen the end."""
        for name in listing.list_notes(self._session, f"{underway.FOLDER}/"):
            yield name.partition("/")[2]

    def delete_attempt(self, key: str, *, attempt: str) -> Deleted:
        """DELETED if anything of the attempt was removed; CHANGED if the key holds something else; else ABSENT."""
        name = self._name(key)
        removed = self._abort(name, check_attempt(attempt))
        try:
            found = self._head(key)
        except ObjectNotFound:
            return Deleted.DELETED if removed else Deleted.ABSENT
        stat = found.stat(key)
        if not left_by(attempt, parse_origin(found.headers.get(ORIGIN, "")), stat):
            return Deleted.CHANGED
        return self._delete(name, stat.identity)

    def tidy(self) -> int:
        ended = 0  # notes of multipart uploads that the store knows no more
        for note in listing.list_notes(self._session, f"{underway.FOLDER}/"):
            data = self._read(f"{RESERVED}/{note}")
            told = {} if data is None else json.loads(data)
            if told and not underway.goes_on(self._session, self._session.key(told["key"]), told["upload"]):
                self._remove(f"{RESERVED}/{note}")
                ended += 1
        return ended

    def _abort(self, name: str, attempt: str) -> bool:
        """Abort the multipart upload that a note tells of, and those at a key that only this attempt writes to: the
        answer that named one may have been lost. (At a user's key such a one stays; it has no parts, and costs
        nothing.) Whether there was one."""
        note = underway.note_of(attempt)
        data = self._read(note)
        if data is not None:
            told = json.loads(data)
            underway.abort_upload(self._session, self._session.key(told["key"]), told["upload"])
            self._remove(note)
        unnamed = underway.uploads_at(self._session, name) if named_by(attempt, name) else []
        for one in unnamed:
            underway.abort_upload(self._session, self._session.key(name), one)
        return data is not None or bool(unnamed)
