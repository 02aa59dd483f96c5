"""references: files that hold where in other files something is, and what they name."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import typer

from storaged.cli.options import DatasetsArgument, JsonOption, of
from storaged.cli.render import Output, count, when
from storaged.cli.running import SHOWN
from storaged.cli.table import Table

if TYPE_CHECKING:
    from storaged.catalog.references import Referrer

MOST = 10_000  # that are listed
MISSING = 20  # of what one names and is not there


def references(ctx: typer.Context, datasets: DatasetsArgument = None, _json: JsonOption = False) -> None:
    """Show the files that hold references into other files, such as kerchunk's, and what they name.

    Scans find them. What they name keeps its path and its bytes. What they name by `storaged://` is read through
    storaged wherever it is, and may be moved.

    Example: storagectl references simulations
    """
    from storaged.catalog import references as catalog
    from storaged.cli.context import opened

    out = Output(of(ctx))
    with opened(of(ctx)) as context:
        names = [context.dataset(name).name for name in datasets or ()]
        with context.catalog.read() as conn:
            found = list(catalog.listed(conn, names, limit=MOST))
            total = catalog.total(conn, names)
            missing = {one.id: catalog.missing(conn, one.id, MISSING) for one in found if one.missing}
    if not found:
        out.show({"references": [], "more": 0}, "no references")
        return
    facts = {"references": [_facts(one, missing.get(one.id, [])) for one in found], "more": total - len(found)}
    told = [(f"{one.dataset}/{one.key}", one.form, one.targets, one.missing, one.moved, *_words(one)) for one in found]
    table = Table(
        ("file", "form", "names", "missing", "moved", "of", "not known"),
        list(islice(told, SHOWN)),
        paths=frozenset({"file"}),
        details=frozenset({"form", "of"}),
        prose="not known",
    )
    more = [f"and {total - SHOWN:,} more: --json lists them"] if total > SHOWN else []
    lost = [f"{one.dataset}/{one.key} names {missing[one.id][0]}, which is not there" for one in found if one.missing]
    out.show(facts, f"{count(total, 'file')} with references", table, *more, *lost[:SHOWN])


def _words(one: Referrer) -> tuple[str, str]:
    held = f"{one.unread}: all of {one.dataset} keeps its place" if one.unread else ""
    return ", ".join(one.datasets) or "-", held or "-"


def _facts(one: Referrer, missing: list[str]) -> dict[str, object]:
    return {
        "dataset": one.dataset,
        "key": one.key,
        "form": one.form,
        "unread": one.unread or None,
        "targets": one.targets,
        "missing": one.missing,
        "missing_samples": missing,
        "moved": one.moved,
        "through_storaged": one.through,
        "elsewhere": one.elsewhere,
        "datasets": list(one.datasets),
        "read_at": when(one.read_us),
    }
