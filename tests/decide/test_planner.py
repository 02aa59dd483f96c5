"""Laws of planning, on every database."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import metadata, objects, plan_items, plans
from storaged.catalog.schema_references import referred, referrers
from storaged.config.settings import Settings
from storaged.decide.planner import HELD, in_order
from storaged.decide.policy import LoadedPolicy, PolicySet
from storaged.decide.selection import GUARDS
from storaged.errors import RefusedByGuard, UsageError
from storaged.model import Mode
from storaged.testing import FakeClock
from storaged.work.plan.make import discard_plan, list_plans, load_plan, make_plan, plan_rows
from tests.decide.seeding import DAY, HOUR, MIB, NOW, Seeder, policies, register
from tests.laws import examples

IN_PLACE = """
name: in-place
target: {dataset: "*"}
when: {age_over: 1d}
to: {tier: rare, in_place: true}
"""
COLD = """
policies:
  - name: first
    target: {dataset: "events/*"}
    when: {age_over: 1d}
    to: {tier: warm}
    mode: MODE
  - name: second
    target: {dataset: "*"}
    when: {age_over: 1d}
    to: {tier: cold}
    mode: active
"""


def everything(catalog: Catalog, *without: str) -> dict[str, list[Any]]:
    """Every row of every table, but those named."""
    with catalog.read() as conn:
        return {
            table.name: sorted(map(str, conn.execute(sa.select(table))))
            for table in metadata.sorted_tables
            if table.name not in without
        }


# MUST 9
@pytest.mark.on_sqlite
def test_planning_changes_nothing_but_the_plans_own_rows(seeded: Catalog, settings: Settings, tmp_path: Path) -> None:
    """Every other table is the same before and after, also when the plan is discarded."""
    before = everything(seeded, "plans", "plan_items")
    loaded = policies(tmp_path / "p", settings, COLD.replace("MODE", "active"))
    plan = make_plan(seeded, settings, loaded, FakeClock())
    assert plan.summary.actions > 5
    assert everything(seeded, "plans", "plan_items") == before
    discard_plan(seeded, plan.id)
    assert everything(seeded, "plans", "plan_items") == before
    assert list(plan_rows(seeded, plan.id)) == []
    assert load_plan(seeded, plan.id).state == "discarded"


def test_planning_twice_gives_the_same_plan(seeded: Catalog, settings: Settings, tmp_path: Path) -> None:
    """Equal catalogs, policies and times have equal rows and hashes; another policy text has another hash."""
    loaded = policies(tmp_path / "p", settings, COLD.replace("MODE", "active"))
    one, two = (make_plan(seeded, settings, loaded, FakeClock()) for _ in range(2))
    assert one.hash == two.hash
    assert list(plan_rows(seeded, one.id)) == list(plan_rows(seeded, two.id))
    other = policies(tmp_path / "p", settings, COLD.replace("MODE", "active").replace("age_over: 1d", "age_over: 24h"))
    assert make_plan(seeded, settings, other, FakeClock()).hash != one.hash
    assert [p.id for p in list_plans(seeded)] == [3, 2, 1]
    assert load_plan(seeded, one.id) == one


def test_a_dry_run_policy_never_shadows_an_active_one(seeded: Catalog, settings: Settings, tmp_path: Path) -> None:
    """What the active policy takes is the same whether a policy in dry run stands before it or is switched off."""
    taken = []
    for mode in ("dry-run", "disabled"):
        loaded = policies(tmp_path / "p", settings, COLD.replace("MODE", mode))
        plan = make_plan(seeded, settings, loaded, FakeClock())
        taken.append([row for row in plan_rows(seeded, plan.id) if row.policy == "second"])
    assert taken[0] == taken[1]
    assert len(taken[0]) > 5


@pytest.mark.on_sqlite
def test_an_earlier_policy_takes_its_objects_also_when_only_a_later_one_is_planned(
    seeded: Catalog, settings: Settings, tmp_path: Path
) -> None:
    """`only` keeps some policies' rows; who decides about an object stays the same."""
    loaded = policies(tmp_path / "p", settings, COLD.replace("MODE", "active"))
    whole = make_plan(seeded, settings, loaded, FakeClock())
    only = make_plan(seeded, settings, loaded, FakeClock(), only={"second"})
    assert only.policies == ("second",)
    assert list(plan_rows(seeded, only.id)) == [r for r in plan_rows(seeded, whole.id) if r.policy == "second"]
    with pytest.raises(UsageError, match="no policy 'secund'") as error:
        make_plan(seeded, settings, loaded, FakeClock(), only=["secund"])
    assert error.value.hint == "did you mean `second`?"


