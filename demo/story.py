"""The demo step by step. Each one says what it does, runs the commands that do it, and checks what came of it."""

from __future__ import annotations

import hashlib
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import fsspec
import humanize

from demo.files import CATALOG, LEASE_S, read_raw, write_files
from demo.lake import EXPORT, Lake, Original, build
from demo.reads import COMPLETE_DAYS, write_log
from demo.sources import SOURCES
from demo.terminal import DemoFailed, Terminal
from storaged.clock import DAY, SystemClock, iso

MOVED: Final = ("cool-idle-events", "cool-idle-tables")  # the policies that are applied as a whole
BIG: Final = f"exports/{EXPORT}"  # the object in whose copy the worker is killed
UNDONE: Final = "exports/planes-2013.csv"
EJECTED: Final = "events"
_FACTS: Final = (
    "SELECT dataset, object, generation, size, tier, codec, stored_bytes, state, digest FROM v_objects "
    "WHERE state <> 'removed' ORDER BY dataset, object"
)
_GRACE_S: Final = (
    "SELECT coalesce(max(strftime('%s', in_grace_until)) - strftime('%s', 'now'), 0) AS seconds FROM v_objects"
)


def size(n: int) -> str:
    """Bytes for people."""
    return humanize.naturalsize(n, binary=True, format="%.1f")


def prepare(lake: Lake, *, days: int) -> None:
    """The lake, its configuration and its access log as the demo has them, and no command run."""
    now_us = SystemClock().now_us()
    build(lake, days=days)
    write_files(lake, since=str(iso(now_us - COMPLETE_DAYS * DAY)))
    write_log(lake, now_us)


