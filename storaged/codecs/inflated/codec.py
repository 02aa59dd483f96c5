"""The codec `inflated`: what is inside a .gz as seekable zstd, from which the identical .gz comes back."""

from __future__ import annotations

import dataclasses
import zlib
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Final

import numpy as np
import xxhash

from storaged.codecs import sample
from storaged.codecs.base import Content, Encoded, InMemory, Sample, at_most, check_level, in_order
from storaged.codecs.inflated import ending
from storaged.codecs.inflated.deflaters import LIKELIEST, Make, Matching, deflater, probed
from storaged.codecs.inflated.members import MAGIC, TRAILER, Bytes, CutShort, behind, header, inflated, trailer
from storaged.codecs.inflated.regenerate import CHECKED, COLUMNS, Regenerated
from storaged.codecs.packed import Column
from storaged.codecs.parquet import probes
from storaged.codecs.sample import GZIP
from storaged.codecs.seekable import Output
from storaged.codecs.zstd import Frames, frames
from storaged.digest import Digest
from storaged.errors import NotTaken, VerificationFailed
from storaged.model import CodecSpec, Origin
from storaged.stores.base import Reader

MEMBERS: Final = 1024 * 1024  # of one object, at most
INSIDE: Final = 1024 * 1024 * 1024 * 1024  # bytes of content, at most: a small file may inflate to anything
BEHIND: Final = 1024 * 1024  # bytes behind members, of all of them together
HEAD: Final = 512 * 1024  # bytes of the .gz that a sample reads,
LOOKED_AT: Final = 3 * 1024 * 1024  # and bytes of content that come of it
BESIDE: Final = 500  # bytes that a blob holds besides what a blob of zstd does
LEVEL: Final = 12  # where none is asked for: lower ones leave hardly less than gzip does, higher ones take far longer
NOT_GZIP: Final = "it is no gzip file"
NOT_SMALLER: Final = "what is inside would not become smaller than it is"

_AROUND: Final = {".gz": "", ".gzip": "", ".tgz": ".tar", ".taz": ".tar"}


class Inflated:
    """Zstd, levels 1 to 19. Level None: 12."""

    name = "inflated"
    levels = range(1, 20)
    compresses = True
    table = ""
    block = CHECKED

    def __init__(self, make: Make = deflater) -> None:
        self._make, self._probed = make, probed(make)

    def suffix(self, name: str) -> str:
        """Whatever the name; see `inside`."""
        return ".zst"

    def inside(self, name: str) -> str:
        """`a.csv` of `a.csv.gz`."""
        for ending_, instead in _AROUND.items():
            if name.lower().endswith(ending_) and name[: -len(ending_)].rpartition("/")[2]:
                return name[: -len(ending_)] + instead
        return name

    def sample(self, source: Content, *, level: int | None) -> Sample:
        """From what comes of its first 512 KiB."""
        return _Looked(source, self._make).sample(level)

    def at_most(self, size: int) -> int:
        """What would become larger is not taken."""
        return at_most(size)

    def encode(
        self,
        source: Content,
        sink: Callable[[bytes], None],
        *,
        spec: CodecSpec,
        origin: Origin,
        executor: Executor | None = None,
    ) -> Encoded:
        """Inflate in order, and deflate again with each encoder that has made the same bytes so far: what is handed to
        the sink was decoded and compared, and nothing is returned unless one encoder made every member. Raises NotTaken
        for what is no gzip file, is damaged, or does not come back; mostly before much is handed to the sink."""
        check_level(self, spec.level)
        level = LEVEL if spec.level is None else spec.level
        run = _Run(source, self._make)
        bound = at_most(source.size)
        output = Output(sink)

        def write(frame: bytes, size: int = 0) -> None:
            if output.size + len(frame) > bound:
                raise NotTaken(NOT_SMALLER)
            output.write(frame, size)

        for size, compressed in frames(run.content(), level, executor):
            write(compressed, size)
        known = dataclasses.replace(origin, size=run.size, digest=run.digest.hexdigest())
        for frame in ending.written(known, probes.note(run.recipes, self._probed), run.columns(), run.parts()):
            write(frame)
        output.finish()
        if output.size > bound:
            raise NotTaken(NOT_SMALLER)
        return Encoded(
            size=known.size,
            digest=known.digest,
            stored_size=output.size,
            stored_digest=output.digest.hexdigest(),
            index=b"",
            origin=known,
        )

    def open(self, reader: Reader, *, index: bytes = b"") -> Content:
        """The .gz as it was. Its index is at the blob's end, and is read from there."""
        told = ending.read(reader)
        return Regenerated(Frames(reader, told.table), told, reader.stat.key, self._make)

    def describe(self, reader: Reader) -> Origin | None:
        """The origin as encoded, with size and digest; None for what is not ours. Raises VerificationFailed for what is
        ours and damaged."""
        return ending.described(reader)

    def lacks(self, reader: Reader) -> tuple[str, ...]:
        """By its recipes. Raises VerificationFailed."""
        told = ending.read(reader)
        try:
            return probes.lacking(told.recipes, self._probed)
        except (LookupError, TypeError, ValueError) as error:
            raise VerificationFailed(
                f"{reader.stat.key}: what it says of its recipes is damaged", hint="the blob is damaged"
            ) from error

    def unlike(self) -> tuple[str, ...]:
        """Zlib, where it makes other bytes."""
        return probes.unlike(self._probed, of="gzip")


