"""Names that no tar gives back: no plan packs them."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from storaged.catalog.engine import Catalog
from storaged.codecs.pack import Member, why_not
from storaged.config.settings import Settings
from storaged.decide.packing import unpackable
from storaged.testing import FakeClock
from storaged.work.plan.explain import explain
from storaged.work.plan.functions import give_functions
from storaged.work.plan.make import make_plan, plan_rows
from tests.decide.seeding import Seeder, policies, register
from tests.laws import examples

POLICY = """
name: packed
target: {dataset: "events/*"}
when: {age_over: 1d}
to: {tier: cold, codec: pack}
"""


@pytest.fixture
def empty(catalog: Catalog, settings: Settings) -> Catalog:
    """A catalog that knows tiers and datasets, and no object."""
    register(catalog, settings)
    return catalog


NAMED = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12),
    st.lists(st.sampled_from([".", "..", "", "a", "...", "\n", "%", "_", "ü"]), min_size=1, max_size=5).map("/".join),
    st.integers(200, 300).map(lambda n: f"a/{'b' * n}/c"),
    st.integers(120, 130).map(lambda n: "ü" * n),
    st.integers(4_080, 4_100).map(lambda n: ("d" * 99 + "/") * (n // 100) + "e" * (n % 100)),
)


def test_what_a_tar_would_not_give_back_is_known_by_its_name(empty: Catalog) -> None:
    @examples(empty, 50)
    @given(some=st.lists(NAMED, min_size=1))
    def law(some: list[str]) -> None:
        with empty.read() as conn:
            give_functions(conn)
            for name in some:
                found = conn.execute(sa.select(unpackable(sa.literal(name, sa.Text())))).scalar_one()
                assert bool(found) is bool(why_not(Member(name, 0))), name

    law()


def test_a_plan_leaves_out_what_no_pack_takes_and_says_so(empty: Catalog, settings: Settings, tmp_path: Path) -> None:
    """So it is charged for none of it, and the next plan does not choose it again."""
    odd = ["a/../b.csv", "a//b.csv", "./c.csv", f"{'d' * 256}.csv"]
    with empty.begin() as conn:
        seeder = Seeder(conn)
        for number, name in enumerate((*odd, "x.csv", "line\n.csv", f"{'e' * 250}.csv"), 1):
            seeder.object("events/web", name, size=1_000, id=number, raw_identity=f"id-{number}")
    loaded = policies(tmp_path / "p", settings, POLICY)
    plan = make_plan(empty, settings, loaded, FakeClock())
    rows = list(plan_rows(empty, plan.id))
    assert sorted(r.name for r in rows if r.held == "unpackable") == sorted(odd)
    assert len([r for r in rows if r.held is None]) == 3
    assert "a tar does not give it back under its name" in str(plan)
    told = explain(empty, settings, loaded, "events/web", odd[0], FakeClock().now_us())
    assert "held back: a tar does not give it back under its name" in str(told)
