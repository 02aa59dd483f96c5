"""Objects in the making: one PUT where they are small, else a multipart upload in bounded memory. Both create only.

Of a multipart upload a note says key and upload id before its first part is sent, so that what a killed process left
is known, at users' keys too, and can be aborted.
"""

from __future__ import annotations

import contextlib
import json
import mmap
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final, Self

import obstore

from storaged.clock import SECOND, timed
from storaged.errors import AlreadyExists, ObjectNotFound, SourceChanged, StoreError, VerificationFailed
from storaged.model import Origin
from storaged.naming import named_by
from storaged.stores.base import New, Stat
from storaged.stores.origins import parse_origin, text_within
from storaged.stores.s3 import metadata as beside
from storaged.stores.s3.checksums import Algorithm, new_sum, sum_of, told
from storaged.stores.s3.classes import STANDARD
from storaged.stores.s3.errors import code_of, translated
from storaged.stores.s3.identity import identity_of, parts
from storaged.stores.s3.parts import PART, SENDING, give_back, memory_of
from storaged.stores.s3.session import S3Session
from storaged.stores.s3.together import Made, Put
from storaged.stores.s3.underway import abort_upload, note_of, uploads_at
from storaged.stores.s3.wire import META, ORIGIN, Head

PARTS: Final = 9_000  # of the 10,000 that S3 takes; the rest are for what comes beyond the size that was told

_Told = tuple[Stat, str]  # what is at the key, and the store's checksum of it where it tells one


@dataclass(frozen=True, slots=True)
class Target:
    """Where uploads of one store go, and how."""

    session: S3Session
    algorithm: Algorithm | None
    create_put: bool
    create_parts: bool
    storage_class: str
    threads: Executor
    remove_note: Callable[[str], None]
    made: Made | None  # takes what may be looked at later


