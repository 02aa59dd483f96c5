"""A user's mistake ends in a message, a hint and an exit code; never in a traceback."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
from pathlib import Path
from string import ascii_letters

import pytest
import yaml
from typer import Typer
from typer.main import get_command

from storaged.cli.errors import INTERNAL, guarded
from storaged.cli.options import Options
from tests.cli.lake import NAMES, POLICY, Answer, Lake
from tests.postgres import PostgresServer


def fails(answer: Answer, code: int, *words: str) -> None:
    """The answer is an error of this code that says these words, and nothing is on stdout."""
    assert answer.code == code, answer
    assert answer.err.startswith("error: ") or "\nerror: " in answer.err
    assert "Traceback" not in answer.err
    assert answer.out == ""
    for word in words:
        assert word in answer.err, answer.err


def test_a_typo_in_the_configuration_is_told_by_line_with_a_suggestion(lake: Lake) -> None:
    text = lake.config.read_text().replace("readers: storaged", "raeders: storaged").replace("rank: 1", "rank: x")
    lake.config.write_text(text)
    fails(lake.ctl("scan"), 2, "2 problems", "storaged.yaml:5 at tiers.warm.rank", "storaged.yaml:8", "mean `readers`")
    told = lake.ctl("scan", "--json")
    assert told.code == 2
    assert told.err == ""
    assert [p["line"] for p in told.json["error"]["problems"]] == [5, 8]


def test_a_typo_in_a_policy_is_told_by_line_and_keeps_nothing_else_from_working(lake: Lake) -> None:
    lake.fill("a.csv")
    lake.policy(POLICY.replace("size_over", "size_ovr"))
    for command in (("plan",), ("policy", "check"), ("config", "check"), ("explain", "lake/a.csv")):
        fails(lake.ctl(*command), 2, "policy.yaml:3", "size_over")
    lake.good("status")


def test_a_policy_for_no_dataset_is_a_warning(lake: Lake) -> None:
    lake.policy(POLICY.replace("dataset: lake", "dataset: leak"))
    answer = lake.good("policy", "check", "--json")
    assert "warning:" in answer.err
    assert answer.json["warnings"][0]["line"] == 2


def test_without_a_configuration_the_hint_is_init(lake: Lake, tmp_path: Path) -> None:
    fails(lake.ctl("--config", str(tmp_path / "none.yaml"), "scan"), 2, "none.yaml", "storagectl init")


def test_a_plan_of_what_was_never_scanned_says_so(lake: Lake) -> None:
    lake.write("a.csv")
    lake.good("catalog", "create")
    assert "warning: lake was never scanned" in lake.good("plan", "--no-sample").err
    lake.good("scan")
    assert lake.good("plan", "--no-sample").err == ""


def test_a_column_that_no_view_has_is_told_with_those_that_it_has(lake: Lake) -> None:
    lake.fill("a.csv")
    fails(lake.ctl("sql", "SELECT foo FROM v_objects"), 2, "foo", "v_objects has dataset, object, ")
    fails(lake.ctl("ls", "nope"), 1, "no object of a dataset", "`storagectl ls` lists")


def test_without_a_catalog_the_hint_is_create(lake: Lake) -> None:
    fails(lake.ctl("scan"), 10, "catalog create")
    assert not (lake.place / "catalog.db").exists()


def test_a_file_that_is_no_catalog_is_named(lake: Lake) -> None:
    (lake.place / "catalog.db").write_text("this is something else, and longer than a header of SQLite " * 20)
    fails(lake.ctl("status"), 10, "no SQLite database")


def test_a_locked_catalog_is_waited_for_as_long_as_asked(lake: Lake) -> None:
    lake.fill("a.csv")
    holder = sqlite3.connect(lake.place / "catalog.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        fails(lake.ctl("--lock-wait", "0.1", "scan"), 11, "another process")
    finally:
        holder.close()
    lake.good("--lock-wait", "0.1", "scan")


@pytest.mark.parametrize(("revision", "hint"), [("9999", "update storaged")])
def test_a_newer_catalog_is_left_alone(lake: Lake, revision: str, hint: str) -> None:
    lake.fill("a.csv")
    with sqlite3.connect(lake.place / "catalog.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", [revision])
    connection.close()
    for command in (("scan",), ("status",), ("catalog", "upgrade"), ("sql", "SELECT 1")):
        fails(lake.ctl(*command), 10, "newer", hint)


def test_an_old_copy_of_the_catalog_may_not_act_until_it_is_reconciled(lake: Lake) -> None:
    lake.fill()
    shutil.copyfile(lake.place / "catalog.db", lake.place / "copy.db")
    lake.good("plan")
    lake.good("apply", "1", "--yes")
    shutil.copyfile(lake.place / "copy.db", lake.place / "catalog.db")
    fails(lake.ctl("scan"), 12, "catalog reconcile")
    assert lake.good("catalog", "reconcile", "--yes", "--json").json["entries"] == len(NAMES)
    lake.good("scan")


def test_places_of_another_catalog_are_refused(lake: Lake) -> None:
    lake.fill("a.csv")
    lake.configure(catalog=f"sqlite:///{lake.place}/other.db")
    fails(lake.ctl("catalog", "create"), 13, "belongs to catalog", "catalog rebuild")
    assert not (lake.place / "other.db").exists()


# MUST 13
def test_a_tier_that_lost_its_marker_is_refused_until_it_is_claimed(lake: Lake) -> None:
    lake.fill("a.csv")
    (lake.place / "warm/.storaged/claim.json").unlink()
    fails(lake.ctl("scan"), 13, "mounted")
    assert "lost" in lake.good("status").out
    lake.good("catalog", "claim", "--yes")
    lake.good("scan")


def test_an_empty_root_must_be_confirmed_and_other_datasets_are_scanned_all_the_same(lake: Lake) -> None:
    (lake.place / "pond").mkdir()
    (lake.place / "pond/a.csv").write_text("a")
    lake.configure(more=f'  pond: {{root: "file://{lake.place}/pond"}}\n')
    lake.fill("a.csv")
    (lake.root / "a.csv").unlink()
    answer = lake.ctl("scan", "--json")
    assert answer.code == 6
    assert [s["dataset"] for s in answer.json["scans"]] == ["pond"]
    assert "--confirm-empty" in answer.err
    assert lake.good("scan", "lake", "--confirm-empty", "--json").json["scans"][0]["vanished"] == 1


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A scanned lake for commands that change nothing."""
    return Lake(tmp_path_factory.mktemp("still")).fill("a.csv")


