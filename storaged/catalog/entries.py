"""Journal entries: what one states, and how a placement stands in it."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any, Final

from storaged.model import DEFAULT_CLASS, Placement, Raw, RawState, Replica, ReplicaState

Entry = dict[str, Any]  # id, kind, at, at_us, why, placement, blobs (of its replicas)


def told(p: Placement) -> Entry:
    """A placement as an entry states it (dataclasses.asdict copies deeply, at ten times the cost)."""
    flat = {f: getattr(p, f) for f in _FLAT} | {f: v for f in _OF_EDITIONS[Placement] if (v := getattr(p, f))}
    return flat | {"raw": _fields(p.raw), "replicas": [_fields(r) for r in p.replicas]}


def _fields(value: Raw | Replica) -> Entry:
    special = _OF_EDITIONS[type(value)]
    told = ((f.name, getattr(value, f.name)) for f in fields(value))
    return {name: said for name, said in told if said or name not in special}


# What speaks of editions is told where there is one, so that all other entries are as they were before there were any.
_OF_EDITIONS: Final[dict[type, tuple[str, ...]]] = {
    Placement: ("edition",),
    Raw: ("edition", "size", "digest"),
    Replica: ("edition", "digest"),
}
_FLAT: Final = tuple(f.name for f in fields(Placement) if f.name not in ("raw", "replicas", *_OF_EDITIONS[Placement]))


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
