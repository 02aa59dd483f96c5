"""The law of `savings` where objects share blobs: what a plan is said to save is what the bill is smaller by.

Through the real life: scan, plan, apply, work, sweep. A pack is billed once and whole, with the least size and the
overhead of its class, as long as anybody is in it; so one that others stay in costs what it did.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from storaged.catalog import ledger as charged
from storaged.config.settings import Settings
from storaged.decide.explain import PolicyTold
from storaged.decide.policy import LoadedPolicy
from storaged.prices.amount import PICODOLLAR, ZERO
from storaged.prices.book import DAYS_PER_MONTH
from storaged.work import targets
from storaged.work.money.cost import line, make_bill
from storaged.work.money.savings import AppliedPart
from storaged.work.plan.explain import explain
from storaged.work.plan.make import make_plan
from storaged.work.release.retention import forget
from storaged.work.release.sweep import sweep
from storaged.work.rewrite.pointers import remove_objects, undo_objects
from storaged.work.scan.run import scan
from tests.daemon.farm import HOUR, MIDNIGHT_US, Sundial
from tests.laws import tries
from tests.ledger.mint import BOOK, Mint
from tests.life.databases import databases

BYTE = Decimal("0.25") / 1000  # USD a month in cold, whose GB has a thousand bytes
LEAST = 3_000  # bytes that cold bills, beside 500 for each stored thing
PACK = """\
name: {name}
target: {{dataset: lake{tier}}}
when: {{size_over: 0}}
{where}
to: {{tier: {to}, codec: {{pack: {{target: 1MiB}}}}}}
group_by: {{depth: 1}}
rest: 0d
keep_source: {grace}
mode: active
"""
SINGLE = """\
name: {name}
target: {{dataset: lake, tier: {tier}}}
when: {{size_over: 0}}
{where}
to: {{tier: {to}, codec: {codec}}}
rest: 0d
keep_source: {grace}
{more}
mode: active
"""
NAMES = [f"{folder}/{number:02}.csv" for folder in "ab" for number in range(8)]


class Till(Mint):
    """A mint of plans of packs, whose policies come and go."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        book = BOOK.replace("PUT", "0").replace(
            "retrieval: {standard",
            f"minimum: {{days: 0, bytes: {LEAST}}}\n        overhead: {{bytes: 500}}\n        retrieval: {{standard",
        )
        (self.place / "prices/own.yaml").write_text(book)
        self.chance = random.Random(17)
        self.plans = 0

    def fill(self, *names: str) -> None:
        """Files of some hundred to some thousand bytes that shrink."""
        for name in names:
            path = self.place / "lake" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = (f"{self.chance.randrange(1000)},{name},on\n" for _ in range(self.chance.randrange(20, 300)))
            path.write_text("".join(lines))
            os.utime(path, (self.now_s() - HOUR,) * 2)
        context = self.context()
        context.register()
        scan(context, "lake")
        self.days(1)

    def packs(self, *, tier: str | None = "hot", to: str = "cold", where: str = "", grace: str = "0d") -> str:
        self.plans += 1
        named = "" if tier is None else f", tier: {tier}"
        return PACK.format(name=f"pack{self.plans}", tier=named, to=to, where=where, grace=grace)

    def singles(
        self, *, tier: str = "cold", to: str = "hot", codec: str = "identity", where: str = "", more: str = "",
        grace: str = "0d",
    ) -> str:  # fmt: skip
        self.plans += 1
        name = f"single{self.plans}"
        return SINGLE.format(name=name, tier=tier, to=to, codec=codec, where=where, more=more, grace=grace)

    def does(self, *policies: str) -> list[AppliedPart]:
        """A plan of these policies, applied and worked off, and what its parts are said to have come to."""
        configured, loaded = self.has(*policies)
        plan = make_plan(self.catalog, configured, loaded, self.clock)
        self.apply(plan.id)
        self.work()
        return self.settled(plan.id)

    def has(self, *policies: str) -> tuple[Settings, Sequence[LoadedPolicy]]:
        for old in (self.place / "policies").iterdir():
            old.unlink()
        for number, text in enumerate(policies):
            (self.place / f"policies/{number}.yaml").write_text(text)
        return self.load()

    def explained(self, name: str, policy: str) -> PolicyTold:
        """What is said of an object of the lake."""
        configured, loaded = self.has(policy)
        [told] = explain(self.catalog, configured, loaded, "lake", name, self.clock.now_us()).policies
        assert told.money is not None
        return told

    def settled(self, plan: int) -> list[AppliedPart]:
        self.days(1)
        sweep(self.context())
        with self.catalog.read() as conn:
            known = charged.known(conn, plan)
        return self.savings(plan) if known else []

    def bill(self) -> Decimal:
        """USD per month of all that is not merely kept through grace."""
        parts = make_bill(self.context()).parts
        return sum((part.cost.total for part in parts if part.cost and not part.in_grace), ZERO)

    def removes(self, *names: str) -> None:
        for name in names:
            remove_objects(self.context(), targets.pages(self.context(), f"lake/{name}"))
        self.days(40)
        sweep(self.context())


