"""`where:`: what it may say, that it means the same on every database, and that nothing gets past it."""

from __future__ import annotations

import string

import pytest
import sqlalchemy as sa
from hypothesis import example, given
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql, sqlite

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import datasets, objects
from storaged.clock import DAY
from storaged.config.settings import Settings
from storaged.decide import sql
from storaged.decide.columns import COLUMNS
from storaged.decide.evidence import Evidence, Window
from storaged.decide.selection import TABLES
from storaged.decide.where import check_where, compile_where
from storaged.errors import PolicyError
from storaged.heat import rate
from storaged.work.plan.functions import give_functions
from tests.decide.seeding import HOUR, MIB, NOW, Seeder, register
from tests.laws import tries

REFUSED = [
    # other statements, and more than one
    "size > 1; DROP TABLE objects",
    "1=1); DELETE FROM objects; --",
    "DROP TABLE objects",
    "SELECT 1",
    "size > 1 UNION SELECT 1",
    "size > 1 LIMIT 1",
    "size > 1 ORDER BY size",
    "size > 1;",
    "",
    "   ",
    ";",
    # subqueries
    "size IN (SELECT size FROM blobs)",
    "size > (SELECT 1)",
    "EXISTS (SELECT 1)",
    "size = ANY (SELECT 1)",
    "size > ALL (ARRAY[1, 2])",
    "(SELECT true)",
    "size IN (VALUES (1))",
    # functions and syntax that are not on the list
    "load_extension('x.so')",
    "pg_read_file('/etc/passwd') = 'x'",
    "pg_sleep(10) IS NULL",
    "readfile('/etc/passwd') = 'x'",
    "randomblob(1000000000) = 'x'",
    "printf('%s', name) = 'x'",
    "count(*) > 1",
    "sum(size) OVER () > 1",
    "max(size) > 1",
    "now() > created_at",
    "current_timestamp > created_at",
    "current_user = 'root'",
    "created_at < created_at + INTERVAL '1 day'",
    "CASE WHEN size > 1 THEN true ELSE false END",
    "name ~ 'a+'",
    "name SIMILAR TO 'a'",
    "name GLOB 'a*'",
    "name || 'x' = 'y'",
    "size % 2 = 0",
    "size & 1 = 1",
    "CAST(name AS INTEGER) > 1",
    "name::int > 1",
    "name COLLATE \"C\" = 'a'",
    "ARRAY[1] = ARRAY[1]",
    "ROW(1) = ROW(1)",
    "size IS TRUE",
    "size IS NOT DISTINCT FROM 1",
    "size BETWEEN SYMMETRIC 1 AND 2",
    "length(name, 'utf8') > 1",
    "lower(DISTINCT name) = 'a'",
    "name LIKE 'a' ESCAPE 'b'",
    "name LIKE ANY (ARRAY['a'])",
    "name LIKE owner",
    "name LIKE 'a\\",
    "name LIKE 'a\\'",
    # parameters, comments, odd literals
    "size > $1",
    "size > ?",
    "size > :x",
    "size > %s",
    "size > @x",
    "size > {{ x }}",
    "size > 1 -- and more",
    "size > 1 /* and more */",
    "/**/ size > 1",
    "name = E'\\x41'",
    "name = U&'\\0041'",
    "name = $$a$$",
    "name = x'41'",
    "name = 'a",
    "name = 'a\x00b'",
    "name = 'a\x1bb'",
    "size > 1e999",
    "size > 99999999999999999999",
    "size > 1_000",
    # columns
    "objects.size > 1",
    "raw_identity = 'x'",
    "rowid = 1",
    "ctid = '(0,1)'",
    '"size\' OR 1=1" = 1',
    "*",
    "tags = 'x'",
    "tags->'team' = 'x'",
    "tags->>1 = 'x'",
    "tags->>name = 'x'",
    "tags->>'a\"b' = 'x'",
    "tags->>'é' = 'x'",
    "name->>'a' = 'x'",
    "tags->'a'->>'b' = 'x'",
    # types
    "size = '1'",
    "name = 1",
    "name",
    "size",
    "size > true",
    "NOT size",
    "size > 1 AND name",
    "created_at > 1",
    "created_at < 'yesterday'",
    "size = NULL",
    "NULL",
    "lower(size) = 'a'",
    "abs(name) > 1",
    "coalesce(owner) = 'a'",
    "coalesce(owner, 1) = 'a'",
    "substr(name, 0, 1) = 'a'",
    "substr(name, -1) = 'a'",
    "substr(name, size) = 'a'",
    "size IN ()",
    "size IN (1, stored_bytes)",
    "size = 1 = 2",
    # depth and length
    "(" * 3000,
    "(" * 400 + "size > 1" + ")" * 400,
    "NOT " * 900 + "size > 1",
    "size > 1 AND " * 400 + "size > 1",
]


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:40])
def test_everything_that_is_not_on_the_list_is_refused(text: str) -> None:
    """With a message of ours, whatever it is."""
    with pytest.raises(PolicyError, match="where"):
        check_where(text)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("size > 10\n AND sise < 2", "where, character 16: there is no column 'sise'", "did you mean size?"),
        ('name = "x"', "where, character 8: there is no column 'x'", "text is written in single quotes"),
        ("size > 1 AND zzz = 1", "where, character 14: there is no column 'zzz'", "columns are: dataset, owner,"),
        ("owner = 5", "where, character 1: `owner` is text and `5` is a number", "write '5'"),
        ("tags = 'x'", "where, character 1: tags is looked up by key", "write tags->>'key'"),
        ("now() > created_at", "where, character 1: `CURRENT_TIMESTAMP` is not supported", "`idle_for`"),
        ("size > 1 AND (SELECT true)", "where: `(SELECT TRUE)` is not supported", "one object at a time"),
        ("foo(name) = 'a'", "where, character 1: `FOO(name)` is not supported", "functions are: lower, upper"),
        ("size > AND 1", "where, character", "write an SQL condition"),
        ("size = NULL", "where, character 1: nothing equals NULL", "IS NULL"),
        ("created_at < 'soon'", "where, character 14: 'soon' is not a time", "'2026-01-31'"),
    ],
)
def test_a_refusal_names_the_part_its_place_and_what_helps(text: str, message: str, hint: str) -> None:
    """So that one can mend it without a manual."""
    with pytest.raises(PolicyError) as error:
        check_where(text)
    assert error.value.message.startswith(message)
    assert hint in str(error.value.hint)


