"""restores: readable copies of what is in an archive class, and how far they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from storaged.cli.options import JsonOption, of
from storaged.cli.progress import progress
from storaged.cli.render import Output, moment, plain, size
from storaged.cli.table import Table
from storaged.errors import JobsFailed, UsageError

if TYPE_CHECKING:
    from storaged.work.context import Context

STATES = ("warming", "readable", "expired", "failed")

_DETAILS: Final = frozenset({"tier", "class", "speed", "asked"})


def restores(
    ctx: typer.Context,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state",
            metavar="STATE",
            help="warming, readable, expired or failed; may be repeated. Left out: warming and readable.",
            show_default=False,
        ),
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh/--no-refresh", help="Look at the stores first, or show what was seen last.")
    ] = True,
    _json: JsonOption = False,
) -> None:
    """Show what was asked for from archive classes: how far it is, and until when it is readable.

    Example: storagectl restores

    Example: storagectl restores --state failed --no-refresh
    """
    from storaged.cli.context import opened
    from storaged.work.rewrite.warming import LIVE, Refreshed
    from storaged.work.rewrite.warming import refresh as look

    for wanted in state or ():
        if wanted not in STATES:
            raise UsageError(f"there is no state {wanted!r}", hint=f"one of: {', '.join(STATES)}")
    options = of(ctx)
    out = Output(options)
    with opened(options) as context:
        looked = Refreshed()
        if refresh:
            with progress(options, "look") as bar:
                looked = look(context, progress=bar)
        rows = _rows(context, state or list(LIVE))
    table = [
        (
            _named(r), r["tier"], r["storage_class"], size(r["stored_bytes"]), r["state"],
            r["speed"], moment(r["asked_at"]), moment(r["ready_at"] or r["expected_at"]), moment(r["readable_until"]),
            r["error"] or "",
        )
        for r in rows
    ]  # fmt: skip
    columns = (
        "object", "tier", "class", "stored", "state", "speed", "asked", "ready, or expected", "until", "why",
    )  # fmt: skip
    shown = Table(columns, table, frozenset({"stored"}), paths=frozenset({"object"}), details=_DETAILS, prose="why")
    errors = [{"object": name, "reason": why} for name, why in looked.errors]
    nothing = "nothing was asked for that is in such a state; `storagectl warm` asks"
    out.show({"restores": rows, "errors": errors}, shown if rows else nothing)
    for name, why in looked.errors:
        out.warn(f"{name}: {why}")
    if errors:
        raise JobsFailed("not every store could be looked at: what is shown of it was seen before")


def _named(row: dict[str, Any]) -> str:
    """The object, and how many are in the same pack."""
    others = f" and {row['objects'] - 1:,} more" if row["objects"] > 1 else ""
    return f"{row['dataset']}/{row['object']}{others}"


def _rows(context: Context, states: list[str]) -> list[dict[str, Any]]:
    import sqlalchemy as sa

    query = sa.text("SELECT * FROM v_restores WHERE state IN :states ORDER BY dataset, object, restore").bindparams(
        sa.bindparam("states", states, expanding=True)
    )
    with context.catalog.read() as conn:
        rows = conn.execute(query).mappings()
        return [{name: plain(value) for name, value in row.items()} for row in rows]
