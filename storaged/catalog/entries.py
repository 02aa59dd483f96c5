"""Journal entries: what one states, and how a placement stands in it."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final

from storaged.model import DEFAULT_CLASS, Placement, Raw, RawState, Replica, ReplicaState

Entry = dict[str, Any]  # id, kind, at, at_us, why, placement, blobs (of its replicas)


# What speaks of editions is told where there is one, so that all other entries are as they were before there were any.
_OF_EDITIONS: Final[dict[type, tuple[str, ...]]] = {
    Placement: ("edition",),
    Raw: ("edition", "size", "digest"),
    Replica: ("edition", "digest"),
}
_FLAT: Final = tuple(f.name for f in fields(Placement) if f.name not in ("raw", "replicas", *_OF_EDITIONS[Placement]))
_RAW: Final = tuple(f.name for f in fields(Raw) if f.name not in _OF_EDITIONS[Raw])
_REPLICA: Final = tuple(f.name for f in fields(Replica) if f.name not in _OF_EDITIONS[Replica])
_of_placement, _of_raw, _of_replica = attrgetter(*_FLAT), attrgetter(*_RAW), attrgetter(*_REPLICA)
_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode  # made once: dumps makes one each time


def line_of(entry: Entry) -> str:
    """As it stands in the journal."""
    return _encode(entry)


def told(p: Placement) -> Entry:
    """A placement as an entry states it (dataclasses.asdict copies deeply, at many times the cost)."""
    flat: Entry = _special(p, dict(zip(_FLAT, _of_placement(p), strict=True)))
    flat["raw"] = _special(p.raw, dict(zip(_RAW, _of_raw(p.raw), strict=True)))
    flat["replicas"] = [_special(r, dict(zip(_REPLICA, _of_replica(r), strict=True))) for r in p.replicas]
    return flat


def _special(value: Placement | Raw | Replica, told: Entry) -> Entry:
    for name in _OF_EDITIONS[type(value)]:
        if said := getattr(value, name):
            told[name] = said
    return told


_WITH_DEVICE: Final = re.compile(r"[0-9a-f]+:([0-9a-f]+:[0-9a-f]+:-?[0-9a-f]+:-?[0-9a-f]+)")


def present(identity: str) -> str:
    """An identity as it is written today: entries of before schema 0007 have a file's with its device before it."""
    old = _WITH_DEVICE.fullmatch(identity)
    return old[1] if old else identity


def placement(told: Entry) -> Placement:
    """What `told` stated."""
    raw = told["raw"] | {"identity": present(told["raw"]["identity"])}
    return Placement(
        **{k: v for k, v in told.items() if k not in ("raw", "replicas")},
        raw=Raw(**raw | {"state": RawState(raw["state"]), "storage_class": raw.get("storage_class", DEFAULT_CLASS)}),
        replicas=tuple(Replica(**r | {"state": ReplicaState(r["state"])}) for r in told["replicas"]),
    )
