"""Random access to one object, or one version of it, that is still what it was when it was opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import obstore

from storaged.errors import SourceChanged, StoreError, StoreUnavailable
from storaged.stores.base import Stat
from storaged.stores.copies import CopySource
from storaged.stores.s3.checksums import any_told
from storaged.stores.s3.errors import translated
from storaged.stores.s3.identity import parts
from storaged.stores.s3.metadata import metadata_of
from storaged.stores.s3.session import S3Session
from storaged.stores.s3.wire import Head


class S3Reader:
    """Holds nothing open: every read is a request, on condition of the identity."""

    def __init__(self, session: S3Session, stat: Stat, found: Head, *, locks: Callable[[], bool]) -> None:
        self._session = session
        self._found = found
        self._locks = locks  # whether the bucket has any
        self._key = session.key(stat.key)
        self._parts = parts(stat.identity)
        self._stat = stat
        self._closed = False
        self._metadata: Mapping[str, str] | None = None

    @property
    def stat(self) -> Stat:
        """As it was when opened."""
        return self._stat

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`. Raises SourceChanged, ObjectNotFound, ObjectCold, StoreUnavailable."""
        if self._closed:
            raise StoreError(f"{self._stat.key!r} is closed", key=self._stat.key)
        end = min(offset + length, self._stat.size)
        if end <= offset:
            return b""
        data, etag = self._read(offset, end)
        if etag.strip('"') != self._parts.etag:  # a server that knows no conditions
            raise SourceChanged(f"{self._stat.key!r} was written to while it was read", key=self._stat.key)
        if len(data) != end - offset:
            raise StoreUnavailable(f"{self._stat.key!r}: {len(data)} of {end - offset} bytes came", key=self._stat.key)
        return data

    def _read(self, offset: int, end: int) -> tuple[bytes, str]:
        whole = (offset, end) == (0, self._stat.size)
        if self._session.plain(self._key) and (whole or self._session.partial):
            options: obstore.GetOptions = {"if_match": self._parts.condition}
            if not whole:
                options["range"] = (offset, end)
            if self._parts.version:
                options["version"] = self._parts.version
            try:
                with translated(self._stat.key, self._session.bucket):
                    found = obstore.get(self._session.objects, self._key, options=options)
                    return found.bytes().to_bytes(), found.meta["e_tag"] or ""
            except StoreUnavailable as error:
                if "NotPartial" not in str(error.__cause__):
                    raise
                self._session.partial = False  # rclone answers a range with its bytes, but with status 200
        head, data = self._session.wire.get(
            self._key, span=(offset, end), condition=self._parts.condition, version=self._parts.version
        )
        return data, head.headers.get("etag", "")

    def metadata(self) -> Mapping[str, str]:
        """Headers, user metadata, tags, encryption, as they were when it was opened. Raises PermissionDenied,
        StoreError where the store does not tell all of it."""
        if self._metadata is None:  # some of it takes requests
            self._metadata = metadata_of(self._session, self._stat.key, self._found, locks=self._locks())
        return self._metadata

    @property
    def copy_source(self) -> CopySource:
        """As it was when it was opened."""
        session, found = self._session, self._parts
        told = any_told(self._found.headers)
        return CopySource(session.server, session.bucket, self._key, found.etag, found.version, self._stat.size, told)

    def close(self) -> None:
        """Twice is once."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