SYMBOLS = ["(", ")", ",", "'", "''", '"', ";", "--", "/*", "*/", "->>", "::int", "\\", "=", "<", "+", "-", "/", "%"]
KEYWORDS = ["AND", "OR", "NOT", "IN", "LIKE", "BETWEEN", "IS", "NULL", "SELECT", "FROM", "'a'", "1"]
WORDS = st.sampled_from([*COLUMNS, "tags", "partition", *SYMBOLS, *KEYWORDS])


@tries(300)
@given(st.lists(WORDS, max_size=25).map(" ".join) | st.text(string.printable + "é\u2028\ud7ff", max_size=60))
@example("size > 1 OR 1 = 1")
@example("((((((((((((((((size > 1))))))))))))))))")
def test_any_text_is_either_refused_or_becomes_one_harmless_condition(text: str) -> None:
    """No other error; and what is accepted holds no literal of the text in its SQL: all are parameters."""
    try:
        found = compile_where(text, Evidence(now_us=0, half_life_us=DAY, tiers={"hot": 1}, windows={1: Window(0, DAY)}))
    except PolicyError:
        return
    query = sa.select(objects.c.id).select_from(TABLES).where(found)
    for dialect in (sqlite.dialect(), postgresql.dialect()):
        rendered = str(query.compile(dialect=dialect))
        assert rendered.count("SELECT") == 1
        assert not {";", "--", "/*"} & set(rendered.split())


MEANT = [  # condition → the names that it selects
    ("size = 1048576", "b"),
    ("size / 3 > 349525.3 AND size / 3 < 349525.4", "b"),
    ("size / (size - size) > 1", ""),
    ("size * size * size * size > 0", "b c"),
    ("-size < -1", "b c"),
    ("abs(0 - size) BETWEEN 1 AND 2000000", "b"),
    ("size NOT BETWEEN 1 AND 2000000", "a c Z é"),
    ("stored_bytes <= size - 1", "c"),
    ("name LIKE 'Z%'", "Z"),
    ("name LIKE 'z%'", ""),
    ("name ILIKE 'z_x%'", "Z"),
    ("name NOT ILIKE '%X%'", "a b c é"),
    ("name LIKE '_'", "a b c é"),
    ("name LIKE '%\\%\\_\\*?[%'", "Z"),
    ("name LIKE '%*%'", "Z"),
    ("name > 'a' AND name < 'c'", "b"),
    ("name < 'a'", "Z"),
    ("'a' < 'B'", ""),
    ("name >= 'é'", "é"),
    ("lower(name) = 'é' OR upper('é') = 'É'", "é"),
    ("length(name) = 1 AND substr(name, 1, 1) <> 'a'", "b c é"),
    ("name IN ('a', 'b') OR name = 'c'", "a b c"),
    ("name NOT IN ('a', 'b')", "c Z é"),
    ("object = 'a' AND dataset = 'events/app' AND tier = 'hot' AND codec = 'identity' AND generation = 1", "a"),
    ("format = 'csv' AND owner = 'bob'", "b"),
    ("tags->>'team' = 'core'", "a b c Z é"),
    ("tags->>'nothing' IS NULL", "a b c Z é"),
    ("NOT (tags->>'nothing' = 'x')", ""),
    ("partition->>'dt' >= '2024-06-01'", "b"),
    ("partition->>'dt' < '2024-06-01' OR partition->>'odd key.x' = 'yes'", "a c"),
    ("coalesce(partition->>'dt', '9999') > '3'", "c Z é"),
    ("created_at < '2026-01-01'", "a"),
    ("created_at >= DATE '2026-01-01' AND modified_at < '2030-01-01T00:00:00+02:00'", "b c Z é"),
    ("last_access IS NULL", "b c Z é"),
    ("last_access < TIMESTAMP '2026-09-01 00:00:00'", "a"),
    ("reads_per_day > 0.05 AND reads_per_day < 0.06", "a"),
    ("reads_per_day = 0", "b c Z é"),
    ("bytes_read_per_day = 0 AND size > 1", "b c"),
    ("TRUE", "a b c Z é"),
    ("FALSE OR NOT TRUE", ""),
    ("size > 0.5 AND size < 1048576.5", "b"),
]