class S3Upload:
    """For one thread at a time. Whatever raises in it aborts it.

    A multipart upload takes origin and metadata when it begins, and never again.
    """

    def __init__(self, target: Target, name: str, new: New) -> None:
        self._target = target
        self._session = target.session
        self._name = name
        self._key = target.session.key(name)
        self._attempt = new.attempt
        self._later = new.later
        self._ours = named_by(new.attempt, name)  # nobody else writes to this key
        self._origin = new.origin or Origin("", new.attempt, "", "", 0, "")
        self._metadata = new.metadata or {}
        self._part_size = max(PART, -(-(new.size or 0) // PARTS))
        self._small = bytearray()  # all of it, as long as it fits into one part
        self._part: mmap.mmap | None = None
        self._filled = 0  # bytes of the part
        self._size = 0
        self._sum = new_sum(target.algorithm) if target.algorithm else None
        self._upload: str | None = None  # id of the multipart upload
        self._begun_again = False  # whether the store may have begun one more, the answer to which was lost
        self._parts: list[Future[dict[str, Any]]] = []
        self._error: StoreError | None = None  # of the first part that failed
        self._ended = False
        self._proven = False

    @property
    def proven(self) -> bool:
        """Whether what is stored was compared with what was written: by the store's own checksum of all of it or, where
        it has none and one PUT was enough, by reading it back."""
        return self._proven

    def write(self, data: bytes) -> None:
        """Append; waits while too many parts are being sent. Raises StoreFull, StoreUnavailable, PermissionDenied."""
        with self._aborting():
            self._size += len(data)
            if self._sum is not None:
                self._sum.update(data)
            if self._size <= self._part_size:
                self._small += data
                return
            self._fill(memoryview(self._small))
            self._small = bytearray()
            self._fill(memoryview(data))

    def commit(self, origin: Origin, *, metadata: Mapping[str, str] | None = None) -> Stat:
        """Make it visible, whole, and prove it. Raises AlreadyExists, VerificationFailed, StoreUnavailable: then it is
        not known whether it is there."""
        with self._aborting():
            if self._size > self._part_size:
                stat = self._checked(*self._complete(origin, metadata or {}))
            elif (waiting := self._waiting(origin, metadata or {})) is not None:
                stat, self._proven = waiting, True  # or it counts as not made
            else:
                stat = self._checked(*self._put(bytes(self._small), origin, metadata or {}))
            if any(name.startswith(beside.TAG) for name in metadata or {}):
                stat = self._tagged(stat, metadata or {})
            self._ended = True
        self._small.clear()
        return stat

    def _checked(self, stat: Stat, says: str) -> Stat:
        """`says`: the store's checksum, where it tells one."""
        if stat.size != self._size:
            raise VerificationFailed(f"{self._name}: {stat.size} bytes are stored, {self._size} were written")
        if says and self._sum is not None:
            if says != self._sum.text():
                raise VerificationFailed(f"{self._name}: its checksum is not that of what was written")
            self._proven = True
        return stat

    def abort(self) -> None:
        """Remove what was sent so far; once it has ended, nothing. What cannot be removed now, the note tells of."""
        if self._ended:
            return
        self._ended = True
        self._small.clear()
        self._part = None
        if self._upload is not None:
            for part in self._parts:
                if not part.cancel():
                    part.exception()  # waits: a part that lands after the abort would stay
            with contextlib.suppress(StoreError):
                abort_upload(self._session, self._key, self._upload)
                self._target.remove_note(note_of(self._attempt))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    @contextlib.contextmanager
    def _aborting(self) -> Iterator[None]:
        if self._ended:
            raise StoreError(f"{self._name!r}: this upload has ended", key=self._name)
        try:
            yield
        except BaseException:
            self.abort()
            raise

    # -- one PUT ----------------------------------------------------------------------------------------------------

    def _waiting(self, origin: Origin, metadata: Mapping[str, str]) -> Stat | None:
        """What will be there when `near` ends, where it can be sent then with its neighbours."""
        target = self._target
        if not (self._later and target.made and self._ours and target.create_put and self._summed) or metadata:
            return None
        data, (algorithm, text) = bytes(self._small), self._summed

        def sent(answer: Mapping[str, str] | None) -> Stat:
            if answer is None:  # by itself, to hear why, or that it is there
                return self._checked(*self._put(data, origin, {}))
            return self._checked(*(self._told_later(answer, algorithm, text) or self._look()))

        one = Put(self._key, self._name, data, self._headers(origin) | {algorithm.header: text}, sent)
        return Stat(self._name, self._size, "", 0, target.storage_class) if target.made.put(one) else None

    @property
    def _summed(self) -> tuple[Algorithm, str] | None:
        return (self._target.algorithm, self._sum.text()) if self._target.algorithm and self._sum else None

    def _put(self, data: bytes, origin: Origin, metadata: Mapping[str, str]) -> _Told:
        answer, summed = dict[str, str](), self._summed
        try:
            if not (self._ours and self._target.create_put):
                self._must_be_vacant()
            if metadata:
                checked = {summed[0].parameter: summed[1]} if summed else {}
                arguments = self._arguments(origin, metadata) | checked
                self._session.call("put_object", Key=self._key, Body=data, IfNoneMatch="*", **arguments)
            else:
                checked = {summed[0].header: summed[1]} if summed else {}
                answer = dict(self._session.wire.put(self._key, data, self._headers(origin) | checked))
        except AlreadyExists as error:
            return self._mine(error)
        if summed is None:
            with timed("prove"):
                return self._read_back(data), ""
        return self._told_later(answer, *summed) or self._look()

    def _headers(self, origin: Origin) -> dict[str, str]:
        """What a PUT tells of what has nothing of a user's beside it."""
        kept = self._target.storage_class
        told = {ORIGIN: text_within(replace(origin, mtime_us=0), beside.MOST - len(META))}
        return told if kept == STANDARD else {"x-amz-storage-class": kept, **told}

    def _told_later(self, answer: Mapping[str, str], algorithm: Algorithm, text: str) -> _Told | None:
        """What an answer to a PUT tells of what it made, where that is all but its time, and what is there is looked at
        when `near` ends."""
        etag, size, made = answer.get("etag", "").strip('"'), self._size, self._target.made
        if not (self._later and made and self._ours and etag and told(answer, algorithm) == text):
            return None

        def look() -> Stat:
            stat, says = self._look()
            if says != text:
                raise VerificationFailed(f"{self._name}: its checksum is not that of what was written")
            return stat

        def there(stat: Stat) -> bool:
            return stat.size == size and parts(stat.identity).etag == etag

        if not made.later(self._key, look, there):
            return None
        return Stat(self._name, size, "", 0, self._target.storage_class), text

    def _read_back(self, data: bytes) -> Stat:
        if self._session.plain(self._key) and self._target.storage_class == STANDARD:
            with translated(
                self._name, self._session.bucket
            ):  # obstore takes a third of the time, and tells no storage class
                found = obstore.get(self._session.objects, self._key)
                back, meta = found.bytes().to_bytes(), found.meta
            seconds = int(meta["last_modified"].timestamp())
            identity = identity_of(meta["e_tag"] or "", seconds, meta["version"])
            stat = Stat(self._name, meta["size"], identity, seconds * SECOND)
        else:
            head, back = self._session.wire.get(self._key)
            stat = head.stat(self._name)
        if back != data:
            raise VerificationFailed(f"{self._name}: what is stored is not what was written")
        self._proven = True
        return stat

    # -- many parts -------------------------------------------------------------------------------------------------

    def _most(self) -> int:
        """Bytes of the next part; more and more where so many came that the size told was wrong, or none was."""
        return self._part_size << max(0, (len(self._parts) - PARTS) // 100)

    def _fill(self, data: memoryview) -> None:
        """Into parts, each sent when more comes. They are memory of their own, as malloc would keep several times as
        much for the threads that come and go."""
        while data:
            if self._part is not None and self._filled == len(self._part):
                self._send(self._part)
            if self._part is None:
                self._part, self._filled = memory_of(self._most()), 0
            piece = data[: len(self._part) - self._filled]
            self._part[self._filled : self._filled + len(piece)] = piece
            self._filled += len(piece)
            data = data[len(piece) :]

    def _send(self, part: mmap.mmap) -> None:
        if self._upload is None:
            self._begin()
        if self._error is not None:
            raise self._error
        self._part = None
        number = len(self._parts) + 1
        SENDING.acquire()
        try:
            sent = self._target.threads.submit(self._send_part, number, part, self._filled)
        except BaseException:
            SENDING.release()
            raise
        sent.add_done_callback(lambda _: SENDING.release())
        self._parts.append(sent)

    def _send_part(self, number: int, part: mmap.mmap, length: int) -> dict[str, Any]:
        """In a thread of the store's."""
        if self._error is not None:
            raise self._error
        algorithm, upload, body = self._target.algorithm, str(self._upload), memoryview(part)[:length]
        summed = {} if algorithm is None else {algorithm.header: sum_of(algorithm, body)}
        try:
            etag = self._session.wire.put_part(self._key, upload, number, body, summed)
        except StoreError as error:
            self._error = self._error or error
            raise
        give_back(part)
        told_back = {"PartNumber": number, "ETag": etag}
        return told_back if algorithm is None else told_back | {algorithm.parameter: summed[algorithm.header]}

    def _begin(self) -> None:
        if not (self._ours and self._target.create_parts):
            self._must_be_vacant()
        algorithm, checked = self._target.algorithm, {}
        if algorithm is not None:
            checked["ChecksumAlgorithm"] = str(algorithm)
            if algorithm.whole:
                checked["ChecksumType"] = "FULL_OBJECT"
        begun = self._session.call(
            "create_multipart_upload", Key=self._key, **checked, **self._arguments(self._origin, self._metadata)
        )
        self._upload = str(begun["UploadId"])
        self._begun_again = begun["ResponseMetadata"].get("RetryAttempts", 0) > 0
        note = json.dumps({"key": self._name, "upload": self._upload}).encode()
        self._session.call("put_object", Key=self._session.key(note_of(self._attempt)), Body=note)

    def _complete(self, origin: Origin, metadata: Mapping[str, str]) -> _Told:
        if dict(metadata) != dict(self._metadata):
            raise StoreError(
                f"{self._name!r}: of what is over {PART:,} bytes the metadata must be told at `create`", key=self._name
            )
        if self._part is not None:
            self._send(self._part)
        algorithm, checked = self._target.algorithm, {}
        if algorithm is not None and algorithm.whole and self._sum is not None:
            checked = {algorithm.parameter: self._sum.text(), "ChecksumType": "FULL_OBJECT"}
        for part in self._parts:
            part.exception()
        if self._error is not None:
            raise self._error
        try:
            if not (self._ours and self._target.create_parts):
                self._must_be_vacant()
            self._session.call(
                "complete_multipart_upload",
                Key=self._key,
                UploadId=self._upload,
                MultipartUpload={"Parts": [part.result() for part in self._parts]},
                IfNoneMatch="*",
                MpuObjectSize=self._size,
                **checked,
            )
            found = self._look()
        except StoreError as error:
            if not isinstance(error, AlreadyExists) and code_of(error) != "NoSuchUpload":
                raise
            found = self._mine(error)
        with contextlib.suppress(StoreError):  # the object is there, and a sweep drops the note as well
            if self._begun_again and self._ours:
                for lost in uploads_at(self._session, self._name):  # begun by a request whose answer did not come
                    abort_upload(self._session, self._key, lost)
            self._target.remove_note(note_of(self._attempt))
        return found

    # -- both -------------------------------------------------------------------------------------------------------

    def _arguments(self, origin: Origin, metadata: Mapping[str, str]) -> dict[str, Any]:
        """What goes beside the bytes, as the session's operations name it. S3 keeps no mtime, so none is told."""
        kept = self._target.storage_class
        arguments = ({} if kept == STANDARD else {"StorageClass": kept}) | beside.put_arguments(metadata)
        users: dict[str, str] = dict(arguments.get("Metadata", {}))
        room = beside.MOST - len(META) - sum(len(name) + len(value.encode()) for name, value in users.items())
        arguments["Metadata"] = users | {META: text_within(replace(origin, mtime_us=0), room)}
        return arguments

    def _must_be_vacant(self) -> None:
        """A user's key is looked at whatever the store keeps; and every key where it would overwrite."""
        with contextlib.suppress(ObjectNotFound):
            if self._session.plain(self._key):
                with translated(self._name, self._session.bucket):
                    obstore.head(self._session.objects, self._key)
            else:
                self._session.wire.head(self._key)
            raise AlreadyExists(f"{self._name!r} is there already", key=self._name)

    def _tagged(self, stat: Stat, metadata: Mapping[str, str]) -> Stat:
        """With the tags of the original. What is not given does not end it: whoever compares says so."""
        head = self._session.wire.head(self._key)
        with contextlib.suppress(StoreError):
            if head.stat(self._name) == stat and beside.give_tags(self._session, self._name, head, metadata):
                return self._mine(SourceChanged(f"{self._name!r} was written to right after its return"))[0]
        return stat

    def _look(self) -> _Told:
        with timed("prove"):
            return self._told(self._session.wire.head(self._key))

    def _mine(self, refused: StoreError) -> _Told:
        """What is at the key, if this attempt made it: the answer to the first of two tries was lost. Else raises
        what was refused."""
        try:
            found = self._session.wire.head(self._key)
        except ObjectNotFound:
            raise refused from None
        origin = parse_origin(found.headers.get(ORIGIN, ""))
        if origin is None or origin.attempt != self._attempt:
            raise refused
        return self._told(found)

    def _told(self, found: Head) -> _Told:
        algorithm = self._target.algorithm
        return found.stat(self._name), told(found.headers, algorithm) if algorithm is not None else ""