def test_a_disabled_policy_cannot_be_planned_by_name(seeded: Catalog, settings: Settings, tmp_path: Path) -> None:
    """It says so, instead of making an empty plan."""
    loaded = policies(tmp_path / "p", settings, COLD.replace("MODE", "disabled"))
    with pytest.raises(UsageError, match="policy first is disabled"):
        make_plan(seeded, settings, loaded, FakeClock(), only=["first"])


def test_every_row_holds_what_the_worker_must_find_again(seeded: Catalog, settings: Settings, tmp_path: Path) -> None:
    """Version and source identity: of the raw key where that is current, else of the current blob."""
    loaded = policies(tmp_path / "p", settings, COLD.replace("MODE", "active"))
    plan = make_plan(seeded, settings, loaded, FakeClock())
    query = sa.select(objects.c.name, plan_items.c.identity, plan_items.c.version).join(
        objects, objects.c.id == plan_items.c.object_id
    )
    with seeded.read() as conn:
        found = {name: (identity, version) for name, identity, version in conn.execute(query)}
        number = conn.execute(sa.select(objects.c.id).where(objects.c.name == "compressed.csv")).scalar()
    assert plan.summary.actions > 0
    assert found["compressed.csv"] == (f"blob-{number}", 1)
    assert found["old.log"][0].startswith("id-")


def kind(held: str | None) -> str | None:
    """The guard that holds an object, without which kind of collection it is."""
    return held and held.partition(":")[0]


def name_it(catalog: Catalog, key: str) -> None:
    """A file with references names an object of the dataset of old.log; or nobody knows which: the empty key."""
    with catalog.begin() as conn:
        dataset = conn.execute(sa.select(objects.c.dataset_id).where(objects.c.name == "old.log")).scalar_one()
        of = {"dataset_id": dataset, "key": f"refs{key}.json", "identity": "1", "form": "kerchunk", "read_us": NOW}
        made = conn.execute(sa.insert(referrers).values(of).returning(referrers.c.id)).scalar_one()
        conn.execute(sa.insert(referred).values(dataset_id=dataset, key=key, referrer_id=made))


# MUST 11
def test_every_guard_holds_an_object_of_the_seeded_catalog(seeded: Catalog, settings: Settings, tmp_path: Path) -> None:
    """No guard is dead code, and held rows and actions together are all that matches."""
    with seeded.begin() as conn:
        conn.execute(sa.update(objects).where(objects.c.name == "was-locked.csv").values(stuck="it is immutable"))
    in_place = policies(tmp_path / "s3", settings, IN_PLACE)
    guards = {kind(row.held) for row in plan_rows(seeded, make_plan(seeded, settings, in_place, FakeClock()).id)}
    loaded = policies(tmp_path / "p", settings, COLD.replace("MODE", "disabled"))
    plan = make_plan(seeded, settings, loaded, FakeClock())
    counts = Counter(kind(row.held) for row in plan_rows(seeded, plan.id))
    assert set(GUARDS) - {"dense", "referred", "unread"} <= set(counts) | guards
    for guard, key in {"referred": "old.log", "unread": ""}.items():  # which hold all of a dataset, or one object
        name_it(seeded, key)
        again = make_plan(seeded, settings, loaded, FakeClock())
        assert guard in {kind(row.held) for row in plan_rows(seeded, again.id)}
    with seeded.read() as conn:
        old = sa.select(sa.func.count()).where(
            objects.c.created_us <= NOW - DAY,
            objects.c.removed_us.is_(None),
            objects.c.name.not_in(["compressed.csv", "moved.csv"]),
        )
        assert counts.total() == conn.execute(old).scalar()


def test_only_a_saved_plan_is_discarded(seeded: Catalog, settings: Settings, tmp_path: Path) -> None:
    """One that was applied stays as a record; one that is not there is named."""
    loaded = policies(tmp_path / "p", settings, COLD.replace("MODE", "active"))
    plan = make_plan(seeded, settings, loaded, FakeClock())
    with seeded.begin() as conn:
        conn.execute(sa.update(plans).values(state="applied"))
    with pytest.raises(RefusedByGuard, match="is applied"):
        discard_plan(seeded, plan.id)
    with pytest.raises(UsageError, match="no plan 99"):
        discard_plan(seeded, 99)
    assert len(list(plan_rows(seeded, plan.id))) > 5


def test_a_failed_plan_leaves_nothing(seeded: Catalog, settings: Settings, tmp_path: Path) -> None:
    """The draft goes with its rows; an old draft of a crashed process goes with the next plan."""
    loaded = policies(tmp_path / "p", settings, COLD.replace("MODE", "active"))
    with seeded.begin() as conn:
        draft = {"state": "draft", "made_us": NOW - 2 * DAY, "policies": "[]"}
        conn.execute(sa.insert(plans).values(draft))
        conn.execute(sa.insert(plans).values(draft | {"made_us": NOW - HOUR}))
        conn.execute(sa.text("ALTER TABLE plan_items RENAME COLUMN reason TO reasons"))
    with pytest.raises(sa.exc.DBAPIError):
        make_plan(seeded, settings, loaded, FakeClock())
    with seeded.read() as conn:
        assert [row.made_us for row in conn.execute(sa.select(plans))] == [NOW - HOUR]


