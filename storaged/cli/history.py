"""policy history: what policies said when, and what ran by it."""

from __future__ import annotations

import dataclasses
import difflib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from storaged.cli.options import JsonOption, of
from storaged.cli.render import Output, Verbatim, at, printable, size, when
from storaged.cli.table import Table
from storaged.errors import UsageError

if TYPE_CHECKING:
    from storaged.work.plan.policies import PolicyChange, PolicyRun


def history(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A policy. Left out: changes of all.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many, newest first.")] = 20,
    _json: JsonOption = False,
) -> None:
    """Show how policies changed; of one policy, each change as a diff and what ran by it.

    The daemon notes every text that it loads, and `storagectl apply` those that it finds.

    Example: storagectl policy history cool-idle-logs
    """
    from storaged.cli.context import opened
    from storaged.config.messages import did_you_mean
    from storaged.work.plan.policies import changes_of, runs_of

    with opened(of(ctx)) as context:
        changes = changes_of(context, name)
        if name is not None and not changes:
            known = sorted({c.name for c in changes_of(context)})
            raise UsageError(f"no policy {name!r} ever ran here", hint=did_you_mean(name, known))
        runs = runs_of(context, name, limit=limit) if name is not None else []
    before = _befores(changes)
    out = Output(of(ctx))
    shown = changes[:limit]
    facts: dict[str, Any] = {
        "changes": [_facts(c, before[n]) for n, c in enumerate(shown)],
        "runs": [_run_facts(r) for r in runs],
    }
    if name is None:
        out.show(facts, _table(shown, before))
    else:
        out.show(facts, *_story(shown, before, runs))


def _befores(changes: list[PolicyChange]) -> list[str | None]:
    """The text that each change replaced; None: there was none. `changes` are newest first."""
    found: list[str | None] = []
    for n, change in enumerate(changes):
        older = next((c for c in changes[n + 1 :] if c.name == change.name), None)
        found.append(older.body if older is not None else None)
    return found


def _what(change: PolicyChange, before: str | None) -> str:
    if not change.body:
        return "removed"
    return "changed" if before else "new"


def _diff(change: PolicyChange, before: str | None) -> list[str]:
    lines = difflib.unified_diff((before or "").splitlines(), change.body.splitlines(), lineterm="", n=2)
    return [line for line in lines if not line.startswith(("---", "+++"))]


def _facts(change: PolicyChange, before: str | None) -> dict[str, Any]:
    return {
        "policy": change.name,
        "at": when(change.loaded_us),
        "what": _what(change, before),
        "file": change.file,
        "sha256": change.digest,
        "text": change.body,
        "diff": _diff(change, before),
    }


def _run_facts(run: PolicyRun) -> dict[str, Any]:
    told = dataclasses.asdict(run)
    told["made_at"] = when(told.pop("made_us"))
    return told


def _table(changes: list[PolicyChange], before: list[str | None]) -> Table:
    rows = []
    for n, c in enumerate(changes):
        diff = _diff(c, before[n])
        added, gone = (sum(line.startswith(sign) for line in diff) for sign in "+-")
        rows.append((at(c.loaded_us), c.name, _what(c, before[n]), f"+{added} -{gone}", c.file))
    return Table(("when", "policy", "what", "lines", "file"), rows, paths=frozenset({"file"}))


def _story(changes: list[PolicyChange], before: list[str | None], runs: list[PolicyRun]) -> list[str | Table]:
    """Changes with their diffs, each after the plans that were made by it: newest first."""
    blocks: list[str | Table] = []
    left = list(runs)
    for n, change in enumerate(changes):
        mine = [r for r in left if r.made_us >= change.loaded_us]
        left = [r for r in left if r.made_us < change.loaded_us]
        if mine:
            blocks += [_runs(mine), ""]
        blocks.append(f"{when(change.loaded_us)}  {_what(change, before[n])}  {printable(change.file)}")
        blocks += [Verbatim(f"  {printable(line)}") for line in _diff(change, before[n])]
        blocks.append("")
    if left:
        blocks.append(_runs(left))
    return blocks[:-1] if blocks and blocks[-1] == "" else blocks


def _runs(runs: list[PolicyRun]) -> Table:
    packs = ("packs",) if any(r.packs for r in runs) else ()
    rows: list[tuple[str | int | None, ...]] = [
        (
            r.plan,
            at(r.made_us),
            r.state,
            *((r.packs,) if packs else ()),
            r.done,
            r.failed,
            r.skipped,
            r.pending,
            size(r.before_bytes),
            size(r.after_bytes),
        )
        for r in runs
    ]
    columns = ("plan", "made", "state", *packs, "done", "failed", "skipped", "waiting", "before", "after")
    return Table(columns, rows, frozenset({"before", "after"}))
