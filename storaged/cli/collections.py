"""collections: what is one thing of many files, and what would move it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from enum import StrEnum
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from storaged.cli.options import DatasetsArgument, JsonOption, of
from storaged.cli.policy import load_and_warn
from storaged.cli.render import Output, count, moment, size, when
from storaged.cli.running import SHOWN
from storaged.cli.table import Table
from storaged.errors import UsageError

if TYPE_CHECKING:
    from storaged.catalog.collections import KnownCollection
    from storaged.work.money.cost import Group
    from storaged.work.plan.wholes import MovedBy

MOST = 10_000  # that are listed


class Sort(StrEnum):
    """By what they are listed."""

    NAME = "name"
    OBJECTS = "objects"
    SIZE = "size"
    COST = "cost"
    READ = "read"


def collections(
    ctx: typer.Context,
    datasets: DatasetsArgument = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", metavar="KIND", help="Only this kind, such as zarr; repeatable.", show_default=False),
    ] = None,
    sort: Annotated[
        Sort,
        typer.Option(
            "--sort", help="By name; or first the most objects, the largest, the dearest, or the longest unread."
        ),
    ] = Sort.NAME,
    _json: JsonOption = False,
) -> None:
    """Show what is one thing of many files to the program that wrote it: tables, arrays, repositories, databases.

    Scans find them. Nothing of them is moved by itself, unless a policy says `collections: ignore`; all of one is moved
    at once where a policy says `collections: whole`.

    Example: storagectl collections flights --kind zarr --sort cost
    """
    from storaged.catalog.collections import counts, listed
    from storaged.cli.context import opened
    from storaged.config.messages import did_you_mean
    from storaged.decide.kinds import BY_NAME, shown, what_is
    from storaged.work.money.cost import grouped, make_bill
    from storaged.work.money.cuts import collection_name
    from storaged.work.plan.wholes import moved_by

    out, kinds = Output(of(ctx)), kind or []
    for name in kinds:
        if name not in BY_NAME:
            raise UsageError(f"there is no kind {name!r}", hint=did_you_mean(name, BY_NAME))
    with opened(of(ctx)) as context:
        names = [context.dataset(name).name for name in datasets or ()]
        with context.catalog.read() as conn:
            found = list(listed(conn, names, kinds, limit=MOST))
            total = sum(number for those in counts(conn, names, kinds).values() for number in those.values())
        if found:
            policies = load_and_warn(out, context.settings)
            movers = moved_by(context.catalog, context.settings, policies, context.now_us())
            priced = any(tier.prices for tier in context.settings.tiers.values())
            lines = grouped(make_bill(context, "collection"), "collection") if priced else []
    if not found:
        out.show({"collections": [], "more": 0}, "no collections")
        return
    bill = {line.name: line for line in lines}
    rows = _sorted(
        (
            (one, bill.get(collection_name(one.dataset, one.prefix)), movers.get((one.dataset, one.prefix)))
            for one in found
        ),
        sort,
    )
    facts = {"collections": [_facts(*row, what_is(row[0].kind)) for row in rows], "more": total - len(found)}
    told = [
        (
            f"{one.dataset}: {shown(one.prefix)}",
            what_is(one.kind),
            one.objects,
            size(one.bytes),
            _dollars(group),
            moment(when(one.last_read_us)) if one.last_read_us is not None else "-",
            str(mover) if mover else "nothing",
        )
        for one, group, mover in islice(rows, SHOWN)
    ]
    table = Table(
        ("collection", "what it is", "objects", "size", "a month", "last read", "moved by"),
        told,
        frozenset({"size", "a month"}),
        paths=frozenset({"collection"}),
        details=frozenset({"what it is", "last read"}),
        prose="moved by",
    )
    more = [f"and {total - len(told):,} more: --json lists them"] if total > len(told) else []
    out.show(facts, count(total, "collection"), table, *more)


Row = tuple["KnownCollection", "Group | None", "MovedBy | None"]


def _sorted(rows: Iterable[Row], sort: Sort) -> Sequence[Row]:
    """As asked for; what is alike by name."""
    if sort is Sort.OBJECTS:
        return sorted(rows, key=lambda row: -row[0].objects)
    if sort is Sort.SIZE:
        return sorted(rows, key=lambda row: -row[0].bytes)
    if sort is Sort.COST:
        return sorted(rows, key=lambda row: -(row[1].cost.total if row[1] else Decimal()))
    if sort is Sort.READ:
        return sorted(rows, key=lambda row: row[0].last_read_us or 0)
    return list(rows)


def _dollars(group: Group | None) -> str:
    from storaged.prices.amount import usd

    if group is None or not group.priced:
        return "-"
    return usd(group.cost.total) + (" + ?" if group.unpriced_objects or not group.reads_known else "")


def _facts(one: KnownCollection, group: Group | None, mover: MovedBy | None, what: str) -> dict[str, object]:
    return {
        "dataset": one.dataset,
        "prefix": one.prefix,
        "kind": one.kind,
        "what": what,
        "marker": one.marker,
        "objects": one.objects,
        "bytes": one.bytes,
        "tiers": list(one.tiers),
        "monthly": group.cost.as_json() if group is not None and group.priced else None,
        "last_read_at": None if one.last_read_us is None else when(one.last_read_us),
        "moved_by": None if mover is None else {"policy": mover.policy, "tier": mover.tier, "held": mover.held},
        "found_at": when(one.found_us),
    }
