"""Each command does what it says, as text for people and as JSON for programs."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import Golden
from tests.cli.lake import NAMES, Lake, stable
from tests.cli.test_help import leaves

WORDS = (
    ("version",),
    ("config", "check"),
    ("config", "show"),
    ("config", "schema"),
    ("prices", "show", "local"),
    ("prices", "show", "aws/us-east-1/glacier"),
    ("prices", "check"),
    (
        "cost",
        "what-if",
        *("--objects", "9000", "--size", "1MB"),
        *("--from", "gcs/us-central1/standard"),
        "--to",
        "gcs/us-central1/archive",
    ),
    ("policy", "check"),
    ("policy", "list"),
    ("policy", "show", "shrink"),
    ("policy", "schema"),
    ("catalog", "info"),
    ("catalog", "upgrade"),
    ("catalog", "claim", "--yes"),
    ("scan",),
    ("ingest",),
    ("plan",),
    ("plan", "list"),
    ("plan", "show", "1"),
    ("plan", "discard", "2"),
    ("explain", "lake/2026/01.csv"),
    ("advise",),
    ("apply", "1", "--yes"),
    ("jobs",),
    ("job", "show", "1"),
    ("work",),
    ("savings",),
    ("forecast", "--months", "2"),
    ("status",),
    ("cost",),
    ("cost", "--by", "kind"),
    ("ls",),
    ("ls", "lake"),
    ("ls", "lake", "-r"),
    ("locate", "lake/2026/01.csv"),
    ("sql", "SELECT object, size FROM v_objects"),
    ("warm", "lake", "--dry-run"),
    ("warm", "lake/2026/01.csv"),
    ("restores",),
    ("verify",),
    ("hold", "lake/2026/01.csv", "--reason", "case 17"),
    ("hold", "lake/2026/01.csv", "--off"),
    ("policy", "history"),
    ("policy", "history", "shrink"),
    ("suspend", "tier:cold", "--reason", "the array is rebuilt"),
    ("suspensions",),
    ("notify", "list"),
    ("resume", "tier:cold"),
    ("pin", "lake/2026/01.csv", "--tier", "cold"),
    ("unpin", "lake/2026/01.csv"),
    ("undo", "lake/2026/01.csv"),
    ("overwritten",),
    ("collections",),
    ("references",),
    ("removable",),
    ("restage", "lake/2026/02.csv", "--to-root", "--dry-run"),
    ("rm", "lake/2026/02.csv", "--dry-run"),
    ("sweep", "--dry-run"),
    ("sweep", "--yes"),
    ("eject", "lake", "--yes"),
    ("catalog", "prune", "--dry-run"),
    ("catalog", "reconcile", "--yes"),
)
ELSEWHERE = {  # tests of their own
    *(("catalog", verb) for verb in ("create", "rebuild", "backup", "backups", "restore")),
    *(("systemd", verb) for verb in ("install", "show")),
    *(("job", verb) for verb in ("retry", "cancel")),
    ("tier", "move"),
    *(
        (name,)
        for name in ("init", "quickstart", "cat", "run", "top", "doctor", "simulate", "evaluate", "tune", "learn")
    ),
    ("lifecycle", "export"),
    ("notify", "test"),  # in tests/watching
}


@pytest.fixture
def planned(lake: Lake) -> Lake:
    """A scanned lake with the plans 1 and 2."""
    lake.fill()
    lake.good("plan")
    lake.good("plan")
    return lake


def test_every_command_prints_one_json_document_and_nothing_else(planned: Lake) -> None:
    for words in WORDS:
        answer = planned.good(*words, "--json")
        assert isinstance(answer.json, dict | list), words
        assert words[0] == "sql" or answer.out.isascii(), words


def test_every_command_prints_text_as_reviewed(planned: Lake, golden: Golden) -> None:
    told = ""
    for words in WORDS:
        if words[-1] != "schema" and words != ("version",):
            told += f"$ storagectl {' '.join(words)}\n{planned.good(*words).out}\n"
    assert "\x1b" not in told
    golden("commands", stable(told, planned.place))


def test_no_command_is_left_out_of_these_tests() -> None:
    paths = {path for path, command in leaves() if not hasattr(command, "commands")} | {("plan",), ("cost",)}
    tested = {w[:2] if w[:2] in paths else w[:1] for w in WORDS}
    assert tested | ELSEWHERE == paths


def test_json_may_stand_before_the_command_too(lake: Lake) -> None:
    lake.fill()
    assert lake.good("--json", "scan").json.keys() == lake.good("scan", "--json").json.keys()


def test_init_writes_a_configuration_that_lacks_its_places_only_and_overwrites_none(tmp_path: Path, lake: Lake) -> None:
    file = tmp_path / "mine.yaml"
    assert lake.good("init", str(file), "--json").json == {"file": str(file)}
    text = file.read_text()
    said = [line for line in lake.ctl("--config", str(file), "config", "check").err.splitlines() if str(file) in line]
    assert len(said) == 4
    assert all(line.endswith(" does not exist") for line in said)
    file.write_text("mine")
    assert lake.ctl("init", str(file)).code == 2
    assert file.read_text() == "mine"
    lake.good("init", str(file), "--force")
    assert file.read_text() == text


def test_schemas_are_schemas(lake: Lake) -> None:
    assert "tiers" in lake.good("config", "schema").json["properties"]
    assert "Policy" in lake.good("policy", "schema", "--json").json["$defs"]


def test_create_makes_a_catalog_and_claims_the_places(lake: Lake) -> None:
    told = lake.good("catalog", "create", "--json").json
    for tier in ("hot", "warm", "cold", "lake"):
        assert json.loads((lake.place / tier / ".storaged/claim.json").read_text())["catalog"] == told["id"]
    assert lake.ctl("catalog", "create").code == 10


def test_apply_does_what_the_plan_lists(lake: Lake) -> None:
    lake.moved()
    assert lake.good("jobs", "--state", "done", "--json").json["jobs"][0]["done"] == len(NAMES)
    for name in NAMES:
        assert lake.good("locate", f"lake/{name}", "--json").json["places"][1]["codec"] == "zstd"


def test_cat_writes_the_content_wherever_it_is(lake: Lake) -> None:
    lake.fill("raw.csv", "gone.csv")
    content = {name: (lake.root / name).read_text() for name in ("raw.csv", "gone.csv")}
    lake.configure(grace="0s")
    lake.policy((lake.place / "policies/policy.yaml").read_text().replace("format = 'csv'", "name = 'gone.csv'"))
    lake.good("plan")
    lake.good("apply", "1", "--yes")
    lake.good("sweep", "--yes")
    assert not (lake.root / "gone.csv").exists()
    for name, text in content.items():
        assert lake.good("cat", f"lake/{name}").out == text
    assert lake.good("ingest", "spool", "--json").json["sources"][0]["counted"] == 2


def test_apply_without_waiting_only_queues_and_work_does_the_rest(lake: Lake) -> None:
    lake.fill()
    lake.good("plan")
    queued = lake.good("apply", "1", "--yes", "--no-wait", "--json").json
    assert queued["objects"] == len(NAMES)
    assert lake.good("status", "--json").json["queue"]["queued"] == len(queued["jobs"]) == 1
    assert lake.good("work", "--once", "--json").json["done"] == len(NAMES)


def test_a_cancelled_job_can_be_retried(lake: Lake) -> None:
    lake.fill()
    lake.good("plan")
    lake.good("apply", "1", "--yes", "--no-wait")
    assert lake.good("job", "cancel", "1", "--reason", "not now", "--json").json["state"] == "cancelled"
    assert lake.good("work", "--json").json["done"] == 0
    assert lake.good("job", "retry", "1", "--json").json["objects"] == len(NAMES)
    assert lake.good("work", "--json").json["done"] == len(NAMES)


def test_plan_check_exits_with_4_as_long_as_there_is_something_to_do(lake: Lake) -> None:
    lake.fill()
    answer = lake.ctl("plan", "--check", "--json")
    assert answer.code == 4
    assert answer.json["actions"] == len(NAMES)
    lake.good("apply", "1", "--yes")
    lake.good("plan", "--check")


def test_undo_by_job_and_by_plan_takes_back_exactly_what_they_did(lake: Lake) -> None:
    lake.moved()
    lake.good("undo", "lake/b c.csv")
    answer = lake.ctl("undo", "--plan", "1", "--yes", "--json")
    assert answer.code == 3
    assert len(answer.json["done"]) == len(NAMES) - 1
    assert [r["object"] for r in answer.json["refused"]] == ["lake/b c.csv"]
    assert lake.ctl("undo", "--job", "1", "--yes").code == 5


def test_eject_puts_back_what_is_in_grace_and_what_is_released(lake: Lake) -> None:
    lake.released()
    assert lake.good("eject", "lake", "--dry-run", "--json").json["to_write"]["objects"] == len(NAMES)
    told = lake.good("eject", "lake", "--yes", "--json").json
    assert (told["undone"], told["done"]) == (0, len(NAMES))
    assert sorted(str(p.relative_to(lake.root)) for p in lake.root.rglob("*.csv")) == sorted(NAMES)
    assert lake.good("scan", "--json").json["scans"][0]["unchanged"] == len(NAMES)


def test_eject_says_beforehand_what_it_would_leave(lake: Lake) -> None:
    lake.moved()
    (lake.root / "b c.csv").unlink()
    ahead = lake.good("eject", "lake", "--dry-run", "--json").json
    told = lake.ctl("eject", "lake", "--yes", "--json").json
    assert ahead["left_out"] == told["left_out"] != []
    assert ahead["in_grace"]["objects"] == told["undone"] == len(NAMES) - 1
    assert "would be left out" in lake.good("eject", "lake", "--dry-run").out


def test_rm_deletes_what_was_released_and_undo_brings_it_back(lake: Lake) -> None:
    lake.released()
    assert lake.good("rm", "lake/2026/*", "--yes", "--json").json["done"] == ["lake/2026/01.csv", "lake/2026/02.csv"]
    assert lake.ctl("cat", "lake/2026/01.csv").code == 1
    lake.good("undo", "lake/2026/01.csv")
    assert "01.csv" in lake.good("cat", "lake/2026/01.csv").out


def test_restage_brings_objects_to_a_tier(lake: Lake) -> None:
    lake.released()
    assert lake.good("restage", "lake/2026/*", "--tier", "warm", "--json").json["done"] == 2
    places = lake.good("locate", "lake/2026/01.csv", "--json").json["places"]
    assert [p["tier"] for p in places if p["state"] == "current"] == ["warm"]


def test_rebuild_makes_a_lost_catalog_anew_and_undo_still_works(lake: Lake) -> None:
    lake.moved()
    (lake.place / "catalog.db").rename(lake.place / "lost.db")
    told = lake.good("catalog", "rebuild", "--yes", "--json").json
    assert told["entries"] == len(NAMES)
    assert told["scans"][0]["unchanged"] == len(NAMES)
    assert lake.good("catalog", "info", "--json").json["epoch"] == 2
    assert len(lake.good("undo", "lake", "--json").json["done"]) == len(NAMES)
    assert lake.ctl("catalog", "rebuild", "--yes").code == 10


def test_verify_finds_damage_and_exits_with_1(lake: Lake) -> None:
    lake.moved()
    [place] = [p for p in lake.good("locate", "lake/b c.csv", "--json").json["places"] if p["state"] == "current"]
    blob = lake.place / "cold" / place["key"]
    data = bytearray(blob.read_bytes())
    data[len(data) // 2] ^= 1
    blob.write_bytes(data)
    answer = lake.ctl("verify", "lake", "--json")
    assert answer.code == 1
    assert [d["object"] for d in answer.json["damaged"]] == ["lake/b c.csv"]
    assert lake.good("status", "--json").json["damaged"] == 1


def test_verify_looks_at_what_is_there_where_a_tier_is_not(lake: Lake) -> None:
    """A directory that is not mounted, a bucket that is gone: what is elsewhere is read, and the rest is skipped."""
    lake.moved()
    lake.write("late.csv")
    lake.good("scan")
    (lake.place / "cold").rename(lake.place / "unmounted")
    answer = lake.ctl("verify", "--json")
    assert answer.code == 3
    assert answer.json["checked"] == 1
    assert list(answer.json["reasons"]) == ["tier cold is away"]
    assert answer.json["damaged"] == []


def test_ingest_counts_an_access_log_once_and_status_tells_how_far_it_reaches(lake: Lake) -> None:
    log = {"name": "reads", "format": "jsonl", "path": "reads.jsonl", "since": "2026-01-01T00:00:00Z"}
    lake.configure(more=f"heat: [{json.dumps(log)}]\n")
    line = {"ts": "2026-02-01T00:00:00Z", "op": "read", "dataset": "lake", "object": "b c.csv", "bytes": 10}
    (lake.place / "reads.jsonl").write_text(f"{json.dumps(line)}\nno event\n")
    lake.fill()
    answer = lake.good("ingest", "reads", "--json")
    assert answer.json["sources"][0]["counted"] == 1
    assert "no event" in answer.err
    assert lake.good("ingest", "reads", "--json").json["sources"][0]["counted"] == 0
    assert lake.good("status", "--json").json["heat"][0]["from"] == "2026-01-01T00:00:00Z"


def test_sql_writes_every_format(lake: Lake, tmp_path: Path) -> None:
    lake.fill("a.csv")
    query = "SELECT object, size FROM v_objects"
    size = (lake.root / "a.csv").stat().st_size
    assert lake.good("sql", query).out.split() == ["object", "size", "a.csv", str(size)]
    assert lake.good("sql", query, "--format", "csv").out == f"object,size\na.csv,{size}\n"
    assert lake.good("sql", query, "--json").json == [{"object": "a.csv", "size": size}]
    assert json.loads(lake.good("sql", query, "--format", "jsonl").out) == {"object": "a.csv", "size": size}
    file = tmp_path / "rows.parquet"
    lake.good("sql", query, "--format", "parquet", "-o", str(file))
    assert pq.read_table(file).to_pylist() == [{"object": "a.csv", "size": size}]


def test_sql_cannot_write(lake: Lake) -> None:
    lake.fill("a.csv")
    assert lake.ctl("sql", "DELETE FROM objects").code == 2
    assert lake.ctl("sql", "WITH x AS (SELECT 1) DELETE FROM objects").code == 2
    assert lake.good("sql", "SELECT count(*) AS n FROM objects", "--json").json == [{"n": 1}]


def test_everybody_is_named_in_the_audit(lake: Lake) -> None:
    lake.moved("a.csv")
    lake.good("undo", "lake/a.csv")
    with sqlite3.connect(lake.place / "catalog.db") as connection:
        kinds = connection.execute("SELECT kind, actor FROM audit ORDER BY id").fetchall()
    connection.close()
    assert [k for k, _ in kinds] == ["swap", "undo"]
    assert all(actor.startswith("cli:") for _, actor in kinds)


def test_what_was_appended_to_a_released_file_is_listed_read_and_let_go(lake: Lake) -> None:
    lake.released()
    before = lake.good("cat", "lake/2026/01.csv").out
    path = lake.root / "2026/01.csv"
    path.write_text("one more line\n")
    lake.good("scan", "lake")
    [one] = lake.good("overwritten", "--json").json["overwritten"]
    assert (one["object"], one["generation"], one["now"]["bytes"]) == ("2026/01.csv", 1, len("one more line\n"))
    assert "2026/01.csv" in lake.good("overwritten", "lake/2026/*").out
    assert lake.good("overwritten", "lake/b c.csv").out == "nothing that was overwritten is kept\n"
    assert lake.good("cat", "lake/2026/01.csv").out == "one more line\n"
    assert lake.good("cat", "lake/2026/01.csv", "--generation", "1").out == before
    assert lake.ctl("cat", "lake/2026/01.csv", "--generation", "9").code == 2
    assert lake.good("status", "--json").json["overwritten"]["generations"] == 1
    assert "older generations" in lake.good("status").out
    assert "--generation 1" in lake.ctl("doctor").out
    assert lake.good("overwritten", "lake/2026/01.csv", "--confirm", "--dry-run", "--json").json["done"]
    assert lake.good("overwritten", "lake/2026/01.csv", "--confirm", "--json").json["done"] == ["lake/2026/01.csv"]
    assert lake.good("overwritten", "lake/2026/01.csv", "--keep", "--json").json["done"] == ["lake/2026/01.csv"]
    assert lake.ctl("overwritten", "--confirm").code == 2
    assert lake.ctl("overwritten", "lake", "--confirm", "--keep").code == 2


DIES_AT_WORK = """\
import os, signal, sys
from storaged.stores.local import LocalStore

