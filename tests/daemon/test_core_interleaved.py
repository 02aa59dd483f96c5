"""Three daemons on one catalog, in any order of their steps, with time passing and any of them dying at any moment."""

from __future__ import annotations

import os
import random
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from storaged.catalog.schema_daemon import leases, runs, tasks
from storaged.catalog.tasks import TRIES, Run
from storaged.clock import SECOND
from tests import memory
from tests.daemon.farm import HOUR, LEASE_S, MIDNIGHT_US, Daemon, Farm, Sundial, content
from tests.life.databases import databases

LONG = bool(os.environ.get("STORAGED_LONG"))
EXAMPLES = {"sqlite": 500 if LONG else 6, "postgres": 500 if LONG else 2}
STOPPED = "its daemon was stopped"
FOUND = [Phase.explicit, Phase.reuse, Phase.generate]  # to make one shorter would take longer than a test may
ACTS = ["beat"] * 4 + ["take"] * 5 + ["pass"] * 5 + ["run"] * 2 + ["step", "crash", "stop", "reload"]
STEPS = st.lists(
    st.tuples(
        st.integers(0, 2), st.sampled_from(ACTS), st.sampled_from([1, 2, LEASE_S // 2, LEASE_S - 1, LEASE_S + 1, HOUR])
    ),
    min_size=40,
    max_size=80,
)


class Crew:
    """Three daemons, and which runs each has in hand. A crash replaces one by a new one."""

    def __init__(self, farm: Farm, chance: random.Random) -> None:
        self.farm = farm
        self.chance = chance
        self.daemons = [self._new() for _ in range(3)]
        self.held: list[dict[str, tuple[Run, int]]] = [{}, {}, {}]  # by task: the run, and when its lease lapses

    def _new(self) -> Daemon:
        daemon = self.farm.daemon()
        daemon.look()
        return daemon

    def does(self, who: int, what: str, seconds: int) -> None:
        daemon, held, now = self.daemons[who], self.held[who], self.farm.clock.now_us()
        match what:
            case "pass":
                self.farm.clock.advance(seconds)
            case "beat":
                daemon.wakes()
                with self.farm.catalog.read() as conn:
                    mine = {row.lease for row in conn.execute(tasks.select())}
                for name, (run, _) in list(held.items()):
                    if run.lease in mine:
                        held[name] = run, now + LEASE_S * SECOND
            case "take":
                run = daemon.take()
                if run is not None:
                    for other in self.held:
                        at = other.get(run.task)
                        assert at is None or at[1] < now, f"{run.task} is begun while another daemon is at it"
                    held[run.task] = run, now + LEASE_S * SECOND
            case "run" if held:
                daemon.run(held.pop(self.chance.choice(sorted(held)))[0])
            case "step":
                daemon.step()
            case "reload":
                self._edits()
                daemon.reload()
                if "plan:late" not in self.farm.tasks():
                    for one in self.held:
                        one.pop("plan:late", None)  # its run is written off, and goes on for as long as it likes
            case "crash":
                self._replace(who)
            case "stop":
                daemon.drain()
                daemon.abandon()
                daemon.depart()
                self._replace(who)

    def _edits(self) -> None:
        schedule = self.chance.choice(["* * * * *", "*/5 * * * *", None])
        if schedule is None:
            (self.farm.place / "policies/late.yaml").unlink(missing_ok=True)
        else:
            self.farm.policy("late", schedule=schedule, tier="warm")

    def _replace(self, who: int) -> None:
        self.daemons[who], self.held[who] = self._new(), {}

    def one_at_a_time(self) -> None:
        """What must hold after every step."""
        with self.farm.catalog.read() as conn:
            going = Counter(row.task for row in conn.execute(runs.select().where(runs.c.state == "running")))
            known = {row.name: row for row in conn.execute(tasks.select())}
            leading = conn.execute(leases.select()).all()
        assert max(going.values(), default=1) == 1, going
        assert all(known[task].lease for task in going), "a run that nobody is at, and nobody will end"
        assert len(leading) <= 1


def _play(farm: Farm, steps: list[tuple[int, str, int]], chance: random.Random) -> None:
    files = ["a.csv", "b/c.csv"]
    farm.write(*files)
    farm.policy(schedule="*/10 * * * *")
    crew = Crew(farm, chance)
    for who, what, seconds in steps:
        crew.does(who, what, seconds)
        crew.one_at_a_time()
    last = farm.daemon()
    for _ in range(TRIES + 1):
        farm.clock.advance(HOUR)
        last.turns()
    assert {row.name: row.lease for row in map(farm.task, farm.tasks())} == dict.fromkeys(farm.tasks())
    _every_run_ended_once(farm)
    for name in files:
        assert farm.read(name) == content(name)


def _every_run_ended_once(farm: Farm) -> None:
    all_runs = farm.runs()
    assert {r.state for r in all_runs} <= {"done", "failed", "abandoned"}
    assert all(r.message for r in all_runs), "each says what came of it, or why nothing did"
    assert all(r.tries <= TRIES for r in all_runs)
    given_back = [r for r in all_runs if r.state == "abandoned" and r.message == STOPPED]
    slots = Counter((r.task, r.due_us) for r in all_runs if r not in given_back and r.task != "plan:late")
    assert max(slots.values()) == 1, "a due time was taken up twice"
    for task in {r.task for r in all_runs}:
        of_it = farm.runs(task)
        for before, after in pairwise(of_it):
            assert before.finished_us <= after.started_us, f"two runs of {task} at once"
        assert of_it[-1].due_us > farm.clock.now_us() - 25 * HOUR * SECOND, "it was not forgotten"


def test_no_order_of_steps_and_deaths_loses_or_doubles_a_run(dialect: str, request: pytest.FixtureRequest) -> None:
    @settings(max_examples=EXAMPLES[dialect], suppress_health_check=list(HealthCheck), phases=FOUND)
    @given(steps=STEPS, seed=st.integers(0, 2**16))
    def law(steps: list[tuple[int, str, int]], seed: int) -> None:
        with memory.directory() as place, databases(dialect, place, request) as made:
            home = place / "farm"
            home.mkdir()
            farm = Farm(home, made.make(), Sundial(MIDNIGHT_US))
            try:
                _play(farm, steps, random.Random(seed))
            finally:
                farm.close()

    law()
