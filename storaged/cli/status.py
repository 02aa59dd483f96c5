"""status: everything at a glance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from storaged.cli.catalog import describe
from storaged.cli.options import JsonOption, of
from storaged.cli.render import Output, Table, pairs, plain, size, when
from storaged.errors import ForeignClaim, StoragedError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from storaged.work.context import Context


def status(ctx: typer.Context, _json: JsonOption = False) -> None:
    """Show datasets, tiers, the queue, the journal, whose places these are, and how far the access logs reach.

    Example: storagectl status
    """
    from storaged.cli.context import opened

    with opened(of(ctx)) as context:
        facts: dict[str, Any] = {"catalog": describe(context), "tiers": _tiers(context)}
        with context.catalog.read() as conn:
            facts |= {
                "datasets": _datasets(context, conn),
                "queue": _queue(conn),
                "grace": _grace(conn),
                "damaged": _damaged(conn),
                "heat": _heat(conn),
                "restores": _restores(conn),
            }
    Output(of(ctx)).show(facts, *_text(facts))


def _tiers(context: Context) -> list[dict[str, Any]]:
    import sqlalchemy as sa

    from storaged.catalog.schema import blobs, tiers

    query = (
        sa.select(tiers.c.name, sa.func.count(), sa.func.coalesce(sa.func.sum(blobs.c.size), 0))
        .join(blobs, blobs.c.tier_id == tiers.c.id)
        .group_by(tiers.c.name)
    )
    with context.catalog.read() as conn:
        stored = {name: (number, int(total)) for name, number, total in conn.execute(query)}
    return [
        {
            "tier": t.name,
            "rank": t.rank,
            "url": t.url,
            "blobs": stored.get(t.name, (0, 0))[0],
            "stored_bytes": stored.get(t.name, (0, 0))[1],
            "capacity_bytes": t.capacity_bytes,
            **_place(context, t.name),
        }
        for t in sorted(context.tiers.values(), key=lambda t: t.rank)
    ]


def _place(context: Context, tier: str) -> dict[str, Any]:
    """Whose a tier is, and how much room it has. What cannot be reached says so instead of ending the status."""
    from storaged.work import claims

    try:
        store = context.tier(tier)
        mine = claims.check(store, context.identity)
        return {"claim": "ours" if mine else "lost: is it mounted?", "free_bytes": store.free_bytes()}
    except ForeignClaim as error:
        return {"claim": f"foreign: {error.message}", "free_bytes": None}
    except StoragedError as error:
        return {"claim": f"unknown: {error.message}", "free_bytes": None}


def _datasets(context: Context, conn: sa.Connection) -> list[dict[str, Any]]:
    import sqlalchemy as sa

    rows = conn.execute(sa.text("SELECT * FROM v_datasets ORDER BY dataset")).mappings()
    found = {row["dataset"]: {name: plain(value) for name, value in row.items()} for row in rows}
    for name, dataset in context.datasets.items():
        found.setdefault(name, {"dataset": name, "root": dataset.root, "scanned_at": None})
    for name, facts in found.items():
        facts["configured"] = name in context.datasets
    return list(found.values())


def _queue(conn: sa.Connection) -> dict[str, int]:
    import sqlalchemy as sa

    from storaged.catalog.schema import jobs
    from storaged.model import JobState

    rows = conn.execute(sa.select(jobs.c.state, sa.func.count().label("n")).group_by(jobs.c.state))
    return {state.value: 0 for state in JobState} | {row.state: row.n for row in rows}


def _grace(conn: sa.Connection) -> dict[str, Any]:
    import sqlalchemy as sa

    from storaged.catalog.schema import objects
    from storaged.model import RawState

    query = sa.select(
        sa.func.count(), sa.func.coalesce(sa.func.sum(objects.c.size), 0), sa.func.min(objects.c.raw_until_us)
    ).where(objects.c.raw_state == RawState.SUPERSEDED.value)
    number, total, until = conn.execute(query).one()
    return {"objects": number, "bytes": int(total), "next_ends": None if until is None else when(until)}


def _damaged(conn: sa.Connection) -> int:
    import sqlalchemy as sa

    from storaged.catalog.schema import blobs, objects

    queries = (
        sa.select(sa.func.count()).select_from(table).where(table.c.damaged.is_not(None)) for table in (objects, blobs)
    )
    return sum(conn.execute(query).scalar_one() for query in queries)


def _heat(conn: sa.Connection) -> list[dict[str, Any]]:
    import sqlalchemy as sa

    from storaged.catalog.schema import datasets, heat_coverage

    query = (
        sa.select(heat_coverage.c.source, datasets.c.name, heat_coverage.c.from_us, heat_coverage.c.until_us)
        .join(datasets, datasets.c.id == heat_coverage.c.dataset_id)
        .order_by(heat_coverage.c.source, datasets.c.name)
    )
    return [
        {"source": source, "dataset": name, "from": when(low), "until": when(high)}
        for source, name, low, high in conn.execute(query)
    ]


def _restores(conn: sa.Connection) -> dict[str, Any]:
    """Readable copies of what is in archive classes, as the stores told when they were last looked at."""
    import sqlalchemy as sa

    from storaged.catalog.schema import restores

    query = sa.select(
        sa.func.count().filter(restores.c.state == "warming"),
        sa.func.max(restores.c.expected_us).filter(restores.c.state == "warming"),
        sa.func.count().filter(restores.c.state == "readable"),
        sa.func.min(restores.c.until_us).filter(restores.c.state == "readable"),
    ).where(restores.c.state.in_(("warming", "readable")))
    warming, expected, readable, until = conn.execute(query).one()
    return {
        "warming": warming,
        "all_expected": None if expected is None else when(expected),
        "readable": readable,
        "next_ends": None if until is None else when(until),
    }


def _text(facts: dict[str, Any]) -> list[str | Table]:
    catalog, grace = facts["catalog"], facts["grace"]
    waiting = f", {catalog['journal_waiting']:,} entries wait" if catalog["journal_waiting"] else ""
    datasets = [
        (
            d["dataset"] if d["configured"] else f"{d['dataset']} (not in storaged.yaml)",
            d.get("objects"),
            d.get("moved_objects"),
            size(d.get("size")),
            size(d.get("stored_bytes")),
            d.get("readers"),
            d.get("table_format") or "",
            d["scanned_at"] or "never",
        )
        for d in facts["datasets"]
    ]
    tiers = [
        (
            t["tier"],
            t["rank"],
            t["blobs"],
            size(t["stored_bytes"]),
            size(t["capacity_bytes"]),
            size(t["free_bytes"]),
            t["claim"],
        )
        for t in facts["tiers"]
    ]
    queue = ", ".join(f"{number:,} {state}" for state, number in facts["queue"].items() if number) or "empty"
    in_grace = f"{grace['objects']:,} originals ({size(grace['bytes'])})"
    if grace["next_ends"]:
        in_grace += f", the first until {grace['next_ends']}"
    blocks: list[str | Table] = [
        pairs(
            (
                ("catalog", catalog["catalog"]),
                ("durability", catalog["durability"]),
                ("journal", f"number {catalog['journal_number']:,}{waiting}"),
                ("jobs", queue),
                ("in grace", in_grace),
                ("restores", _copies(facts["restores"])),
                ("damaged", facts["damaged"]),
            )
        ),
        "",
        Table(
            ("dataset", "objects", "moved", "size", "stored", "readers", "table", "scanned"),
            datasets,
            frozenset({"size", "stored"}),
        ),
        "",
        Table(
            ("tier", "rank", "blobs", "stored", "capacity", "free", "claim"),
            tiers,
            frozenset({"stored", "capacity", "free"}),
        ),
    ]
    heat = [(h["source"], h["dataset"], h["from"], h["until"]) for h in facts["heat"]]
    if heat:
        blocks += ["", Table(("log", "dataset", "covered from", "covered until"), heat)]
    else:
        blocks += ["", "no access log covers anything yet: nothing counts as idle"]
    return blocks


def _copies(restores: dict[str, Any]) -> str:
    parts = []
    if restores["warming"]:
        parts.append(f"{restores['warming']:,} on their way, the last expected {restores['all_expected']}")
    if restores["readable"]:
        ends = f", the first until {restores['next_ends']}" if restores["next_ends"] else ""
        parts.append(f"{restores['readable']:,} readable{ends}")
    return "; ".join(parts) or "none"
