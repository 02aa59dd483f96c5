"""A codec that says of some content why it does not take it."""

from __future__ import annotations

from dataclasses import replace

from storaged.codecs.base import Content, Sample
from storaged.codecs.zstd import Zstd


class Choosy(Zstd):
    """A codec that does not take what begins with `secret`, however much it would shrink."""

    def sample(self, source: Content, *, level: int | None) -> Sample:
        found = super().sample(source, level=level)
        return replace(found, reason="it is encrypted") if source.read_at(0, 6) == b"secret" else found
