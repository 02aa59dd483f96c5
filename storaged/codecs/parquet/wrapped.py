"""A text that is inside of a .gz: how it is taken out, and how the .gz around it comes back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

import zstandard

from storaged.codecs.base import Content
from storaged.codecs.inflated.deflaters import Make
from storaged.codecs.inflated.inside import Inside
from storaged.codecs.inflated.members import MAGIC
from storaged.codecs.inflated.run import Run
from storaged.codecs.inflated.told import Told
from storaged.codecs.parquet.block import Block
from storaged.digest import Digest
from storaged.errors import VerificationFailed
from storaged.model import Origin

GZIP: Final = "gzip"  # what a block tells of the .gz, and its part, are called so


def is_gzip(source: Content) -> bool:
    """By its beginning."""
    return source.size > len(MAGIC) and source.read_at(0, len(MAGIC)) == MAGIC


@dataclasses.dataclass(frozen=True, slots=True)
class Around:
    """The .gz around a text: its size and digest, the digest of the text, and how it comes back."""

    size: int
    digest: str
    inside: str
    told: Told

    @classmethod
    def of(cls, source: Content, make: Make) -> tuple[Around, Inside]:
        """And the text. Reads all of it, and deflates it again. Raises NotTaken where that is not what was there."""
        run, inside = Run(source, make), Digest()
        for piece in run.content():
            inside.update(piece)
        around = cls(run.size, run.digest.hexdigest(), inside.hexdigest(), run.told())
        return around, Inside(source, run.inside)

    def known(self, text: Origin) -> Origin:
        """The object's, for one with size and digest of the text that was encoded. Raises VerificationFailed where that
        is another text."""
        if text.digest != self.inside:
            raise VerificationFailed("its content differed from one reading to the next; nothing was changed")
        return dataclasses.replace(text, size=self.size, digest=self.digest)

    def keep(self, told: dict[str, Any], parts: dict[str, bytes]) -> None:
        """Put it into what a block tells. Raises NotTaken where it is too much."""
        told[GZIP], parts[GZIP] = self.told.kept()


def taken_off(opened: Block, key: str) -> tuple[Told, Block] | None:
    """How the .gz comes back, and the block as if its text were the object; None where none is around it. Raises
    VerificationFailed."""
    if GZIP not in opened.told:
        return None
    try:
        told = Told.of(opened.origin.size, opened.told[GZIP], opened.parts[GZIP])
        size = int(told.columns["size"].sum())
    except (ValueError, TypeError, LookupError, zstandard.ZstdError) as error:
        raise VerificationFailed(f"{key}: what tells of the .gz is damaged", hint="the blob is damaged") from error
    return told, dataclasses.replace(opened, origin=dataclasses.replace(opened.origin, size=size))


def recipes(told: Mapping[str, Any]) -> Mapping[str, Any]:
    """By which the .gz around it comes back, as `probes.note` has it; none where there is no .gz. Raises LookupError or
    TypeError where it does not tell."""
    found: Mapping[str, Any] = told[GZIP]["recipes"] if GZIP in told else {}
    return found
