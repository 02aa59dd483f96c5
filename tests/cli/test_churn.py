"""What users do between a plan and its jobs is no failure: it is skipped, with the reason, and suspends nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.lake import POLICY, Lake
from tests.cli.test_mistakes import fails


def deleted(path: Path) -> None:
    path.unlink()


def appended_to(path: Path) -> None:
    with path.open("a") as file:
        file.write("more\n")


def written_anew(path: Path) -> None:
    path.write_text("other words\n")


def replaced(path: Path) -> None:
    aside = path.with_name("aside")
    aside.write_bytes(path.read_bytes())
    aside.replace(path)


def made_empty(path: Path) -> None:
    path.write_bytes(b"")


def linked(path: Path) -> None:
    """As a nightly `cp -al` does."""
    backup = path.parent.parent / "backup"
    backup.mkdir(exist_ok=True)
    os.link(path, backup / path.name)


def made_private(path: Path) -> None:
    path.chmod(0o600)


def made_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def made_a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


CHURN = [deleted, appended_to, written_anew, replaced, made_empty, linked, made_private, made_a_folder, made_a_link]


# MUST Nothing gets stuck
@pytest.mark.parametrize("happens", CHURN)
def test_what_users_do_between_plan_and_apply_is_skipped_and_suspends_nothing(
    happens: Callable[[Path], None], lake: Lake
) -> None:
    lake.policy(POLICY + "limits: {stop_on_error_rate: 0%}\n")
    lake.fill(*(f"{i}.csv" for i in range(6)))
    lake.good("plan")
    for i in range(4):
        happens(lake.root / f"{i}.csv")
    answer = lake.good("apply", "1", "--yes", "--json").json
    assert (answer["done"], answer["skipped"], answer["failed"], answer["waiting"]) == (2, 4, 0, 0)
    reasons = {note["reason"] for note in answer["notes"] if note["state"] == "skipped"}
    assert len(reasons) == 1
    assert "since it was planned: `storagectl scan lake` records that" in reasons.pop()
    assert lake.good("suspensions", "--json").json["suspensions"] == []
    assert [job["state"] for job in lake.good("jobs", "--json").json["jobs"]] == ["done"]


@pytest.mark.parametrize(
    ("names", "to"), [(("t/a.csv", "t/b.csv"), "{tier: cold, codec: zstd}"), (("t/.zarray", "t/0.0"), "{tier: cold}")]
)
def test_a_link_in_the_place_of_a_folder_is_no_failure_either(names: tuple[str, ...], to: str, lake: Lake) -> None:
    """The second is a Zarr array, which moves whole."""
    whole = f"collections: {'whole' if '.zarray' in names[0] else 'keep'}\n"
    policy = f"name: p\ntarget: {{dataset: lake}}\nwhen: {{size_over: 1KiB}}\nto: {to}\n"
    lake.policy(policy + whole + "limits: {stop_on_error_rate: 0%}\n")
    lake.fill(*names, "c.csv")
    lake.good("plan")
    (lake.root / "t").rename(lake.root / "moved")
    (lake.root / "t").symlink_to("moved")
    answer = lake.good("apply", "1", "--yes", "--json").json
    assert (answer["done"], answer["skipped"], answer["failed"], answer["waiting"]) == (1, 2, 0, 0)
    reasons = {note["reason"] for note in answer["notes"] if note["state"] == "skipped"}
    assert {"reached through a symbolic link" in reason for reason in reasons} == {True}
    assert lake.good("suspensions", "--json").json["suspensions"] == []


def test_a_second_name_that_a_scan_has_seen_is_skipped_each_night_and_suspends_nothing(lake: Lake) -> None:
    lake.policy(POLICY + "limits: {stop_on_error_rate: 0%}\n")
    lake.fill("a.csv", "b.csv")
    linked(lake.root / "a.csv")
    lake.good("scan")
    for night in (1, 2):
        plan = str(lake.good("plan", "--json").json["plan"])
        answer = lake.good("apply", plan, "--yes", "--json").json
        assert (answer["done"], answer["skipped"], answer["failed"]) == (2 - night, 1, 0)
        [note] = [note for note in answer["notes"] if note["state"] == "skipped"]
        assert "allow_loss: [links]" in note["reason"]
    assert lake.good("suspensions", "--json").json["suspensions"] == []


def test_a_root_of_which_nothing_is_left_is_no_churn(lake: Lake) -> None:
    lake.fill("a.csv", "b.csv")
    lake.good("plan")
    for path in lake.root.glob("*.csv"):
        path.unlink()
    answer = lake.ctl("apply", "1", "--yes", "--json")
    assert answer.code == 3
    assert (answer.json["skipped"], answer.json["waiting"]) == (0, 2)
    assert {"is it mounted?" in note["reason"] for note in answer.json["notes"]} == {True}


def test_a_retry_that_does_nothing_says_why_and_what_leads_on(lake: Lake) -> None:
    lake.fill("a.csv", "b.csv")
    lake.good("plan")
    deleted(lake.root / "a.csv")
    lake.good("apply", "1", "--yes")
    fails(lake.ctl("job", "retry", "1"), 5, "job 1 is done", "1 were skipped", "`storagectl plan`")


def test_a_retry_says_which_job_has_what_failed(lake: Lake) -> None:
    lake.fill("a.csv")
    lake.good("plan")
    taken = lake.place / "cold/lake"
    taken.write_bytes(b"")
    answer = lake.ctl("apply", "1", "--yes")
    assert (answer.code, "`storagectl job retry 1`" in answer.err) == (3, True)
    lake.good("restage", "lake/a.csv", "--tier", "warm", "--no-wait")
    fails(lake.ctl("job", "retry", "1"), 5, "what failed is in job 2 now", "`storagectl job show 2`")
    lake.good("job", "cancel", "2")
    lake.good("job", "retry", "1")
    waits = "1 of its objects wait"
    fails(lake.ctl("job", "retry", "1"), 5, "job 1 is queued", waits, "`storagectl job cancel 1`")
    lake.good("job", "cancel", "1")
    lake.good("job", "retry", "1")
    taken.unlink()
    assert lake.good("work", "--json").json["done"] == 1


def test_what_is_no_file_any_more_is_named_once_and_not_gone(lake: Lake) -> None:
    lake.write("a.csv", "b.csv", "c.csv")
    lake.good("catalog", "create")
    lake.good("scan")
    for name in ("a.csv", "b.csv"):
        (lake.root / name).unlink()
    (lake.root / "a.csv").symlink_to("/etc/hostname")
    os.mkfifo(lake.root / "b.csv")
    found = lake.good("scan", "--json")
    assert [found.json["scans"][0][word] for word in ("skipped", "vanished", "unchanged")] == [2, 0, 1]
    again = lake.good("scan")
    assert again.err.count("a.csv") == again.err.count("b.csv") == 1
