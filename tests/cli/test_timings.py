"""`job show --timings`: where the time of a job went, for people and for programs."""

from __future__ import annotations

import re
import threading

from storaged.clock import OTHER, Timings, timed
from tests.cli.lake import Lake

PIPELINE = {"catalog", "sample", "source", "read", "compress", "write", "prove", "re-check", "journal", OTHER}
EXPECTED = """\
stage time share processor
all threads T 100.0% T
catalog T P T
compress T P T
journal T P T
other T P T
prove T P T
re-check T P T
read T P T
sample T P T
source T P T
write T P T

T went by from claim to journal, and this process used T of processor, with libraries' own threads and other jobs. \
The table adds up what threads did side by side; its processor column is of these threads alone.
"""


def worked(lake: Lake) -> Lake:
    """Its plan is applied and done."""
    lake.fill()
    lake.good("plan")
    lake.good("apply", "1", "--yes")
    return lake


def masked(text: str) -> str:
    """Without what differs from run to run: times and shares, the room for them, and which stage took longest."""
    table, _, words = re.sub(r"[\d,.]+ s\b", "T", text).partition("\n\n")
    head, *rows = [re.sub(" +", " ", re.sub(r" \d?\d\.\d%", " P", line)) for line in table.splitlines()]
    return "\n".join([head, *sorted(rows)]) + f"\n\n{words}"


def test_every_stage_is_named_and_the_parts_are_at_most_the_whole(lake: Lake) -> None:
    told = worked(lake).good("job", "show", "1", "--timings", "--json").json["timings"]
    stages = {s["stage"]: s for s in told["stages"]}
    assert set(stages) == PIPELINE
    assert 0 < sum(s["wall_us"] for s in stages.values()) <= told["threads_us"]
    assert stages["catalog"]["wall_us"] + stages["journal"]["wall_us"] <= told["wall_us"]  # of one thread
    assert all(s["cpu_us"] >= 0 for s in stages.values())
    assert [s["wall_us"] for s in told["stages"]] == sorted((s["wall_us"] for s in told["stages"]), reverse=True)


def test_people_see_a_table_of_shares_and_what_it_means(lake: Lake) -> None:
    assert masked(worked(lake).good("job", "show", "1", "--timings").out) == EXPECTED


def test_a_job_that_did_not_run_has_no_timings_and_that_is_said(lake: Lake) -> None:
    lake.fill()
    lake.good("plan")
    lake.good("apply", "1", "--yes", "--no-wait")
    assert "has no timings" in lake.good("job", "show", "1", "--timings").out
    assert lake.good("job", "show", "1", "--timings", "--json").json == {"job": 1, "timings": None}


def test_an_inner_stage_does_not_count_for_the_outer_one_and_threads_add_up() -> None:
    timings, barrier = Timings(), threading.Barrier(2)

    def work() -> None:
        with timings.recording("outer"):
            barrier.wait()
            with timed("inner"):
                threading.Event().wait(0.05)
            with timed("inner"):
                pass

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = timings.told()
    wall = {s["stage"]: s["wall_us"] for s in told["stages"]}
    assert wall["inner"] >= 99_000  # of both
    assert set(wall) <= {"inner", "outer", OTHER}
    assert sum(wall.values()) <= told["threads_us"]  # it would be more if outer had it too


def test_a_stage_that_fails_counts_up_to_there_and_what_nobody_records_counts_nowhere() -> None:
    timings = Timings()
    try:
        with timings.recording("outer"), timed("inner"):
            raise OSError
    except OSError:
        pass
    with timed("later"):
        pass
    assert "inner" in {s["stage"] for s in timings.told()["stages"]}
    assert "later" not in {s["stage"] for s in timings.told()["stages"]}
