"""The conditions of `when:`. Each selects by SQL, says why in the plan, and tells of one object for `explain`.

To add one: a file with a subclass of Condition, and its line in CONDITIONS.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from storaged.decide.conditions.base import Condition, Told
from storaged.decide.conditions.labels import Format, Partition, Tags
from storaged.decide.conditions.reads import ReadsAbove, ReadsBelow, ReadShareBelow
from storaged.decide.conditions.size import SizeOver, SizeUnder
from storaged.decide.conditions.tier import TierFullAbove
from storaged.decide.conditions.time import AgeOver, IdleFor

CONDITIONS: Final[Mapping[str, type[Condition]]] = {
    "idle_for": IdleFor,
    "age_over": AgeOver,
    "reads_below": ReadsBelow,
    "reads_above": ReadsAbove,
    "read_share_below": ReadShareBelow,
    "size_over": SizeOver,
    "size_under": SizeUnder,
    "format": Format,
    "tags": Tags,
    "partition": Partition,
    "tier_full_above": TierFullAbove,
}

__all__ = ["CONDITIONS", "Condition", "Told"]
