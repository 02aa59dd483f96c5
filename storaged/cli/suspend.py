"""suspend, resume: stop what touches a policy, a tier or a dataset, and let it go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from storaged.cli.options import JsonOption, of
from storaged.cli.render import Output, at
from storaged.errors import UsageError

if TYPE_CHECKING:
    from storaged.catalog.suspensions import Kind
    from storaged.config.settings import Settings

_WhatArgument = Annotated[
    str, typer.Argument(metavar="KIND:NAME", help="policy:NAME, tier:NAME or dataset:NAME.", show_default=False)
]


def suspend(
    ctx: typer.Context,
    what: _WhatArgument,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; shown wherever it matters.")
    ] = "by hand",
    _json: JsonOption = False,
) -> None:
    """Stop what touches a policy, tier or dataset. Its jobs wait in the queue; a job that runs comes to its end.

    Example: storagectl suspend tier:cold --reason "the array is rebuilt"
    """
    from storaged.cli.context import opened
    from storaged.work import suspension

    with opened(of(ctx)) as context:
        kind, name = _what(what, context.settings)
        made = suspension.suspend(context, kind, name, reason)
    Output(of(ctx)).show({"kind": kind, "name": name, "reason": reason}, f"{made} is suspended: {reason}")


def resume(ctx: typer.Context, what: _WhatArgument, _json: JsonOption = False) -> None:
    """Let a policy, tier or dataset go on that was suspended. `storagectl status` shows them.

    Example: storagectl resume policy:cold-after-a-month
    """
    from storaged.catalog.suspensions import suspended
    from storaged.cli.context import opened
    from storaged.work import suspension

    with opened(of(ctx)) as context:
        kind, name = _what(what, None)
        if not suspension.resume(context, kind, name):
            with context.catalog.read() as conn:
                others = ", ".join(map(str, suspended(conn)))
            raise UsageError(f"{kind}:{name} is not suspended", hint=f"suspended now: {others or 'nothing'}")
    Output(of(ctx)).show({"kind": kind, "name": name}, f"{kind}:{name} goes on")


def suspensions(ctx: typer.Context, _json: JsonOption = False) -> None:
    """List what is suspended, since when and why.

    Example: storagectl suspensions
    """
    from storaged.cli import live
    from storaged.cli.context import opened
    from storaged.work.show.live import live as look

    with opened(of(ctx)) as context:
        found = look(context)
    table = live.suspension_table(found, lambda us: "" if us is None else at(us))
    told = {"suspensions": live.facts(found)["suspensions"]}
    Output(of(ctx)).show(told, table if found.suspensions else "nothing is suspended")


def _what(text: str, settings: Settings | None) -> tuple[Kind, str]:
    """Kind and name, checked against the configuration where one is given."""
    from storaged.config.messages import did_you_mean
    from storaged.decide.load import load_policies

    kind, _, name = text.partition(":")
    if kind not in ("policy", "tier", "dataset") or not name:
        raise UsageError(f"{text!r} names nothing", hint="write policy:NAME, tier:NAME or dataset:NAME")
    if settings is not None:
        known = {
            "policy": lambda: [p.name for p in load_policies(settings.policies, settings)],
            "tier": lambda: list(settings.tiers),
            "dataset": lambda: list(settings.datasets),
        }[kind]()
        if name not in known:
            raise UsageError(f"there is no {kind} {name!r}", hint=did_you_mean(name, known))
    return cast("Kind", kind), name
