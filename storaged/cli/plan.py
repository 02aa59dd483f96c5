"""plan: what the policies want now, as a list that can be looked at before anything is done."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storaged.cli.options import JsonOption, PolicyOption, of
from storaged.cli.policy import load_and_warn
from storaged.cli.render import Output, at, count, printable, size, when
from storaged.cli.table import Table
from storaged.clock import SECOND
from storaged.errors import NotEmpty

if TYPE_CHECKING:
    from storaged.decide.policy import LoadedPolicy
    from storaged.work.plan.make import Plan, PlanRow

PlanArgument = Annotated[int, typer.Argument(metavar="PLAN", help="Its number.", min=1)]


def plan(
    ctx: typer.Context,
    policy: PolicyOption = None,
    active: Annotated[bool, typer.Option("--active", help="Only the policies whose mode is active.")] = False,
    sample: Annotated[
        bool,
        typer.Option("--sample/--no-sample", help="Read a few objects of each kind to tell how they would shrink."),
    ] = True,
    why: Annotated[
        bool,
        typer.Option("--why", help="Say why policies select no more; of those that select nothing it is said anyway."),
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 4 if there is something to do.")] = False,
    _json: JsonOption = False,
) -> None:
    """Decide what to do, and save it as a plan. Nothing else is changed; `storagectl apply PLAN` does it.

    Example: storagectl plan --policy cool-idle-logs
    """
    if ctx.invoked_subcommand is not None:
        return
    from storaged.cli.context import opened
    from storaged.work.plan.configured import take_in
    from storaged.work.plan.funnel import Counting
    from storaged.work.plan.make import make_plan, unscanned
    from storaged.work.plan.policies import record
    from storaged.work.plan.sample import remember, sample_auto, sample_kinds

    out = Output(of(ctx))
    with opened(of(ctx)) as context:
        policies = load_and_warn(out, context.settings)
        take_in(context)
        record(context, policies)  # before the plan is dated: it was made by these texts
        told = (sample_kinds if sample else sample_auto)(context, policies)
        remember(context, told)
        made = make_plan(
            context.catalog,
            context.settings,
            policies,
            context.clock,
            only=_chosen(policies, policy, active),
            ratios=told.ratios,
            not_taken=told.not_taken,
            choices=told.choices,
            why=Counting.ALWAYS if why else Counting.IF_NOTHING,
        )
        for name in unscanned(context.catalog, context.settings, policies):
            out.warn(f"{name} was never scanned, so no plan knows its objects; run `storagectl scan {name}`")
    out.show(facts(made), *_text(made))
    if check and made.summary.actions:
        raise NotEmpty(f"plan {made.id} has {count(made.summary.actions, 'action')}")


def _chosen(policies: Iterable[LoadedPolicy], named: list[str] | None, active: bool) -> list[str] | None:
    """The names of the policies that a plan is for; None: of all."""
    if not active:
        return named or None
    return [p.name for p in policies if p.policy.mode.value == "active" and (not named or p.name in named)]


def list_(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many, newest first.")] = 50,
    _json: JsonOption = False,
) -> None:
    """List the saved plans, newest first.

    Example: storagectl plan list
    """
    from storaged.cli.context import opened
    from storaged.work.plan.make import list_plans

    with opened(of(ctx)) as context:
        found = list_plans(context.catalog, limit=limit)
    rows = []
    for p in found:
        now, after = sums(p)
        rows.append((p.id, p.state, at(p.made_us), p.summary.actions, size(now), size(after), ", ".join(p.policies)))
    columns = ("plan", "state", "made", "objects", "now", "after", "policies")
    table = Table(columns, rows, frozenset({"now", "after"}), prose="policies")
    Output(of(ctx)).show({"plans": [facts(p) for p in found]}, table)


def show(
    ctx: typer.Context,
    number: PlanArgument,
    held: Annotated[bool, typer.Option("--held", help="List what is held back instead of the actions.")] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=0, help="List so many objects; 0: all.")] = 20,
    _json: JsonOption = False,
) -> None:
    """Show a plan and its objects, each with its reason.

    Example: storagectl plan show 7 --held
    """
    from storaged.cli.context import opened
    from storaged.work.plan.make import load_plan, plan_rows

    with opened(of(ctx)) as context:
        found = load_plan(context.catalog, number)
        rows = list(islice(plan_rows(context.catalog, number, held=held), limit or None))
    priced = any(r.spend is not None for r in rows)
    money = ("once", "a month") if priced else ()
    table = Table(
        ("object", "policy", "now", "after", *money, "to", "held back by" if held else "why"),
        [
            (
                f"{r.dataset}/{r.name}",
                r.policy,
                size(r.stored_bytes),
                size(r.after_bytes),
                *(_money(r) if priced else ()),
                _to(r),
                _held_by(r) if held else r.reason,
            )
            for r in rows
        ],
        frozenset({"now", "after", *money}),
        paths=frozenset({"object"}),
        details=frozenset({"policy", "after"}),
        prose="held back by" if held else "why",
    )
    told = {**facts(found), "objects": [_row(r) for r in rows]}
    objects: list[str | Table] = ["", table] if rows else []
    Output(of(ctx)).show(told, *_text(found), *objects)


def discard(ctx: typer.Context, number: PlanArgument, _json: JsonOption = False) -> None:
    """Forget a saved plan.

    Example: storagectl plan discard 7
    """
    from storaged.cli.context import opened
    from storaged.work.plan.make import discard_plan

    with opened(of(ctx)) as context:
        discard_plan(context.catalog, number)
    Output(of(ctx)).show({"plan": number, "state": "discarded"}, f"plan {number} is discarded")


def sums(found: Plan) -> tuple[int, int]:
    """Stored bytes of a plan's actions now and as expected."""
    parts = [p.actions for p in found.summary.policies]
    return sum(a.bytes_now for a in parts), sum(a.bytes_after for a in parts)


