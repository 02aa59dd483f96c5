"""locate: which stored thing holds an object's content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from storaged.cli.options import JsonOption, ObjectArgument, of
from storaged.cli.render import Output, pairs, size, when
from storaged.cli.table import Table

if TYPE_CHECKING:
    from storaged.catalog.placements import Held
    from storaged.work.context import Context


def locate(ctx: typer.Context, target: ObjectArgument, _json: JsonOption = False) -> None:
    """Show where an object is: its original key and every copy of ours, with key, codec and identity.

    Example: storagectl locate flights/2026/01.csv
    """
    from storaged.cli.context import opened
    from storaged.work import targets

    with opened(of(ctx)) as context:
        held = targets.one(context, target)
        places = _places(context, held)
        for place in places:
            place["warmth"] = _warmth(context, held, place)
    p = held.placement
    facts: dict[str, Any] = {
        "dataset": p.dataset,
        "object": p.name,
        "generation": p.generation,
        "size": p.size,
        "digest": p.digest,
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
            x["until"],
            x["url"],
            x["identity"],
        )
        for x in places
    ]
    columns = ("state", "tier", "class", "codec", "stored", "offset", "kept until", "where", "identity")
    blocks: list[str | Table] = [pairs(about), "", Table(columns, rows, frozenset({"stored"}))]
    archived = [(x["url"], x["warmth"]) for x in places if x["warmth"]]
    if archived:
        blocks += ["", Table(("in an archive class", "now"), archived)]
    Output(of(ctx)).show(facts, *blocks)


def _warmth(context: Context, held: Held, place: dict[str, Any]) -> str | None:
    """What the store says of a place in an archive class: readable, cold or warming. None for any other class."""
    from storaged.errors import StoragedError
    from storaged.stores.schemes import may_be_cold

    if not may_be_cold(place["storage_class"]):
        return None
    try:
        store = context.root(held.placement.dataset) if place["blob"] is None else context.tier(place["tier"])
        found = store.warmth(place["key"])
    except StoragedError as error:
        return error.message
    return found.warmth.value + ("" if found.until_us is None else f" until {when(found.until_us)}")


def _places(context: Context, held: Held) -> list[dict[str, Any]]:
    from storaged.model import RawState
    from storaged.placement import raw_tier

    p = held.placement
    dataset = context.dataset(p.dataset)
    found: list[dict[str, Any]] = []
    if p.raw.state not in (RawState.RELEASED, RawState.ABSENT):
        tiers = context.tiers
        in_tier = raw_tier(p.raw.storage_class, home=tiers[dataset.tier], root=dataset.root, tiers=tiers.values())
        found.append(
            {
                "state": p.raw.state.value,
                "tier": in_tier.name,
                "storage_class": p.raw.storage_class,
                "codec": "identity",
                "key": p.name,
                "url": f"{dataset.root.rstrip('/')}/{p.name}",
                "stored_bytes": p.size,
                "offset": 0,
                "length": p.size,
                "identity": p.raw.identity,
                "blob": None,
                "until": None if p.raw.until_us is None else when(p.raw.until_us),
            }
        )
    for replica in p.replicas:
        blob = held.blobs[replica.blob]
        tier = context.tiers.get(str(blob.tier))
        base = tier.url.rstrip("/") if tier else ""
        found.append(
            {
                "state": replica.state.value,
                "tier": blob.tier,
                "storage_class": tier.storage_class if tier else None,
                "codec": blob.codec,
                "key": blob.key,
                "url": f"{base}/{blob.key}",
                "stored_bytes": blob.size,
                "offset": replica.offset,
                "length": replica.length,
                "identity": blob.identity,
                "blob": blob.id,
                "until": None if replica.until_us is None else when(replica.until_us),
            }
        )
    return found
