"""Which objects become a pack together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PACKS: Final[Mapping[str, str]] = {
    "ungrouped": "its partition does not tell what `group_by` names",
    "alone": "there is nothing to pack it with",
}
