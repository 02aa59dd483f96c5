"""Jobs that run in this process: worked off with a progress bar, then summed up from what the catalog says of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from storaged.cli.options import Options
from storaged.cli.progress import progress
from storaged.cli.render import Output, count, size
from storaged.cli.table import Table
from storaged.errors import JobsFailed

if TYPE_CHECKING:
    from storaged.catalog.items import Item
    from storaged.catalog.queue import ClaimedJob
    from storaged.work.context import Context
    from storaged.work.rewrite.enqueue import Enqueued
    from storaged.work.rewrite.jobs import JobsSummary
    from storaged.work.rewrite.worker import Report

SHOWN: Final = 20  # objects with reasons in text; JSON has them all
ALIKE: Final = 3  # objects of which the same is said, each by itself; of more the first stands for all


def run_jobs(
    context: Context,
    options: Options,
    jobs: Sequence[int] | None,
    *,
    objects: int | None = None,
    on_job: Callable[[ClaimedJob], bool] = lambda _claimed: True,
) -> JobsSummary:
    """Run these jobs (None: all) until none is due. `on_job` is told of each that ended; False ends the run."""
    from storaged.daemon.memory import free_at_once
    from storaged.work.rewrite.jobs import what_ran
    from storaged.work.rewrite.trouble import look_again
    from storaged.work.rewrite.worker import Worker

    done = nbytes = 0
    free_at_once()
    deque(look_again(context), maxlen=0)  # where no daemon runs, nobody else does
    with progress(options, "rewrite", total=objects) as bar, Worker(context) as worker:

        def item(item: Item, _note: str) -> None:
            nonlocal done, nbytes
            done, nbytes = done + 1, nbytes + item.seen.placement.size
            bar(done, objects, nbytes)

        def job(claimed: ClaimedJob, _report: Report) -> bool:
            return on_job(claimed)

        report = worker.run(only=jobs, on_item=item, on_job=job)
    return what_ran(
        context.catalog,
        report.jobs if jobs is None else jobs,
        now_us=context.now_us(),
        lease_us=context.settings.workers.lease,
    )


def show_ran(
    out: Output,
    ran: JobsSummary,
    *,
    facts: dict[str, Any] | None = None,
    left_out: Iterable[tuple[str, str]] = (),
    also: str = "",
    not_due: Mapping[int, str] | None = None,
) -> None:
    """Show what became of jobs, after the words `also`, and why others are not run now (`not_due`, by number). Raises
    JobsFailed if an object failed, waits or was left."""
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
    rows = told_once([*ran.notes, *((name, "left out", why) for name, why in left)])
    blocks: list[str | Table] = [words]
    if rows:
        blocks.append(Table(("object", "state", "why"), rows[:SHOWN], paths=frozenset({"object"}), prose="why"))
    if len(rows) > SHOWN:
        blocks.append(f"and {len(rows) - SHOWN:,} more: `storagectl job show` lists them, or --json")
    if not_due is not None:
        told["not_due"] = [{"job": number, "reason": why} for number, why in not_due.items()]
    if not_due:
        blocks.append(
            Table(("job", "why it is not run now"), list(not_due.items())[:SHOWN], prose="why it is not run now")
        )
    out.show(told, *blocks)
    if ran.of("failed") or ran.of("pending"):
        hint = _leads_on(ran)
        raise JobsFailed(f"{count(ran.of('failed') + ran.of('pending'), 'object')} could not be done", hint=hint)
    if left:
        raise JobsFailed(f"{count(len(left), 'object')} left as they were", hint=left[0][1])


def _leads_on(ran: JobsSummary) -> str:
    """The commands that deal with what failed and what waits."""
    job = " ".join(map(str, ran.jobs)) if len(ran.jobs) == 1 else "JOB"
    failed = f"`storagectl job retry {job}` tries what failed again" if ran.of("failed") else ""
    waits = "`storagectl work` runs what waits, when its time has come" if ran.of("pending") else ""
    why = next((f"job {number}: {said}" for number, said in ran.waits.items()), "")
    return "; ".join(filter(None, (why, "`storagectl jobs` shows them", waits, failed)))


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
    out.show(told, words, *left_table(made.left_out))


def told_once(rows: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Rows of a name and what is said of it, in their order of what was said first: of many of which the same is said
    the first, and how many others there are."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, *reason in rows:
        alike.setdefault(tuple(reason), []).append(name)
    found: list[tuple[str, ...]] = []
    for said, names in alike.items():
        told = names if len(names) <= ALIKE else [names[0], f"and {len(names) - 1:,} others"]
        found += [
            (name, *said[:-1], "the same" if told is not names and n else said[-1]) for n, name in enumerate(told)
        ]
    return found


def left_table(left: Sequence[tuple[str, str]]) -> list[Table]:
    """What was left out, or would be, and why; nothing where nothing was."""
    if not left:
        return []
    return [Table(("left out", "why"), told_once(left)[:SHOWN], paths=frozenset({"left out"}), prose="why")]


_WORDS: Final = (("skipped", "skipped"), ("failed", "failed"), ("pending", "waiting for another try"))
