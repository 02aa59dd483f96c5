"""Jobs that run in this process: worked off with a progress bar, then summed up from what the catalog says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from storaged.cli.options import Options
from storaged.cli.progress import progress
from storaged.cli.render import Output, Table, count, size
from storaged.errors import JobsFailed

if TYPE_CHECKING:
    from storaged.catalog.queue import Claimed, Item
    from storaged.work.context import Context
    from storaged.work.returns import Enqueued
    from storaged.work.worker import Report

SHOWN: Final = 20  # objects with reasons in text; JSON has them all


@dataclass(slots=True)
class Ran:
    """What became of the objects of some jobs. Bytes are stored bytes of those that are done."""

    jobs: list[int]
    states: dict[str, int] = field(default_factory=dict)
    before_bytes: int = 0
    after_bytes: int = 0
    notes: list[tuple[str, str, str]] = field(default_factory=list)  # (object, state, why)

    def of(self, state: str) -> int:
        """How many objects are in this state."""
        return self.states.get(state, 0)


def run_jobs(
    context: Context,
    options: Options,
    jobs: Sequence[int] | None,
    *,
    objects: int | None = None,
    on_job: Callable[[Claimed], bool] = lambda _claimed: True,
) -> Ran:
    """Run these jobs (None: all) until none is due. `on_job` is told of each that ended; False ends the run."""
    from storaged.work.memory import free_at_once
    from storaged.work.worker import Worker

    done = nbytes = 0
    free_at_once()
    with progress(options, "rewrite", total=objects) as bar, Worker(context) as worker:

        def item(item: Item, _note: str) -> None:
            nonlocal done, nbytes
            done, nbytes = done + 1, nbytes + item.held.placement.size
            bar(done, objects, nbytes)

        def job(claimed: Claimed, _report: Report) -> bool:
            return on_job(claimed)

        report = worker.run(only=jobs, on_item=item, on_job=job)
    return look(context, list(report.jobs) if jobs is None else list(jobs))


def look(context: Context, jobs: Sequence[int]) -> Ran:
    """What the catalog says of these jobs now."""
    import sqlalchemy as sa

    from storaged.catalog.schema import datasets, job_items, objects

    ran = Ran(list(jobs))
    mine = job_items.c.job_id.in_(ran.jobs)
    totals = sa.select(
        job_items.c.state,
        sa.func.count(),
        sa.func.coalesce(sa.func.sum(job_items.c.before_bytes), 0),
        sa.func.coalesce(sa.func.sum(job_items.c.after_bytes), 0),
    )
    notes = (
        sa.select(datasets.c.name, objects.c.name.label("object"), job_items.c.state, job_items.c.note)
        .select_from(job_items)
        .join(objects, objects.c.id == job_items.c.object_id)
        .join(datasets, datasets.c.id == objects.c.dataset_id)
        .where(mine, job_items.c.note.is_not(None))
        .order_by(datasets.c.name, objects.c.name)
    )
    with context.catalog.read() as conn:
        for state, number, before, after in conn.execute(totals.where(mine).group_by(job_items.c.state)):
            ran.states[state] = number
            if state == "done":
                ran.before_bytes, ran.after_bytes = int(before), int(after)
        ran.notes = [(f"{r.name}/{r.object}", r.state, r.note) for r in conn.execute(notes)]
    return ran


def show_ran(
    out: Output,
    ran: Ran,
    *,
    facts: dict[str, Any] | None = None,
    left_out: Iterable[tuple[str, str]] = (),
    also: str = "",
) -> None:
    """Show what became of jobs, after the words `also`. Raises JobsFailed if an object failed, waits or was left."""
    left = list(left_out)
    told: dict[str, Any] = {
        **(facts or {}),
        "jobs": ran.jobs,
        "done": ran.of("done"),
        "skipped": ran.of("skipped"),
        "failed": ran.of("failed"),
        "waiting": ran.of("pending"),
        "before_bytes": ran.before_bytes,
        "after_bytes": ran.after_bytes,
        "notes": [{"object": name, "state": state, "reason": why} for name, state, why in ran.notes],
        "left_out": [{"object": name, "reason": why} for name, why in left],
    }
    words = f"{also}{count(ran.of('done'), 'object')} done"
    if ran.of("done"):
        words += f", {size(ran.before_bytes)} became {size(ran.after_bytes)}"
    words += "".join(f", {ran.of(s)} {w}" for s, w in _WORDS if ran.of(s)) + (f", {len(left)} left out" if left else "")
    rows = [*ran.notes, *((name, "left out", why) for name, why in left)]
    blocks: list[str | Table] = [words]
    if rows:
        blocks.append(Table(("object", "state", "why"), rows[:SHOWN], paths=frozenset({"object"}), prose="why"))
    if len(rows) > SHOWN:
        blocks.append(f"and {len(rows) - SHOWN:,} more: `storagectl job show` lists them, or --json")
    out.show(told, *blocks)
    if ran.of("failed") or ran.of("pending"):
        hint = "`storagectl jobs` shows them; `storagectl work` runs what waits, `storagectl job retry` what failed"
        raise JobsFailed(f"{count(ran.of('failed') + ran.of('pending'), 'object')} could not be done", hint=hint)
    if left:
        raise JobsFailed(f"{count(len(left), 'object')} left as they were", hint=left[0][1])


def show_queued(out: Output, made: Enqueued, facts: dict[str, Any] | None = None) -> None:
    """Show jobs that were only queued."""
    told = {
        **(facts or {}),
        "jobs": made.jobs,
        "objects": made.objects,
        "bytes": made.bytes,
        "left_out": [{"object": name, "reason": why} for name, why in made.left_out],
    }
    words = f"queued {count(made.objects, 'object')}, {size(made.bytes)}, in {count(len(made.jobs), 'job')}"
    blocks: list[str | Table] = [words]
    if made.left_out:
        blocks.append(Table(("left out", "why"), made.left_out[:SHOWN], paths=frozenset({"left out"}), prose="why"))
    out.show(told, *blocks)


_WORDS: Final = (("skipped", "skipped"), ("failed", "failed"), ("pending", "waiting for another try"))
