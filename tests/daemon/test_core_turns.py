"""Small jobs pass large ones, and none waits for ever behind them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storaged.catalog.turns import EACH, LONGEST, turn
from storaged.clock import SECOND
from tests.daemon.farm import HOUR, Daemon, Farm

LARGE = 200  # objects: two seconds by EACH
WORK = st.tuples(st.integers(1, 1_000_000), st.integers(0, 1 << 44))  # objects, bytes
INSTANT = st.integers(0, 1 << 52)


def length(objects: int, nbytes: int) -> int:
    return turn(0, objects, nbytes)


@given(now=INSTANT, large=WORK, small=WORK, later=st.integers(0, 2 * LONGEST))
def test_a_job_is_passed_by_shorter_ones_for_as_long_as_itself_takes_and_no_longer(
    now: int, large: tuple[int, int], small: tuple[int, int], later: int
) -> None:
    mine, other = turn(now, *large), turn(now + later, *small)
    assert (other < mine) == (later + length(*small) < length(*large))
    if later > length(*large):
        assert other > mine, "it does not starve"
    assert now < mine <= now + LONGEST


@given(objects=st.integers(1, 1_000), nbytes=st.integers(0, 1 << 40), more=st.integers(0, 1_000))
def test_more_work_is_never_an_earlier_turn(objects: int, nbytes: int, more: int) -> None:
    assert length(objects + more, nbytes) >= length(objects, nbytes)
    assert length(objects, nbytes + more) >= length(objects, nbytes)


def the_order(farm: Farm, daemon: Daemon) -> list[str]:
    """The datasets of the jobs that a daemon does now, in their order."""
    before = len(daemon.heard.words)
    daemon.does_jobs()
    ended = [word for word in daemon.heard.words[before:] if word.startswith("job ")]
    with farm.catalog.read() as conn:
        rows = conn.exec_driver_sql("SELECT j.id, d.name FROM jobs j JOIN datasets d ON d.id = j.dataset_id").all()
    of = {row.id: row.name for row in rows}
    return [of[int(word.split()[1])] for word in ended]


@pytest.mark.parametrize(("later", "order"), [(1, ["pond", "lake"]), (3, ["lake", "pond"])])
def test_a_small_job_goes_first_only_if_it_came_soon_enough(
    new_farm: Callable[..., Farm], later: int, order: list[str]
) -> None:
    farm = new_farm(datasets=("lake", "pond"))
    farm.write(*(f"{n}.csv" for n in range(LARGE)), size=100)
    farm.write("small.csv", dataset="pond", size=100)
    farm.policy("a", schedule="0 2 * * *")
    farm.policy("b", dataset="pond", schedule="0 2 * * *")
    daemon = farm.daemon()
    daemon.turns()
    farm.clock.advance(2 * HOUR)
    daemon.wakes()
    runs = {run.task: run for run in iter(daemon.take, None)}
    daemon.run(runs.pop("plan:a"))
    assert LARGE * EACH == 2 * SECOND
    farm.clock.advance(later)
    daemon.run(runs.pop("plan:b"))
    assert the_order(farm, daemon) == order
