"""Objects as tables, whatever form each has where it is: pyarrow's Dataset and DuckDB's SQL."""

from __future__ import annotations

import datetime as dt
import gc
import gzip
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import storaged
from storaged.errors import UsageError
from tests.cli.lake import Lake
from tests.daemon.processes import wait_for

ROWS = 2_000  # of each day; each day a file
DAYS = [dt.date(2026, 1, day) for day in range(1, 7)]
TO_PARQUET = """\
name: shrink
target: {dataset: lake}
when: {size_over: 1KiB}
to: {tier: cold, codec: parquet}
"""
TO_ZSTD = TO_PARQUET.replace("codec: parquet", "codec: zstd")
HALF = "where: \"name < 'dt=2026-01-04'\"\n"


def day(number: int) -> pa.Table:
    return pa.table(
        {
            "id": pa.array(range(number * ROWS, (number + 1) * ROWS), pa.int64()),
            "price": pa.array([n / 4 for n in range(ROWS)], pa.float64()),
            "word": pa.array([None if n % 7 == 0 else f"word {n % 11}" for n in range(ROWS)]),
        }
    )


def path_of(number: int, suffix: str) -> str:
    return f"dt={DAYS[number]}/part-0.{suffix}"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path)


def parquet(lake: Lake) -> None:
    for number in range(len(DAYS)):
        lake.write(path_of(number, "parquet"))
        pq.write_table(day(number), lake.root / path_of(number, "parquet"), compression="none")


def csv(lake: Lake) -> None:
    for number in range(len(DAYS)):
        lake.write(path_of(number, "csv"))
        pyarrow.csv.write_csv(day(number), lake.root / path_of(number, "csv"))


def gzipped(lake: Lake) -> None:
    csv(lake)
    for number in range(len(DAYS)):
        plain = lake.root / path_of(number, "csv")
        lake.write(path_of(number, "csv.gz"))
        (lake.root / path_of(number, "csv.gz")).write_bytes(gzip.compress(plain.read_bytes(), 1, mtime=0))
        plain.unlink()


def json_lines(lake: Lake) -> None:
    for number in range(len(DAYS)):
        lake.write(path_of(number, "jsonl"))
        target = lake.root / path_of(number, "jsonl")
        duckdb.from_arrow(day(number)).query("t", f"COPY t TO '{target}' (FORMAT json)")  # type: ignore[attr-defined]


def raw(lake: Lake, kind: Callable[[Lake], None], policy: str = "") -> None:
    """The lake is scanned, and moved as the policy says."""
    kind(lake)
    lake.configure(grace="0s", more="quiet_for: 0s\nstate_dir: state\n")
    if policy:
        lake.policy(policy)
    lake.make_catalog()
    lake.good("scan")
    if policy:
        lake.good("plan")
        lake.good("apply", "1", "--yes")
        lake.good("sweep", "--yes")


KINDS = {"parquet": parquet, "csv": csv, "json": json_lines}
FORMS = {"raw": "", "zstd": TO_ZSTD, "parquet": TO_PARQUET, "half": TO_PARQUET + HALF}


@pytest.mark.every(2)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_table_is_the_same_whatever_form_its_files_have(lake: Lake, kind: str, form: str) -> None:
    raw(lake, KINDS[kind], FORMS[form])
    table = storaged.dataset("lake", config=lake.config)
    assert table.schema.names == ["id", "price", "word", "dt"]
    assert table.schema.field("dt").type == pa.date32()
    assert table.count_rows() == len(DAYS) * ROWS
    got = table.to_table(filter=(ds.field("dt") == DAYS[4]) & (ds.field("id") < 4 * ROWS + 10)).sort_by("id")
    assert got.drop_columns("dt").cast(day(4).schema) == day(4).slice(0, 10)
    assert got["dt"].to_pylist() == [DAYS[4]] * 10
    scanner = table.scanner(columns=["id"])
    assert scanner.to_reader().read_all().num_rows == len(DAYS) * ROWS
    with pytest.raises(pa.ArrowInvalid):  # one that reads from the files, and waits with the interpreter's lock, could
        scanner.to_reader().read_all()


def test_a_gzipped_table_is_the_same_where_what_is_inside_is_stored(lake: Lake) -> None:
    raw(lake, gzipped, TO_ZSTD.replace("codec: zstd", "codec: {zstd: {level: 19}}"))
    assert [file.name.split(".", 2)[2] for file in lake.root.parent.glob("cold/lake/*/*")] == ["csv.zst"] * len(DAYS)
    table = storaged.dataset("lake", config=lake.config)
    got = table.to_table(filter=ds.field("dt") == DAYS[4]).sort_by("id")
    assert got.drop_columns("dt").cast(day(4).schema) == day(4)


