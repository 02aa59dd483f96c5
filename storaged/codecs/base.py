"""The port to a way of encoding an object's content into a blob."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

from storaged.model import CodecSpec, Origin
from storaged.stores.base import Reader


@dataclass(frozen=True, slots=True)
class Encoded:
    """What an encoding run saw and made. Sizes in bytes; digests are xxh3-128 hex."""

    size: int  # of the content that went in
    digest: str  # of the content that went in
    stored_size: int
    stored_digest: str  # of the bytes handed to the sink
    index: bytes  # random-access index, b"" where none is needed
    origin: Origin  # as given, with size and digest filled in


class Content(Protocol):
    """Random access to the *content* of a blob, whatever its encoding. Thread-safe."""

    @property
    def size(self) -> int:
        """Bytes of content."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes of content from `offset`; touches only the stored bytes that cover them.
        Raises VerificationFailed where the stored bytes do not decode."""
        ...


class Codec(Protocol):
    """One encoding. `encode` proves while it writes: what it hands to the sink was decoded and compared first."""

    @property
    def name(self) -> str: ...

    @property
    def suffix(self) -> str:
        """Appended to a blob's key, such as ".zst"."""
        ...

    @property
    def levels(self) -> range:
        """The levels that a spec may name; empty where there are none."""
        ...

    def encode(
        self,
        chunks: Iterator[bytes],
        sink: Callable[[bytes], None],
        *,
        spec: CodecSpec,
        origin: Origin,
        executor: Executor | None = None,
    ) -> Encoded:
        """Encode a stream in bounded memory. Raises VerificationFailed if its own decoding differs."""
        ...

    def open(self, reader: Reader, *, index: bytes = b"") -> Content:
        """A random-access view of the content; `index` saves reading it from the blob."""
        ...

    def describe(self, reader: Reader) -> Origin | None:
        """What the blob says about itself inside its bytes, or None."""
        ...
