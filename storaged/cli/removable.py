"""removable: what Delta and Iceberg tables keep and nothing needs any more."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from storaged.cli.options import JsonOption, of
from storaged.cli.render import Output, count, size
from storaged.cli.running import SHOWN
from storaged.cli.table import Table
from storaged.errors import UsageError

if TYPE_CHECKING:
    from storaged.work.context import Context
    from storaged.work.show.removable import Kept, Removable


def removable(
    ctx: typer.Context,
    table: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATASET[/COLLECTION]]", help="A dataset, or one table of it. Left out: all.", show_default=False
        ),
    ] = None,
    _json: JsonOption = False,
) -> None:
    """Show what Delta and Iceberg tables keep although no live snapshot refers to it, with what that costs.

    Nothing is removed: the table's own tool does that, and it is named. Read by deltalake and pyiceberg:
    pip install 'storaged[delta,iceberg]'.

    Example: storagectl removable lake/events
    """
    from storaged.cli.context import opened
    from storaged.decide.kinds import shown
    from storaged.work.show.removable import removable as look
    from storaged.work.show.removable import totals

    out = Output(of(ctx))
    with opened(of(ctx)) as context:
        names, prefix = _asked(context, table)
        found = look(context, names, prefix)
    if table is not None and prefix is not None and not found:
        raise UsageError(f"{table!r} is no Delta or Iceberg table", hint="`storagectl collections` lists them")
    if not found:
        out.show({"tables": [], "totals": {}}, "no Delta or Iceberg tables")
        return
    unneeded, aged = totals(found)
    facts = {
        "tables": [_facts(one) for one in found],
        "totals": {"unneeded": _kept(unneeded), "aged": _kept(aged)},
    }
    rows = [
        (
            f"{one.table.dataset}: {shown(one.table.prefix)}",
            one.unneeded.objects if one.needs else "?",
            size(one.unneeded.bytes) if one.needs else "-",
            _dollars(one.unneeded),
            one.aged.objects if one.needs else "?",
            size(one.aged.bytes) if one.needs else "-",
            _dollars(one.aged),
            one.error or (one.needs.seen if one.needs else ""),
        )
        for one in islice(found, SHOWN)
    ]
    columns = ("table", "unneeded", "size", "a month", "of older", "size of it", "its month", "as of")
    shown_as = Table(
        columns,
        rows,
        right=frozenset(columns[1:7]),
        paths=frozenset({"table"}),
        details=frozenset({"size of it", "its month"}),
        prose="as of",
    )
    out.show(facts, shown_as, *_notes(found, unneeded))


def _asked(context: Context, table: str | None) -> tuple[list[str], str | None]:
    """Datasets, and the prefix of one table. Raises UsageError."""
    from storaged.work import targets

    if table is None:
        return [], None
    dataset, name = targets.split(context, table)
    return [dataset], None if name is None else f"{name.removesuffix('/')}/"


def _notes(found: list[Removable], unneeded: Kept) -> list[str]:
    from storaged.prices.amount import usd

    number, nbytes = count(unneeded.objects, "file"), size(unneeded.bytes)
    told = [f"no live snapshot refers to {number}, {nbytes}; nothing of it was removed"]
    for how, risk in dict.fromkeys((one.needs.how, one.needs.risk) for one in found if one.needs):
        told.append(f"removed by {how}; {risk}")
    if unneeded.leaving:
        told.append(f"early deletion, once, if all of it went today: {usd(unneeded.leaving)}")
    if len(found) > SHOWN:
        told.append(f"and {len(found) - SHOWN:,} more: --json lists them")
    return told


def _dollars(kept: Kept) -> str:
    from storaged.prices.amount import usd

    return "-" if kept.stored is None else usd(kept.stored)


def _kept(kept: Kept) -> dict[str, object]:
    from storaged.prices.amount import plain

    return {
        "objects": kept.objects,
        "bytes": kept.bytes,
        "monthly": None if kept.stored is None else plain(kept.stored),
        "leaving_today": plain(kept.leaving),
        "samples": list(kept.samples),
    }


def _facts(one: Removable) -> dict[str, object]:
    return {
        "dataset": one.table.dataset,
        "prefix": one.table.prefix,
        "kind": one.table.kind,
        "error": one.error or None,
        "seen": one.needs.seen if one.needs else None,
        "removed_by": one.needs.how if one.needs else None,
        "risk": one.needs.risk if one.needs else None,
        "unneeded": _kept(one.unneeded),
        "aged": _kept(one.aged),
    }