def test_a_gzipped_table_is_read_as_the_table_that_it_lies_as(lake: Lake) -> None:
    raw(lake, gzipped, TO_PARQUET)
    blobs = [file.name.split(".", 2)[2] for file in lake.root.parent.glob("cold/lake/*/*")]
    assert blobs == ["csv.parquet"] * len(DAYS)
    table = storaged.dataset("lake", config=lake.config)
    assert {f.format.default_extname for f in table.get_fragments()} == {"parquet"}
    got = table.to_table(filter=ds.field("dt") == DAYS[4]).sort_by("id")
    assert got.drop_columns("dt").cast(day(4).schema) == day(4)
    [(count,)] = storaged.sql("SELECT count(*) FROM lake WHERE price >= 1", config=lake.config).fetchall()
    assert count == len(DAYS) * (ROWS - 4)


@pytest.mark.parametrize(("form", "name"), [("raw", "csv"), ("zstd", "csv"), ("parquet", "parquet")])
def test_an_empty_field_is_null_and_two_quotes_are_an_empty_text_in_each_form(lake: Lake, form: str, name: str) -> None:
    def odd(lake: Lake) -> None:
        lake.write("a.csv")
        (lake.root / "a.csv").write_text("n,word\n" + '1,""\n2,\n,plain\n4,"a, b"\n' * ROWS)

    raw(lake, odd, FORMS[form])
    table = storaged.dataset("lake", config=lake.config)
    assert [f.format.default_extname for f in table.get_fragments()] == [name], "it lies as that"
    first = table.to_table().slice(0, 4).to_pydict()
    assert first == {"n": [1, 2, None, 4], "word": ["", None, "plain", "a, b"]}


@pytest.mark.parametrize("form", FORMS)
def test_a_struct_of_json_lines_is_one_in_each_form(lake: Lake, form: str) -> None:
    def nested(lake: Lake) -> None:
        for number in range(len(DAYS)):
            lake.write(path_of(number, "jsonl"))
            lines = "".join(f'{{"id": {n}, "of": {{"word": "w{n % 7}", "n": {n}}}}}\n' for n in range(ROWS))
            (lake.root / path_of(number, "jsonl")).write_text(lines)

    raw(lake, nested, FORMS[form])
    found = storaged.dataset("lake", config=lake.config).to_table(columns=["id", "of"])
    assert found["of"].combine_chunks().field("n").to_pylist() == found["id"].to_pylist()
    assert found["of"][-1].as_py() == {"word": f"w{(ROWS - 1) % 7}", "n": ROWS - 1}


@pytest.mark.parametrize("form", FORMS)
def test_sql_sees_datasets_folders_and_patterns(lake: Lake, form: str) -> None:
    raw(lake, csv, FORMS[form])
    whole = storaged.sql("SELECT count(*), sum(id), count(word), min(dt) FROM lake", config=lake.config)
    ids = range(len(DAYS) * ROWS)
    words = len(DAYS) * (ROWS - len(range(0, ROWS, 7)))
    assert whole.fetchall() == [(len(ids), sum(ids), words, DAYS[0])]
    some = storaged.sql(
        """WITH one AS (SELECT * FROM "lake/dt=2026-01-0[12]") SELECT count(*) FROM one""", config=lake.config
    )
    assert some.fetchall() == [(2 * ROWS,)]
    one = storaged.sql(f'SELECT max(id) FROM "lake/{path_of(2, "csv")}"', config=lake.config)
    assert one.fetchall() == [(3 * ROWS - 1,)]


@pytest.mark.every(2)
@pytest.mark.parametrize("form", FORMS)
def test_sql_reads_json_lines_in_each_form(lake: Lake, form: str) -> None:
    """In a process of its own: one that waits for ever with the interpreter's lock is ended by nothing within it."""
    raw(lake, json_lines, FORMS[form])
    query = """SELECT count(*), sum(id) FROM lake WHERE dt > DATE '2026-01-01'"""
    program = f"import storaged; print(storaged.sql({query!r}, config={str(lake.config)!r}).fetchall())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    ids = range(ROWS, len(DAYS) * ROWS)
    assert done.stdout == f"[({len(ids)}, {sum(ids)})]\n", done.stderr