def test_a_tier_that_the_catalog_does_not_know_yet_is_named(
    catalog: Catalog, settings: Settings, tmp_path: Path
) -> None:
    """Planning before the first scan tells what to run."""
    loaded = policies(tmp_path / "p", settings, COLD.replace("MODE", "active"))
    with pytest.raises(UsageError, match="does not know tier 'warm' yet"):
        make_plan(catalog, settings, loaded, FakeClock())


def test_known_ratios_are_used_and_unknown_ones_are_told(seeded: Catalog, settings: Settings, tmp_path: Path) -> None:
    """csv is known from what is compressed already, parquet from a sample, json not at all."""
    text = 'name: z\ntarget: {dataset: "events/*", tier: hot}\nwhen: {size_over: 1}\nto: {codec: zstd}\n'
    loaded = policies(tmp_path / "p", settings, text)
    ratios = {("events/app", "parquet", "zstd"): 0.75, ("events/web", "csv", "zstd"): 0.9}
    plan = make_plan(seeded, settings, loaded, FakeClock(), ratios=ratios)
    after = {row.name: row.after_bytes / row.size for row in plan_rows(seeded, plan.id)}
    assert after["never-read.csv"] == 0.25
    assert after["dt=2025-01-31/hour=05/part.parquet"] == 0.75
    assert after["barely-read.json"] == 1
    assert plan.summary.policies[0].unknown_ratio == 2
    assert "ratio not known yet: 2 objects" in str(plan)


@pytest.mark.on_sqlite
@pytest.mark.parametrize(("percent", "held"), [("50%", 0), ("49.99%", 4), ("0%", 4), ("100%", 0)])
def test_exactly_max_percent_is_allowed(
    percent: str, held: int, seeded: Catalog, settings: Settings, tmp_path: Path
) -> None:
    """4 of the target's 8 objects are half of them: more than that, and the whole policy is held back."""
    text = (
        "name: p\ntarget: {dataset: events/app}\nwhen: {partition: {dt: '<2026-01-01'}}\nto: {tier: cold}\n"
        f"limits: {{max_percent: {percent}}}\n"
    )
    plan = make_plan(seeded, settings, policies(tmp_path / "p", settings, text), FakeClock())
    assert Counter(row.held for row in plan_rows(seeded, plan.id)) == Counter({"max_percent" if held else None: 4})


LIMITED = st.fixed_dictionaries(
    {},
    optional={
        "max_objects": st.integers(1, 30),
        "max_bytes": st.integers(0, 40 * MIB),
        "max_percent": st.integers(0, 100),
    },
)
POLICY = st.fixed_dictionaries(
    {
        "target": st.fixed_dictionaries(
            {"dataset": st.sampled_from(["*", "events/*", "events/web"])},
            optional={"tier": st.sampled_from(["hot", "warm"])},
        ),
        "when": st.fixed_dictionaries(
            {"size_over": st.integers(0, 3 * MIB)},
            optional={
                "idle_for": st.sampled_from(["1d", "30d", "89d"]),
                "reads_below": st.sampled_from(["1/day", "2/month"]),
                "read_share_below": st.sampled_from(["1%/day", "10%/month"]),
            },
        ),
        "to": st.sampled_from([{"tier": "cold"}, {"tier": "cold", "codec": "zstd"}, {"codec": "zstd"}]),
        "mode": st.sampled_from([mode.value for mode in Mode]),
        "limits": LIMITED,
    }
)


def test_laws_of_a_plan(catalog: Catalog, settings: Settings, tmp_path: Path) -> None:
    """At most one row an object, of the first policy that matches; limits hold; dry runs shadow nothing; idempotent."""

    @examples(catalog, 40, derandomize=True)
    @given(st.lists(POLICY, min_size=1, max_size=4), st.integers(0, 2**32))
    def law(bodies: list[dict[str, Any]], seed: int) -> None:
        _scatter(catalog, settings, seed)
        text = json.dumps({"policies": [body | {"name": f"p{number}"} for number, body in enumerate(bodies)]})
        loaded = policies(tmp_path / "p", settings, text)
        plan = make_plan(catalog, settings, loaded, FakeClock())
        rows = list(plan_rows(catalog, plan.id))
        assert len({(row.dataset, row.name) for row in rows}) == len(rows)
        assert make_plan(catalog, settings, loaded, FakeClock()).hash == plan.hash
        assert {row.held for row in rows} <= {None, *HELD}
        _summary_adds_up(plan.summary.policies, rows)
        alone = {p.name: _matches(catalog, settings, p) for p in in_order(loaded)}
        decided: set[tuple[str, str]] = set()
        for p in in_order(loaded):
            mine = [row for row in rows if row.policy == p.name]
            assert {(row.dataset, row.name) for row in mine} == alone[p.name] - decided
            decided |= alone[p.name]
            _limits_hold(p, mine)

    law()


