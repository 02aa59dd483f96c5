"""jobs and job: what is queued, runs, or is over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from storaged.cli.options import JsonOption, Options, of
from storaged.cli.render import Output, count, moment, pairs, plain, size
from storaged.cli.table import Table
from storaged.clock import SECOND
from storaged.errors import UsageError

JobArgument = Annotated[int, typer.Argument(metavar="JOB", help="Its number.", min=1)]


def jobs(
    ctx: typer.Context,
    state: Annotated[
        list[str] | None,
        typer.Option(
            "--state",
            metavar="STATE",
            help="queued, running, done, failed or cancelled; may be repeated. Left out: all.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many, newest first.")] = 50,
    _json: JsonOption = False,
) -> None:
    """List jobs, newest first.

    Example: storagectl jobs --state failed
    """
    from storaged.cli.context import opened
    from storaged.model import JobState
    from storaged.work.rewrite.jobs import list_jobs

    states = [s.value for s in JobState]
    for wanted in state or ():
        if wanted not in states:
            raise UsageError(f"there is no state {wanted!r}", hint=f"one of: {', '.join(states)}")
    with opened(of(ctx)) as context:
        found = [_plain(row) for row in list_jobs(context.catalog, state or states, limit=limit)]
    rows = [
        (
            j["job"], j["kind"], j["dataset"], j["state"], j["objects"], j["done"], j["skipped"], j["failed"],
            size(j["size"]), moment(j["created_at"]), j["reason"],
        )
        for j in found
    ]  # fmt: skip
    columns = ("job", "kind", "dataset", "state", "objects", "done", "skipped", "failed", "size", "queued", "why")
    Output(of(ctx)).show({"jobs": found}, Table(columns, rows, frozenset({"size"}), prose="why"))


def show(
    ctx: typer.Context,
    number: JobArgument,
    timings: Annotated[
        bool, typer.Option("--timings", help="Show where the time of its last try went, instead of its objects.")
    ] = False,
    _json: JsonOption = False,
) -> None:
    """Show one job and what became of each of its objects.

    Example: storagectl job show 12
    """
    from storaged.cli.context import opened
    from storaged.work.rewrite.jobs import items_of, load_job, timings_of

    with opened(of(ctx)) as context:
        job = _plain(load_job(context.catalog, number))
        if timings:
            _show_timings(of(ctx), number, timings_of(context.catalog, number))
            return
        found = items_of(context.catalog, number)
    rows = [(i["name"], i["state"], size(i["before_bytes"]), size(i["after_bytes"]), i["note"]) for i in found]
    table = Table(
        ("object", "state", "before", "after", "why"),
        rows,
        frozenset({"before", "after"}),
        paths=frozenset({"object"}),
        prose="why",
    )
    Output(of(ctx)).show({**job, "items": found}, _about(job), "", table)


def _show_timings(options: Options, number: int, told: dict[str, Any] | None) -> None:
    facts = {"job": number, "timings": told}
    if told is None:
        Output(options).show(facts, f"job {number} has no timings: it has not come to its end on this version")
        return
    whole = told["threads_us"]
    spent = [(s["stage"], s["wall_us"], s["cpu_us"]) for s in told["stages"]]
    spent.append(("all threads", whole, sum(s["cpu_us"] for s in told["stages"])))
    rows = [(name, _seconds(wall), f"{wall / max(1, whole):.1%}", _seconds(cpu)) for name, wall, cpu in spent]
    Output(options).show(
        facts,
        Table(("stage", "time", "share", "processor"), rows, frozenset({"time", "share", "processor"})),
        "",
        f"{_seconds(told['wall_us'])} went by from claim to journal, and this process used {_seconds(told['cpu_us'])} "
        "of processor, with libraries' own threads and other jobs. The table adds up what threads did side by side; "
        "its processor column is of these threads alone.",
    )


def _seconds(us: int) -> str:
    return f"{us / SECOND:,.3f} s"


def _about(job: dict[str, Any]) -> Table:
    """One job for people: what it is, how far it is, and when; what is not so is left out."""
    ended = ", ".join(f"{job[state]:,} {state}" for state in ("done", "skipped", "failed", "pending") if job[state])
    told = {
        **{name: job[name] for name in ("job", "kind", "dataset", "pack", "plan", "state", "reason", "error", "tries")},
        "objects": f"{job['objects']:,}" + (f" ({ended})" if ended else ""),
        "size": size(job["size"]),
        "stored before": None if job["before_bytes"] is None else size(job["before_bytes"]),
        "stored after": None if job["after_bytes"] is None else size(job["after_bytes"]),
        "queued": job["created_at"],
        "not before": job["not_before"],
        "started": job["started_at"],
        "finished": job["finished_at"],
        "worker": job["worker"],
        "lease until": job["lease_until"],
    }
    return pairs((name, value) for name, value in told.items() if value is not None)


def retry(ctx: typer.Context, number: JobArgument, _json: JsonOption = False) -> None:
    """Put what failed of a job back into the queue.

    Example: storagectl job retry 12
    """
    from storaged.catalog import control
    from storaged.cli.context import opened
    from storaged.work.rewrite.jobs import load_job

    with opened(of(ctx)) as context:
        load_job(context.catalog, number)
        with context.catalog.begin() as conn:
            objects = control.retry(conn, number, now_us=context.now_us())
    words = f"job {number} is queued again ({count(objects, 'object')}); `storagectl work` or the daemon runs it"
    Output(of(ctx)).show({"job": number, "state": "queued", "objects": objects}, words)


def cancel(
    ctx: typer.Context,
    number: JobArgument,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept with the job.")] = "cancelled",
    _json: JsonOption = False,
) -> None:
    """Stop a job. What it has swapped already stays; `storagectl undo --job` takes it back.

    Example: storagectl job cancel 12
    """
    from storaged.catalog import control
    from storaged.cli.context import opened
    from storaged.work.rewrite.jobs import load_job

    with opened(of(ctx)) as context:
        load_job(context.catalog, number)
        with context.catalog.begin() as conn:
            control.cancel(conn, number, now_us=context.now_us(), reason=f"{context.actor}: {reason}")
    Output(of(ctx)).show({"job": number, "state": "cancelled"}, f"job {number} is cancelled")


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: plain(value) for name, value in row.items()}
