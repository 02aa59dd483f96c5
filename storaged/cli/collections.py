"""collections: what is one thing of many files, and is therefore held back."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import typer

from storaged.cli.options import DatasetsArgument, JsonOption, of
from storaged.cli.render import Output, count, size, when
from storaged.cli.running import SHOWN
from storaged.cli.table import Table

if TYPE_CHECKING:
    from storaged.catalog.collections import KnownCollection

MOST = 10_000  # that are listed


def collections(ctx: typer.Context, datasets: DatasetsArgument = None, _json: JsonOption = False) -> None:
    """Show what is one thing of many files to the program that wrote it: tables, arrays, repositories, databases.

    Scans find them. Nothing of them is moved by a policy that does not say `collections: ignore`.

    Example: storagectl collections flights
    """
    from storaged.catalog.collections import counts, listed
    from storaged.cli.context import opened
    from storaged.decide.kinds import shown, what_is

    with opened(of(ctx)) as context:
        names = [context.dataset(name).name for name in datasets or ()]
        with context.catalog.read() as conn:
            found = list(listed(conn, names, limit=MOST))
            total = sum(number for kinds in counts(conn, names).values() for number in kinds.values())
    facts = {"collections": [_facts(one, what_is(one.kind)) for one in found], "more": total - len(found)}
    if not found:
        Output(of(ctx)).show(facts, "no collections")
        return
    rows = [
        (f"{one.dataset}: {shown(one.prefix)}", what_is(one.kind), one.objects, size(one.bytes), when(one.found_us))
        for one in islice(found, SHOWN)
    ]
    table = Table(
        ("collection", "what it is", "objects", "size", "found"),
        rows,
        frozenset({"size"}),
        paths=frozenset({"collection"}),
        details=frozenset({"found"}),
        prose="what it is",
    )
    more = [f"and {total - len(rows):,} more: --json lists them"] if total > len(rows) else []
    Output(of(ctx)).show(facts, count(total, "collection"), table, *more)


def _facts(one: KnownCollection, what: str) -> dict[str, object]:
    return {
        "dataset": one.dataset,
        "prefix": one.prefix,
        "kind": one.kind,
        "what": what,
        "marker": one.marker,
        "objects": one.objects,
        "bytes": one.bytes,
        "found_at": when(one.found_us),
    }
