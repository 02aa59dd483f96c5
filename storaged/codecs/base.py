"""The port to a way of encoding an object's content into a blob."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol, runtime_checkable

from storaged.errors import UsageError
from storaged.model import CodecSpec, Origin
from storaged.stores.base import Reader

PIECE: Final = 4 << 20  # bytes of content read at once where all of it is read in order
WORTH_AT_MOST: Final = 0.90  # stored bytes over content bytes: above it the content stays as it is
_HARDLY: Final = 0.99  # below it people see that something would be saved


def worth_it(ratio: float) -> bool:
    """Whether a ratio of stored bytes to content bytes pays for the rewrite."""
    return ratio <= WORTH_AT_MOST


@dataclass(frozen=True, slots=True)
class Sample:
    """What encoding would come to, told from a few reads of the content.

    `ratio` is stored bytes over content bytes at `level`, what a blob holds besides included; 1.0 where `recognised`
    names a format that is compressed already. `level` is None where the codec has none. `reason` says why the codec
    does not take the content, of which it speaks as "it", such as "it is encrypted"; empty: nothing but the ratio does.
    `instead` is the codec to ask about such content; None: it stays as it is.
    """

    ratio: float
    level: int | None
    recognised: str = ""
    reason: str = ""
    instead: CodecSpec | None = None

    @property
    def taken(self) -> bool:
        """Whether the content shall be encoded, rather than stay as it is."""
        return not self.reason and worth_it(self.ratio)

    @property
    def why_not(self) -> str:
        """Why content that is not taken stays as it is, in words."""
        return self.reason or ("it shrinks too little" if self.ratio < _HARDLY else "it does not shrink")


@dataclass(frozen=True, slots=True)
class Encoded:
    """What an encoding run saw and made. Sizes in bytes; digests are xxh3-128 hex."""

    size: int  # of the content that went in
    digest: str  # of the content that went in
    stored_size: int
    stored_digest: str  # of the bytes handed to the sink
    index: bytes  # random-access index, b"" where none is needed
    origin: Origin  # as given, with size and digest filled in
    note: str = ""  # what its user wants to know of how it was made, in words


class Content(Protocol):
    """Random access to the *content* of an object or a blob, whatever its encoding. Thread-safe."""

    @property
    def size(self) -> int:
        """Bytes of content."""
        ...

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes of content from `offset`, fewer only at the end; touches only the stored bytes that
        cover them. Raises VerificationFailed where the stored bytes do not decode, and what its store raises."""
        ...


class ContentFile(io.RawIOBase):
    """Content as a file of Python's, for libraries that want one; it closes nothing."""

    def __init__(self, content: Content) -> None:
        self._content, self._at = content, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._content.size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:  # RawIOBase would copy it
        left = max(self._content.size - self._at, 0)
        data = self._content.read_at(self._at, left if size < 0 else min(size, left))
        self._at += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class Form(Protocol):
    """How a blob holds content, and how it is read."""

    @property
    def name(self) -> str: ...

    def suffix(self, name: str) -> str:
        """Appended to the key of the blob of an object of this name, such as ".zst"."""
        ...

    @property
    def table(self) -> str:
        """The format of tables that a blob is in by itself, whatever it was made of, as names end: "parquet". Empty: a
        blob is read by what its content is."""
        ...

    @property
    def block(self) -> int:
        """Bytes of content that are decoded together, so that reading one costs all of them; an open blob keeps the
        last ones. 0: the stored bytes are the content, and nothing is kept."""
        ...

    def open(self, reader: Reader, *, index: bytes = b"") -> Content:
        """A random-access view of the content; `index` saves reading it from the blob."""
        ...

    def describe(self, reader: Reader) -> Origin | None:
        """What the blob says about itself inside its bytes, or None."""
        ...