@pytest.fixture
def lake(catalog: Catalog, settings: Settings) -> Catalog:
    """Five objects of one dataset, with names and values that databases disagree about."""
    register(catalog, settings)
    with catalog.begin() as conn:
        s = Seeder(conn)
        s.cover("events/app", NOW - 90 * DAY, NOW - HOUR)
        s.object("events/app", "a", size=0, age=300 * DAY, reads={30: 5}, partition={"dt": "2024-01-31"})
        s.object("events/app", "b", size=MIB, age=5 * DAY, format="csv", partition={"dt": "2024-07-01"})
        s.object("events/app", "c", size=3 * MIB, age=5 * DAY, stored_bytes=7, partition={"odd key.x": "yes"})
        s.object("events/app", "Z-x%_*?[\\'", size=0, age=5 * DAY)
        s.object("events/app", "é", size=0, age=5 * DAY)
    return catalog


def _evidence(catalog: Catalog) -> Evidence:
    with catalog.read() as conn:
        s = Seeder(conn)
        windows = {s.datasets["events/app"]: Window(NOW - 90 * DAY, NOW - HOUR)}
        return Evidence(NOW, 30 * DAY, s.tiers, windows)


def _selected(catalog: Catalog, condition: sa.ColumnElement[bool]) -> str:
    query = sa.select(objects.c.name).select_from(TABLES).where(condition).order_by(objects.c.id)
    with catalog.read() as conn:
        give_functions(conn)
        return " ".join(name[0] for name in conn.execute(query).scalars())


def test_a_condition_means_the_same_everywhere(lake: Catalog) -> None:
    """Division, case, LIKE, order of text, JSON, times and rates, on SQLite and on Postgres."""
    evidence = _evidence(lake)
    found = [(text, _selected(lake, compile_where(text, evidence))) for text, _ in MEANT]
    assert found == [(text, names) for text, names in MEANT]


# MUST 10
def test_columns_on_reads_select_nothing_without_a_window_of_a_half_life(lake: Catalog) -> None:
    """Unknown is not cold, however the condition is turned."""
    known = _evidence(lake)
    (dataset,) = known.windows
    short = Evidence(NOW, 30 * DAY, known.tiers, {dataset: Window(NOW - 29 * DAY, NOW)})
    for evidence in (short, Evidence(NOW, 30 * DAY, known.tiers)):
        for text in (
            "reads_per_day < 1",
            "NOT reads_per_day > 1",
            "last_access IS NULL",
            "size >= 0 OR reads_per_day > 1",
        ):
            assert _selected(lake, compile_where(text, evidence)) == ""
    assert _selected(lake, compile_where("NOT reads_per_day > 1", known)) == "a b c Z é"


def test_the_rate_is_heat_py_s(lake: Catalog) -> None:
    """One formula: the column and the function agree to the last digits."""
    evidence = _evidence(lake)
    query = sa.select(objects.c.heat_reads, evidence.rate(objects.c.heat_reads)).where(objects.c.name == "a")
    with lake.read() as conn:
        give_functions(conn)
        score, found = conn.execute(query).one()
    assert found == pytest.approx(rate(score, NOW - HOUR, 30 * DAY), rel=1e-12)


def test_a_rate_too_small_for_a_number_is_zero(lake: Catalog) -> None:
    """Postgres would make an error of it."""
    with lake.read() as conn:
        give_functions(conn)
        made = conn.execute(sa.select(sql.exp(sa.literal(-5000.0, sa.Double())))).scalar()
    assert made == 0


@pytest.mark.parametrize("text", ["", "5", "05", "5.0", "-5", "5x", "123456789012345", "1234567890123456", "\u0665"])
def test_whole_numbers_are_told_from_text_alike(text: str, lake: Catalog) -> None:
    """ASCII digits only, and no more than both databases hold exactly."""
    with lake.read() as conn:
        found = conn.execute(sa.select(sql.whole_number(sa.literal(text, sa.Text())))).scalar()
    assert bool(found) is (text.isascii() and text.isdigit() and len(text) <= 15)


def test_ids_have_no_limit(lake: Catalog) -> None:
    """More datasets than a statement may have parameters."""
    with lake.read() as conn:
        query = sa.select(sa.func.count()).select_from(datasets).where(sql.in_ids(datasets.c.id, range(1, 70_000)))
        assert conn.execute(query).scalar() == conn.execute(sa.select(sa.func.count()).select_from(datasets)).scalar()
