"""The few requests that are made once per object or per part, without the session's model of every operation.

A HEAD through botocore takes 1 ms of the processor and more, so 0.2. What is shared with the session is everything that
decides: place, region, credentials.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, NoReturn, Protocol, TypeVar
from urllib.parse import quote, urlsplit

from botocore.credentials import ReadOnlyCredentials

from storaged.clock import SECOND, SystemClock
from storaged.errors import StoreUnavailable
from storaged.stores.base import Stat
from storaged.stores.s3.classes import STANDARD
from storaged.stores.s3.connections import Answer, Broken, Connections, Request
from storaged.stores.s3.dates import http_date
from storaged.stores.s3.errors import answer_error
from storaged.stores.s3.identity import identity_of
from storaged.stores.s3.signing import signed

T = TypeVar("T")

TRIES: Final = 3
META: Final = "storaged-origin"  # as the session's operations name it
ORIGIN: Final = f"x-amz-meta-{META}"

_SUMMED: Final = {"x-amz-checksum-mode": "ENABLED"}
_DOCUMENT: Final = 1 << 20  # bytes that a document takes at most
_USUAL: Final = {"http": ":80", "https": ":443"}  # ports that no Host tells
_SAFE: Final = "/~"  # what stays as it is in the path of a request; S3 wants all else quoted


def again(call: Callable[[], T]) -> T:
    """Make a request that may be repeated without harm up to three times, while the store is unavailable. What lasts
    longer is for storaged.stores.wrappers.Retrying."""
    try:
        return call()
    except StoreUnavailable:
        import tenacity  # here: few processes need it, and it loads what is there of asyncio and tornado

        return tenacity.Retrying(
            sleep=SystemClock().sleep,
            stop=tenacity.stop_after_attempt(TRIES - 1),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=5),
            retry=tenacity.retry_if_exception_type(StoreUnavailable),
            reraise=True,
        )(call)


class Head(NamedTuple):
    """What HEAD or GET tells beside the bytes."""

    headers: Mapping[str, str]  # by their names in lower case

    def stat(self, name: str) -> Stat:
        """As a listing tells it."""
        seconds = self.seconds
        return Stat(
            name,
            int(self.headers.get("content-length", 0)),
            identity_of(self.headers.get("etag", ""), seconds, self.version),
            seconds * SECOND,
            self.headers.get("x-amz-storage-class") or STANDARD,
        )

    @property
    def seconds(self) -> int:
        """LastModified, since 1970."""
        return _seconds(self.headers.get("last-modified", ""))

    @property
    def version(self) -> str:
        """Its version id; empty where there are none."""
        return self.headers.get("x-amz-version-id", "")

    @property
    def archived(self) -> Mapping[str, Any]:
        """What storaged.stores.s3.archive reads of it."""
        told = {
            "StorageClass": self.headers.get("x-amz-storage-class"),
            "ArchiveStatus": self.headers.get("x-amz-archive-status"),
            "Restore": self.headers.get("x-amz-restore"),
            "Date": self.headers.get("date"),
        }
        return {name: value for name, value in told.items() if value}


class _Refused(Exception):
    """A refusal as the store wrote it, where `code_of` reads it."""


class Bucket(Protocol):
    """What a request has to know of where it goes: storaged.stores.s3.session has it."""

    @property
    def bucket(self) -> str: ...

    @property
    def base(self) -> str: ...

    @property
    def region(self) -> str: ...

    @property
    def authorities(self) -> str | None: ...

    @property
    def agent(self) -> str: ...

    def name(self, key: str) -> str: ...

    def signs_with(self) -> ReadOnlyCredentials: ...


class Wire:
    """Connections to one bucket, for many threads."""

    def __init__(self, session: Bucket, *, connections: int, timeout_s: float) -> None:
        self._session = session
        base = urlsplit(session.base)
        self._host = base.netloc.removesuffix(_USUAL.get(base.scheme, ""))
        self._path = base.path
        self._timeout_s = timeout_s
        self._connections = Connections(session.base, kept=connections, authorities=session.authorities)

    def head(self, key: str) -> Head:
        """Of a full key, with the checksum that the store keeps. Raises ObjectNotFound and other StoreErrors."""
        return Head(self._send("HEAD", key, _SUMMED).headers)

    def heads(self, keys: Sequence[str]) -> Mapping[str, Head]:
        """The same of some full keys, side by side. What is not told is to be asked for by itself."""
        asked = [self._request("HEAD", key, _SUMMED) for key in keys]
        return {key: Head(found.headers) for key, found in zip(keys, self._all(asked), strict=True) if found}

    def get(
        self, key: str, *, span: tuple[int, int] | None = None, condition: str = "", version: str = ""
    ) -> tuple[Head, bytes]:
        """Bytes of a full key: all, or from the first of `span` up to the second. Raises as `head`, and SourceChanged
        where its ETag is not `condition`."""
        headers = {"If-Match": condition} if condition else {}
        if span is not None:
            headers["Range"] = f"bytes={span[0]}-{span[1] - 1}"
        query = f"versionId={quote(version, safe='~')}" if version else ""
        found = self._send("GET", key, headers, query=query)
        return Head(found.headers), found.data

    def ask(self, question: str, key: str = "") -> tuple[Mapping[str, str], bytes]:
        """Headers and document of a question about a full key, or about the bucket; at most a MiB, since there are
        servers that answer with the object itself. Raises as `head`."""
        found = self._send("GET", key, {}, query=f"{question}=", most=_DOCUMENT)
        return found.headers, found.data

    def page(self, query: Mapping[str, str]) -> bytes:
        """The document of a listing of the bucket. Raises StoreError."""
        told = "&".join(f"{name}={quote(value, safe='~')}" for name, value in sorted(query.items()))
        return self._send("GET", "", {}, query=told).data

    def put_part(self, key: str, upload: str, number: int, body: memoryview, headers: Mapping[str, str]) -> str:
        """The ETag of one part."""
        query = f"partNumber={number}&uploadId={quote(upload, safe='~')}"
        return str(self._send("PUT", key, headers, query=query, body=body).headers["etag"])

    def put(self, key: str, body: bytes, headers: Mapping[str, str]) -> Mapping[str, str]:
        """A new object at a vacant full key, and the headers of the answer. Raises AlreadyExists, also where an earlier
        try of ours made it, and other StoreErrors."""
        told = {"If-None-Match": "*", **headers}
        return self._send("PUT", key, told, body=body, creating=True).headers

    def puts(self, wanted: Mapping[str, tuple[bytes, Mapping[str, str]]]) -> Mapping[str, Mapping[str, str]]:
        """The same of some full keys, with body and headers of each, side by side. Of what is not told it is not known
        whether it is there."""
        told = {"If-None-Match": "*"}
        asked = [self._request("PUT", key, told | dict(more), body=body) for key, (body, more) in wanted.items()]
        return {key: found.headers for key, found in zip(wanted, self._all(asked), strict=True) if found}

    def copy(self, key: str, headers: Mapping[str, str], *, within_s: float) -> str:
        """CopyObject onto a full key, and the document that tells of the copy. The server may be silent for `within_s`
        seconds more than usual. Raises what it answers with status 200, too: it begins to answer before it knows."""

        def copy() -> str:
            found = self._try("PUT", key, headers, "", None, _DOCUMENT, more_s=within_s)
            if b"<Error>" in found.data:
                self._refuse(500, found, key)
            return found.data.decode(errors="replace")

        return again(copy)

    def copies(self, wanted: Mapping[str, Mapping[str, str]], *, within_s: float) -> Mapping[str, str]:
        """The same of some full keys, with the headers of each, side by side. Of what is not told it is not known
        whether it is there."""
        asked = [self._request("PUT", key, headers, more_s=within_s) for key, headers in wanted.items()]
        return {
            key: found.data.decode(errors="replace")
            for key, found in zip(wanted, self._all(asked), strict=True)
            if found and b"<Error>" not in found.data
        }

    def _all(self, asked: Sequence[Request]) -> list[Answer | None]:
        """What these were answered; None: not, or with a refusal."""
        found = self._connections.ask_all(asked)
        return [one if isinstance(one, Answer) and one.status < 300 else None for one in found]

    def _send(
        self,
        method: str,
        key: str,
        headers: Mapping[str, str],
        *,
        query: str = "",
        body: bytes | memoryview | None = None,
        most: int | None = None,
        creating: bool = False,
    ) -> Answer:
        """One request that may be repeated without harm. `most`: bytes of the answer that are read. `creating`: a
        condition that fails says that the key is taken."""
        return again(lambda: self._try(method, key, headers, query, body, most, creating=creating))

    def _try(
        self,
        method: str,
        key: str,
        headers: Mapping[str, str],
        query: str,
        body: bytes | memoryview | None,
        most: int | None,
        *,
        more_s: float = 0.0,
        creating: bool = False,
    ) -> Answer:
        request = self._request(method, key, headers, query=query, body=body, more_s=more_s)
        try:
            found = self._connections.ask(request, most=most)
        except Broken as error:
            name = self._session.name(key)
            raise StoreUnavailable(f"{name!r}: {error}", key=name) from error
        if found.status >= 300:
            self._refuse(found.status, found, key, creating=creating)
        return found

    def _request(
        self,
        method: str,
        key: str,
        headers: Mapping[str, str],
        *,
        query: str = "",
        body: bytes | memoryview | None = None,
        more_s: float = 0.0,
    ) -> Request:
        """With its signature."""
        session = self._session
        target = "/" + quote(key, safe=_SAFE) + (f"?{query}" if query else "")
        told = signed(
            method,
            self._host,
            self._path + target,
            {"User-Agent": session.agent, **headers},
            by=session.signs_with(),
            region=session.region,
            now_us=SystemClock().now_us(),
        )
        return Request(method, target, told, body, self._timeout_s + more_s)

    def _refuse(self, status: int, found: Answer, key: str, *, creating: bool = False) -> NoReturn:
        said = found.data.decode(errors="replace") or f"<Code>{status}</Code>"
        name, bucket = self._session.name(key), self._session.bucket
        raise answer_error(status, said, name, bucket, creating=creating) from _Refused(said)


@lru_cache(maxsize=10_000)
def _seconds(written: str) -> int:
    """Whole seconds since 1970 of an HTTP date. Raises StoreUnavailable for none."""
    found = http_date(written)
    if found is None:
        raise StoreUnavailable(f"the store tells no time of change but {written!r}")
    return int(found.timestamp())
