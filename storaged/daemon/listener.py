"""What a daemon tells those who watch it: its log and its meters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from storaged.catalog.queue import Claimed, Outcome
from storaged.catalog.suspensions import Suspension
from storaged.catalog.tasks import Run
from storaged.errors import StoragedError
from storaged.model import JobState
from storaged.work.plan.policies import Change
from storaged.work.recover.rebuild import Reconciled


class Listener:
    """Hears of everything and does nothing. A listener overrides what it is about; nothing it does may raise."""

    def started(self, name: str, address: str) -> None:
        """A daemon is there, and its pages at an address."""

    def task_started(self, run: Run) -> None:
        """A task is taken up."""

    def task_ended(self, run: Run, state: str, message: str, seconds: float) -> None:
        """A task is done or failed, or lost to another daemon that took it over; `message` says what came of it."""

    def job_started(self, claimed: Claimed) -> None:
        """A job is taken up."""

    def job_ended(self, claimed: Claimed, state: JobState | None, outcomes: Iterable[Outcome], seconds: float) -> None:
        """A job is over or back in the queue; `state` None: it was taken over or given back."""

    def suspended(self, what: Suspension) -> None:
        """Nothing is done for a policy, tier or dataset any more."""

    def resumed(self, what: Suspension) -> None:
        """Something that was suspended goes on."""

    def reloaded(self, changes: Sequence[Change]) -> None:
        """The configuration was loaded anew. `changes`: of policies, where this daemon leads."""

    def reload_failed(self, error: StoragedError) -> None:
        """The configuration does not hold: the one before stays."""

    def leads(self, leading: bool) -> None:
        """This daemon leads from now on, or does not any more."""

    def waits(self, problem: str | None) -> None:
        """Why this daemon does nothing; None: it acts again."""

    def jobs_wait(self, problem: str | None) -> None:
        """Why no job runs although this daemon acts; None: they run again."""

    def caught_up(self, found: Reconciled) -> None:
        """An old copy of the catalog was brought up to its journal."""

    def fault(self, error: Exception) -> None:
        """A task raised what it never should: a fault in storaged."""

    def draining(self, jobs: int, tasks: int) -> None:
        """The daemon takes nothing new and waits for so many."""

    def abandoned(self, what: str) -> None:
        """A job or task was given back because the daemon stops."""

    def stopped(self, name: str, left: bool) -> None:
        """The daemon is at its end. `left`: something did not notice, and ends with the process."""


class Listeners(Listener):
    """Several listeners as one."""

    def __init__(self, *ones: Listener) -> None:
        self._ones = ones

    def started(self, name: str, address: str) -> None:
        for one in self._ones:
            one.started(name, address)

    def task_started(self, run: Run) -> None:
        for one in self._ones:
            one.task_started(run)

    def task_ended(self, run: Run, state: str, message: str, seconds: float) -> None:
        for one in self._ones:
            one.task_ended(run, state, message, seconds)

    def job_started(self, claimed: Claimed) -> None:
        for one in self._ones:
            one.job_started(claimed)

    def job_ended(self, claimed: Claimed, state: JobState | None, outcomes: Iterable[Outcome], seconds: float) -> None:
        for one in self._ones:
            one.job_ended(claimed, state, outcomes, seconds)

    def suspended(self, what: Suspension) -> None:
        for one in self._ones:
            one.suspended(what)

    def resumed(self, what: Suspension) -> None:
        for one in self._ones:
            one.resumed(what)

    def reloaded(self, changes: Sequence[Change]) -> None:
        for one in self._ones:
            one.reloaded(changes)

    def reload_failed(self, error: StoragedError) -> None:
        for one in self._ones:
            one.reload_failed(error)

    def leads(self, leading: bool) -> None:
        for one in self._ones:
            one.leads(leading)

    def waits(self, problem: str | None) -> None:
        for one in self._ones:
            one.waits(problem)

    def jobs_wait(self, problem: str | None) -> None:
        for one in self._ones:
            one.jobs_wait(problem)

    def caught_up(self, found: Reconciled) -> None:
        for one in self._ones:
            one.caught_up(found)

    def fault(self, error: Exception) -> None:
        for one in self._ones:
            one.fault(error)

    def draining(self, jobs: int, tasks: int) -> None:
        for one in self._ones:
            one.draining(jobs, tasks)

    def abandoned(self, what: str) -> None:
        for one in self._ones:
            one.abandoned(what)

    def stopped(self, name: str, left: bool) -> None:
        for one in self._ones:
            one.stopped(name, left)