@dataclass(slots=True)
class Demo:
    """One run. `days` is how many days of 2013 the lake has."""

    lake: Lake
    terminal: Terminal
    days: int
    clock: SystemClock = field(default_factory=SystemClock)
    began: float = field(default_factory=time.perf_counter)
    originals: dict[str, Original] = field(default_factory=dict)
    compared: int = 0  # digests
    before: tuple[int, int] = (0, 0)  # files and bytes
    after: tuple[int, int] = (0, 0)

    def run(self) -> None:
        """All steps. Raises DemoFailed at the first thing that is not as it should be."""
        steps: tuple[Callable[[], None], ...] = (
            self.build,
            self.configure,
            self.scan,
            self.ingest,
            self.plan,
            self.explain,
            self.apply,
            self.look,
            self.read_back,
            self.kill,
            self.recover,
            self.undo,
            self.sweep,
            self.lose_the_catalog,
            self.verify,
            self.eject,
            self.summary,
        )
        for step in steps:
            step()

    # -- a lake ------------------------------------------------------------------------------------------------------

    def build(self) -> None:
        """Real data, and its digests."""
        t = self.terminal
        t.step("A lake", f"Real data from PyPI packages, in plain directories below {self.lake.data}.")
        for source in SOURCES:
            t.say(f"    {source.package} {source.version}, licence {source.licence_found}: {', '.join(source.files)}")
            t.say(f"      {source.why}", "dim")
            t.check(source.licence_found == source.licence, f"the package says {source.licence}")
        build(self.lake, days=self.days)
        self.originals = self.lake.originals()
        self.before = self.lake.used()
        t.run("du", "-sh", *(f"data/{p.name}" for p in sorted(self.lake.data.iterdir())))
        t.say(f"    {len(self.originals):,} files, {size(self.before[1])}; their SHA-256 digests are noted")

    def configure(self) -> None:
        """storaged.yaml, policies, an empty catalog."""
        t = self.terminal
        t.step(
            "Configure",
            f"Three tiers ({self.lake.tiers.about}), five datasets, one access log, three policies; an empty catalog.",
        )
        write_files(self.lake, since=str(iso(self.clock.now_us() - COMPLETE_DAYS * DAY)))
        t.run("cat", "storaged.yaml", lines=40)
        t.run("cat", "policies/lake.yaml", lines=40)
        t.storagectl("config", "check")
        t.storagectl("catalog", "create")

    def scan(self) -> None:
        """What is there."""
        t = self.terminal
        t.step("Scan", "List what is below the roots and write it into the catalog.")
        t.storagectl("scan")
        found = {f"{row['dataset']}/{row['object']}": row["size"] for row in t.ask(_FACTS)}
        t.check(
            found == {name: original.size for name, original in self.originals.items()},
            f"the catalog has all {len(found):,} files, with their sizes",
        )

    def ingest(self) -> None:
        """Who reads it."""
        t = self.terminal
        lines = write_log(self.lake, self.clock.now_us())
        t.step("Ingest", f"Read an access log (made up: {lines:,} reads in {COMPLETE_DAYS} days) to learn what is hot.")
        t.run("tail", "-n", "2", str(max((self.lake.place / "logs").iterdir()).relative_to(self.lake.place)))
        t.storagectl("ingest", "gateway")
        t.storagectl(
            "sql",
            "SELECT dataset, object, round(reads_per_day, 2) AS reads_per_day, last_access FROM v_objects "
            "ORDER BY reads_per_day DESC LIMIT 3",
        )
        rows = t.ask("SELECT count(*) AS read FROM v_objects WHERE last_access IS NOT NULL")
        t.check(rows[0]["read"] > 0, f"{rows[0]['read']} objects are known to have been read, the others not to")

    # -- moving it ---------------------------------------------------------------------------------------------------

    def plan(self) -> None:
        """Dry run."""
        t = self.terminal
        t.step("Plan", "What the policies want now, saved as a plan to review. Nothing is moved.")
        t.storagectl("policy", "list")
        before = self.lake.snapshot()
        t.storagectl("plan", lines=40)
        t.check(self.lake.snapshot() == before, "nothing in data and tiers was changed")

    def explain(self) -> None:
        """Why, of one object that is read and one that is not."""
        t = self.terminal
        t.step("Explain", "Why one object would move and others stay: every policy, condition by condition.")
        days = sorted(p.name for p in self.lake.root("events").glob("dt=*"))
        t.storagectl("explain", f"events/{days[0]}/JFK.jsonl", lines=30)
        t.storagectl("explain", f"events/{days[-1]}/JFK.jsonl", lines=30)
        t.storagectl("explain", "charts/airports.csv", lines=30)

    def apply(self) -> None:
        """Two policies, as planned."""
        t = self.terminal
        t.step(
            "Apply",
            "One plan a policy, then exactly that: copy, prove, swap. (A terminal shows a progress bar.) "
            "The originals stay for the grace.",
        )
        for policy in MOVED:
            t.storagectl("apply", self._plan(policy), "--yes", lines=8)
        rows = t.ask("SELECT count(*) AS moved, sum(size) AS size FROM v_objects WHERE state = 'moved'")
        t.check(rows[0]["moved"] > 0, f"{rows[0]['moved']:,} objects ({size(rows[0]['size'])}) have moved")
        rows = t.ask("SELECT count(*) AS moved FROM v_objects WHERE state = 'moved' AND dataset = 'charts'")
        t.check(rows[0]["moved"] == 0, "none of charts, whose readers use its paths")

    def look(self) -> None:
        """What is where."""
        t = self.terminal
        t.step("Look", "What is where now, and any question in SQL.")
        t.storagectl("status", lines=30)
        t.storagectl("cost", "--by", "tier", lines=30)
        t.storagectl("savings", lines=30)
        t.storagectl(
            "sql",
            "SELECT dataset, tier, codec, count(*) AS objects, sum(size) AS size, sum(stored_bytes) AS stored "
            "FROM v_objects GROUP BY 1, 2, 3 ORDER BY 1, 2",
        )
        t.storagectl("sql", "SELECT key, objects, packed_bytes, stored_bytes FROM v_packs ORDER BY key")
        rows = t.ask("SELECT sum(objects) AS objects FROM v_packs")
        moved = t.ask("SELECT count(*) AS moved FROM v_objects WHERE state = 'moved' AND dataset = 'events'")
        t.check(rows[0]["objects"] == moved[0]["moved"], "every event that has moved is in a pack, under its own name")

    def read_back(self) -> None:
        """The old name still works."""
        t = self.terminal
        row = t.ask(
            "SELECT object FROM v_objects WHERE dataset = 'flights' AND state = 'moved' ORDER BY object LIMIT 1"
        )[0]
        name = f"flights/{row['object']}"
        t.step("Read", "Moved and compressed, and still there under its old name: for pandas, and byte for byte.")
        t.storagectl("locate", name)
        t.run(
            "python",
            "-c",
            f'import pandas\nflights = pandas.read_csv("storaged://{name}")\n'
            'print(flights.groupby("origin")[["dep_delay", "distance"]].mean().round(1))',
        )
        self._compare([name], "what is read under the old name is what its user wrote")

    # -- accidents ---------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        """SIGKILL in mid-copy."""
        t = self.terminal
        t.step(
            "Kill a worker", "Apply a dry-run policy's plan by hand, and SIGKILL the process in the middle of a copy."
        )
        number = self._plan("archive-exports")
        tiers = self.lake.tiers
        code = t.kill_when(("storagectl", "apply", number, "--yes"), lambda: tiers.copying(t.ask), seconds=60)
        t.say(f"    killed; what it left: {tiers.left_behind(t.ask)}")
        t.check(code == -signal.SIGKILL, "SIGKILL ended it")
        t.check(bool(tiers.left_behind(t.ask)), "its copy was under way, and is not finished")
        t.check(not tiers.in_cold(BIG.removesuffix(".csv")), "nothing unfinished stands under a name in the tier")
        self._compare([BIG], "the object reads as before")
        t.storagectl("jobs", lines=4)

    def recover(self) -> None:
        """Another worker takes the job over."""
        t = self.terminal
        t.step("Recover", f"Its lease ({LEASE_S} s here, 60 s as a rule) runs out; then any worker takes the job over.")
        self.clock.sleep(LEASE_S + 0.5)
        t.storagectl("work")
        job = t.ask("SELECT state, tries, done, objects FROM v_jobs ORDER BY job DESC LIMIT 1")[0]
        t.check(
            (job["state"], job["tries"], job["done"]) == ("done", 2, job["objects"]), "the job is done, at a second try"
        )
        self._compare([UNDONE], "what was moved reads as before")

    def undo(self) -> None:
        """Take one back."""
        t = self.terminal
        t.step(
            "Undo", "One object of it goes back: as long as its grace lasts (15 s by its policy) that moves no bytes."
        )
        t.storagectl("undo", UNDONE)
        row = t.ask(f"SELECT state FROM v_objects WHERE dataset || '/' || object = '{UNDONE}'")[0]  # noqa: S608  our own name
        t.check(row["state"] == "raw", "it is at its original key again")
        self._compare([UNDONE, BIG], "it reads as before, and so does what stays moved")

    def sweep(self) -> None:
        """Only now are originals deleted."""
        t = self.terminal
        wait = max(0, int(t.ask(_GRACE_S)[0]["seconds"])) + 1
        t.step("Sweep", f"Wait {wait} s for every grace to end (7 days by default); only now are originals deleted.")
        self.clock.sleep(wait)
        t.storagectl("sweep", "--dry-run")
        t.storagectl("sweep", "--yes")
        raw = {
            row["name"] for row in t.ask("SELECT dataset || '/' || object AS name FROM v_objects WHERE state = 'raw'")
        }
        t.check(set(self.lake.originals()) == raw, "exactly the objects that did not move are at their original keys")
        t.check(not self.lake.tiers.left_behind(t.ask), "what the killed worker left is gone")
        self.after = self.lake.used()
        t.check(self.after[1] < self.before[1] / 2, f"{size(self.before[1])} became {size(self.after[1])}")

    def lose_the_catalog(self) -> None:
        """The stores tell the story."""
        t = self.terminal
        t.step("Lose the catalog", "Delete the database, and build it anew from the journal and the blobs themselves.")
        before = t.ask(_FACTS)
        t.run("sh", "-c", f"rm {CATALOG}*")
        t.storagectl("status", code=10)
        t.storagectl("catalog", "rebuild", "--yes")
        t.check(
            t.ask(_FACTS) == before, f"it knows the same of all {len(before):,} objects: place, codec, size, digest"
        )
        t.say("The journal tells which originals were to be deleted; a sweep sees that they are gone, and ends that.")
        t.storagectl("sweep", "--yes")
        t.storagectl("ingest", "gateway", lines=4)

    def verify(self) -> None:
        """Everything, twice: by storaged's digests and by ours."""
        t = self.terminal
        t.step(
            "Verify", "Read everything where it is now: by storaged's own digests, then by those noted at the start."
        )
        t.storagectl("verify")
        self._compare(sorted(self.originals), "every object reads as its user wrote it")

    def eject(self) -> None:
        """Nobody is locked in."""
        t = self.terminal
        t.step(
            "Eject", f"Nobody is locked in: all of {EJECTED} goes back to its paths, after saying so in storaged.yaml."
        )
        read_raw(self.lake, EJECTED)
        t.run("grep", f"^  {EJECTED}:", "storaged.yaml")
        t.storagectl("eject", EJECTED, "--yes")
        mine = {name: original for name, original in self.originals.items() if name.startswith(f"{EJECTED}/")}
        found = {name: original for name, original in self.lake.originals().items() if name.startswith(f"{EJECTED}/")}
        self.compared += len(found)
        t.check(found == mine, f"all {len(found):,} files of {EJECTED} are there: same names, bytes and times")

    # -- the end -----------------------------------------------------------------------------------------------------

    def summary(self) -> None:
        """What it came to."""
        t = self.terminal
        t.step("Summary", "What was saved, checked and kept.")
        share = 100 * (1 - self.after[1] / self.before[1])
        t.say(
            f"saved    {share:.0f} %: {size(self.before[1])} in {self.before[0]:,} files became {size(self.after[1])} "
            f"in {self.after[0]:,}, journal included (before {EJECTED} was ejected)"
        )
        t.say(f"checked  {self.compared:,} SHA-256 digests against the originals, none differs; {t.checks} checks hold")
        t.say(
            f"kept     {len(self.originals):,} of {len(self.originals):,} objects, under their old names, "
            "through a killed worker and a lost catalog"
        )
        t.say(f"time     {time.perf_counter() - self.began:.0f} s; {self.lake.place} is there to play with")

    # -- shared by steps ---------------------------------------------------------------------------------------------

    def _plan(self, policy: str) -> str:
        """Plan one policy; returns the plan's number."""
        told = self.terminal.storagectl("plan", "--policy", policy)
        found = re.match(r"plan (\d+) \(saved\)", told)
        if found is None:
            raise DemoFailed(f"`storagectl plan` told no number: {told[:200]}")
        return found[1]

    def _compare(self, names: list[str], claim: str) -> None:
        """Read objects through `storaged://` and compare their SHA-256 with the originals'."""
        fs = fsspec.filesystem("storaged", config=str(self.lake.place / "storaged.yaml"), skip_instance_cache=True)
        for name in names:
            with fs.open(name, "rb") as file:
                differs = hashlib.file_digest(file, "sha256").hexdigest() != self.originals[name].sha256
            if differs:
                raise DemoFailed(f"{name} does not read as its user wrote it")
        fs.close()
        self.compared += len(names)
        self.terminal.check(True, f"{claim} ({len(names):,} SHA-256 compared)")
