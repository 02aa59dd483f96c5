"""What people see of things of many files."""

from __future__ import annotations

from typing import Any

from tests.cli.lake import POLICY, Lake

WHOLE = "name: whole\ntarget: {dataset: lake}\nwhen: {size_over: 1KiB}\nto: {tier: cold}\ncollections: whole\n"


def listed_of(lake: Lake, *options: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = lake.good("collections", *options, "--json").json["collections"]
    return found


def test_what_is_one_thing_is_listed_held_back_and_let_go_on_by_one_word(lake: Lake) -> None:
    lake.good("catalog", "create")
    lake.write("array.zarr/zarr.json", "array.zarr/c.csv", "t/x.db", "t/x.db-wal", "plain.csv")
    answer = lake.good("scan")
    assert "array.zarr/: a Zarr array or group: moved only by policies that say `collections: whole`" in answer.err
    assert "t/x.db*: an SQLite database" in answer.err
    assert lake.good("scan").err == ""
    assert lake.good("scan", "--json").json["scans"][0]["collections"] == 2
    listed = lake.good("collections").out
    assert "2 collections" in listed
    assert "lake: array.zarr/" in listed
    assert "lake: t/x.db*" in listed
    one, two = lake.good("collections", "lake", "--json").json["collections"]
    assert (one["prefix"], one["kind"], one["marker"], one["objects"]) == (
        *("array.zarr/", "zarr", "array.zarr/zarr.json", 2),
    )
    assert (two["prefix"], two["kind"], two["objects"]) == ("t/x.db", "sqlite", 2)
    assert lake.ctl("collections", "pond").code == 2
    plan = lake.good("plan").out
    assert "held back: 1 object" in plan
    assert "part of a Zarr array or group, which is one thing" in plan
    shown = lake.good("plan", "show", "1", "--held", "--json").json["objects"]
    assert [(row["name"], row["held"]) for row in shown] == [("array.zarr/c.csv", "collection:zarr")]
    why = lake.good("explain", "lake/array.zarr/c.csv").out
    assert "part of a Zarr array or group (array.zarr/), which is one thing" in " ".join(why.split())
    lake.policy(POLICY + "collections: ignore\n")
    assert "parts of collections: 1: each is moved by itself" in lake.good("plan").out
    assert lake.good("plan", "--json").json["actions"] == 2
    assert [(row["kind"], row["moved_by"]) for row in listed_of(lake, "--sort", "objects")] == [
        ("zarr", None),
        ("sqlite", None),
    ]
    lake.policy(WHOLE)
    held = {"policy": "whole", "tier": "cold", "held": None}
    assert [row["prefix"] for row in listed_of(lake, "--kind", "sqlite")] == ["t/x.db"]
    assert [row["moved_by"] for row in listed_of(lake, "--kind", "zarr")] == [held]
    assert "did you mean `zarr`?" in lake.ctl("collections", "--kind", "zar").err
    lake.policy(POLICY + "collections: ignroe\n")
    answer = lake.ctl("plan")
    assert answer.code == 2
    assert "did you mean `ignore`?" in answer.err
    lake.policy(WHOLE)
    assert "collections that move whole: 1, of 2 objects" in (told := lake.good("plan").out)
    assert "no program is known that reads all of it through storaged" in told
    (lake.root / "array.zarr/zarr.json").unlink()
    (lake.root / "t/x.db-wal").unlink()
    lake.good("scan")
    assert lake.good("collections").out == "no collections\n"
    assert lake.good("collections", "--json").json == {"collections": [], "more": 0}


def test_what_moves_whole_goes_and_comes_back_by_the_name_of_a_part_or_of_all(lake: Lake) -> None:
    lake.good("catalog", "create")
    lake.write("array.zarr/zarr.json", "array.zarr/c.csv")
    lake.good("scan")
    lake.policy(WHOLE)
    lake.good("plan")
    for name in ("lake/array.zarr", "lake/array.zarr/"):
        told = lake.good("explain", name).out
        assert "lake: a Zarr array or group (array.zarr/): 2 objects, 140.6 KiB, last written 2023-11-14" in told
        assert "whole decides: would go to cold with all of array.zarr/" in told
    assert lake.good("explain", "lake/array.zarr", "--json").json["subject"]["part_of"]["asked"]
    assert "2 objects" in lake.good("apply", "1", "--yes").out
    for target in ("lake/array.zarr/c.csv", "lake/array.zarr"):
        answer = lake.good("undo", target, "--dry-run", "--json").json
        assert answer["done"] == ["lake/array.zarr/c.csv", "lake/array.zarr/zarr.json"]
    assert (
        "lake/array.zarr/ was moved whole, so undo is of all of it: 2 objects"
        in lake.good("undo", "lake/array.zarr").out
    )
    assert [row["tiers"] for row in listed_of(lake)] == [["hot"]]


def test_undo_does_not_say_that_it_goes_back_once_its_grace_is_over(lake: Lake) -> None:
    lake.good("catalog", "create")
    lake.write("array.zarr/zarr.json", "array.zarr/c.csv")
    lake.good("scan")
    lake.policy(WHOLE + "keep_source: 0d\n")
    lake.good("plan")
    lake.good("apply", "1", "--yes")
    lake.good("sweep", "--yes")
    answer = lake.ctl("undo", "lake/array.zarr")
    assert answer.code == 5
    assert "goes back" not in answer.out
    assert "lake/array.zarr/ was moved whole, so undo is of all of it: 2 objects" in answer.out
    assert "its grace is over and the source is released; `storagectl restage --to-root` writes it back" in answer.err
    lake.good("restage", "--to-root", "lake/array.zarr")
    assert [row["tiers"] for row in listed_of(lake)] == [["hot"]]


def test_undo_of_a_whole_says_at_once_which_part_stays_as_its_user_wrote_it(lake: Lake) -> None:
    lake.good("catalog", "create")
    lake.write("array.zarr/zarr.json", "array.zarr/c.csv")
    lake.good("scan")
    lake.policy(WHOLE)
    lake.good("plan")
    lake.good("apply", "1", "--yes")
    lake.write("array.zarr/c.csv", rows=3_000)
    ahead = lake.good("undo", "lake/array.zarr", "--dry-run", "--json").json
    assert (ahead["done"], [row["object"] for row in ahead["refused"]]) == (
        ["lake/array.zarr/zarr.json"],
        ["lake/array.zarr/c.csv"],
    )
    assert ahead["refused"][0]["reason"] == "its user wrote it anew at its original key: that stays"
    answer = lake.ctl("undo", "lake/array.zarr")
    assert answer.code == 3
    assert "1 object of 2 left as before" in answer.err
    assert "lake/array.zarr/c.csv  it is at its original key already, as it was written" in answer.out
    assert [row["tiers"] for row in listed_of(lake)] == [["hot"]]
