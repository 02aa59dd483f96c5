"""savings: what applied plans were expected to come to, and what came true."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storaged.cli.options import JsonOption, of
from storaged.cli.render import Output, count, pairs, when
from storaged.cli.table import Table
from storaged.errors import UsageError

if TYPE_CHECKING:
    from decimal import Decimal

    from storaged.work.money.savings import AppliedPart
    from storaged.work.money.spending import Spent

_COLUMNS = ("plan", "policy", "applied", "cost once", "saves a month", "saved so far")
_MONEY = frozenset(_COLUMNS[3:])


def savings(
    ctx: typer.Context,
    plan: Annotated[
        int | None, typer.Option("--plan", metavar="PLAN", help="Only this plan.", show_default=False)
    ] = None,
    month: Annotated[
        str | None,
        typer.Option(
            "--month", metavar="YYYY-MM", help="Only what was applied in this calendar month, UTC.", show_default=False
        ),
    ] = None,
    _json: JsonOption = False,
) -> None:
    """Show what applied plans really cost and save, beside what was expected of them, and by how much that was off.

    What they cost once is what was charged: every try, less what was paid back. What they save per month goes by what
    is stored now and by the reads that the access logs tell of since the move. Objects that are no longer where the
    plan put them stop counting.

    Example: storagectl savings --month 2026-11
    """
    from storaged.cli.context import opened
    from storaged.cli.cost import unverified
    from storaged.prices.amount import usd
    from storaged.work.money.savings import savings
    from storaged.work.money.spending import spent

    if month is not None and not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", month):
        raise UsageError(f"{month!r} is no month", hint="write year and month, such as 2026-11")
    with opened(of(ctx)) as context:
        parts = savings(context, plan=plan, month=month)
        charged = spent(context, month)
        doubted = {} if not parts else unverified(context.settings)
    out = Output(of(ctx))
    facts = {"plans": [_facts(p) for p in parts], "spent": _spent_facts(charged), "unverified": doubted}
    if not parts:
        out.show(facts, "no plan was applied yet" if month is None else f"no plan was applied in {month}")
        return
    rows = [row for p in parts for row in _rows(p)]
    limit = "" if charged.limit is None else f" of {usd(charged.limit)}"
    words = f"charged to {charged.month}: {usd(charged.total)}{limit}"
    own = ", ".join(f"{name} {usd(amount)}" for name, amount in charged.policies.items())
    blocks: list[str | Table] = [Table(_COLUMNS, rows, _MONEY), "", *_totals(parts)]
    out.show(facts, *blocks, f"{words} ({own})" if own else words, *_notes(parts, doubted))


def _rows(p: AppliedPart) -> list[tuple[str | int, ...]]:
    """What came true; below it what was expected, and by how much that was off."""
    from storaged.prices.amount import usd

    o, e = p.outcome, p.expected
    day, moved = when(p.applied_us)[:10], f"{o.here:,} of {p.objects:,} moved"
    if not p.priced or e is None:
        return [(p.plan, p.policy, day, "no prices", "no prices", ""), ("", moved, "", "", "", "")]
    once = "" if p.one_time_error is None else usd(p.one_time_error)
    off = "" if p.error is None else usd(p.error)
    share = "" if p.error_share is None else f"{p.error_share:+.1%}"
    return [
        (p.plan, p.policy, day, usd(o.one_time), usd(o.saving), usd(o.saved)),
        ("", moved, "expected", usd(e.one_time.total), usd(e.saving), "paid back" if p.paid_back else "not paid back"),
        ("", "", "off by", once, off, share),
    ]


def _totals(parts: list[AppliedPart]) -> list[Table]:
    """Of all parts that have prices, where there are several."""
    from storaged.prices.amount import ZERO, usd

    priced = [p for p in parts if p.priced]
    if len(priced) < 2:
        return []
    once, saving, saved = (
        sum((getattr(p.outcome, name) for p in priced), ZERO) for name in ("one_time", "saving", "saved")
    )
    return [pairs([("cost once", usd(once)), ("saves a month", usd(saving)), ("saved so far", usd(saved))])]


def _notes(parts: list[AppliedPart], doubted: dict[str, list[str]]) -> list[str]:
    from storaged.prices.book import DAYS_PER_MONTH

    found = [f"USD; a month has {DAYS_PER_MONTH} days, a GB of the shipped price books 2^30 bytes"]
    waiting = sum(p.outcome.waiting for p in parts)
    unread = sum(p.outcome.unread for p in parts)
    unpriced = sum(p.outcome.unpriced for p in parts)
    if waiting:
        found.append(f"{count(waiting, 'object')} still to be moved, and charged already")
    if unread:
        found.append(f"{count(unread, 'object')} without reads: no log covers a whole day since the move")
    if unpriced:
        found.append(f"no prices: {count(unpriced, 'object')}; say `prices:` of every tier in storaged.yaml")
    if any(p.closed_us for p in parts):
        found.append("parts older than `daemon.retention.ledger` stand as they stood when their objects were forgotten")
    return found + [f"unverified (?) in {prices}: {', '.join(figures)}" for prices, figures in doubted.items()]


def _facts(p: AppliedPart) -> dict[str, Any]:
    from storaged.prices.amount import plain

    o, e = p.outcome, p.expected

    def told(value: Decimal | None) -> str | None:
        return None if value is None or not p.priced else plain(value)

    return {
        "plan": p.plan,
        "policy": p.policy,
        "applied": when(p.applied_us),
        "month": p.month,
        "objects": p.objects,
        "done": o.done,
        "in_place": o.here,
        "waiting": o.waiting,
        "unpriced": o.unpriced,
        "reads_unknown": o.unread,
        "expected": None
        if e is None
        else {
            "one_time": e.one_time.as_json(),
            "monthly_before": e.before.as_json(),
            "monthly_after": e.after.as_json(),
            "monthly_saving": plain(e.saving),
            "unpriced": e.unpriced,
            "reads_unknown": e.unread,
        },
        "actual": {
            "one_time": told(o.one_time),
            "charged": {kind: plain(amount) for kind, amount in o.charged.items()},
            "monthly_before": o.before.as_json() if p.priced else None,
            "monthly_after": o.after.as_json() if p.priced else None,
            "monthly_saving": told(o.saving),
            "saved": told(o.saved),
        },
        "error": {
            "one_time": told(p.one_time_error),
            "monthly_saving": told(p.error),
            "monthly_saving_percent": None if p.error_share is None else plain(round(p.error_share * 100, 3)),
        },
        "paid_back": p.paid_back if p.priced else None,
        "closed": None if p.closed_us is None else when(p.closed_us),
    }


def _spent_facts(charged: Spent) -> dict[str, Any]:
    from storaged.prices.amount import plain

    return {
        "month": charged.month,
        "total": plain(charged.total),
        "limit": None if charged.limit is None else plain(charged.limit),
        "policies": {name: plain(amount) for name, amount in charged.policies.items()},
    }