def _scatter(catalog: Catalog, settings: Settings, seed: int) -> None:
    chance = random.Random(seed)
    with catalog.begin() as conn:
        for table in reversed(metadata.sorted_tables):
            if table.name not in ("meta", "tiers", "datasets"):
                conn.execute(sa.delete(table))
    register(catalog, settings)
    with catalog.begin() as conn:
        s = Seeder(conn)
        for dataset in ("events/web", "events/app"):
            s.cover(dataset, NOW - chance.choice([5, 60, 90]) * DAY, NOW - chance.choice([0, 1]) * DAY)
        for number in range(40):
            s.object(
                chance.choice(["events/web", "events/app", "logs/raw", "unseen"]),
                f"{number:02}.{chance.choice(['csv', 'json'])}",
                size=chance.choice([0, 1000, MIB, 2 * MIB, 10 * MIB]),
                age=chance.choice([0, 2, 40, 400]) * DAY,
                tier=chance.choice(["hot", "warm", "cold"]),
                reads={chance.randrange(1, 80): chance.randrange(1, 60) for _ in range(chance.randrange(3))},
                hold=chance.choice([None, None, "court"]),
            )


def _matches(catalog: Catalog, settings: Settings, policy: LoadedPolicy) -> set[tuple[str, str]]:
    plan = make_plan(catalog, settings, PolicySet((policy,)), FakeClock())
    return {(row.dataset, row.name) for row in plan_rows(catalog, plan.id)}


def _limits_hold(loaded: LoadedPolicy, rows: list[Any]) -> None:
    limits = loaded.policy.limits
    acting = [row for row in rows if row.held is None]
    if limits.max_objects is not None:
        assert len(acting) <= limits.max_objects
    if limits.max_bytes is not None:
        assert sum(row.stored_bytes for row in acting) <= limits.max_bytes
    if any(row.held == "max_percent" for row in rows):
        assert not acting
        assert limits.max_percent is not None
    cut = [row for row in rows if row.held == "max_objects"]
    if cut:
        kept = [row for row in rows if row.held in (None, "max_bytes")]
        assert len(kept) == limits.max_objects
        worst = min(row.stored_bytes - row.after_bytes for row in kept)
        assert all(row.stored_bytes - row.after_bytes <= worst for row in cut)


def _summary_adds_up(summaries: Any, rows: list[Any]) -> None:
    for part in summaries:
        for held, tally in [(None, part.actions), *part.held.items()]:
            of = [row for row in rows if row.policy == part.name and row.held == held]
            now, after = sum(row.stored_bytes for row in of), sum(row.after_bytes for row in of)
            assert (tally.objects, tally.bytes_now, tally.bytes_after) == (len(of), now, after)


def test_a_hundred_thousand_objects_are_planned_in_one_go(catalog: Catalog, settings: Settings, tmp_path: Path) -> None:
    """Set-based all the way: the rows are counted, ranked and hashed, and the limit cuts at exactly its number."""
    register(catalog, settings)
    with catalog.begin() as conn:
        Seeder(conn).cover("events/web", NOW - 90 * DAY, NOW)
        row = "SELECT {n}, 1, '{name}' || {n}, {n} % 1000, 0, 0, 'csv', 'id', 1, {n} % 1000 FROM {numbers}"
        columns = "id, dataset_id, name, size, mtime_us, created_us, format, raw_identity, tier_id, stored_bytes"
        if catalog.dialect == "sqlite":
            numbers = (
                "(WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 100000) SELECT n FROM s)"
            )
        else:
            numbers = "generate_series(1, 100000) AS s(n)"
        conn.execute(sa.text(f"INSERT INTO objects ({columns}) " + row.format(n="n", name="object-", numbers=numbers)))
        name = conn.execute(sa.text("SELECT name FROM datasets WHERE id = 1")).scalar()
        Seeder(conn).cover(str(name), NOW - 80 * DAY, NOW, source="other")
        conn.execute(sa.text("UPDATE datasets SET readers = 'storaged'"))
    text = f"""
name: all
target: {{dataset: {name}}}
when: {{idle_for: 30d, reads_below: 2/month, read_share_below: 1%/month}}
to: {{tier: cold}}
limits: {{max_objects: 99000}}
"""
    plan = make_plan(catalog, settings, policies(tmp_path / "p", settings, text), FakeClock())
    part = plan.summary.policies[0]
    assert part.actions.objects == 99_000
    assert part.held["max_objects"].objects == 1_000