class Codec(Form, Protocol):
    """A form that one object's content is encoded in. `encode` proves while it writes: what it hands to the sink was
    decoded and compared first."""

    @property
    def levels(self) -> range:
        """The levels that a spec may name; empty where there are none."""
        ...

    @property
    def after(self) -> CodecSpec:
        """What is tried where it turns out, while it encodes, not to take a content."""
        ...

    def sample(self, source: Content, *, level: int | None) -> Sample:
        """What `encode` would make of it, from a bounded number of bytes, whatever its size. Level None: chosen."""
        ...

    def at_most(self, size: int) -> int:
        """Bytes that a blob of so much content takes at most, whatever the content and the object's name."""
        ...

    def encode(
        self,
        source: Content,
        sink: Callable[[bytes], None],
        *,
        spec: CodecSpec,
        origin: Origin,
        executor: Executor | None = None,
    ) -> Encoded:
        """Encode in bounded memory; may read in any order, and more than once. A source that ends before its size makes
        a blob of less content, which the caller sees by what is returned, or raises VerificationFailed.

        Not to be called from a task of `executor`, on which it waits for tasks of its own. Raises VerificationFailed if
        its own decoding differs, NotTaken for content that it does not take, UsageError if the spec's level is none of
        its levels; what source and sink raise comes through.
        """
        ...


@runtime_checkable
class Remade(Protocol):
    """A codec that makes content again by encoders of other libraries, whose later versions may make other bytes."""

    def lacks(self, reader: Reader) -> tuple[str, ...]:
        """What was here when a blob was written and is not now, so that its content does not come back: libraries with
        their versions, in words. Raises VerificationFailed where the blob does not tell."""
        ...

    def unlike(self) -> tuple[str, ...]:
        """Libraries here that make other bytes than those that storaged was released with, in words."""
        ...


@runtime_checkable
class Derives(Protocol):
    """A codec that can make another file of the same table."""

    def derives(self, source: Content) -> bool:
        """Whether a content is a table that it takes; what is none survives byte by byte."""
        ...

    def sample_derived(self, source: Content, *, spec: CodecSpec) -> Sample:
        """What `derive` would make of one, from a bounded number of bytes. Level None: chosen."""
        ...

    def derive(
        self,
        source: Content,
        sink: Callable[[bytes], None],
        *,
        spec: CodecSpec,
        origin: Origin,
        executor: Executor | None = None,
    ) -> Encoded:
        """Hand another file of the same table to the sink, smaller than this one; `spec` says whether its values may be
        encoded otherwise. As `encode` in all else."""
        ...

    def require_same(self, source: Content, made: Content, *, spec: CodecSpec) -> None:
        """Look at both from their ends on, without what `derive` knew. Raises VerificationFailed unless they are files
        of the same table, encoded alike if the spec wants that."""
        ...


@runtime_checkable
class Unwraps(Protocol):
    """A codec whose blobs hold what is inside of the content, and are called after that."""

    def inside(self, name: str) -> str:
        """What is inside of an object of this name is called so: `a.csv` of `a.csv.gz`."""
        ...


@dataclass(frozen=True, slots=True)
class Array:
    """An array or tensor in a content: `size` bytes from `start` on are its elements, in the order of C or of Fortran.

    `dtype` is the name of their type, such as "float32" or "bfloat16"; `numpy` is numpy's word for it with its order of
    bytes, "" where numpy has no such type.
    """

    name: str
    dtype: str
    numpy: str
    shape: tuple[int, ...]
    start: int
    size: int
    order: Literal["C", "F"] = "C"


@runtime_checkable
class KnowsArrays(Protocol):
    """A codec that knows where arrays are in a content, whatever form that has where it is."""

    def arrays(self, source: Content) -> tuple[Array, ...]:
        """Those that a content tells of. Raises NotTaken, with the reason, for one that tells of none."""
        ...


class Levelled(Protocol):
    """What has levels: a codec, or what writes packs."""

    @property
    def name(self) -> str: ...

    @property
    def levels(self) -> range: ...


def check_level(codec: Levelled, level: int | None) -> None:
    """Raises UsageError for a level that it does not have."""
    levels = codec.levels
    if level is not None and level not in levels:
        if not levels:
            raise UsageError(f"{codec.name} takes no level, not {level}", hint=f"write `{codec.name}`")
        raise UsageError(f"{codec.name} has no level {level}", hint=f"levels are {levels[0]} to {levels[-1]}")


def at_most(size: int) -> int:
    """Bytes that a blob of so much content takes at most where a codec gives up what would take more, such as a file of
    tiny pages."""
    return size + size // 50 + (64 << 10)


def in_order(source: Content) -> Iterator[bytes]:
    """All of the content, in pieces of 4 MiB; ends where the source does, though that be before its size."""
    at = 0
    while at < source.size and (data := source.read_at(at, min(PIECE, source.size - at))):
        yield data
        at += len(data)


class InMemory:
    """Content that is held."""

    def __init__(self, data: bytes) -> None:
        self._data, self.size = data, len(data)

    def read_at(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]
