"""One job from its claim to its end, wherever it runs: in a thread of the daemon, or in a process of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from storaged.catalog.queue import ClaimedJob, ItemOutcome
from storaged.catalog.suspensions import Suspension
from storaged.clock import SECOND
from storaged.errors import LeaseLost
from storaged.model import JobState
from storaged.work import places
from storaged.work.context import Context
from storaged.work.rewrite import trouble
from storaged.work.rewrite.error_budget import overdrawn
from storaged.work.rewrite.worker import OnItem, Worker, never

OnClaimed = Callable[[ClaimedJob], None]  # is told of a job when it is taken up, or as soon as that is known


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a job; `state` None: it was taken over or given back. `suspended`: what was to blame."""

    claimed: ClaimedJob
    state: JobState | None
    outcomes: Iterable[ItemOutcome]  # can be gone through more than once
    seconds: float
    suspended: tuple[Suspension, ...]


def run_job(
    worker: Worker,
    claimed: ClaimedJob,
    *,
    on_item: OnItem = lambda _item, _note: None,
    stopped: Callable[[], bool] = never,
) -> Ran:
    """Work on a claimed job, and suspend what is to blame for its failures. Raises CatalogError."""
    context = worker.context
    begun = context.now_us()
    found = _gone(context, claimed)
    state: JobState | None = None
    outcomes: Iterable[ItemOutcome] = ()
    try:
        if found:
            worker.give_back(claimed, begun=False)
        else:
            state, outcomes = worker.work(claimed, on_item=on_item, stopped=stopped)
    except LeaseLost:
        if stopped():
            worker.give_back(claimed)
    seconds = (context.now_us() - begun) / SECOND
    blamed = (overdrawn(context, claimed), *trouble.blame(context, claimed, outcomes))
    return Ran(claimed, state, outcomes, seconds, (*found, *(what for what in blamed if what is not None)))


def _gone(context: Context, claimed: ClaimedJob) -> list[Suspension]:
    """The places of the job that went away, or were exchanged, since we last looked: then nothing is done."""
    found = places.wrong(context, places.touched(claimed))
    return [trouble.suspend(context, place.kind, place.name, why) for place, why in found.items()]
