"""Where an object's content is: the one way from what the catalog holds of an object to a key in a store.

A location is in a place, which is a tier or a root; `Context.store` opens places.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from storaged.catalog.placements import Seen
from storaged.model import Blob, Placement, Replica
from storaged.work.claims import Place


@dataclass(frozen=True, slots=True)
class Location:
    """A stored thing with an object's content, as the catalog holds it: the original, or a blob of ours."""

    place: Place
    key: str
    identity: str
    bytes: int  # that are stored; of a pack, an object's share
    blob: Blob | None = None  # None: the original
    original_class: str = ""  # storage class of an original; a blob is in that of its tier


_place = lru_cache(maxsize=1_000)(Place)  # there are few, and one is asked for many times for each object


def original(p: Placement) -> Location:
    """The original key, whether or not something is there."""
    return Location(
        _place("dataset", p.dataset), p.name, p.raw.identity, p.size_of(p.raw), original_class=p.raw.storage_class
    )


def of_blob(blob: Blob) -> Location:
    """The key of a blob in its tier."""
    return Location(_place("tier", str(blob.tier)), blob.key, blob.identity, blob.size, blob)


def of_replica(seen: Seen, replica: Replica) -> Location:
    blob = seen.blobs[replica.blob]
    return replace(of_blob(blob), bytes=blob.share(replica))


def current(seen: Seen) -> Location:
    """Where the content of an object is now; of one that was removed the original key."""
    replica = seen.placement.current
    return original(seen.placement) if replica is None else of_replica(seen, replica)
