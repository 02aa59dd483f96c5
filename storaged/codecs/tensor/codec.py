"""The codec `tensor`: files of weights and arrays, byte plane by byte plane.

What a file holds besides (header, gaps, arrays of bytes) lies between them as it is, compressed. What is no such file
is zstd's affair.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from functools import partial
from typing import Final

from storaged.codecs.base import Array, Content, Encoded, Sample, at_most, check_level, in_order
from storaged.codecs.inflated.members import Bytes
from storaged.codecs.line import Line
from storaged.codecs.seekable import FRAME, Output
from storaged.codecs.tensor import ending, find
from storaged.codecs.tensor.ending import Table
from storaged.codecs.tensor.layout import exactly
from storaged.codecs.tensor.planes import TRIED, Made, Ways, block, blocks, decoded
from storaged.codecs.tensor.stretches import Stretch, Window, stretches
from storaged.codecs.zstd import KEPT, Frames
from storaged.digest import Digest
from storaged.errors import NotTaken, VerificationFailed
from storaged.model import CodecSpec, Origin
from storaged.stores.base import Reader

LEVEL: Final = 1  # where none is asked for: planes of weights become no smaller with higher ones
WINDOWS: Final = 3  # that a sample looks at, spread over the content
SEEN: Final = 256 * 1024  # bytes of each
MEMBERS: Final = 64  # of an archive, that a sample asks for where they are
BESIDE: Final = 900  # bytes that a blob holds besides its frames and what lists them
LISTED: Final = 8  # bytes that list a frame
NOT_SMALLER: Final = "it would not become smaller"


class Tensor:
    """Zstd, levels 1 to 19. Level None: 1."""

    name = "tensor"
    levels = range(1, 20)
    after = CodecSpec("zstd")
    table = ""
    block = FRAME

    def suffix(self, name: str) -> str:
        """Zstd's programs decode its frames, and what they make is no such file: hence the first half."""
        return ".planes.zst"

    def arrays(self, source: Content) -> tuple[Array, ...]:
        return find.layout(source).arrays

    def sample(self, source: Content, *, level: int | None) -> Sample:
        """From what it says of its arrays, 16 MiB at most of each kind, and three windows of 256 KiB."""
        chosen = LEVEL if level is None else level
        try:
            whole = stretches(find.layout(source, MEMBERS).regions, source.size)
        except NotTaken as error:
            return Sample(1.0, chosen, reason=error.message, instead=CodecSpec("zstd", level))
        seen = stored = frames = 0
        for window in _windows(source.size):
            data = exactly(source, window.start, window.size)
            for one in window.cut(whole):
                begin = one.start - window.start
                made = _in_blocks(data[begin : begin + one.size], one, chosen)
                seen, stored = seen + one.size, stored + sum(each.stored for each in made)
                frames += sum(len(each.frames) for each in made)
        return Sample((stored + LISTED * frames) / seen + BESIDE / source.size, chosen)

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
        """In order, the blocks in parallel on `executor`. Raises NotTaken for what is no file of arrays,
        VerificationFailed where a block does not decode to what went in or the source ends early, UsageError for a
        level that is none of ours."""
        check_level(self, spec.level)
        level = LEVEL if spec.level is None else spec.level
        whole = stretches(find.layout(source).regions, source.size)
        output, content = Output(sink, bound=at_most(source.size), larger=NOT_SMALLER), Digest()

        def digested() -> Iterator[bytes]:
            for piece in in_order(source):
                content.update(piece)
                yield piece

        told: list[tuple[int, int, bool]] = []
        line = Line[Made](executor)
        try:
            for made in _encoded(Bytes(digested()), whole, level, line, told):
                for frame in made.frames:
                    output.write(frame, made.size)
        finally:
            line.cancel()
        known = dataclasses.replace(origin, size=output.content_size, digest=content.hexdigest())
        for frame in ending.written(known, told, output.listing()):
            output.write(frame)
        output.finish()
        return output.encoded(known)

    def open(self, reader: Reader, *, index: bytes = b"") -> Content:
        """A view that decodes only the blocks that a range needs. Its index is at the blob's end, and is read there."""
        return _Blocks(reader, ending.read(reader))

    def describe(self, reader: Reader) -> Origin | None:
        """The origin as encoded, with size and digest; None for what is not ours. Raises VerificationFailed for what is
        ours and damaged."""
        return ending.described(reader)


class _Blocks(Frames):
    """Random access to the content of a blob, block by block. Blocks are of any size up to 1 MiB: what is held, and
    fetched at once, is told in bytes."""

    def __init__(self, reader: Reader, table: Table) -> None:
        super().__init__(reader, table)
        self._blocks = table

    def _at_once(self, number: int) -> int:
        table = self._blocks
        end = table.begins(number) + KEPT * FRAME
        return max(table.number(end), number + 1) if end < table.size else len(table.widths)

    def _is_full(self) -> bool:
        return self._held > KEPT * FRAME and len(self._cache) > 1

    def _decoded(self, number: int, compressed: bytes) -> bytes:
        table = self._blocks
        size = table.begins(number + 1) - table.begins(number)
        return decoded(table.planes(number, compressed), size, bool(table.differences[number]))


def _encoded(
    data: Bytes, whole: tuple[Stretch, ...], level: int, line: Line[Made], told: list[tuple[int, int, bool]]
) -> Iterator[Made]:
    """The blocks of all stretches; what is told of each is added. Raises VerificationFailed."""
    ways = Ways(level)
    for one in whole:
        way = ways.best(data.peek(min(one.size, TRIED)), one.kind, one.size)
        told.append((one.size, way.width, way.differences))
        for begin in blocks(one.size):
            length = min(FRAME, one.size - begin)
            taken = data.take(length)
            if len(taken) != length:
                raise VerificationFailed("the source ended before its size; nothing was changed")
            yield from line.put(partial(block, taken, way, level))
    yield from line.rest()


def _in_blocks(data: bytes, one: Stretch, level: int) -> list[Made]:
    way = Ways(level).best(data, one.kind, one.size)
    return [block(data[begin : begin + FRAME], way, level) for begin in blocks(len(data))]


def _windows(size: int) -> Iterator[Window]:
    """What a sample looks at: all of a small content."""
    if size <= WINDOWS * SEEN:
        yield Window(0, size)
        return
    for number in range(WINDOWS):
        yield Window((size - SEEN) * (2 * number + 1) // (2 * WINDOWS), SEEN)
