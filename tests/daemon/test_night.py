"""A night's schedule, replayed in a minute: two daemons under a fake clock, from six in the evening to eight.

Each minute they do what is due. One of them dies at one o'clock, in the middle of a release and of a job.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import pairwise, takewhile
from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog.schema import blobs, datasets, job_items, jobs, objects, outbox, plans, replicas, tiers
from storaged.catalog.schema_attempts import attempts
from storaged.clock import SECOND, to_datetime
from storaged.config.schedules import is_open, next_fire
from storaged.daemon.gate import Gate
from storaged.errors import ObjectNotFound
from storaged.model import AttemptState, BlobState, JobState, RawState
from storaged.reader import CatalogReader
from storaged.stores.base import Store
from storaged.testing.faults import Crash, Faults, FaultyStore
from tests.daemon.farm import HOUR, MIDNIGHT_US, Daemon, Farm, content

GOLDEN = Path(__file__).parent / "golden/night.txt"
MINUTE = 60
BEGIN_US = MIDNIGHT_US + 18 * HOUR * SECOND
MINUTES = 14 * 60
END_US = BEGIN_US + MINUTES * MINUTE * SECOND
HELP, DEATH = "23:00", "01:00"  # the second daemon starts, the first one dies
# Numbers of plans; sizes of blobs, which tell of inodes; what doctor finds, which looks at the database's clock too.
VARYING = re.compile(r"plan \d+: |, [\d,]+ bytes freed|\d+ (?=to mend)")
NAMES = ("events", "lake", "photos")
DAEMON = """\
ingest: "*/30 * * * *"
sweep: "*/30 * * * *"
verify: {schedule: "0 4 * * *", sample: 100%}
windows:
  - {opens: "0 20 * * *", lasts: 3h}
  - {opens: "0 1 * * *", lasts: 5h}
"""
HEAT = """\
heat:
  - {name: reads, format: jsonl, path: "logs/*.jsonl", lag: 10m, since: 2026-09-20T00:00:00Z}
"""
POLICIES = """\
policies:
  - name: cool-lake
    target: {dataset: lake}
    when: {idle_for: 4h}
    to: {tier: cold, codec: zstd}
    schedule: "30 0 * * *"
    mode: active
  - name: events
    target: {dataset: events}
    when: {size_over: 1}
    to: {tier: cold, codec: auto}
    schedule: "30 4,18 * * *"
    mode: active
  - name: photos-first
    target: {dataset: photos, tier: hot}
    when: {size_over: 1}
    to: {tier: warm, codec: identity}
    keep_source: 4h
    schedule: "45 20 * * *"
    mode: active
  - name: photos-then
    target: {dataset: photos, tier: warm}
    when: {size_over: 1}
    to: {tier: cold, codec: zstd}
    keep_source: 1h
    schedule: "0 3 * * *"
    mode: active
  - name: what-if
    target: {dataset: "*", tier: hot}
    when: {size_over: 1}
    to: {tier: cold}
    schedule: "0 2,6,22 * * *"
  - name: never
    target: {dataset: "*"}
    when: {size_over: 1}
    to: {tier: cold}
    schedule: "* * * * *"
    mode: disabled
"""


class Death:
    """Ends a daemon's release of photos and its job in the cold tier, each at the third step, once it is `due`."""

    def __init__(self) -> None:
        self.due = False
        self.deleting = Faults(before=self._third("delete"))
        self.copying = Faults(before=self._third("commit"))

    def _third(self, wanted: str) -> Callable[[str, str], None]:
        left = iter(range(2))

        def before(method: str, key: str) -> None:
            if self.due and method == wanted and next(left, None) is None:
                raise Crash(key)

        return before

    def wrap(self, store: Store) -> Store:
        faults = {"photos": self.deleting, "cold": self.copying}.get(store.url.rpartition("/")[2])
        return store if faults is None else FaultyStore(store, faults)