@pytest.mark.parametrize(
    ("command", "code", "word"),
    [
        (("scan", "nope"), 2, "there is no dataset 'nope'"),
        (("eject", "nope"), 2, "there is no dataset 'nope'"),
        (("explain", "lake/nope"), 2, "no object 'nope'"),
        (("explain", "lake"), 2, "is a dataset"),
        (("locate", "lake/nope"), 2, "no object 'nope'"),
        (("undo", "lake/nope"), 2, "no object 'nope'"),
        (("undo", "nope/x"), 2, "names no dataset"),
        (("undo", "lake/n*"), 2, "matches"),
        (("undo",), 2, "one of the three"),
        (("undo", "lake", "--job", "1"), 2, "one of the three"),
        (("undo", "--job", "9"), 2, "there is no job 9"),
        (("undo", "--plan", "9"), 2, "there is no plan 9"),
        (("cat", "lake/nope"), 1, "no object 'nope'"),
        (("ls", "nope"), 1, "no object"),
        (("apply", "9"), 2, "there is no plan 9"),
        (("apply", "x"), 2, "PLAN"),
        (("plan", "show", "9"), 2, "there is no plan 9"),
        (("plan", "discard", "9"), 2, "there is no plan 9"),
        (("plan", "--policy", "shrnk"), 2, "shrink"),
        (("policy", "show", "shrnk"), 2, "shrink"),
        (("job", "show", "9"), 2, "there is no job 9"),
        (("job", "retry", "9"), 2, "there is no job 9"),
        (("job", "cancel", "9"), 2, "there is no job 9"),
        (("jobs", "--state", "nope"), 2, "cancelled"),
        (("pin", "lake/a.csv", "--tier", "nope"), 2, "tiers are: cold, hot, warm"),
        (("restage", "lake/a.csv", "--tier", "nope"), 2, "tiers are: cold, hot, warm"),
        (("restage", "lake/a.csv"), 2, "--to-root"),
        (("restage", "lake/a.csv", "--to-root"), 5, "original key already"),
        (("hold", "lake/a.csv"), 2, "--reason"),
        (("rm", "lake/a.csv"), 5, "original key"),
        (("warm", "lake/nope"), 2, "no object 'nope'"),
        (("warm", "lake", "--speed", "fast"), 2, "Expedited, Standard, Bulk"),
        (("warm", "lake", "--days", "0"), 2, "--days"),
        (("warm", "lake", "--days", "9999"), 2, "from 1 to 3,650"),
        (("warm", "lake", "--max-bytes", "much"), 2, "500GiB"),
        (("restores", "--state", "cold"), 2, "warming, readable, expired, failed"),
        (("verify", "--sample", "0.5"), 2, "5%"),
        (("ingest", "nope"), 2, "spool"),
        (("sql", "SELECT nope"), 2, "nope"),
        (("sql", "DROP TABLE objects"), 2, "reading only"),
        (("sql", "SELECT 1", "--format", "xml"), 2, "parquet"),
        (("sql", "SELECT 1", "-o", "/nowhere/x"), 1, "cannot be written"),
        (("init", "/nowhere/x.yaml"), 1, "cannot be written"),
        (("scn",), 2, "Did you mean 'scan'"),
        (("scan", "--confirm"), 2, "--confirm-empty"),
        (("catalog",), 2, "catalog --help"),
        (("cat", "lake/\udcff"), 2, "UTF-8"),
    ],
)
def test_what_does_not_exist_is_named_with_a_way_on(
    still: Lake, command: tuple[str, ...], code: int, word: str
) -> None:
    answer = still.ctl(*command)
    fails(Answer(answer.code, "", answer.err), code, word)  # some tell on stdout what they left out
    told = still.ctl(*command, "--json")
    assert told.code == code
    assert told.json.get("error", {"exit_code": code})["exit_code"] == code


