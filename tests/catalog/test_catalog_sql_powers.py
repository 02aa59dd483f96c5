"""`storagectl sql`: what an answer may do to a terminal or a spreadsheet, and a question to the server's files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from storaged.catalog.engine import open_catalog
from storaged.catalog.sql import run_sql, write_rows
from storaged.cli.render import printable
from storaged.errors import UsageError

EVIL = "\x1b[31mred\x9b2J\u202e\nforged,1\r"


def written(rows: list[tuple[Any, ...]], form: str, **how: Any) -> str:
    out = io.BytesIO()
    write_rows([f"c{n}" for n in range(len(rows[0]))], rows, form, out, **how)
    return out.getvalue().decode()


@pytest.mark.parametrize("form", ["csv", "json", "jsonl"])
def test_what_goes_to_a_terminal_cannot_move_its_cursor(form: str) -> None:
    text = written([(EVIL, 1), ("é 😀", 2)], form, printable=printable)
    assert {c for c in text if not c.isprintable()} <= {"\n"}
    assert text.count("\n") <= 5  # none of them is the answer's
    if form == "jsonl":
        assert json.loads(text.splitlines()[0])["c0"] == EVIL


@pytest.mark.parametrize("form", ["csv", "json", "jsonl"])
def test_what_goes_to_a_program_is_as_it_is(form: str) -> None:
    text = written([(EVIL, 1)], form)
    if form == "csv":
        assert list(csv.reader(io.StringIO(text, newline="")))[1] == [EVIL, "1"]
    else:
        assert "\u202e" in text


def test_a_column_can_have_an_evil_name_too() -> None:
    out = io.BytesIO()
    write_rows(["\x1b[2J", "=1+1"], [], "csv", out, printable=printable, spreadsheet=True)
    assert out.getvalue().decode() == '"\\x1b[2J","\'=1+1"\n'


@pytest.mark.parametrize(
    "text",
    [
        "=HYPERLINK(1)",
        "+1+cmd|' /C calc'!A0",
        "-2+3",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        "\xa0=1",
        "\ufeff=1",
        "\uff1d1",
        "\uff0b1",
        "\uff0d1+1",
        "\uff20A",
        "\u22121+1",
        "-1e5x",
    ],
)
def test_a_formula_is_neutralised_for_a_spreadsheet(text: str) -> None:
    assert list(csv.reader(io.StringIO(written([(text,)], "csv", spreadsheet=True), newline="")))[1] == [f"'{text}"]
    assert list(csv.reader(io.StringIO(written([(text,)], "csv"), newline="")))[1] == [text]


@pytest.mark.parametrize("value", [-5, -1.5, "-5", "+1,5", "1e-3", "a=b", "2026-01-01", "", None, "a@b"])
def test_what_is_no_formula_stays(value: Any) -> None:
    shown = "" if value is None else str(value)
    assert list(csv.reader(io.StringIO(written([(value,)], "csv", spreadsheet=True))))[1:] == [[shown]]


def test_what_another_separator_would_cut_out_is_quoted() -> None:
    assert written([("a;=cmd()",)], "csv", spreadsheet=True).splitlines()[1] == '"a;=cmd()"'


# -- the files of a Postgres server ------------------------------------------------------------------------------------

postgres = pytest.mark.parametrize("dialect", ["postgres"], indirect=True)

FILES = [
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_read_binary_file('/etc/passwd')",
    "SELECT * FROM pg_ls_dir('/')",
    "SELECT pg_stat_file('/etc/passwd')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT query_to_xml('SELECT pg_read_file(''/etc/passwd'')', true, true, '')",
    "SELECT pg_ls_logdir()",
]


@pytest.fixture
def lesser(catalog_url: str) -> Iterator[str]:
    """The same catalog, as a role that may read it and nothing else."""
    role = "storaged_reads_only"
    with open_catalog(catalog_url) as catalog, catalog.engine.begin() as conn:
        conn.exec_driver_sql(f"CREATE ROLE {role} LOGIN PASSWORD 'of-no-use'")
        conn.exec_driver_sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    url = make_url(catalog_url).set(username=role, password="of-no-use")  # noqa: S106
    yield url.render_as_string(hide_password=False)
    with open_catalog(catalog_url) as catalog, catalog.engine.begin() as conn:
        conn.exec_driver_sql(f"DROP OWNED BY {role}")
        conn.exec_driver_sql(f"DROP ROLE {role}")


@postgres
@pytest.mark.parametrize("question", FILES)
def test_a_question_of_a_superuser_does_not_get_at_the_servers_files(catalog_url: str, question: str) -> None:
    with pytest.raises(UsageError, match=r"permission denied|more than read"), run_sql(catalog_url, question) as answer:
        list(answer.rows)


@postgres
def test_a_superuser_is_told_and_who_asks_in_his_name_reads_the_catalog_all_the_same(catalog_url: str) -> None:
    with run_sql(catalog_url, "SELECT current_user, count(*) FROM v_objects") as answer:
        [(who, _)] = answer.rows
        assert who == "pg_read_all_data"
        assert answer.files == make_url(catalog_url).username


@postgres
def test_a_role_that_only_reads_is_left_as_it_is(lesser: str) -> None:
    with run_sql(lesser, "SELECT current_user FROM v_objects RIGHT JOIN meta ON true LIMIT 1") as answer:
        assert list(answer.rows) == [("storaged_reads_only",)]
        assert answer.files is None
    with pytest.raises(UsageError, match="permission denied"), run_sql(lesser, FILES[1]) as answer:
        list(answer.rows)


@postgres
@pytest.mark.parametrize(
    "power", ["pg_read_server_files", "pg_write_server_files", "pg_execute_server_program", "call"]
)
def test_every_power_over_files_is_told(catalog_url: str, lesser: str, power: str) -> None:
    with open_catalog(catalog_url) as catalog, catalog.engine.begin() as conn:
        conn.exec_driver_sql(
            "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO storaged_reads_only"
            if power == "call"
            else f"GRANT {power} TO storaged_reads_only"
        )
    with run_sql(lesser, "SELECT 1") as answer:
        assert answer.files == "storaged_reads_only"


@postgres
def test_a_catalog_in_a_schema_of_its_owners_name_is_found_all_the_same(catalog_url: str) -> None:
    user = str(make_url(catalog_url).username)
    with open_catalog(catalog_url) as catalog, catalog.engine.begin() as conn:
        conn.execute(sa.text(f'CREATE SCHEMA "{user}"'))
        conn.execute(sa.text(f'CREATE TABLE "{user}".only_here AS SELECT 1 AS x'))
    with run_sql(catalog_url, "SELECT x FROM only_here") as answer:
        assert list(answer.rows) == [(1,)]


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_sqlite_reads_no_files(catalog_url: str) -> None:
    with run_sql(catalog_url, "SELECT 1") as answer:
        assert answer.files is None
    for question in ("SELECT readfile('/etc/passwd')", "SELECT writefile('x', 'y')", "SELECT fts3_tokenizer('x')"):
        with pytest.raises(UsageError), run_sql(catalog_url, question) as answer:
            list(answer.rows)