class Night:
    """The place, those who work at it, and what its users have there."""

    def __init__(self, farm: Farm) -> None:
        self.farm = farm
        self.clock = farm.clock
        self.contents: dict[tuple[str, str], bytes] = {}
        self.story: list[tuple[int, str]] = []
        farm.clock.advance(18 * HOUR)
        farm.configure(grace="2h", lease="150s", daemon=DAEMON, more=HEAT)  # a lease outlives two beats
        (farm.place / "policies/night.yaml").write_text(POLICIES)
        (farm.place / "logs").mkdir()
        for number in range(6):
            for dataset, name in (("events", "day/{}.csv"), ("lake", "old/{}.csv"), ("photos", "{}.raw")):
                self.write(dataset, name.format(number), age_s=HOUR)
            if number < 3:
                self.write("lake", f"busy/{number}.csv", age_s=HOUR)
                self.write("lake", f"evening/{number}.csv", age_s=HOUR)
        self.log()
        self.death = Death()
        self.alive = {"first": farm.daemon(wrap=self.death.wrap)}
        self.gate = Gate(farm.load()[0].daemon, self.clock, lambda: 0.0, cores=1)
        self.reader = CatalogReader(farm.context())

    # -- users ---------------------------------------------------------------------------------------------------------

    def write(self, dataset: str, name: str, *, size: int = 4_000, age_s: float = 0) -> None:
        self.farm.write(name, dataset=dataset, size=size, age_s=age_s)
        self.contents[dataset, name] = content(name, size)

    def log(self) -> None:
        """What was read since the last hour arrives, some of it a second time."""
        now = self.clock.now_us() // SECOND
        names = [f"busy/{n}.csv" for n in range(3)]
        if now < BEGIN_US // SECOND + 3 * HOUR:
            names += [f"evening/{n}.csv" for n in range(3)]
        lines = [{"ts": now - 5 * MINUTE, "op": "read", "dataset": "lake", "object": name} for name in names]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        for name in (f"{now}.jsonl", "all.jsonl"):
            with (self.farm.place / "logs" / name).open("a") as file:
                file.write(text)

    def users(self, now: str) -> None:
        """What users do at this time."""
        hour, minute = now.split(":")
        if minute == "10":
            self.log()
        if minute == "20":
            self.write("events", f"new/{hour}.csv")
        match now:
            case "20:50":
                self.write("events", "day/0.csv", size=5_000)
                self.tell("a user writes events/day/0.csv anew, which is being kept for its grace")
            case "20:55":
                (self.farm.place / "photos/0.raw").unlink()
                del self.contents["photos", "0.raw"]
                self.tell("a user deletes photos/0.raw, which is being kept for its grace")
            case "05:10":
                self.write("lake", "old/0.csv", size=6_000)
                self.tell("a user writes lake/old/0.csv anew, whose original was released")

    def all_is_readable(self) -> None:
        for (dataset, name), expected in self.contents.items():
            with closing(self.reader.open(f"{dataset}/{name}")) as found:
                assert found.read_at(0, len(expected) + 1) == expected, (dataset, name)

    # -- daemons -------------------------------------------------------------------------------------------------------

    def tell(self, words: str) -> None:
        self.story.append((self.clock.now_us(), words))

    def passes(self) -> None:
        """All minutes of the night."""
        for _ in range(MINUTES + 1):
            now = hhmm(self.clock.now_us())
            self.users(now)
            if now == HELP:
                self.alive["second"] = self.farm.daemon()
            for who, daemon in list(self.alive.items()):
                if (who, now) == ("first", DEATH):
                    self.dies(daemon)
                else:
                    self.turns(who, daemon)
            if now.endswith(":00"):
                self.all_is_readable()
            self.clock.advance(MINUTE)
        self.clock.set(-MINUTE)

    def turns(self, who: str, daemon: Daemon) -> None:
        led = daemon.leading
        daemon.wakes()
        if daemon.leading and not led:
            self.tell(f"the {who} daemon leads")
        daemon.does_tasks()
        self.does_jobs(daemon)

    def does_jobs(self, daemon: Daemon) -> None:
        while self.gate.refusal(0) is None and daemon.step():
            pass

    def dies(self, daemon: Daemon) -> None:
        """In the middle of a release, and of a job: its threads were at both."""
        daemon.wakes()
        self.death.due = True
        with pytest.raises(Crash):
            daemon.does_tasks()
        with pytest.raises(Crash):
            self.does_jobs(daemon)
        daemon.generations.close()  # what its other threads were at fails too
        del self.alive["first"]
        self.tell("the first daemon dies, releasing photos and copying lake")
        assert len(self.files("photos")) == 3, "two of five are gone"
        assert self.farm.count(objects, objects.c.raw_state == RawState.RELEASING.value) == 5
        assert self.farm.count(attempts, attempts.c.state == AttemptState.STAGED.value) == 9
        assert any("/tmp/" in name for name in self.files("cold", ours=True)), "a part of an upload"

    # -- what came of it -----------------------------------------------------------------------------------------------

    def told(self) -> str:
        """Everything that came to an end, in order of time."""
        lines = [(at, 0, n, words) for n, (at, words) in enumerate(self.story)]
        for run in self.farm.runs():
            words = f"{run.task} -> {run.state}: {VARYING.sub('', run.message)}"
            if run.due_us != run.finished_us:
                words += f" (due at {hhmm(run.due_us)}, try {run.tries})"
            lines.append((run.finished_us, 1, run.id, words))
        lines += [(at, 2, number, words) for at, number, words in self._jobs()]
        return "".join(f"{hhmm(at)} {words}\n" for at, _, _, words in sorted(lines))

    def files(self, folder: str, *, ours: bool = False) -> set[str]:
        """Every file that is in a place. `ours`: in our own corner of it, less the locks there, which stay."""
        place = self.farm.place / folder
        found = {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}
        return {name for name in found if name.startswith(".storaged/") == ours and not name.endswith("/lock")}

    def _jobs(self) -> list[tuple[int, int, str]]:
        query = sa.select(jobs, datasets.c.name).join(datasets).order_by(jobs.c.id)
        with self.farm.catalog.read() as conn:
            items: dict[int, Counter[str]] = {}
            for row in conn.execute(sa.select(job_items.c.job_id, job_items.c.state)):
                items.setdefault(row.job_id, Counter())[row.state] += 1
            return [
                (
                    row.finished_us,
                    row.id,
                    f"job of {row.policy} in {row.name} -> {row.state}: "
                    + ", ".join(f"{n} {state}" for state, n in sorted(items[row.id].items()))
                    + f" (queued at {hhmm(row.created_us)}, try {row.tries})",
                )
                for row in conn.execute(query)
            ]


