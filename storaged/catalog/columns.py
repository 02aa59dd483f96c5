"""A placement as columns of its object's row, and which of them one change of it touches.

A statement that sets a column that stays as it is has its indexes written all the same, and its triggers run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any, Final

from storaged.model import Placement

_OF: Final = {  # by column
    "generation": "generation",
    "size": "size",
    "mtime_us": "mtime_us",
    "created_us": "created_us",
    "digest": "digest",
    "raw_state": "raw.state.value",
    "raw_identity": "raw.identity",
    "raw_attempt": "raw.attempt",
    "raw_until_us": "raw.until_us",
    "raw_class": "raw.storage_class",
    "damaged": "raw.damaged",
    "edition": "edition",
    "raw_edition": "raw.edition",
    "raw_size": "raw.size",
    "raw_digest": "raw.digest",
    "hold": "hold",
    "removed_us": "removed_us",
}
_values: Final = attrgetter(*_OF.values())
_sorted: Final = json.JSONEncoder(sort_keys=True).encode  # made once: dumps makes one each time


def metadata_text(metadata: Mapping[str, str]) -> str:
    """As it stands in an object's row."""
    return _sorted(metadata) if metadata else "{}"


def told(p: Placement, pin: Mapping[str, int], was: Placement | None) -> dict[str, Any]:
    """What of a placement stands in columns of its own, as far as it is not what it `was` (None: all of it). `pin`:
    numbers of tiers by name."""
    if was is None:
        found: dict[str, Any] = dict(zip(_OF, _values(p), strict=True))
    else:
        found = {c: new for c, new, old in zip(_OF, _values(p), _values(was), strict=True) if new != old}
    if "damaged" in found:
        found["damaged"] = p.raw.damaged or None
    if "raw_identity" in found:
        found["raw_allocated"] = None  # that was told of what had the other one
    if was is None or p.pin != was.pin:
        found["pin_tier_id"] = pin.get(p.pin) if p.pin else None
    if was is None or p.metadata != was.metadata:
        found["metadata"] = metadata_text(p.metadata)
    return found


def stays(p: Placement, was: Placement | None) -> bool:
    """Whether its current place is the one that it was, and as large: then so are tier, codec and stored bytes."""
    return was is not None and _place(p) == _place(was)


def _place(p: Placement) -> tuple[object, ...]:
    return p.replicas, p.size, p.exists, p.raw.storage_class, p.raw.identity


def of_replicas(of: Iterable[tuple[int, Placement]]) -> list[dict[str, Any]]:
    """The rows of the replicas of objects, by the number of each."""
    return [
        {
            "object_id": number,
            "blob_id": r.blob,
            "offset": r.offset,
            "length": r.length,
            "generation": r.generation,
            "state": r.state.value,
            "until_us": r.until_us,
            "damaged": r.damaged or None,
            "overwritten": r.overwritten,
            "edition": r.edition,
            "digest": r.digest,
            "packed_before": r.packed_before,
        }
        for number, p in of
        for r in p.replicas
    ]