@pytest.fixture
def new_till(memory_place: Path, dialect: str, request: pytest.FixtureRequest) -> Iterator[Callable[[], Till]]:
    """Makes tills, each with a catalog of its own."""
    with databases(dialect, memory_place, request) as made:
        yield lambda: Till(Path(tempfile.mkdtemp(dir=memory_place)), made.make(), Sundial(MIDNIGHT_US))


@pytest.fixture
def till(new_till: Callable[[], Till]) -> Till:
    return new_till()


def same(saving: Decimal, difference: Decimal) -> None:
    """To the picodollar of each of a few parts of a bill, to which these are rounded."""
    assert abs(saving - difference) < 20 * PICODOLLAR, (saving, difference)


def lawful(till: Till, *policies: str) -> list[AppliedPart]:
    before = till.bill()
    parts = till.does(*policies)
    assert sum(p.outcome.done for p in parts) > 0, "nothing was moved"
    same(sum((p.outcome.saving for p in parts), ZERO), before - till.bill())
    return parts


def foretold(till: Till, *policies: str) -> list[AppliedPart]:
    """The plan said so, too: of what it does not compress anew it knows how large it will be."""
    parts = lawful(till, *policies)
    assert all(p.expected is not None for p in parts)
    same(sum((p.expected.saving for p in parts if p.expected), ZERO), sum((p.outcome.saving for p in parts), ZERO))
    return parts


def test_single_objects_into_packs(till: Till) -> None:
    till.fill(*NAMES)
    [part] = lawful(till, till.packs())
    assert part.outcome.here == 16
    whole = line("", make_bill(till.context()).parts)
    assert (whole.objects, whole.places) == (16, 2)


def test_a_worn_pack_that_is_packed_anew_was_billed_whole(till: Till) -> None:
    """And not each of its members, with the least size of its class."""
    till.fill(*NAMES)
    till.does(till.packs())
    till.removes(*NAMES[:6], *NAMES[8:14])
    [part] = lawful(till, till.packs())
    assert part.outcome.here == 4
    assert part.expected is not None
    assert part.outcome.before == part.expected.before
    assert part.outcome.saving > 0


def test_what_came_by_two_routes_into_one_pack_is_billed_once(till: Till) -> None:
    """From a worn pack in one tier, and from files in the other."""
    till.fill(*NAMES[:8])
    till.does(till.packs())
    till.removes(*NAMES[:6])
    till.fill(*(f"a/new{number}.csv" for number in range(3)))
    [part] = lawful(till, till.packs())
    assert part.outcome.here == 5
    with till.catalog.read() as conn:
        assert conn.exec_driver_sql("SELECT count(*) FROM v_packs").scalar() == 1
    assert part.expected is not None
    assert part.outcome.after.overhead == 500 * BYTE == part.expected.after.overhead


def test_all_of_a_pack_becomes_single_objects(till: Till) -> None:
    till.fill(*NAMES)
    till.does(till.packs())
    [part] = foretold(till, till.singles())
    assert part.outcome.here == 16
    assert part.outcome.saving < 0