def test_sql_joins_with_what_a_connection_has(lake: Lake) -> None:
    raw(lake, csv)
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE wanted AS SELECT 5 AS id")
        found = storaged.sql("FROM lake JOIN wanted USING (id)", config=lake.config, connection=connection)
        assert found.project("id, price").fetchall() == [(5, 1.25)]


def test_only_files_of_wanted_partitions_are_opened(lake: Lake) -> None:
    """Known by which reads were counted."""
    raw(lake, parquet, TO_PARQUET)

    def opened() -> list[int]:
        gc.collect()  # pyarrow keeps files of its fragments open, and its threads let go of them when they come to it
        spooled = "".join(path.read_text() for path in (lake.place / "state").rglob("*") if path.is_file())
        return [spooled.count(f"dt={day}") for day in DAYS[:4]]

    schema = storaged.dataset("lake", config=lake.config).schema
    wait_for(lambda: opened() == [1] * 4, "to see its columns each is opened once")
    table = storaged.dataset("lake", config=lake.config, schema=schema)
    assert table.to_table(filter=ds.field("dt") == DAYS[1]).num_rows == ROWS
    del table
    wait_for(lambda: opened() == [1, 2, 1, 1], "that of the wanted day is opened once more")


def test_columns_that_grow_wider_go_together_and_others_are_named(lake: Lake) -> None:
    lake.write("a/1.parquet", "a/2.parquet", "b/3.parquet")
    pq.write_table(pa.table({"n": pa.array([1], pa.int8())}), lake.root / "a/1.parquet")
    pq.write_table(pa.table({"n": pa.array([1.5]), "more": ["x"]}), lake.root / "a/2.parquet")
    pq.write_table(pa.table({"n": pa.array([dt.date(2026, 1, 1)])}), lake.root / "b/3.parquet")
    lake.make_catalog()
    lake.good("scan")
    table = storaged.dataset("lake/a", config=lake.config)
    assert table.schema == pa.schema({"n": pa.float64(), "more": pa.string()})
    assert table.to_table().sort_by("n").to_pydict() == {"n": [1.0, 1.5], "more": [None, "x"]}
    with pytest.raises(UsageError, match=r"column 'n' is double in .*, and date32") as caught:
        storaged.dataset("lake", config=lake.config)
    assert "pattern" in str(caught.value.hint)


def test_what_is_no_table_is_named_and_what_is_hidden_is_left_out(lake: Lake) -> None:
    lake.write("a.csv", "_SUCCESS", ".hidden.csv", "_delta_log/0.json")
    lake.make_catalog()
    lake.good("scan")
    assert storaged.dataset("lake", config=lake.config).files == ["lake/a.csv"]
    lake.write("notes.txt", "b.csv.zst")
    lake.good("scan")
    with pytest.raises(UsageError, match=r"no tables by their names: lake/b\.csv\.zst, lake/notes\.txt") as caught:
        storaged.dataset("lake", config=lake.config)
    assert '"lake/*.csv"' in str(caught.value.hint)
    assert storaged.dataset("lake/*.csv", config=lake.config).files == ["lake/a.csv"]
    for nothing in ("lake/none", "lake/x*", "elsewhere"):
        with pytest.raises(UsageError, match="no object at"):
            storaged.dataset(nothing, config=lake.config)
    with pytest.raises(UsageError, match="query cannot be read"):
        storaged.sql("SELECT FROM FROM", config=lake.config)


@pytest.mark.parametrize("after", ["at its root", "as it is in another tier"])
def test_what_takes_another_form_while_it_is_used_is_an_error_and_never_another_table(lake: Lake, after: str) -> None:
    raw(lake, parquet)
    before = storaged.dataset("lake", config=lake.config)
    lake.policy(TO_PARQUET)
    lake.good("plan")
    lake.good("apply", "1", "--yes")
    lake.good("sweep", "--yes")
    assert before.to_table().num_rows == len(DAYS) * ROWS, "what was read by its name comes back under it"
    moved = storaged.dataset("lake", config=lake.config)
    if after == "at its root":
        lake.good("eject", "lake", "--yes")
    else:
        lake.good("restage", "lake/*", "--tier", "warm")
    with pytest.raises(OSError, match="no longer stored as it was when its form was looked at"):
        moved.to_table()
    assert storaged.dataset("lake", config=lake.config).count_rows() == len(DAYS) * ROWS
