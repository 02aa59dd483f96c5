"""locate: which stored thing holds an object's content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from storaged.cli.options import JsonOption, ObjectArgument, of
from storaged.cli.render import Output, pairs, size, when
from storaged.cli.table import Table

if TYPE_CHECKING:
    from storaged.catalog.placements import Seen
    from storaged.model import RawState, ReplicaState, Tier
    from storaged.work.context import Context
    from storaged.work.location import Location


def locate(ctx: typer.Context, target: ObjectArgument, _json: JsonOption = False) -> None:
    """Show where an object is: its original key and every copy of ours, with key, codec and identity.

    Example: storagectl locate flights/2026/01.csv
    """
    from storaged.cli.context import opened
    from storaged.work import targets

    with opened(of(ctx)) as context:
        seen = targets.one(context, target)
        places = _places(context, seen)
    p = seen.placement
    facts: dict[str, Any] = {
        "dataset": p.dataset,
        "object": p.name,
        "generation": p.generation,
        "size": p.size,
        "digest": p.digest,
        "edition": p.edition,
        "modified_at": when(p.mtime_us),
        "removed_at": None if p.removed_us is None else when(p.removed_us),
        "hold": p.hold,
        "pin": p.pin,
        "places": places,
    }
    about = [(name, size(value) if name == "size" else value) for name, value in facts.items() if name != "places"]
    rows = [
        (
            x["state"],
            x["tier"],
            x["storage_class"],
            x["codec"],
            size(x["stored_bytes"]),
            x["offset"],
            x["length"],
            x["until"],
            x["url"],
            x["identity"],
        )
        for x in places
    ]
    columns = ("state", "tier", "class", "codec", "stored", "offset", "length", "kept until", "where", "identity")
    blocks: list[str | Table] = [pairs(about), "", Table(columns, rows, frozenset({"stored"}))]
    blocks += [f"from its pack, without storaged: {x['unpack']}" for x in places if x["unpack"]]
    archived = [(x["url"], x["warmth"]) for x in places if x["warmth"]]
    if archived:
        blocks += ["", Table(("in an archive class", "now"), archived)]
    Output(of(ctx)).show(facts, *blocks)


def _places(context: Context, seen: Seen) -> list[dict[str, Any]]:
    """What is told of the original, if anything should be there, and of each replica."""
    from storaged.model import RawState
    from storaged.work.location import of_replica, original

    p = seen.placement
    found: list[dict[str, Any]] = []
    if p.raw.state not in (RawState.RELEASED, RawState.ABSENT):
        here = _told(context, p.name, original(p), p.raw.state, 0, p.size_of(p.raw), p.raw.until_us)
        found.append(here | {"edition": p.raw.edition})
    for r in p.replicas:
        here = _told(context, p.name, of_replica(seen, r), r.state, r.offset, r.length, r.until_us)
        found.append(here | {"edition": r.edition})
    return found


def _told(
    context: Context,
    name: str,
    here: Location,
    state: RawState | ReplicaState,
    offset: int,
    length: int,
    until_us: int | None,
) -> dict[str, Any]:
    from storaged.model import IDENTITY

    tier = _tier(context, here)
    base = context.dataset(here.place.name).root if here.blob is None else tier.url if tier else ""
    storage_class = here.original_class or (tier.storage_class if tier else None)
    return {
        "state": state.value,
        "tier": tier.name if tier else here.place.name,
        "storage_class": storage_class,
        "codec": here.blob.codec if here.blob else IDENTITY.name,
        "key": here.key,
        "url": f"{base.rstrip('/')}/{here.key}",
        "stored_bytes": here.bytes,
        "offset": offset,
        "length": length,
        "identity": here.identity,
        "blob": here.blob.id if here.blob else None,
        "until": None if until_us is None else when(until_us),
        "warmth": _warmth(context, here, storage_class),
        "unpack": _unpack(context, here, name),
    }


def _unpack(context: Context, here: Location, name: str) -> str | None:
    """The command that writes a member of a pack to stdout; of a pack in a bucket, once that was fetched."""
    from storaged.codecs.pack import PACK
    from storaged.work.context import local_path

    if here.blob is None or here.blob.codec != PACK.name:
        return None
    tier = local_path(context.tiers[here.place.name].url) if here.place.name in context.tiers else None
    pack = here.key.rpartition("/")[2] if tier is None else str(tier / here.key)
    return PACK.command(pack, name)


def _tier(context: Context, here: Location) -> Tier | None:
    """The tier that it counts as being in; None: the configuration does not name it any more."""
    from storaged.placement import raw_tier

    tiers = context.tiers
    if here.blob is not None:
        return tiers.get(here.place.name)
    dataset = context.dataset(here.place.name)
    return raw_tier(here.original_class, home=tiers[dataset.tier], root=dataset.root, tiers=tiers.values())


def _warmth(context: Context, here: Location, storage_class: str | None) -> str | None:
    """What the store says of a place in an archive class: readable, cold or warming. None for any other class."""
    from storaged.errors import StoragedError
    from storaged.stores.schemes import may_be_cold

    if storage_class is None or not may_be_cold(storage_class):
        return None
    try:
        found = context.store(here.place).warmth(here.key)
    except StoragedError as error:
        return error.message
    return found.warmth.value + ("" if found.until_us is None else f" until {when(found.until_us)}")
