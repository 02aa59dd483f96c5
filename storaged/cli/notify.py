"""notify: what receivers were told, and a message to try whether they can be."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from storaged.cli.options import JsonOption, of
from storaged.cli.render import Output, at, when
from storaged.cli.table import Table
from storaged.errors import StoragedError, UsageError


def list_(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many, newest first.")] = 20,
    _json: JsonOption = False,
) -> None:
    """List what people were told of, and which receivers took it.

    Example: storagectl notify list
    """
    from storaged.catalog.notices import newest
    from storaged.cli.context import opened

    with opened(of(ctx)) as context, context.catalog.read() as conn:
        found = newest(conn, limit)
    facts = [
        {
            "id": told.id,
            "kind": told.notice.kind,
            "about": told.notice.about,
            "subject": told.notice.subject,
            "text": told.notice.text,
            "since": when(told.since_us),
            "over": when(told.over_us) if told.over_us else None,
            "receivers": [
                {"receiver": name, "state": state, "tries": tries, "error": error}
                for name, state, tries, error in told.ways
            ],
        }
        for told in found
    ]
    rows = [
        (
            told.id,
            told.notice.subject,
            at(told.since_us),
            at(told.over_us),
            ", ".join(f"{name}: {state}{f' ({error})' if error else ''}" for name, state, _, error in told.ways),
        )
        for told in found
    ]
    table = Table(("notice", "what", "since", "over", "receivers"), rows, prose="receivers")
    Output(of(ctx)).show({"notices": facts}, table if rows else "nobody was told of anything yet")


def try_(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A receiver of `notify`. Left out: all.", show_default=False)
    ] = None,
    _json: JsonOption = False,
) -> None:
    """Send a message at once, to see whether receivers take it. Exits with 1 if one does not.

    Example: storagectl notify test ops
    """
    from storaged.catalog.notices import Delivery, Notice
    from storaged.cli.context import load
    from storaged.clock import SystemClock
    from storaged.config.messages import did_you_mean
    from storaged.daemon.receivers import send

    settings = load(of(ctx))
    names = [receiver.name for receiver in settings.notify]
    if not names:
        raise UsageError("there is no receiver", hint="write `notify:` into storaged.yaml")
    if name is not None and name not in names:
        raise UsageError(f"there is no receiver {name!r}", hint=did_you_mean(name, names))
    now_us = SystemClock().now_us()
    notice = Notice("test", "test", "a test", "Somebody asked whether this arrives. Nothing is wrong.")
    told = {
        receiver.name: send(receiver, Delivery(0, receiver.name, 1, notice, now_us, None), os.environ, now_us)
        for receiver in settings.notify
        if name in (None, receiver.name)
    }
    rows = [(receiver, error or "delivered") for receiver, error in told.items()]
    facts = {"receivers": [{"receiver": receiver, "error": error} for receiver, error in told.items()]}
    Output(of(ctx)).show(facts, Table(("receiver", "what came of it"), rows, prose="what came of it"))
    if failed := [receiver for receiver, error in told.items() if error is not None]:
        raise StoragedError(f"not delivered: {', '.join(failed)}")