class _Run:
    """One reading of a .gz: its content, and what it takes to make it again."""

    def __init__(self, source: Content, make: Make) -> None:
        self._source, self._make = source, make
        self.digest, self.size = Digest(), 0
        self.passed = 0  # bytes of the .gz whose content has come
        self.recipes: list[str] = []  # in the order of their numbers
        self._columns = {name: array("Q") for name in COLUMNS}
        self._headers, self._gaps = bytearray(), bytearray()
        self._checks, self._flushes = array("Q"), array("Q")
        self._inside = 0

    def columns(self) -> dict[str, Column]:
        """As `regenerate` takes them."""
        named = self._columns | {"check": self._checks, "flush": self._flushes}
        return {name: np.array(numbers, np.uint64) for name, numbers in named.items()}

    def parts(self) -> dict[str, bytes]:
        """As `regenerate` takes them."""
        return {"headers": bytes(self._headers), "gaps": bytes(self._gaps)}

    def content(self) -> Iterator[bytes]:
        """What is inside. Raises NotTaken where the .gz would not come back."""
        source = Bytes(self._digested())
        if source.peek(len(MAGIC)) != MAGIC:
            raise NotTaken(NOT_GZIP)
        before: tuple[str, ...] = ()
        more = True
        while more:
            head = header(source)
            matching = Matching(head, before, self._make)
            size = stored = crc = 0
            flushes = len(self._flushes)
            for deflated, content, flushed in inflated(source):
                matching.feed(deflated, content, flushed)
                size, stored, crc = size + len(content), stored + len(deflated), zlib.crc32(content, crc)
                if flushed:
                    self._flushes.append(size)
                    if len(self._flushes) > MEMBERS:
                        raise NotTaken(f"its writer flushed more than {MEMBERS:,} times")
                self.passed, self._inside = self.passed + len(deflated), self._inside + len(content)
                if self._inside > INSIDE:
                    raise NotTaken(f"more than {INSIDE:,} bytes are inside")
                yield content
            made_by = matching.finish()
            trailer(source, crc, size)
            gap, more = behind(source, BEHIND - len(self._gaps))
            self.passed += len(head) + TRAILER.size + len(gap)
            stored += len(head) + TRAILER.size
            self._member(head, (size, stored, len(gap), len(self._flushes) - flushes), gap, made_by[0])
            before = made_by[:LIKELIEST]

    def _member(self, head: bytes, numbers: tuple[int, ...], gap: bytes, recipe: str) -> None:
        if recipe not in self.recipes:
            self.recipes.append(recipe)
        told = (len(head), self.recipes.index(recipe), *numbers)
        for column, number in zip(self._columns.values(), told, strict=True):
            column.append(number)
        self._headers += head
        self._gaps += gap
        if len(self._columns["size"]) > MEMBERS:
            raise NotTaken(f"it has more than {MEMBERS:,} members")
        if len(self._headers) > ending.PAYLOAD_BYTES:
            raise NotTaken("the headers of its members have too many bytes")

    def _digested(self) -> Iterator[bytes]:
        """The .gz in pieces, of each 256 KiB of which a check is noted."""
        check, room = xxhash.xxh3_64(), CHECKED
        for piece in in_order(self._source):
            self.digest.update(piece)
            self.size += len(piece)
            at = 0
            while at < len(piece):
                part = memoryview(piece)[at : at + room]
                check.update(part)
                at, room = at + len(part), room - len(part)
                if not room:
                    self._checks.append(check.intdigest())
                    check, room = xxhash.xxh3_64(), CHECKED
            yield piece
        if room < CHECKED:
            self._checks.append(check.intdigest())


class _Looked:
    """The beginning of an object, and what comes of it."""

    def __init__(self, source: Content, make: Make) -> None:
        self._size, self._reason, self._content = source.size, "", bytearray()
        head = InMemory(source.read_at(0, min(HEAD, source.size)) if source.size else b"")
        run = _Run(head, make)
        try:
            for piece in run.content():
                self._content += piece
                if len(self._content) >= LOOKED_AT:
                    break
        except CutShort as error:
            self._reason = error.message if head.size == source.size else ""
        except NotTaken as error:
            self._reason = error.message
        self._passed = run.passed

    def sample(self, level: int | None) -> Sample:
        """What would become of it."""
        chosen = LEVEL if level is None else level
        if self._reason == NOT_GZIP:
            return Sample(1.0, chosen, reason=NOT_GZIP, instead=CodecSpec("zstd", level))
        if self._reason or not self._content or not self._passed:
            return Sample(1.0, chosen, GZIP, reason=self._reason or NOT_SMALLER)
        held = InMemory(bytes(self._content))
        ratio = sample.gain(held, level=chosen).ratio * held.size / self._passed
        return Sample(ratio + BESIDE / self._size, chosen)
