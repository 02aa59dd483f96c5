"""What a blob says of how a .gz comes back of what is inside: of each member its header, how much it holds and takes,
which recipe makes it and what lies behind it; a check of each 256 KiB of the .gz; and some places at which its writer
flushed, from which it can be made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from storaged.codecs.packed import packed, unpacked
from storaged.errors import NotTaken

if TYPE_CHECKING:
    from storaged.codecs.packed import Column

PAYLOAD_BYTES: Final = 64 * 1024 * 1024  # of the frame of numbers and bytes


@dataclass(frozen=True, slots=True)
class Told:
    """`size`: bytes of the .gz. `recipes` as `probes.note` has it; `columns` and `parts` are numbers and bytes by
    name."""

    size: int
    recipes: Mapping[str, Any]
    columns: Mapping[str, Column]
    parts: Mapping[str, bytes]

    def kept(self) -> tuple[dict[str, Any], bytes]:
        """What a note says, and a zstd frame of the rest. Raises NotTaken where that would be too long."""
        layout, told, payload = packed(self.columns, self.parts)
        if len(payload) > PAYLOAD_BYTES:
            raise NotTaken("it has too many members, or too much lies between them")
        return {"recipes": self.recipes, "layout": layout, "payload": told}, payload

    @classmethod
    def of(cls, size: int, said: Mapping[str, Any], payload: bytes) -> Told:
        """Raises ValueError, TypeError, LookupError or ZstdError where that is not what was kept."""
        columns, parts = unpacked(payload, said["payload"], said["layout"])
        return cls(size, said["recipes"], columns, parts)