def test_a_pack_that_others_stay_in_saves_nothing_until_they_go(till: Till) -> None:
    """Then each plan has its part of the pack."""
    till.fill(*NAMES[:8])
    begun = till.bill()
    till.does(till.packs())
    packed = till.bill()
    some, everybody = till.singles(where="where: name < 'a/03'"), till.singles()
    told = till.explained("a/00.csv", some)
    assert (told.stay, told.money and told.money.before.total) == (5, 0)
    assert "5 other objects stay in its pack" in "\n".join(told.money_lines())
    each = [till.explained(name, everybody) for name in NAMES[:8]]
    assert [told.stay for told in each] == [0] * 8
    shares = sum((told.money.before.total for told in each if told.money), ZERO)
    assert packed - 8 * BYTE < shares <= packed, "whole bytes of each"
    [first] = foretold(till, some)
    assert (first.outcome.here, first.outcome.before.total) == (3, 0)
    left = till.bill()
    [second] = till.does(everybody)
    assert second.expected is not None
    same(second.expected.saving, left - till.bill())
    [first] = till.savings(first.plan)
    assert first.outcome.before.total > 0
    same(first.outcome.saving + second.outcome.saving, packed - till.bill())
    assert till.bill() > packed < begun


def test_objects_of_a_closed_part_stay_known_while_others_have_parts_of_their_pack(till: Till) -> None:
    """Or these would have all of it from then on, and it would have been saved twice."""
    till.fill(*NAMES[:8])
    till.does(till.packs())
    [first] = till.does(till.singles(where="where: name < 'a/03'"))
    till.days(200)
    [second] = till.does(till.singles())
    saving = second.outcome.before.total
    till.days(250)
    assert forget(till.context(), dry_run=True).ledger_items == forget(till.context()).ledger_items == 8
    [first] = till.savings(first.plan)
    assert first.closed_us is not None
    [second] = till.savings(second.plan)
    assert second.closed_us is None
    assert second.outcome.before.total == saving
    till.days(200)
    assert forget(till.context()).ledger_items == 8


def test_two_policies_empty_one_pack(till: Till) -> None:
    till.fill(*NAMES[:8])
    till.does(till.packs())
    parts = foretold(till, till.singles(where="where: name < 'a/03'"), till.singles())
    assert [p.outcome.here for p in parts] == [3, 5]
    assert all(p.outcome.before.total > 0 for p in parts)


def test_require_judges_together_what_empties_a_pack(till: Till) -> None:
    """It frees the least size that the class bills, of which a share by bytes would be next to nothing. What leaves it
    alone frees nothing."""
    till.write("a/1.csv", "a/2.csv", size=50)
    context = till.context()
    context.register()
    scan(context, "lake")
    till.days(1)
    till.does(till.packs())
    require = "require: {payback_within: 30d}"
    assert till.does(till.singles(where="where: name = 'a/1.csv'", more=require)) == []
    [part] = foretold(till, till.singles(more=require))
    assert part.outcome.before.total == (LEAST + 500) * BYTE


def test_a_pack_that_pays_only_if_an_old_one_goes_is_held_with_who_stays_in_that(till: Till) -> None:
    """One of three is alone in its new group, so the others would be stored twice."""
    till.write("a/1/x.csv", "a/1/y.csv", "a/2/z.csv", size=50)
    context = till.context()
    context.register()
    scan(context, "lake")
    till.days(1)
    till.does(till.packs(to="hot"))
    deeper = till.packs(to="cold").replace("{depth: 1}", "{depth: 2}") + "require: {payback_within: 900d}\n"
    assert till.does(deeper) == []
    together = till.packs(to="cold") + "require: {payback_within: 900d}\n"
    [part] = lawful(till, together)
    assert part.outcome.here == 3


