"""status: everything at a glance."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final, Literal

import typer

from storaged.cli import live
from storaged.cli.catalog import describe
from storaged.cli.options import JsonOption, of
from storaged.cli.render import Output, at, moment, pairs, plain, size, when
from storaged.cli.table import Table
from storaged.clock import iso
from storaged.errors import ForeignClaim, OtherPlace, StoragedError
from storaged.model import AttemptState, JobState

if TYPE_CHECKING:
    import sqlalchemy as sa

    from storaged.work.context import Context
    from storaged.work.show.measure import Measured


OURS: Final = "ours"
LOST: Final = "lost: is it mounted?"
NEW: Final = "new: `storagectl scan` claims it"
UNCLAIMED: Final = "not claimed: nothing is written or released there"


def status(ctx: typer.Context, _json: JsonOption = False) -> None:
    """Show daemons, datasets, tiers, the queue, the journal, whose places these are, and how far access logs reach.

    Example: storagectl status
    """
    from storaged.cli.context import opened
    from storaged.work.scan.stuck import told
    from storaged.work.show.measure import measure

    with opened(of(ctx)) as context:
        measured = measure(context)
        facts: dict[str, Any] = {"catalog": describe(context), "tiers": _tiers(context, measured)}
        with context.catalog.read() as conn:
            facts |= {
                "datasets": _datasets(context, conn),
                "restores": _restores(conn),
                "overwritten": _overwritten(conn),
            }
        facts["stuck"] = [dataclasses.asdict(one) for one in told(context) if one.waiting]
    facts |= {
        "queue": _queue(measured),
        "policies": _policies(measured),
        "grace": {
            "objects": measured.grace.objects,
            "bytes": measured.grace.bytes,
            "next_ends": iso(measured.grace.until_us),
        },
        "damaged": measured.damaged_objects + measured.damaged_in_blobs,
        "saved_bytes": measured.saved_bytes,
        "heat": [
            {"source": c.source, "dataset": c.dataset, "from": when(c.from_us), "until": when(c.until_us)}
            for c in measured.coverage
        ],
        **live.facts(measured.live),
    }
    Output(of(ctx)).show(facts, *_text(facts, measured))


def _tiers(context: Context, measured: Measured) -> list[dict[str, Any]]:
    from storaged.catalog.placements import tier_ids

    with context.catalog.read() as conn:
        known = tier_ids(conn)
    there = [s for s in measured.stored if s.state != AttemptState.TOMBSTONE]  # what was discarded is no blob
    rooms = {room.tier: room for room in measured.rooms}
    return [
        {
            "tier": t.name,
            "rank": t.rank,
            "url": t.url,
            "blobs": sum(s.blobs for s in there if s.tier == t.name),
            "stored_bytes": sum(s.bytes for s in there if s.tier == t.name),
            "capacity_bytes": t.capacity_bytes,
            "claim": _claim(context, "tier", t.name, LOST if t.name in known else NEW),
            "free_bytes": rooms[t.name].free_bytes,
        }
        for t in sorted(context.tiers.values(), key=lambda t: t.rank)
    ]


def _claim(context: Context, kind: Literal["tier", "dataset"], name: str, bare: str) -> str:
    """Whose a tier or a root is. `bare`: what is said where there is no marker. What cannot be reached says so instead
    of ending the status."""
    from storaged.work import claims

    try:
        store = context.tier(name) if kind == "tier" else context.root(name)
        if claims.confirm(store, context.identity, claims.Place(kind, name)) is not None:
            return OURS
        return bare
    except OtherPlace as error:
        return f"exchanged: {error.message}"
    except ForeignClaim as error:
        return f"foreign: {error.message}"
    except StoragedError as error:
        return f"unknown: {error.message}"


def _queue(measured: Measured) -> dict[str, int]:
    return {s.value: sum(j.jobs for j in measured.jobs if j.state == s.value) for s in JobState}


def _policies(measured: Measured) -> list[dict[str, Any]]:
    """What policies (none: a person) want and have not got."""
    return [
        {
            "policy": b.policy or None,
            "pending": b.pending,
            "pending_bytes": b.pending_bytes,
            "since": iso(b.since_us),
            "proposed": b.proposed,
            "proposed_at": iso(b.proposed_us),
            "failed": b.failed,
        }
        for b in measured.backlog
    ]


def _datasets(context: Context, conn: sa.Connection) -> list[dict[str, Any]]:
    import sqlalchemy as sa

    rows = conn.execute(sa.text("SELECT * FROM v_datasets ORDER BY dataset")).mappings()
    found = {row["dataset"]: {name: plain(value) for name, value in row.items()} for row in rows}
    for name, dataset in context.datasets.items():
        found.setdefault(name, {"dataset": name, "root": dataset.root, "scanned_at": None})
    from storaged.catalog.schema import datasets

    known = {row.name for row in conn.execute(sa.select(datasets.c.name).where(datasets.c.claimed))}
    for name, facts in found.items():
        facts["configured"] = name in context.datasets
        bare = LOST if name in known else UNCLAIMED
        facts["claim"] = _claim(context, "dataset", name, bare) if facts["configured"] else None
    return list(found.values())


def _restores(conn: sa.Connection) -> dict[str, Any]:
    """Readable copies of what is in archive classes, as the stores told when they were last looked at."""
    import sqlalchemy as sa

    from storaged.catalog.schema_restores import restores

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


def _overwritten(conn: sa.Connection) -> dict[str, Any]:
    from storaged.catalog.older import counted

    generations, nbytes, until = counted(conn)
    return {"generations": generations, "bytes": nbytes, "next_ends": None if until is None else when(until)}


def _text(facts: dict[str, Any], measured: Measured) -> list[str | Table]:
    catalog, grace, now = facts["catalog"], facts["grace"], measured.live
    waiting = f", {catalog['journal_waiting']:,} entries wait" if catalog["journal_waiting"] else ""
    if catalog["old_copy"]:
        waiting += ", and it goes on: this catalog is an old copy (`storagectl catalog reconcile`)"
    in_grace = f"{grace['objects']:,} originals ({size(grace['bytes'])})"
    if grace["next_ends"]:
        in_grace += f", the first until {grace['next_ends']}"
    ended = {s: n for s, n in facts["queue"].items() if s not in ("queued", "running")}
    tables = [
        live.daemon_table(now, at),
        live.suspension_table(now, at),
        live.task_table(now, at, only_late=True),
        _backlog(measured),
    ]
    return [
        pairs(
            (
                ("catalog", catalog["catalog"]),
                ("durability", catalog["durability"]),
                ("journal", f"number {catalog['journal_number']:,}{waiting}"),
                ("daemons", live.daemon_words(now)),
                ("jobs", live.queue_words(now, ended, when)),
                ("in grace", in_grace),
                *([("cannot be released", _stuck(facts["stuck"]))] if facts["stuck"] else []),
                ("restores", _copies(facts["restores"])),
                *([("overwritten", _old(facts["overwritten"]))] if facts["overwritten"]["generations"] else []),
                ("saved", f"{size(facts['saved_bytes'])} by codecs"),
                ("damaged", facts["damaged"]),
            )
        ),
        *(block for table in tables if table.rows for block in ("", table)),
        "",
        _dataset_table(facts),
        "",
        _tier_table(facts),
        "",
        _heat_table(facts) if facts["heat"] else "no access log covers anything yet: nothing counts as idle",
    ]


def _backlog(measured: Measured) -> Table:
    rows = [
        (
            b.policy or "(by hand)",
            b.pending,
            size(b.pending_bytes),
            at(b.since_us),
            b.proposed,
            at(b.proposed_us),
            b.failed,
        )
        for b in measured.backlog
    ]
    columns = ("policy", "pending", "size", "planned", "proposed", "on", "failed in a day")
    return Table(columns, rows, frozenset({"size"}), details=frozenset({"planned", "on"}))


def _dataset_table(facts: dict[str, Any]) -> Table:
    odd = any(d["claim"] not in (OURS, None) for d in facts["datasets"])
    rows = [
        (
            d["dataset"] if d["configured"] else f"{d['dataset']} (not in storaged.yaml)",
            d.get("objects"),
            d.get("moved_objects"),
            size(d.get("size")),
            size(d.get("stored_bytes")),
            d.get("readers"),
            d.get("collections") or "",
            moment(d["scanned_at"]) if d["scanned_at"] else "never",
            *([d["claim"] or ""] if odd else []),
        )
        for d in facts["datasets"]
    ]
    columns = [
        "dataset",
        "objects",
        "moved",
        "size",
        "stored",
        "readers",
        "collections",
        "scanned",
        *(["claim"] if odd else []),
    ]
    return Table(
        tuple(columns), rows, frozenset({"size", "stored"}), prose="claim", details=frozenset({"readers", "moved"})
    )


def _tier_table(facts: dict[str, Any]) -> Table:
    rows = [
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
    columns = ("tier", "rank", "blobs", "stored", "capacity", "free", "claim")
    return Table(columns, rows, frozenset({"stored", "capacity", "free"}), prose="claim")


def _heat_table(facts: dict[str, Any]) -> Table:
    rows = [(h["source"], h["dataset"], moment(h["from"]), moment(h["until"])) for h in facts["heat"]]
    return Table(("log", "dataset", "covered from", "covered until"), rows)


def _old(overwritten: dict[str, Any]) -> str:
    number, until = overwritten["generations"], overwritten["next_ends"]
    return (
        f"{number:,} older generations ({size(overwritten['bytes'])}) kept, the first until {until}: "
        "`storagectl overwritten`"
    )


def _stuck(found: list[dict[str, Any]]) -> str:
    number, nbytes, first = sum(s["objects"] for s in found), sum(s["bytes"] for s in found), found[0]
    return (
        f"{number:,} originals ({size(nbytes)}), such as {first['dataset']}/{first['example']}: {first['why']}; "
        "`storagectl doctor` names them all, `storagectl undo` takes them back"
    )


def _copies(restores: dict[str, Any]) -> str:
    parts = []
    if restores["warming"]:
        parts.append(f"{restores['warming']:,} on their way, the last expected {restores['all_expected']}")
    if restores["readable"]:
        ends = f", the first until {restores['next_ends']}" if restores["next_ends"] else ""
        parts.append(f"{restores['readable']:,} readable{ends}")
    return "; ".join(parts) or "none"
