"""What a daemon tells those who watch it, its log and its meters: an event is a value, and `Tell` takes any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from storaged.catalog.approvals import Approval
from storaged.catalog.queue import ClaimedJob
from storaged.catalog.suspensions import Suspension
from storaged.catalog.tasks import Run
from storaged.daemon.jobs import Ran
from storaged.errors import StoragedError
from storaged.work.plan.policies import PolicyChange
from storaged.work.recover.rebuild import Reconciled


@dataclass(frozen=True, slots=True)
class Started:
    """A daemon is there, and its pages at an address."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The daemon is at its end. `left`: something did not notice, and ends with the process."""

    name: str
    left: bool


@dataclass(frozen=True, slots=True)
class TaskStarted:
    """A task is taken up."""

    run: Run


@dataclass(frozen=True, slots=True)
class TaskEnded:
    """A task is done or failed, or lost to another daemon that took it over; `message` says what came of it."""

    run: Run
    state: str
    message: str
    seconds: float


@dataclass(frozen=True, slots=True)
class JobStarted:
    """A job is taken up."""

    claimed: ClaimedJob


@dataclass(frozen=True, slots=True)
class JobEnded:
    """A job is over or back in the queue."""

    ran: Ran


@dataclass(frozen=True, slots=True)
class JobsWait:
    """Why no job runs although this daemon acts; None: they run again."""

    problem: str | None


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A job or task was given back because the daemon stops."""

    what: str


@dataclass(frozen=True, slots=True)
class Suspended:
    """Nothing is done for a policy, tier or dataset any more."""

    what: Suspension


@dataclass(frozen=True, slots=True)
class Resumed:
    """Something that was suspended goes on."""

    what: Suspension


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The configuration was loaded anew. `changes`: of policies, where this daemon leads."""

    changes: Sequence[PolicyChange]


@dataclass(frozen=True, slots=True)
class ReloadFailed:
    """The configuration does not hold: the one before stays."""

    error: StoragedError


@dataclass(frozen=True, slots=True)
class Leads:
    """This daemon leads from now on, or does not any more."""

    leading: bool


@dataclass(frozen=True, slots=True)
class Waits:
    """Why this daemon does nothing; None: it acts again."""

    problem: str | None


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """An old copy of the catalog was brought up to its journal."""

    found: Reconciled


@dataclass(frozen=True, slots=True)
class Draining:
    """The daemon takes nothing new and waits for so many."""

    jobs: int
    tasks: int


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A receiver of `notify` could not be told of something. `last`: it is not tried again."""

    receiver: str
    subject: str
    error: str
    tries: int
    last: bool


@dataclass(frozen=True, slots=True)
class Approved:
    """What came of an approval of a plan: `state` is done or refused, `note` says what or why."""

    wanted: Approval
    state: str
    note: str


@dataclass(frozen=True, slots=True)
class Faulted:
    """A task raised what it never should: a fault in storaged."""

    error: Exception


Event = (
    Started
    | Stopped
    | TaskStarted
    | TaskEnded
    | JobStarted
    | JobEnded
    | JobsWait
    | Abandoned
    | Suspended
    | Resumed
    | Reloaded
    | ReloadFailed
    | Leads
    | Waits
    | CaughtUp
    | Draining
    | Undelivered
    | Approved
    | Faulted
)

Tell = Callable[[Event], None]  # raises nothing, and does nothing with what it is not about


def to_all(*those: Tell) -> Tell:
    def tell(event: Event) -> None:
        for one in those:
            one(event)

    return tell
