"""The codec `inflated`: what is inside a .gz as seekable zstd, from which the identical .gz comes back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final

from storaged.codecs import sample
from storaged.codecs.base import Content, Encoded, InMemory, Sample, at_most, check_level
from storaged.codecs.inflated import ending
from storaged.codecs.inflated.deflaters import Make, deflater, probed
from storaged.codecs.inflated.inside import inside
from storaged.codecs.inflated.regenerate import CHECKED, Regenerated
from storaged.codecs.inflated.run import NOT_GZIP, NOT_SMALLER, Beginning, Run
from storaged.codecs.parquet import probes
from storaged.codecs.sample import GZIP
from storaged.codecs.seekable import Output
from storaged.codecs.zstd import Frames, frames
from storaged.errors import VerificationFailed
from storaged.model import IDENTITY, CodecSpec, Origin
from storaged.stores.base import Reader

BESIDE: Final = 500  # bytes that a blob holds besides what a blob of zstd does
LEVEL: Final = 12  # where none is asked for: lower ones leave hardly less than gzip does, higher ones take far longer


class Inflated:
    """Zstd, levels 1 to 19. Level None: 12."""

    name = "inflated"
    levels = range(1, 20)
    after = IDENTITY  # zstd leaves a .gz as it is
    table = ""
    block = CHECKED

    def __init__(self, make: Make = deflater) -> None:
        self._make, self._probed = make, probed(make)

    def suffix(self, name: str) -> str:
        """Whatever the name; see `inside`."""
        return ".zst"

    def inside(self, name: str) -> str:
        return inside(name)

    def sample(self, source: Content, *, level: int | None) -> Sample:
        """From what comes of its first 512 KiB."""
        return _sampled(source.size, Beginning(source, self._make), level)

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
        run = Run(source, self._make)
        output = Output(sink, bound=at_most(source.size), larger=NOT_SMALLER)
        for size, compressed in frames(run.content(), level, executor):
            output.write(compressed, size)
        known = dataclasses.replace(origin, size=run.size, digest=run.digest.hexdigest())
        for frame in ending.written(known, run.told()):
            output.write(frame)
        output.finish()
        return output.encoded(known)

    def open(self, reader: Reader, *, index: bytes = b"") -> Content:
        """The .gz as it was. Its index is at the blob's end, and is read from there."""
        table, told = ending.read(reader)
        return Regenerated(Frames(reader, table), told, reader.stat.key, self._make)

    def describe(self, reader: Reader) -> Origin | None:
        """The origin as encoded, with size and digest; None for what is not ours. Raises VerificationFailed for what is
        ours and damaged."""
        return ending.described(reader)

    def lacks(self, reader: Reader) -> tuple[str, ...]:
        """By its recipes. Raises VerificationFailed."""
        _, told = ending.read(reader)
        try:
            return probes.lacking(told.recipes, self._probed)
        except (LookupError, TypeError, ValueError) as error:
            raise VerificationFailed(
                f"{reader.stat.key}: what it says of its recipes is damaged", hint="the blob is damaged"
            ) from error

    def unlike(self) -> tuple[str, ...]:
        """Zlib, where it makes other bytes."""
        return probes.unlike(self._probed, of="gzip")


def _sampled(size: int, head: Beginning, level: int | None) -> Sample:
    """What would become of a .gz of so many bytes that begins so."""
    chosen = LEVEL if level is None else level
    if head.reason == NOT_GZIP:
        return Sample(1.0, chosen, reason=NOT_GZIP, instead=CodecSpec("zstd", level))
    if head.reason or not head.content or not head.passed:
        return Sample(1.0, chosen, GZIP, reason=head.reason or NOT_SMALLER)
    held = InMemory(head.content)
    ratio = sample.gain(held, level=chosen).ratio * held.size / head.passed
    return Sample(ratio + BESIDE / size, chosen)