def test_reads_of_what_is_in_a_pack_are_what_the_bill_and_the_savings_have(till: Till) -> None:
    """One read a day of one member, by all three as a month of such days."""
    till.fill(*NAMES[:8])
    till.does(till.packs())

    def read(days: int) -> None:
        till.days(days)
        till.log(*({"ts": till.now_s() - (n + 0.5) * 86_400, "object": NAMES[0]} for n in range(days)))

    read(32)
    before = till.bill()
    [part] = till.does(till.singles())
    assert part.expected is not None
    assert part.expected.before.retrieval > 0
    read(31)
    assert part.expected.saving == pytest.approx(before - till.bill(), rel=Decimal("0.05"))
    [part] = till.savings(part.plan)
    assert part.expected is not None
    assert part.outcome.saving == pytest.approx(part.expected.saving, rel=Decimal("0.05"))


def test_packs_into_packs_of_another_tier(till: Till) -> None:
    till.fill(*NAMES)
    till.does(till.packs())
    [part] = lawful(till, till.packs(tier="cold", to="hot"))
    assert part.outcome.here == 16
    assert part.expected is not None
    assert part.expected.before == part.outcome.before
    grown = abs(part.expected.after.total - part.outcome.after.total) * 1000
    assert grown < 20, "bytes: each pack says anew when and as what it was made"


def test_what_is_undone_leaves_both_packs_whole(till: Till) -> None:
    till.fill(*NAMES[:8])
    till.does(till.packs())
    till.removes(*NAMES[:5])
    before = till.bill()
    [part] = till.does(till.packs(grace="30d"))
    with till.catalog.read() as conn:
        shares = conn.exec_driver_sql("SELECT live_objects, objects, live_share, kept_share FROM v_packs").all()
    [(live, inside, live_share, kept_share)] = [row for row in shares if row.live_objects == 0]
    assert (live, inside, live_share) == (0, 3, 0)
    assert 0 < kept_share < 0.5, "its members are only in their grace there"
    undo_objects(till.context(), targets.pages(till.context(), f"lake/{NAMES[7]}"))
    [part] = till.settled(part.plan)
    assert (part.outcome.done, part.outcome.here) == (3, 2)
    same(part.outcome.saving, before - till.bill())
    assert part.outcome.before.total == 0


def test_what_was_saved_counts_a_pack_whole_until_the_last_has_left(till: Till) -> None:
    till.fill(*NAMES[:4])
    [part] = till.does(till.packs())
    monthly = part.outcome.after.total
    till.days(9)
    till.removes(NAMES[0])
    [part] = till.savings(part.plan)
    assert part.outcome.after.total == monthly
    days = 1 + 9 + 40
    own = part.outcome.before.total * days
    with till.catalog.read() as conn:
        size = conn.exec_driver_sql(f"SELECT size FROM v_objects WHERE object = '{NAMES[0]}'").scalar_one()
    own += size * 4 * BYTE * 10  # what left had cost so much in hot, for ten days
    same(part.outcome.saved * DAYS_PER_MONTH, own - monthly * days)


ACTS = ("pack", "pack back", "single", "remove", "write")


@pytest.mark.on_sqlite  # its statements are those of the tests above
@tries(5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(st.sampled_from(ACTS), min_size=3, max_size=6), seed=st.integers(0, 2**16))
def test_whatever_came_before_a_plan_saves_what_the_bill_is_smaller_by(
    new_till: Callable[[], Till], acts: list[str], seed: int
) -> None:
    """Plans one after the other, with removals and new files between them. (What was undone is in a pack that another
    plan had its part of: only both together save what the bill is smaller by, as two tests above have it.)"""
    till = new_till()
    till.chance.seed(seed)
    till.fill(*NAMES)
    till.does(till.packs(grace="30d"))
    for number, act in enumerate(acts):
        till.removes(*(till.chance.sample(NAMES, 5) if act == "remove" else ()))
        if act == "write":
            till.fill(f"a/{number}.new", f"b/{number}.new")
        policy = {
            "pack": lambda: till.packs(tier=None, grace="30d"),
            "pack back": lambda: till.packs(tier="cold", to="hot", grace="30d"),
            "single": lambda: till.singles(grace="30d"),
        }.get(act)
        if policy is not None:
            before = till.bill()
            parts = till.does(policy())
            same(sum((p.outcome.saving for p in parts), ZERO), before - till.bill())
