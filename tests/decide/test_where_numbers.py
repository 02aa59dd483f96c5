"""Numbers in conditions: nothing that a row can hold, and no arithmetic on it, makes a statement fail on SQLite or on
Postgres, and both select the same."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from storaged.catalog.engine import Catalog, open_catalog
from storaged.catalog.schema import objects
from storaged.clock import DAY
from storaged.config.settings import Settings
from storaged.decide import sql
from storaged.decide.conditions import CONDITIONS
from storaged.decide.evidence import Evidence, Window
from storaged.decide.policy import Policy
from storaged.decide.selection import TABLES
from storaged.decide.where import DEEPEST, LONGEST_CHAIN, check_where, compile_where
from storaged.errors import PolicyError
from storaged.work.plan.functions import give_functions
from tests.decide.seeding import HOUR, NOW, Seeder, register
from tests.laws import tries
from tests.postgres import PostgresServer

MOST = 2**63 - 1
ROWS: list[dict[str, Any]] = [
    {"size": 0},
    {"size": 1, "stored_bytes": MOST},
    {"size": 3, "generation": 2**31 - 1},
    {"size": MOST, "stored_bytes": MOST, "generation": 2**31 - 1},
    {"size": 2**53 + 1, "heat_reads": 1e308, "heat_bytes": -1e308, "last_read_us": NOW},
    {"size": 7, "heat_reads": -1e308, "heat_bytes": 1e308, "last_read_us": -MOST},
    {"size": 8, "heat_reads": 5e-324, "heat_bytes": 0.0, "last_read_us": MOST},
    {"size": 9, "heat_reads": 709.0, "heat_bytes": 710.0, "last_read_us": 0},
    {"size": 10, "mtime_us": -MOST - 1, "created_us": -MOST - 1},
    {"size": 11, "mtime_us": MOST, "created_us": MOST},
]
TOO_MUCH = re.compile("within one another|far beyond|in a row")
Both = tuple[tuple[Catalog, Evidence], tuple[Catalog, Evidence]]


@pytest.fixture
def both(postgres: PostgresServer, sqlite_template: Path, tmp_path: Path, settings: Settings) -> Iterator[Both]:
    """The same rows in both databases."""
    shutil.copyfile(sqlite_template, tmp_path / "catalog.db")
    postgres.execute("DROP DATABASE IF EXISTS numbers WITH (FORCE)")
    postgres.execute("CREATE DATABASE numbers TEMPLATE migrated")
    with (
        open_catalog(f"sqlite:///{tmp_path / 'catalog.db'}", wait_s=10) as one,
        open_catalog(postgres.url("numbers"), wait_s=10) as other,
    ):
        yield _seeded(one, settings), _seeded(other, settings)
    postgres.execute("DROP DATABASE numbers WITH (FORCE)")


def _seeded(catalog: Catalog, settings: Settings) -> tuple[Catalog, Evidence]:
    register(catalog, settings)
    with catalog.begin() as conn:
        s = Seeder(conn)
        s.cover("events/app", NOW - 90 * DAY, NOW - HOUR)
        for n, row in enumerate(ROWS):
            s.object("events/app", f"{n}.csv", **row)
        windows = {s.datasets["events/app"]: Window(NOW - 90 * DAY, NOW - HOUR)}
        return catalog, Evidence(NOW, 30 * DAY, s.tiers, windows, dict.fromkeys(s.tiers.values(), 0.5))


def told(catalog: Catalog, *columns: Any) -> list[tuple[Any, ...]]:
    query = sa.select(objects.c.name, *columns).select_from(TABLES).order_by(objects.c.id)
    with catalog.read() as conn:
        give_functions(conn)
        return [tuple(row) for row in conn.execute(query)]


def selected(catalog: Catalog, evidence: Evidence, text: str) -> list[str]:
    found = sa.case((compile_where(text, evidence), "yes"), else_="no")
    return [str(row[0]) for row in told(catalog, found) if row[1] == "yes"]


def too_much(text: str) -> bool:
    """Whether it is refused, and for that. Raises PolicyError where it is for anything else."""
    try:
        check_where(text)
    except PolicyError as error:
        if re.search(TOO_MUCH, error.message):
            return True
        raise
    return False


LEAVES = st.sampled_from(
    [
        *("size", "stored_bytes", "generation", "reads_per_day", "bytes_read_per_day", "length(name)"),
        *("0", "1", "2", "1024", "0.5", "1e308", "1e-308", "1e150", "1e-150", "5e-324", "1e17", str(MOST), "(-3)"),
    ]
)
NUMBERS = st.recursive(
    LEAVES,
    lambda part: st.one_of(
        st.tuples(part, st.sampled_from("+-*/"), part).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.lists(st.tuples(st.sampled_from("+-*/"), LEAVES), min_size=1, max_size=12).map(
            lambda pairs: "(1" + "".join(f" {sign} {leaf}" for sign, leaf in pairs) + ")"
        ),
        part.map(lambda text: f"abs({text})"),
        part.map(lambda text: f"(-{text})"),
        st.tuples(part, part).map(lambda t: f"coalesce({t[0]}, {t[1]})"),
    ),
    max_leaves=12,
)


@tries(150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(one=NUMBERS, sign=st.sampled_from(["<", ">", "<=", ">=", "=", "<>"]), other=NUMBERS)
@example("size * 1e308", ">", "5")
@example("size * size * size * size * size * size * size * size * size * size * size * size * size", ">", "1e250")
@example("1e-200 * 1e-200 * size", "=", "0")
@example("size / 1e-308", ">", "1")
@example("1 / (size - size)", ">", "1")
@example("1 / (1e-308 * 1e-308)", ">", "1")
@example("1e308 + 1e308 + size", ">", "0")
@example("-1e308 - 1e308 - size", "<", "0")
@example("abs(1e308 * 1e308) - 1e308 * 1e308", "=", "0")
@example("1 / (1 - 1e308 / 1e308)", "<", "0")
@example("0 / size / 0 / size", "=", "0")
def test_no_arithmetic_fails_and_both_databases_select_the_same(both: Both, one: str, sign: str, other: str) -> None:
    text = f"{one} {sign} {other}"
    if too_much(text):
        return
    found = [selected(catalog, evidence, text) for catalog, evidence in both]
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("size * 1e308 > 5", "1 2 3 4 5 6 7 8 9"),
        ("size * 1e-308 * 1e-308 < 1e-100", "0 1 2 3 4 5 6 7 8 9"),
        ("size / 1e-308 > 5", "1 2 3 4 5 6 7 8 9"),
        ("size * 0.1 + 0.2 < 0.31 AND size > 0", "1"),
        ("(size + 1) * (size + 1) * (size + 1) = 64", "2"),
        ("1e308 + 1e308 > size", "0 1 2 3 4 5 6 7 8 9"),
        ("reads_per_day * 1e308 > 1", "4 7"),
        ("1 / reads_per_day IS NULL", "0 1 2 3 5 6 8 9"),
        ("size / 9007199254740992.0 >= 1", "3 4"),
    ],
)
def test_what_a_double_cannot_hold_is_the_nearest_that_counts(both: Both, text: str, rows: str) -> None:
    for catalog, evidence in both:
        assert " ".join(name.removesuffix(".csv") for name in selected(catalog, evidence, text)) == rows


def test_ordinary_arithmetic_is_exact(both: Both) -> None:
    """Bounds cost no digit where they are not needed."""
    rate, size = sql.tame(sa.literal(0.1 + 0.2, sa.Double())), sa.literal(1e-100, sa.Double())
    for catalog, _ in both:
        assert told(catalog, rate, sql.tame(size))[0][1:] == (0.1 + 0.2, 1e-100)


WHEN: dict[str, Any] = {
    "idle_for": "30d",
    "age_over": "30d",
    "reads_below": "1/day",
    "reads_above": "1/day",
    "read_share_below": "10%/day",
    "size_over": "1B",
    "size_under": "1TiB",
    "format": ["csv"],
    "tags": {"a": "b"},
    "partition": {"dt": "<2024-01-01"},
    "tier_full_above": "40%",
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_no_condition_and_no_reason_fails_on_any_row(both: Both, name: str) -> None:
    policy = Policy.model_validate(
        {"name": "p", "target": {"dataset": "events/app"}, "when": {name: WHEN[name]}, "to": {"tier": "cold"}}
    )
    (condition,) = policy.conditions.values()
    answers = []
    for catalog, evidence in both:
        chosen = sa.case((condition.holds(evidence), condition.reason(evidence)), else_="no")
        answers.append(told(catalog, chosen, condition.reason(evidence)))
    assert answers[0] == answers[1]


NESTED = {
    "sums": ("1 - (", ")"),
    "functions": ("abs(", ")"),
    "choices": ("coalesce(1, ", ")"),
    "signs": ("- (", ")"),
    "texts": ("length(lower(", "))"),
}


@pytest.mark.parametrize("kind", NESTED)
def test_what_may_be_nested_is_understood_by_both_databases(both: Both, kind: str) -> None:
    before, after = NESTED[kind]
    inner = "name" if kind == "texts" else "size * 1e308"
    least = 1
    for depth in range(1, DEEPEST + 2):
        text = f"{before * depth}{inner}{after * depth} > 1" if kind != "texts" else "length(name) > 1"
        if too_much(text):
            break
        least = depth
        assert len({tuple(selected(catalog, evidence, text)) for catalog, evidence in both}) == 1
    assert least >= DEEPEST // 2


@pytest.mark.parametrize(("sign", "longest"), [("+", LONGEST_CHAIN), ("-", LONGEST_CHAIN), ("*", 30), ("/", 30)])
def test_a_chain_may_be_long(both: Both, sign: str, longest: int) -> None:
    whole = f"size{f' {sign} size' * longest} > 1"
    assert len({tuple(selected(catalog, evidence, whole)) for catalog, evidence in both}) == 1
    with pytest.raises(PolicyError, match=TOO_MUCH):
        check_where(f"size{f' {sign} size' * (longest + 20)} > 1")


def test_what_leaves_a_double_at_every_level_is_understood_or_refused(both: Both) -> None:
    seen = set()
    for depth in range(1, DEEPEST):
        text = f"{'(size * 1e308 * ' * depth}size{')' * depth} > 1"
        if too_much(text):
            break
        seen.add(depth)
        assert len({tuple(selected(catalog, evidence, text)) for catalog, evidence in both}) == 1
    assert 2 in seen


def test_parentheses_do_not_count(both: Both) -> None:
    text = f"{'(' * 30}size > 1{')' * 30} AND ({'NOT (' * (DEEPEST - 3)}size > 1{')' * (DEEPEST - 3)})"
    assert len({tuple(selected(catalog, evidence, text)) for catalog, evidence in both}) == 1
    with pytest.raises(PolicyError, match="nested too deeply"):
        check_where(f"{'(' * 1_900}size > 1{')' * 1_900}")
