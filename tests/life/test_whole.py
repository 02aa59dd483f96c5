"""A collection that a policy moves whole: all of it at once, or nothing of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from storaged.decide.load import load_policies
from storaged.decide.policy import PolicySet
from storaged.testing import FakeClock
from storaged.work.plan.make import Plan, make_plan, plan_rows
from storaged.work.rewrite.apply import apply_plan
from tests.life.stage import Stage, a_stage
from tests.life.world import text

POLICY = """
name: whole
target: {dataset: lake, tier: hot}
when: {age_over: 1d}
to: {tier: warm}
mode: active
collections: whole
"""
CHUNKS = ("array.zarr/c/0/0", "array.zarr/c/0/1")
ARRAY = ("array.zarr/zarr.json", *CHUNKS)


pytestmark = pytest.mark.usefixtures("layout")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("layout", ["local"])


@pytest.fixture
def lake(dialect: str, clock: FakeClock, request: pytest.FixtureRequest) -> Iterator[Stage]:
    with a_stage(dialect, clock, request) as made:
        yield made


def policies(lake: Stage, text: str = POLICY) -> PolicySet:
    (lake.place / "policies" / "p.yaml").write_text(text)
    return load_policies(lake.place / "policies", lake.settings)


def planned(lake: Stage, text: str = POLICY) -> Plan:
    return make_plan(lake.catalog, lake.context.settings, policies(lake, text), lake.clock)


def held(lake: Stage, plan: Plan) -> dict[str, str | None]:
    return {row.name: row.held for row in plan_rows(lake.catalog, plan.id)}


def an_array(lake: Stage) -> None:
    lake.write("array.zarr/zarr.json", b"{}")
    for name in (*CHUNKS, "plain.csv"):
        lake.write(name, text(name))
    lake.scan()
    lake.days(30)


def test_plan(lake: Stage) -> None:
    an_array(lake)
    plan = planned(lake)
    print(plan.summary)
    for row in plan_rows(lake.catalog, plan.id):
        print(row)
    assert held(lake, plan) == dict.fromkeys((*ARRAY, "plain.csv"))
    assert 0