def dies(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

LocalStore.create = dies
from storaged.cli import main
main()
"""


def test_who_holds_a_job_and_until_when_is_said(lake: Lake) -> None:
    lake.fill()
    lake.good("plan")
    lake.good("apply", "1", "--yes", "--no-wait")
    killed = subprocess.run([sys.executable, "-c", DIES_AT_WORK, "--config", str(lake.config), "work"], check=False)
    assert killed.returncode == -signal.SIGKILL
    told = lake.good("work", "--json").json
    assert (told["done"], [it["job"] for it in told["not_due"]]) == (0, [1])
    assert "another may take it over after 2" in told["not_due"][0]["reason"]
    assert "why it is not run now" in lake.good("work").out
    again = lake.ctl("restage", "lake/2026/01.csv", "--tier", "cold")
    assert again.code == 5
    assert "job 1 has it; " in again.err
    assert "may take it over after" in again.err


def test_status_says_whose_roots_are(lake: Lake) -> None:
    lake.fill()
    assert [d["claim"] for d in lake.good("status", "--json").json["datasets"]] == ["ours"]
    lake.root.rename(lake.place / "disk")
    lake.root.mkdir()
    assert [d["claim"] for d in lake.good("status", "--json").json["datasets"]] == ["lost: is it mounted?"]
    assert "lost: is it mounted?" in lake.good("status").out
    assert list(lake.root.iterdir()) == []
