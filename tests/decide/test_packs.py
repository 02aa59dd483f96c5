"""Packs of a plan: what goes together, what is held back, and what it costs."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import objects, plan_items
from storaged.clock import DAY, iso
from storaged.config.settings import Settings
from storaged.decide.policy import policy_schema
from storaged.model import PACK
from storaged.testing import FakeClock
from storaged.work.plan.explain import explain
from storaged.work.plan.make import Plan, PlanRow, discard_plan, make_plan, plan_rows
from tests.decide.pricing import GB, LIST, MONTH, PICO, priced_settings
from tests.decide.seeding import HOUR, MIB, NOW, Seeder, policies, register
from tests.laws import examples

TARGET = 4 * MIB
POLICY = """
name: packed
target: {dataset: "events/*"}
when: {age_over: 1d}
to: {tier: TIER, codec: {pack: {target: 4MiB, largest: 25%}}}
"""


@pytest.fixture
def empty(catalog: Catalog, settings: Settings) -> Catalog:
    """A catalog that knows tiers and datasets, and no object."""
    register(catalog, settings)
    return catalog


def fill(catalog: Catalog, dataset: str, sizes: dict[str, int], **columns: object) -> None:
    """Objects with these names and sizes."""
    with catalog.begin() as conn:
        s = Seeder(conn)
        first = conn.execute(sa.select(sa.func.coalesce(sa.func.max(objects.c.id), 0))).scalar_one()
        for number, (name, size) in enumerate(sizes.items(), first + 1):
            s.object(dataset, name, size=size, id=number, raw_identity=f"id-{number}", **columns)  # type: ignore[arg-type]  # columns of any kind


def planned(
    catalog: Catalog, settings: Settings, tmp_path: Path, more: str = "", tier: str = "cold"
) -> tuple[Plan, list[PlanRow]]:
    loaded = policies(tmp_path / "p", settings, POLICY.replace("TIER", tier) + more)
    plan = make_plan(catalog, settings, loaded, FakeClock())
    return plan, list(plan_rows(catalog, plan.id))


def packs_of(rows: list[PlanRow], held: str | None = None) -> dict[tuple[str, str], list[PlanRow]]:
    """Members by dataset and pack, in the order of their names."""
    found: dict[tuple[str, str], list[PlanRow]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.name.encode()):
        if row.held == held and row.pack is not None:
            found[row.dataset, row.pack].append(row)
    return found


# -- groups ----------------------------------------------------------------------------------------------------------

names = st.lists(
    st.tuples(
        st.sampled_from(["", "a/", "a/b/", "b/x/y/", "Ä/'/"]),
        st.text("aZ0_.é", min_size=1, max_size=6).filter(lambda n: n not in (".", "..")),
    ),
    min_size=1,
    max_size=30,
    unique=True,
)
sizes = st.one_of(st.integers(0, TARGET // 4), st.sampled_from([0, 1, TARGET // 4, TARGET // 4 - 1]))


def test_every_object_is_in_one_pack_of_its_group_in_the_order_of_names(
    empty: Catalog, settings: Settings, tmp_path: Path
) -> None:
    """All but what is alone in its group. Parts of a group are of one size, give or take an object; packs have two
    members at least; the same objects always make the same packs."""

    @examples(empty, 40)
    @given(st.data())
    def law(data: st.DataObject) -> None:
        with empty.begin() as conn:
            conn.execute(sa.delete(objects))
        drawn = {f"{folder}{name}": data.draw(sizes) for folder, name in data.draw(names)}
        depth = data.draw(st.integers(1, 3))
        fill(empty, "events/web", drawn)
        plan, rows = planned(empty, settings, tmp_path, f"group_by: {{depth: {depth}}}\n")
        groups: dict[str, list[str]] = defaultdict(list)
        for name in sorted(drawn, key=str.encode):
            groups["/".join(name.split("/")[:-1][:depth])].append(name)
        found = packs_of(rows)
        assert {r.name for r in rows if r.held == "alone"} == {g[0] for g in groups.values() if len(g) == 1}
        assert all((r.pack is None) is (r.held == "alone") for r in rows)
        for label, group in groups.items():
            if len(group) == 1:
                continue
            total = sum(drawn[name] for name in group)
            count = max(1, math.ceil(total / TARGET))
            numbered = [f"{label}/{n:04}" if label else f"{n:04}" for n in range(1, count + 1)]
            made = [[row.name for row in found["events/web", pack]] for pack in numbered]
            assert [name for members in made for name in members] == group
            assert all(len(members) > 1 for members in made)
            largest = max(drawn[name] for name in group)
            for members in made:
                size = sum(drawn[name] for name in members)
                assert count == 1 or TARGET / 2 - largest < size < TARGET + largest
        assert sum(len(members) for members in found.values()) == len([r for r in rows if r.held is None])
        assert plan.summary.policies[0].packs == len(found)
        again, _ = planned(empty, settings, tmp_path, f"group_by: {{depth: {depth}}}\n")
        assert again.hash == plan.hash
        for one in (plan, again):
            discard_plan(empty, one.id)

    law()


def test_partitions_group_what_has_the_same_values(empty: Catalog, settings: Settings, tmp_path: Path) -> None:
    """Datasets and groups have numbers of their own. What its partition does not tell is held back."""
    for hour in ("01", "02"):
        for n in range(5):
            partition = {"dt": "2026-01-01", "hour": hour}
            fill(empty, "events/app", {f"dt=2026-01-01/hour={hour}/{n}.csv": MIB}, partition=partition)
    fill(empty, "events/app", {"dt=2026-01-01/x.csv": MIB}, partition={"dt": "2026-01-01"})
    fill(empty, "events/app", {"y.csv": MIB})
    text = POLICY.replace("TIER", "cold").replace('"events/*"', "events/app") + "group_by: [dt, hour]\n"
    loaded = policies(tmp_path / "p", settings, text)
    plan = make_plan(empty, settings, loaded, FakeClock())
    rows = list(plan_rows(empty, plan.id))
    assert {pack: len(members) for (_, pack), members in packs_of(rows).items()} == {
        "dt=2026-01-01/hour=01/0001": 3,
        "dt=2026-01-01/hour=01/0002": 2,
        "dt=2026-01-01/hour=02/0001": 3,
        "dt=2026-01-01/hour=02/0002": 2,
    }
    assert {r.name for r in rows if r.held == "ungrouped"} == {"dt=2026-01-01/x.csv", "y.csv"}
    assert "its partition does not tell what `group_by` names" in str(plan)


@pytest.mark.parametrize(
    ("every", "begins"),
    [
        ("1d", lambda us: iso(us - us % DAY)[:10]),
        ("7d", lambda us: iso(us - us % (7 * DAY))[:10]),
        ("6h", lambda us: iso(us - us % (6 * HOUR))[:13]),
    ],
)
def test_time_groups_what_was_modified_in_the_same_span(
    empty: Catalog, settings: Settings, tmp_path: Path, every: str, begins: object
) -> None:
    """Counted from 1970 in UTC; before it is the first."""
    times = [NOW - 30 * DAY - n * 5 * HOUR for n in range(40)]
    for n, us in enumerate(times):
        fill(empty, "events/web", {f"{n:02}.csv": 1}, mtime_us=us)
    fill(empty, "events/web", {"old-1": 1, "old-2": 1}, mtime_us=-(2**60))
    _, rows = planned(empty, settings, tmp_path, f"group_by: {{every: {every}}}\n")
    groups: dict[str, set[str]] = defaultdict(set)
    for n, us in enumerate(times):
        groups[begins(us)].add(f"{n:02}.csv")  # type: ignore[operator]  # a function of the parameters
    expected = {f"{label}/0001": members for label, members in groups.items() if len(members) > 1}
    expected["1970-01-01T00/0001" if every == "6h" else "1970-01-01/0001"] = {"old-1", "old-2"}
    assert {pack: {r.name for r in members} for (_, pack), members in packs_of(rows).items()} == expected


# -- what is selected ------------------------------------------------------------------------------------------------


def test_what_is_too_large_is_left_to_the_next_policy(empty: Catalog, settings: Settings, tmp_path: Path) -> None:
    """It is not selected, rather than held back; `explain` says so."""
    fill(empty, "events/web", {"a": MIB, "b": MIB, "large": MIB + 1})
    text = POLICY.replace("TIER", "cold").strip().replace("\n", "\n  ")
    other = "{name: others, target: {dataset: events/web}, when: {age_over: 1d}, to: {tier: warm}}"
    loaded = policies(tmp_path / "p", settings, f"policies:\n- {text}\n- {other}\n")
    plan = make_plan(empty, settings, loaded, FakeClock())
    assert {r.name: (r.policy, r.pack) for r in plan_rows(empty, plan.id)} == {
        "a": ("packed", "0001"),
        "b": ("packed", "0001"),
        "large": ("others", None),
    }
    told = str(explain(empty, settings, loaded, "events/web", "large", NOW))
    assert "packed (dry-run): does not hold: largest" in told
    assert "no: at most 1.0 MiB, to go into a pack: 1.0 MiB" in told
    assert "others decides: others" not in told
    told = str(explain(empty, settings, loaded, "events/web", "a", NOW))
    assert "would go to cold and be packed to 4 MiB with others, if there are any" in told


def test_a_member_is_there_already_and_leaves_in_a_form_that_somebody_named(
    empty: Catalog, settings: Settings, tmp_path: Path
) -> None:
    """In its tier nothing is packed again. A policy that only names a tier does not say what it is to be there."""
    fill(empty, "events/web", {"a": 100, "b": 100}, tier="cold", codec=PACK, raw_state="released", stored_bytes=40)
    _, rows = planned(empty, settings, tmp_path)
    assert rows == []
    only = "name: up\ntarget: {dataset: events/web}\nwhen: {age_over: 1d}\nto: {tier: warm"
    loaded = policies(tmp_path / "p", settings, only + "}\n")
    assert {r.held for r in plan_rows(empty, make_plan(empty, settings, loaded, FakeClock()).id)} == {"packed"}
    loaded = policies(tmp_path / "p", settings, only + ", codec: identity}\n")
    assert {r.held for r in plan_rows(empty, make_plan(empty, settings, loaded, FakeClock()).id)} == {None}


def test_packs_are_made_of_what_the_limits_leave(empty: Catalog, settings: Settings, tmp_path: Path) -> None:
    """What was cut has no pack; those that are left are numbered from one on."""
    fill(empty, "events/web", {f"{n:02}": MIB // 2 for n in range(20)})
    _, rows = planned(empty, settings, tmp_path, "limits: {max_objects: 9}\n")
    assert {r.name for r in rows if r.held == "max_objects"} == {f"{n:02}" for n in range(9, 20)}
    assert all(r.pack is None for r in rows if r.held)
    assert {pack: [r.name for r in members] for (_, pack), members in packs_of(rows).items()} == {
        "0001": [f"{n:02}" for n in range(5)],
        "0002": [f"{n:02}" for n in range(5, 9)],
    }
    _, rows = planned(empty, settings, tmp_path, "limits: {max_objects: 1}\n")
    assert {r.held for r in rows} == {"max_objects", "alone"}


def test_what_makes_packs_has_a_schema() -> None:
    """Editors know its options."""
    codec = policy_schema()["$defs"]["To"]["properties"]["codec"]
    assert PACK in str(codec)
    wanted = {"target", "level", "largest", "repack_below"}
    assert wanted == policy_schema()["$defs"]["PackOptions"]["properties"].keys()


# -- money -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def priced(tmp_path: Path) -> Settings:
    """The same configuration with prices."""
    return priced_settings(tmp_path / "priced.yaml")


def packs_by_hand(
    source: str, target: str, packs: list[list[int]], *, age_days: int, grace_days: int, read_back: bool
) -> Iterator[tuple[Decimal, Decimal]]:
    """USD once and saved per month of packs of these sizes that do not shrink, of original keys: from `LIST` alone."""
    a, b = LIST[source], LIST[target]
    for members in packs:
        size, once, before = sum(members), Decimal(0), Decimal(0)
        for each in members:
            billed = max(each, a["size"])
            before += billed / GB * Decimal(a["storage"])
            once += -(-each // (4 << 20)) * Decimal(a["get"]) + 4 * Decimal(a["get"])  # read, and four looks
            once += each / GB * Decimal(a["retrieval"])
            days_left = max(0, a["days"] - age_days - grace_days)
            once += billed / GB * Decimal(a["storage"]) * days_left / MONTH
        once += before * grace_days / MONTH
        once += 2 * Decimal(b["get"])
        if size <= 8 << 20:
            once += Decimal(b["put"])
        else:
            parts = -(-size // (8 << 20))
            note = LIST["standard"]
            once += (2 + parts) * Decimal(b["put"]) + Decimal(note["put"]) + 2 * Decimal(note["get"])
        if read_back:
            once += -(-size // (4 << 20)) * Decimal(b["get"]) + size / GB * Decimal(b["retrieval"])
        yield once, before - max(size, b["size"]) / GB * Decimal(b["storage"])


@pytest.mark.parametrize(
    ("tier", "prices", "read_back"), [("rare", "standard-ia", False), ("cold", "glacier-ir", True)]
)
def test_a_pack_is_billed_once_and_its_members_share_it(
    empty: Catalog, priced: Settings, tmp_path: Path, tier: str, prices: str, read_back: bool
) -> None:
    """Shares add up to what a pack costs and saves, to the picodollar; the plan tells packs, requests and dollars."""
    sizes = [20_000 + 17 * n for n in range(500)]
    fill(empty, "events/web", {f"{n:03}": size for n, size in enumerate(sizes)})
    plan, rows = planned(empty, priced, tmp_path, "keep_source: 7d\n", tier)
    found = packs_of(rows)
    assert len(found) == math.ceil(sum(sizes) / TARGET) == 3
    members = [[r.size for r in each] for each in found.values()]
    by_hand = list(packs_by_hand("standard", prices, members, age_days=400, grace_days=7, read_back=read_back))
    for each, (once, saved) in zip(found.values(), by_hand, strict=True):
        assert sum(r.spend or 0 for r in each) == pytest.approx(float(once * PICO), abs=len(each))
        assert sum(r.saving or 0 for r in each) == pytest.approx(float(saved * PICO), abs=len(each))
    part = plan.summary.policies[0]
    assert part.money is not None
    assert part.money.one_time.total == pytest.approx(sum(once for once, _ in by_hand), abs=Decimal("1e-11"))
    assert part.money.monthly_saving == pytest.approx(sum(saved for _, saved in by_hand), abs=Decimal("1e-11"))
    backs = sum(-(-sum(each) // (4 << 20)) for each in members) if read_back else 0
    assert part.money.requests == 500 * (1 + 4) + 3 * (1 + 2) + backs
    assert "500 objects, 11.6 MiB → 11.6 MiB, in 3 packs" in str(plan)
    assert f"requests: {part.money.requests:,}" in str(plan)


def test_an_upload_in_parts_and_the_least_size_are_the_packs_own(
    empty: Catalog, priced: Settings, tmp_path: Path
) -> None:
    """One pack over 8 MiB, and one below the 128 KiB that its class bills."""
    fill(empty, "events/web", {f"big/{n:03}": MIB for n in range(17)})
    fill(empty, "events/web", {f"small/{n}": 100 for n in range(3)})
    text = POLICY.replace("TIER", "rare").replace("4MiB", "32MiB") + "group_by: {depth: 1}\nkeep_source: 0d\n"
    plan = make_plan(empty, priced, policies(tmp_path / "p", priced, text), FakeClock())
    found = packs_of(list(plan_rows(empty, plan.id)))
    by_hand = list(
        packs_by_hand("standard", "standard-ia", [[MIB] * 17, [100] * 3], age_days=400, grace_days=0, read_back=False)
    )
    for each, (once, saved) in zip(found.values(), by_hand, strict=True):
        assert sum(r.spend or 0 for r in each) == pytest.approx(float(once * PICO), abs=len(each))
        assert sum(r.saving or 0 for r in each) == pytest.approx(float(saved * PICO), abs=len(each))


def test_require_holds_whole_packs_back(empty: Catalog, priced: Settings, tmp_path: Path) -> None:
    """Members of one pack pay together or not at all; the figures are in the plan. What does not pay takes nothing of
    a limit."""
    fill(empty, "events/web", {f"pays/{n:03}": MIB for n in range(40)})
    fill(empty, "events/web", {f"never/{n}": 100 for n in range(3)})
    more = "group_by: {depth: 1}\nrequire: {payback_within: 3650d}\nkeep_source: 0d\nlimits: {max_objects: 43}\n"
    plan, rows = planned(empty, priced, tmp_path, more, "rare")
    assert {r.held for r in rows if r.name.startswith("never/")} == {"require"}
    assert {r.held for r in rows if r.name.startswith("pays/")} == {None}
    [(pack, members)] = packs_of(rows, "require").items()
    assert (pack[1], len(members)) == ("never/0001", 3)
    part = plan.summary.policies[0]
    [(once, saved)] = packs_by_hand("standard", "standard-ia", [[100] * 3], age_days=400, grace_days=0, read_back=False)
    money = part.held_money["require"]
    assert money.one_time.total == pytest.approx(once, abs=Decimal("1e-11"))
    assert money.monthly_saving == pytest.approx(saved, abs=Decimal("1e-11"))
    assert "held back: 3 objects, 300 Bytes: it does not pay back in time (require)" in str(plan)
    assert "never pays back" in str(plan)
    assert not part.packed  # they are packs
    _, rows = planned(empty, priced, tmp_path, more.replace("43", "40"), "rare")
    assert {r.held for r in rows if r.name.startswith("pays/")} == {None}
    loaded = policies(tmp_path / "p", priced, POLICY.replace("TIER", "rare") + more.replace("3650d", "1d"))
    told = explain(empty, priced, loaded, "events/web", "pays/000", NOW)
    outcome = told.policies[0].outcome
    assert " with others, if there are any and the whole pack pays back within 1d: a plan tells; this one's" in outcome
    told = explain(empty, priced, loaded, "events/web", "never/0", NOW)
    assert told.policies[0].outcome.endswith("this one's share pays back in 170.4 years")


def test_a_limit_of_spending_takes_whole_packs(empty: Catalog, priced: Settings, tmp_path: Path) -> None:
    """Those that save most per dollar, up to the limit; never a part of one."""
    fill(empty, "events/web", {f"{n}/{m:02}": MIB for n in range(5) for m in range(4)})
    fill(empty, "events/web", {f"large/{n:03}": MIB for n in range(400)})  # reading it back costs over a cent
    text = POLICY.replace("TIER", "cold").replace("4MiB", "1GiB")
    text += "group_by: {depth: 1}\nkeep_source: 0d\nlimits: {max_spend: 0.01 USD}\n"
    plan = make_plan(empty, priced, policies(tmp_path / "p", priced, text), FakeClock())
    rows = list(plan_rows(empty, plan.id))
    assert {(pack, len(members)) for (_, pack), members in packs_of(rows, "max_spend").items()} == {("large/0001", 400)}
    kept = packs_of(rows)
    assert {pack for _, pack in kept} == {f"{n}/0001" for n in range(5)}
    assert sum(r.spend or 0 for each in kept.values() for r in each) <= PICO // 100


def test_a_plan_of_many_objects_takes_at_most_three_times_the_steps_for_being_packs(
    empty: Catalog, priced: Settings, tmp_path: Path
) -> None:
    """10,000 objects on SQLite, which counts the instructions of its machine, half of that on Postgres; groups of 80,
    with prices and `require`."""
    count = 10_000 if empty.dialect == "sqlite" else 5_000
    with empty.begin() as conn:
        hot, dataset = Seeder(conn).tiers["hot"], Seeder(conn).datasets["events/web"]
        columns = "id, dataset_id, name, size, mtime_us, created_us, raw_identity, tier_id, stored_bytes"
        name = f"(n % {count // 80}) || '/' || n"
        row = f"SELECT n, {dataset}, {name}, 4096, 0, 0, 'id', {hot}, 4096 FROM s"
        if empty.dialect == "sqlite":
            numbers = f"WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count})"
        else:
            numbers = f"WITH s(n) AS (SELECT generate_series(1, {count}))"
        conn.execute(sa.text(f"INSERT INTO objects ({columns}) {numbers} {row}"))
    steps: Counter[str] = Counter()
    codecs = ("zstd", "{pack: {target: 4MiB}}")
    for codec in codecs:

        def count_step(codec: str = codec) -> None:
            steps[codec] += 1

        def counted(connection: Any, *_: Any, step: Callable[[], None] = count_step) -> None:
            connection.set_progress_handler(step, 1_000)

        if empty.dialect == "sqlite":
            sa.event.listen(empty.engine, "checkout", counted)
        text = POLICY.replace("TIER", "rare").replace("{pack: {target: 4MiB, largest: 25%}}", codec)
        text += "require: {payback_within: 36500d}\n" + ("group_by: {depth: 1}\n" if "pack" in codec else "")
        plan = make_plan(empty, priced, policies(tmp_path / "p", priced, text), FakeClock())
        if empty.dialect == "sqlite":
            sa.event.remove(empty.engine, "checkout", counted)
        with empty.read() as conn:
            mine = plan_items.c.plan_id == plan.id
            assert conn.execute(sa.select(sa.func.count()).where(mine)).scalar() == count
    assert plan.summary.policies[0].packs == count // 80
    if empty.dialect == "sqlite":
        alone, packed = (steps[codec] for codec in codecs)
        assert 1_000 < packed < 3 * alone
