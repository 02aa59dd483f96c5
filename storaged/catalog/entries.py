"""Journal entries: what one states, and how a placement stands in it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final

from storaged.model import DEFAULT_CLASS, Placement, Raw, RawState, Replica, ReplicaState

Entry = dict[str, Any]  # id, kind, at, at_us, why, placement, blobs (of its replicas)


# What speaks of editions, and of packs, is told where there is one: all other entries are as they were before any were.
_SELDOM: Final[dict[type, tuple[str, ...]]] = {
    Placement: ("edition",),
    Raw: ("edition", "size", "digest"),
    Replica: ("edition", "digest", "packed_before"),
}
_FLAT: Final = tuple(f.name for f in fields(Placement) if f.name not in ("raw", "replicas", *_SELDOM[Placement]))
_RAW: Final = tuple(f.name for f in fields(Raw) if f.name not in _SELDOM[Raw])
_REPLICA: Final = tuple(f.name for f in fields(Replica) if f.name not in _SELDOM[Replica])
_of_placement, _of_raw, _of_replica = attrgetter(*_FLAT), attrgetter(*_RAW), attrgetter(*_REPLICA)
_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode  # made once: dumps makes one each time


def line_of(entry: Entry) -> str:
    """As it stands in the journal."""
    return _encode(entry)


class Lines:
    """Lines of changes that are made in one moment by one hand: what many of them repeat is made text of once."""

    def __init__(self, at: str | None, at_us: int, why: Entry, blobs: Mapping[str, Entry]) -> None:
        """`blobs`: all that any of their replicas are in, by id."""
        self._same = {"at": at, "at_us": at_us, "why": why}
        self._heads: dict[str, str] = {}
        self._blobs = {number: _encode(told) for number, told in blobs.items()}

    def line(self, number: str, kind: str, p: Placement) -> str:
        """The line of the entry of this id: a kind of change, and the placement that it makes."""
        head = self._heads.get(kind)
        if head is None:
            head = self._heads[kind] = _encode({"kind": kind, **self._same})[1:-1]
        blobs = ",".join([self._blobs[r.blob] for r in p.replicas])
        return f'{{"id":{_encode(number)},{head},"placement":{_encode(told(p))},"blobs":[{blobs}]}}'


def told(p: Placement) -> Entry:
    """A placement as an entry states it (dataclasses.asdict copies deeply, at many times the cost)."""
    flat: Entry = _special(p, dict(zip(_FLAT, _of_placement(p), strict=True)))
    flat["raw"] = _special(p.raw, dict(zip(_RAW, _of_raw(p.raw), strict=True)))
    flat["replicas"] = [_special(r, dict(zip(_REPLICA, _of_replica(r), strict=True))) for r in p.replicas]
    return flat


def _special(value: Placement | Raw | Replica, told: Entry) -> Entry:
    for name in _SELDOM[type(value)]:
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
