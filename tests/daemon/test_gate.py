"""When jobs may run, and how many at a time."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storaged.clock import from_datetime, iso
from storaged.config.schedules import is_open, next_fire
from storaged.config.service import DaemonSettings
from storaged.daemon.gate import CALM, Gate
from storaged.testing import FakeClock

NIGHT = {"opens": "0 22 * * *", "lasts": "8h"}
SUNDAY = {"opens": "0 12 * * sun", "lasts": "90m"}
HOUR_US = 3_600_000_000


def at(text: str) -> FakeClock:
    return FakeClock(from_datetime(dt.datetime.fromisoformat(text)))


def gate(clock: FakeClock, *, windows: object = (), load: float = 0.0, jobs: int = 4) -> Gate:
    settings = DaemonSettings.model_validate({"windows": list(windows), "jobs": jobs})  # type: ignore[call-overload]
    return Gate(settings, clock, lambda: load, cores=2)


@pytest.mark.parametrize(
    ("now", "windows", "jobs", "reason"),
    [
        ("2026-11-23T12:00:00Z", [], 4, ""),
        ("2026-11-23T22:00:00Z", [NIGHT], 4, ""),
        ("2026-11-23T21:59:59Z", [NIGHT], 0, "outside its windows until 2026-11-23T22:00:00Z"),
        ("2026-11-24T05:59:59Z", [NIGHT], 4, ""),
        ("2026-11-24T06:00:00Z", [NIGHT], 0, "outside its windows until 2026-11-24T22:00:00Z"),
        ("2026-11-29T11:00:00Z", [NIGHT, SUNDAY], 0, "outside its windows until 2026-11-29T12:00:00Z"),
        ("2026-11-29T13:29:59Z", [NIGHT, SUNDAY], 4, ""),
        ("2026-11-28T13:00:00Z", [SUNDAY], 0, "outside its windows until 2026-11-29T12:00:00Z"),
    ],
)
def test_jobs_run_inside_of_any_window_and_outside_it_is_said_until_when(
    now: str, windows: list[object], jobs: int, reason: str
) -> None:
    assert gate(at(now), windows=windows).allows() == (jobs, reason)


@given(
    hours=st.integers(0, 24 * 400),
    windows=st.lists(st.tuples(st.integers(0, 23), st.integers(1, 40)), min_size=1, max_size=3),
)
def test_the_time_that_is_told_is_when_the_next_job_may_run(hours: int, windows: list[tuple[int, int]]) -> None:
    clock = FakeClock(FakeClock().now_us() + hours * HOUR_US)
    made = [{"opens": f"0 {opens} * * *", "lasts": f"{lasts}h"} for opens, lasts in windows]
    tested = gate(clock, windows=made)
    now = clock.now_us()
    if not any(is_open(f"0 {opens} * * *", lasts * HOUR_US, now) for opens, lasts in windows):
        until = min(next_fire(f"0 {opens} * * *", now) for opens, _ in windows)
        assert tested.allows() == (0, f"outside its windows until {iso(until)}")
        clock.advance((until - now) / 1e6 - 1)
        assert tested.allows().jobs == 0
        clock.advance(1)
    assert tested.allows() == (4, "")


def test_on_a_loaded_machine_one_job_runs_and_the_others_are_told_why() -> None:
    tested = gate(FakeClock(), load=3.1)
    assert tested.refusal(0) is None
    why = "one job at a time: the load per core is 1.55, and max_load is 1.5"
    assert [tested.refusal(n) for n in (1, 2, 3)] == [why] * 3


def test_with_one_job_at_a_time_load_holds_nothing_back() -> None:
    assert gate(FakeClock(), load=99, jobs=1).allows() == (1, "")


def test_runners_above_the_number_of_jobs_rest() -> None:
    tested = gate(FakeClock(), jobs=2)
    assert [tested.refusal(n) for n in range(3)] == [None, None, "at most 2 jobs at a time"]


def test_outside_the_windows_no_runner_takes_a_job_however_idle_the_machine() -> None:
    tested = gate(at("2026-11-23T12:00:00Z"), windows=[NIGHT])
    assert {tested.refusal(n) for n in range(4)} == {"outside its windows until 2026-11-23T22:00:00Z"}


@given(loads=st.lists(st.floats(0, 6), min_size=1, max_size=60))
def test_load_is_high_above_the_limit_and_low_only_well_below_it(loads: list[float]) -> None:
    current = 0.0
    tested = Gate(DaemonSettings(jobs=4, max_load=1.5), FakeClock(), lambda: current, cores=2)
    before = 4
    for current in loads:
        allowed = tested.allows().jobs
        if current / 2 > 1.5:
            assert allowed == 1
        elif current / 2 <= 1.5 * CALM:
            assert allowed == 4
        else:
            assert allowed == before, "between the two it stays as it was"
        before = allowed


def test_a_machine_around_the_limit_does_not_flap() -> None:
    loads = (1.4, 1.5, 1.6, 1.4, 1.6, 1.3, 1.4, 1.1, 1.4, 1.5)
    coming = iter(loads)
    tested = Gate(DaemonSettings(jobs=4, max_load=1.5), FakeClock(), lambda: next(coming), cores=1)
    assert [tested.allows().jobs for _ in loads] == [4, 4, 1, 1, 1, 1, 1, 4, 4, 4]