def hhmm(at_us: int) -> str:
    return to_datetime(at_us).strftime("%H:%M")


def each_due_time_made_one_run(farm: Farm) -> None:
    for name, schedule in farm.tasks().items():
        at_once = [BEGIN_US] if name.startswith(("scan:", "ingest:")) else []
        due = at_once + list(takewhile(lambda at: at <= END_US, fires(schedule)))
        assert [run.due_us for run in farm.runs(name)] == due, name
        assert all(one.finished_us <= other.started_us for one, other in pairwise(farm.runs(name))), name
        assert farm.task(name).lease is None
    assert {run.task for run in farm.runs()} <= set(farm.tasks()), "what is disabled does not run"
    assert {run.state for run in farm.runs()} == {"done"}


def fires(schedule: str) -> Iterator[int]:
    at = BEGIN_US
    while True:
        at = next_fire(schedule, at)
        yield at


def jobs_began_inside_the_windows(farm: Farm) -> None:
    windows = farm.load()[0].daemon.windows
    with farm.catalog.read() as conn:
        for job in conn.execute(sa.select(jobs)):
            assert any(is_open(w.opens, w.lasts, job.started_us) for w in windows)


def dry_runs_only_planned(farm: Farm) -> None:
    with farm.catalog.read() as conn:
        states = Counter((row.policies, row.state) for row in conn.execute(sa.select(plans)))
        acted = set(conn.execute(sa.select(jobs.c.policy)).scalars())
    assert states.pop(('["what-if"]', "saved")) == 3
    assert {state for _, state in states} == {"applied"}
    assert acted == {"cool-lake", "events", "photos-first", "photos-then"}


def nothing_is_left_over(night: Night) -> None:
    """Originals that moved are gone and the others are there; tiers hold what is current, and nothing else."""
    farm = night.farm
    stay = {("lake", name) for name in ("busy/0.csv", "busy/1.csv", "busy/2.csv", "old/0.csv")}
    stay |= {("events", f"new/0{hour}.csv") for hour in (4, 5, 6, 7)}
    assert {(dataset, name) for dataset in NAMES for name in night.files(dataset)} == stay
    with farm.catalog.read() as conn:
        held = conn.execute(sa.select(objects, datasets.c.name.label("dataset")).join(datasets)).all()
        stored = conn.execute(sa.select(blobs, tiers.c.name.label("tier")).join(tiers)).all()
    assert {(h.dataset, h.name) for h in held if h.raw_state == RawState.CURRENT.value} == stay
    moved = [h for h in held if h.removed_us is None and (h.dataset, h.name) not in stay]
    assert {(h.raw_state, h.codec) for h in moved} == {(RawState.RELEASED.value, "zstd")}
    assert len(moved) + len(stay) == len(night.contents)
    assert {(b.tier, b.state) for b in stored} == {("cold", BlobState.LIVE.value)}
    kept = farm.count(replicas, replicas.c.overwritten)  # of the one whose user wrote at its released name
    assert farm.count(blobs) == farm.count(replicas) == len(moved) + kept
    assert farm.count(attempts) == 0
    assert kept == 1
    assert night.files("cold") == {b.key for b in stored}
    assert night.files("hot") == night.files("warm") == set()
    for place in (*NAMES, "warm", "cold"):
        assert night.files(place, ours=True) == {".storaged/claim.json"}
    assert farm.count(outbox) == 0
    assert farm.suspended() == {}
    assert farm.count(jobs, jobs.c.state != JobState.DONE.value) == 0


@pytest.mark.timeout(600)
@pytest.mark.on_sqlite
def test_a_night_goes_as_scheduled_though_a_daemon_dies_in_it(
    new_farm: Callable[..., Farm], request: pytest.FixtureRequest
) -> None:
    night = Night(new_farm(datasets=NAMES))
    with closing(night.reader):
        night.passes()
        night.all_is_readable()
        with pytest.raises(ObjectNotFound):
            night.reader.open("photos/0.raw")
    each_due_time_made_one_run(night.farm)
    jobs_began_inside_the_windows(night.farm)
    dry_runs_only_planned(night.farm)
    nothing_is_left_over(night)
    words = [word for daemon in night.farm.made for word in daemon.heard.words]
    assert not [word for word in words if word.startswith(("fault", "suspended", "abandoned", "waits"))]
    told = night.told()
    if request.config.getoption("--update-golden"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(told)
    assert told == GOLDEN.read_text()
