"""storagectl catalog backup, backups, restore and prune, as a person types them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import _own_environment
from tests.cli.lake import Lake

__all__ = ["_own_environment"]

DAILY = "daemon: {backup: {tier: warm, keep: 2}}\n"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    place = tmp_path / "place"
    place.mkdir()
    return Lake(place)


def test_a_catalog_that_was_deleted_comes_back_in_two_commands(lake: Lake) -> None:
    lake.moved("a.csv", "b.csv")
    made = lake.good("catalog", "backup", "--tier", "warm", "--json").json
    content = lake.good("cat", "lake/a.csv").out
    lake.good("undo", "lake/b.csv")
    (lake.place / "catalog.db").unlink()
    shutil.rmtree(lake.place / "state")
    assert lake.ctl("status").code == 10
    [listed] = lake.good("catalog", "backups", "--json").json["backups"]
    assert listed == {name: value for name, value in made.items() if name not in ("removed", "problems")}
    restored = lake.good("catalog", "restore")
    assert restored.out.splitlines()[-1] == "now run `storagectl catalog reconcile`"
    for words in (("sweep", "--yes"), ("work",), ("catalog", "backup", "--tier", "warm")):
        assert lake.ctl(*words).code == 12
    lake.good("catalog", "reconcile", "--yes")
    assert lake.good("cat", "lake/a.csv").out == content
    query = "SELECT object, state FROM v_objects ORDER BY object"
    assert lake.good("sql", query, "--format", "csv").out.split()[1:] == ["a.csv,moved", "b.csv,raw"]
    lake.good("sweep", "--yes")


def test_the_configured_tier_keeps_so_many_and_another_keeps_all(lake: Lake) -> None:
    lake.configure(more=DAILY)
    lake.fill("a.csv")
    names = [lake.good("catalog", "backup", "--json").json["name"] for _ in range(3)]
    for _ in range(3):
        lake.good("catalog", "backup", "--tier", "cold")
    listed = lake.good("catalog", "backups", "--json").json["backups"]
    assert [b["name"] for b in listed if b["tier"] == "warm"] == [names[2], names[1]]
    assert len([b for b in listed if b["tier"] == "cold"]) == 3
    assert f"removed 1 older one: {names[1]}" in lake.good("catalog", "backup").out
    assert lake.good("catalog", "backups", "--tier", "warm").out.count("Z  warm") == 2


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("backup",), 2, "no tier is named for backups"),
        (("backup", "--tier", "none"), 2, "there is no tier 'none'"),
        (("backups", "--tier", "none"), 2, "there is no tier 'none'"),
        (("restore",), 2, "there is no backup"),
        (("restore", "20260101T000000Z"), 2, "there is no backup 20260101T000000Z"),
    ],
)
def test_mistakes_are_told_with_what_to_do(words: tuple[str, ...], code: int, message: str, lake: Lake) -> None:
    lake.fill("a.csv")
    answer = lake.ctl("catalog", *words)
    assert answer.code == code
    assert message in answer.err
    assert "hint:" in answer.err


def test_a_catalog_that_is_there_is_set_aside_only_when_asked_and_answered(lake: Lake) -> None:
    lake.fill("a.csv")
    lake.good("catalog", "backup", "--tier", "warm")
    before = (lake.place / "catalog.db").read_bytes()
    assert lake.ctl("catalog", "restore").code == 10
    assert lake.ctl("catalog", "restore", "--replace").code == 2, "nobody is there to answer"
    assert (lake.place / "catalog.db").read_bytes() == before
    [aside] = lake.good("catalog", "restore", "--replace", "--yes", "--json").json["aside"]
    assert Path(aside).read_bytes() == before
    lake.good("catalog", "reconcile", "--yes")


def test_a_damaged_backup_is_told_and_another_can_be_named(lake: Lake) -> None:
    lake.fill("a.csv")
    older = lake.good("catalog", "backup", "--tier", "warm", "--json").json["name"]
    newest = lake.good("catalog", "backup", "--tier", "warm", "--json").json["name"]
    (lake.place / "catalog.db").unlink()
    [part] = (lake.place / "warm/.storaged/backup").glob(f"*/{newest}/part-*")
    part.write_bytes(part.read_bytes()[:-1])
    answer = lake.ctl("catalog", "restore")
    assert (answer.code, "is damaged" in answer.err, "catalog backups" in answer.err) == (1, True, True)
    assert sorted(path.name for path in lake.place.glob("catalog.db*")) == []
    lake.good("catalog", "restore", older)


TABLES = (
    *("jobs", "plans", "runs", "scans", "audit", "restores", "daemons", "ledger_items", "charges", "notices"),
    "approvals",
)


def test_prune_says_what_it_forgets_and_a_dry_run_forgets_nothing(lake: Lake) -> None:
    lake.moved("a.csv")
    assert "nothing is old enough" in lake.good("catalog", "prune").out
    assert lake.good("catalog", "prune", "--json").json == {
        **dict.fromkeys(TABLES, 0),
        "dry_run": False,
    }
    assert lake.good("catalog", "prune", "--dry-run", "--json").json["dry_run"] is True
