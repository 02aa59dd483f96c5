"""Contents to encode, in memory and out of nothing, and readers of what became of them."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import Executor
from types import TracebackType
from typing import Self

from storaged.codecs.base import Codec, Content, Encoded
from storaged.model import CodecSpec, Origin
from storaged.stores.base import Stat

MIB = 1024 * 1024


class BytesReader:
    """A Reader over bytes in memory that remembers which (offset, length) were read."""

    def __init__(self, data: bytes, *, key: str = "blob") -> None:
        self.data = data
        self.reads: list[tuple[int, int]] = []
        self._stat = Stat(key, len(data), identity="bytes", mtime_us=0)

    @property
    def stat(self) -> Stat:
        return self._stat

    def read_at(self, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        return self.data[offset : offset + length]

    @property
    def copy_source(self) -> None:
        return None

    def metadata(self) -> Mapping[str, str]:
        return {}

    def close(self) -> None:
        """Nothing to close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class BytesContent:
    """Content in memory that remembers which (offset, length) were read. `most`: bytes that one read gives at most, as
    no store does, and `size` what it says of itself."""

    def __init__(self, data: bytes, *, most: int | None = None, size: int | None = None) -> None:
        self.data = data
        self.reads: list[tuple[int, int]] = []
        self.size = len(data) if size is None else size
        self._most = most

    def read_at(self, offset: int, length: int) -> bytes:
        self.reads.append((offset, length))
        return self.data[offset : offset + (length if self._most is None else min(length, self._most))]


class Runs:
    """Content of any size that takes no memory: runs of one byte, each of 4 MiB, another byte in each. Remembers how
    many bytes were read."""

    def __init__(self, size: int, *, kinds: int = 251) -> None:
        self.size = size
        self.read = 0
        self._kinds = kinds

    def read_at(self, offset: int, length: int) -> bytes:
        """A new object each time: memory that is really taken."""
        parts: list[bytes] = []
        while length > 0 and offset < self.size:
            run, within = divmod(offset, 4 * MIB)
            taken = min(length, 4 * MIB - within, self.size - offset)
            parts.append(bytes([run % self._kinds]) * taken)
            offset, length = offset + taken, length - taken
            self.read += taken
        return b"".join(parts)


class Breaking(BytesContent):
    """Content whose store goes away behind its first `until` bytes."""

    def __init__(self, data: bytes, until: int) -> None:
        super().__init__(data)
        self._until = until

    def read_at(self, offset: int, length: int) -> bytes:
        """Raises ConnectionResetError."""
        if offset + length > self._until:
            raise ConnectionResetError("source")
        return super().read_at(offset, length)


ORIGIN = Origin(
    catalog="c" * 32,
    attempt="0123456789abcdef" * 2,
    dataset="events",
    object="2026/11/line\nbreak \U0001f6f7 e\u0301 \\ \" '.csv",
    generation=7,
    source="dev:1,ino:2,size:3,mtime:4,ctime:5",
    mtime_us=1_790_000_000_000_001,
)


def encoded(
    codec: Codec,
    source: bytes | Content,
    *,
    level: int | None = None,
    origin: Origin = ORIGIN,
    executor: Executor | None = None,
) -> tuple[Encoded, bytes]:
    """Run an encoding into memory: what it reports, and the blob."""
    blob = bytearray()
    spec = CodecSpec(codec.name, level)
    content = BytesContent(source) if isinstance(source, bytes) else source
    report = codec.encode(content, blob.extend, spec=spec, origin=origin, executor=executor)
    return report, bytes(blob)


def content_of(size: int, *, seed: int = 0, compressible: bool = True) -> bytes:
    """The same content every time: words that compress about threefold, or noise that does not compress at all."""
    chance = random.Random(seed)  # noqa: S311 (test content, not a secret)
    noise = chance.randbytes(size if not compressible else min(size, 4096))
    if not compressible:
        return noise
    letters = noise.hex().encode()
    lines = [letters[at : at + 24] for at in range(0, len(letters), 24)] or [b""]
    text = bytearray()
    while len(text) < size:
        chance.shuffle(lines)
        text += b"\n".join(lines)
    return bytes(text[:size])


def streamed(codec: Codec, endless: tuple[str, str], size: int) -> tuple[int, int]:
    """Encode so many bytes in a fresh process, of content that a class of some module makes: how many they were, and
    bytes of memory beyond what the process had."""
    kind = type(codec)
    done = subprocess.run(  # noqa: S603 (our own interpreter and text)
        [sys.executable, "-c", _STREAM, kind.__module__, kind.__qualname__, *endless, str(size)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )
    assert done.returncode == 0, done.stderr
    read, grown = map(int, done.stdout.split())
    return read, grown


_STREAM = """
import importlib, sys
from concurrent.futures import ThreadPoolExecutor
from storaged.model import CodecSpec
from storaged.testing.contents import ORIGIN
from storaged.testing.memory import peak_bytes
codec = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])()
endless = getattr(importlib.import_module(sys.argv[3]), sys.argv[4])
before = peak_bytes()
with ThreadPoolExecutor(2) as executor:
    spec = CodecSpec(codec.name)
    done = codec.encode(endless(int(sys.argv[5])), lambda data: None, spec=spec, origin=ORIGIN, executor=executor)
print(done.size, peak_bytes() - before)
"""