def facts(found: Plan) -> dict[str, Any]:
    now, after = sums(found)
    told = json.loads(found.summary.to_json())
    for part, known in zip(told["policies"], found.summary.policies, strict=True):
        part["money"] = known.money.as_json() if known.money else None
        for name in ("held_money", "packed"):
            part[name] = {held: money.as_json() for held, money in getattr(known, name).items()}
    money = found.summary.money
    return {
        "plan": found.id,
        "state": found.state,
        "hash": found.hash,
        "made_at": when(found.made_us),
        "actions": found.summary.actions,
        "bytes_now": now,
        "bytes_after": after,
        "money": money.as_json() if money else None,
        **told,
    }


def _to(row: PlanRow) -> str:
    """Where an object goes."""
    if row.in_place:
        return f"{row.tier} in place"
    anew = ", encoded anew" if row.reencode else ""
    kept = f" (table{anew})" if row.fidelity == "table" else ""
    return f"{row.tier} as {row.codec}{kept}" + ("" if row.pack is None else f" {row.pack}")


def _held_by(row: PlanRow) -> str:
    """What holds an object back, and until when where its reason tells."""
    until = row.reason.rpartition("; ")[2] if row.held in ("rest", "quiet", "locked") else ""
    return f"{row.held}: {until}" if " until " in until else str(row.held)


def _money(row: PlanRow) -> tuple[str, str]:
    """What an object costs once, and by how much its month gets dearer (below 0: cheaper)."""
    from storaged.prices.amount import PICODOLLAR, usd

    if row.spend is None or row.saving is None:
        return "no prices", "-"
    return usd(row.spend * PICODOLLAR), usd(-row.saving * PICODOLLAR)


def _row(row: PlanRow) -> dict[str, Any]:
    """An object of a plan for JSON: USD as decimal strings."""
    from storaged.prices.amount import PICODOLLAR, plain

    told = dataclasses.asdict(row)
    for name in ("spend", "saving"):
        told[name] = None if told[name] is None else plain(told[name] * PICODOLLAR)
    told["grace_seconds"] = told.pop("grace_us") / SECOND
    return told


def _text(found: Plan) -> Iterator[str]:
    from storaged.decide.summary import money_words

    yield f"plan {found.id} ({found.state}), made {when(found.made_us)}, {found.hash[:16]}"
    if not found.summary.policies:
        yield "there are no policies"
    for line in found.summary.lines():
        yield printable(line)
    now, after = sums(found)
    yield f"in all: {count(found.summary.actions, 'object')}, {size(now)} now, {size(after)} after"
    if found.summary.money is not None and len(found.summary.policies) > 1:
        yield f"in all: {money_words(found.summary.money)}"
    if found.state == "saved" and found.summary.actions:
        yield f"`storagectl apply {found.id}` does it"