def test_a_fault_of_ours_is_one_line_and_the_traceback_only_on_demand(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> int:
        raise ZeroDivisionError("by\nzero")

    assert guarded(broken, Options()) == INTERNAL
    said = capsys.readouterr().err
    assert said.startswith("error: ZeroDivisionError: by\n")
    assert "Traceback" not in said
    monkeypatch.setenv("STORAGED_DEBUG", "1")
    assert guarded(broken, Options()) == INTERNAL
    assert "Traceback" in capsys.readouterr().err


def test_a_file_that_ends_too_early_is_no_interruption(capsys: pytest.CaptureFixture[str]) -> None:
    """Typer makes of any EOFError what it makes of Ctrl-D at a question."""
    app = Typer()

    @app.command()
    def read() -> None:
        raise EOFError("cut short")

    assert guarded(lambda: int(get_command(app).main([], standalone_mode=False)), Options()) == INTERNAL
    assert "error: EOFError: cut short" in capsys.readouterr().err


def test_failures_beyond_the_policys_rate_suspend_it_until_a_person_resumes_it(lake: Lake) -> None:
    names = [f"{i}.csv" for i in range(10)]
    lake.configure(more="workers: {batch_objects: 1}\n")
    lake.policy(POLICY + "limits: {stop_on_error_rate: 10%}\n")
    lake.fill(*names)
    lake.good("plan")
    taken = lake.place / "cold/lake"
    taken.write_bytes(b"")  # a file where the folder of the blobs belongs
    answer = lake.ctl("apply", "1", "--yes", "--json")
    assert answer.code == 3
    assert "stop_on_error_rate" in answer.err
    states = [j["state"] for j in lake.good("jobs", "--json").json["jobs"]]
    assert (states.count("failed"), states.count("queued")) == (2, 8)
    assert (answer.json["failed"], answer.json["waiting"]) == (2, 8)
    taken.unlink()
    lake.write(*names, rows=3_000)
    lake.good("scan")
    again = lake.good("plan", "--json").json["plan"]
    refused = lake.ctl("apply", str(again), "--yes")
    assert refused.code == 5
    assert "storagectl resume policy:" in refused.err
    lake.good("resume", "policy:shrink")
    assert lake.good("work", "--json").json["skipped"] == 8, "they changed since they were planned"


# MUST 6
def test_what_changed_since_the_plan_is_skipped_and_listed(lake: Lake) -> None:
    lake.fill("a.csv", "b.csv")
    lake.good("plan")
    lake.write("b.csv", rows=3_000)
    lake.good("scan")
    answer = lake.good("apply", "1", "--yes", "--json")
    assert (answer.json["done"], answer.json["skipped"]) == (1, 1)
    assert [(n["object"], n["reason"]) for n in answer.json["notes"]] == [
        ("lake/b.csv", "changed since it was planned")
    ]
    assert lake.ctl("apply", "1", "--yes").code == 5


def test_a_plan_that_is_not_what_its_policy_is_now_says_so_and_does_what_it_lists(lake: Lake) -> None:
    lake.fill("a.csv")
    lake.good("plan")
    lake.policy(POLICY + "keep_source: 1d\n")
    answer = lake.good("apply", "1", "--yes")
    assert "plan 1 is not what its policies, the tiers and its rows are now: it does what it lists" in answer.err
    assert lake.ctl("plan", "show", "1").code == 0


def test_a_tier_that_no_scan_has_seen_stops_nothing_and_all_say_what_takes_it_in(lake: Lake) -> None:
    lake.fill("a.csv", "b.csv")
    lake.good("plan")
    lake.config.write_text(
        lake.config.read_text().replace(
            "datasets:",
            f"""\
  new: {{rank: 3, url: "file://{lake.place}/new"}}
datasets:""",
        )
    )
    (lake.place / "new").mkdir()
    (lake.place / "policies/new.yaml").write_text(POLICY.replace("shrink", "further").replace("cold", "new"))
    said = lake.good("explain", "lake/a.csv").out
    assert "further (dry-run): cannot be planned: the catalog does not know tier 'new' yet (`storagectl scan`" in said
    assert "shrink decides" in said
    assert "new: `storagectl scan` claims it" in lake.good("status").out
    found = lake.ctl("doctor", "--json").json["findings"]
    assert [one["subject"] for one in found if one["check"] == "new-tier"] == ["tier:new"]
    assert "lost-claim" not in str(found)
    fails(lake.ctl("plan"), 2, "run `storagectl scan` once")
    fails(lake.ctl("restage", "lake/b.csv", "--tier", "new"), 2, "run `storagectl scan`")
    assert lake.good("apply", "1", "--yes", "--json").json["done"] == 2
    lake.good("scan")
    assert "ours" in lake.good("status").out
    assert "further" in lake.good("plan").out


class TestPostgres:
    """The same on a server."""

    @pytest.fixture
    def pond(self, tmp_path: Path, postgres: PostgresServer) -> Lake:
        """A lake whose catalog is an empty Postgres database."""
        (tmp_path / "place").mkdir()
        return Lake(tmp_path / "place", catalog=postgres.url(postgres.make_database()))

    def test_who_asks_as_a_superuser_is_told_what_that_means(self, pond: Lake) -> None:
        pond.fill("a.csv")
        answer = pond.good("sql", "SELECT object FROM v_objects", "--format", "csv")
        assert answer.out.split() == ["object", "a.csv"]
        assert "may get at files of the catalog's server" in answer.err
        assert pond.ctl("sql", "SELECT pg_read_file('/etc/passwd')").code == 2

    def test_a_life_on_postgres(self, pond: Lake) -> None:
        fails(pond.ctl("status"), 10, "catalog create")
        pond.moved()
        assert pond.good("status", "--json").json["datasets"][0]["moved_objects"] == len(NAMES)
        assert pond.good("jobs", "--json").json["jobs"][0]["created_at"].endswith("Z")
        assert pond.good("ls", "lake/2026", "--json").json[0]["codec"] == "zstd"
        assert pond.good("verify", "--json").json["checked"] == len(NAMES)
        assert pond.good("sql", "SELECT count(*) AS n FROM v_objects", "--json").json == [{"n": len(NAMES)}]
        assert len(pond.good("undo", "--job", "1", "--yes", "--json").json["done"]) == len(NAMES)

    def test_names_that_no_index_of_postgres_takes_are_skipped_and_said(self, pond: Lake) -> None:
        some = random.Random(7)  # what can be compressed would fit

        def deep(depth: int) -> str:
            return "/".join("".join(some.choices(ascii_letters, k=250)) for _ in range(depth))

        fits, not_known = deep(9), deep(11)
        path = os.open(pond.root, os.O_RDONLY | os.O_DIRECTORY)
        for name in not_known.split("/")[:-1]:  # further than one path may lead
            os.mkdir(name, dir_fd=path)
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=path)
            os.close(path)
            path = below
        with open(os.open("a.csv", os.O_CREAT | os.O_WRONLY, dir_fd=path), "wb") as file:
            file.write(b"x")
        os.close(path)
        log = pond.place / "reads.jsonl"
        told = {"ts": "2023-11-15T00:00:00Z", "op": "read", "dataset": "lake"}
        log.write_text("".join(json.dumps(told | {"object": name}) + "\n" for name in (fits, not_known, deep(40))))
        source = {"name": "log", "format": "jsonl", "path": str(log), "since": "2023-11-01T00:00:00Z"}
        pond.configure(catalog=yaml.safe_load(pond.config.read_text())["catalog"], more=f"heat: [{json.dumps(source)}]")
        pond.fill(fits, "b.csv")
        (scan,) = pond.good("scan", "--json").json["scans"]
        assert (scan["seen"], scan["skipped"], scan["vanished"]) == (2, 1, 0)
        assert "its name has more than 2,400 bytes" in str(scan)
        assert pond.good("ingest", "log", "--json").json["sources"][0]["unknown"] == 2
        assert "not-yet-scanned" not in pond.ctl("doctor").out

    def test_a_catalog_that_may_only_be_read_answers_and_refuses_to_change(
        self, pond: Lake, postgres: PostgresServer
    ) -> None:
        pond.fill("a.csv")
        database = pond.config.read_text().split("@/")[1].split("?")[0]
        postgres.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
        pond.good("status")
        pond.good("ls", "lake")
        fails(pond.ctl("scan"), 10, "cannot be written")
        fails(pond.ctl("plan"), 10, "cannot be written")
