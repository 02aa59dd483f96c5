"""The content as it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import Executor

from storaged.codecs.base import Content, Encoded, Sample, check_level, in_order
from storaged.digest import Digest
from storaged.model import IDENTITY, CodecSpec, Origin
from storaged.stores.base import Reader


class Identity:
    """Stored bytes are the content's bytes: the blob says nothing of itself, and only its digest shows damage."""

    name = "identity"
    levels = range(0)
    after = IDENTITY
    table = ""
    block = 0

    def suffix(self, name: str) -> str:
        return ""

    def sample(self, source: Content, *, level: int | None) -> Sample:
        """Stored as large as it is, which no byte needs to be read for."""
        return Sample(1.0, None)

    def at_most(self, size: int) -> int:
        return size

    def encode(
        self,
        source: Content,
        sink: Callable[[bytes], None],
        *,
        spec: CodecSpec,
        origin: Origin,
        executor: Executor | None = None,
    ) -> Encoded:
        """Pass the content on in order and digest it. Raises UsageError if `spec` names a level."""
        check_level(self, spec.level)
        digest = Digest()
        size = 0
        for chunk in in_order(source):
            digest.update(chunk)
            size += len(chunk)
            sink(chunk)
        hexdigest = digest.hexdigest()
        return Encoded(
            size=size,
            digest=hexdigest,
            stored_size=size,
            stored_digest=hexdigest,
            index=b"",
            origin=dataclasses.replace(origin, size=size, digest=hexdigest),
        )

    def open(self, reader: Reader, *, index: bytes = b"") -> Content:
        """The reader itself, seen as content."""
        return _Plain(reader)

    def describe(self, reader: Reader) -> Origin | None:
        """None: there is no room in the content for words of ours."""
        return None


class _Plain:
    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    @property
    def size(self) -> int:
        return self._reader.stat.size

    def read_at(self, offset: int, length: int) -> bytes:
        return self._reader.read_at(offset, length)
