"""Codecs that say of some content why they do not take it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace

from storaged.codecs.base import Content, Encoded, Sample
from storaged.codecs.zstd import Zstd
from storaged.errors import NotTaken
from storaged.model import CodecSpec, Origin


class Choosy(Zstd):
    """A codec that does not take what begins with `secret`, however much it would shrink."""

    def sample(self, source: Content, *, level: int | None) -> Sample:
        found = super().sample(source, level=level)
        return replace(found, reason="it is encrypted") if source.read_at(0, 6) == b"secret" else found


class Late(Zstd):
    """One that finds out while it encodes, when it has written already."""

    name = "late"
    after = CodecSpec("zstd")

    def encode(
        self,
        source: Content,
        sink: Callable[[bytes], None],
        *,
        spec: CodecSpec,
        origin: Origin,
        executor: Executor | None = None,
    ) -> Encoded:
        if source.read_at(0, 6) == b"secret":
            sink(b"something")
            raise NotTaken("it is encrypted")
        return super().encode(source, sink, spec=spec, origin=origin, executor=executor)
