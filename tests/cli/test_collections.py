"""What people see of things of many files."""

from __future__ import annotations

from tests.cli.lake import POLICY, Lake


def test_what_is_one_thing_is_listed_held_back_and_let_go_on_by_one_word(lake: Lake) -> None:
    lake.good("catalog", "create")
    lake.write("array.zarr/zarr.json", "array.zarr/c.csv", "t/x.db", "t/x.db-wal", "plain.csv")
    answer = lake.good("scan")
    assert "array.zarr/: a Zarr array or group: nothing of it is moved by itself" in answer.err
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
    lake.policy(POLICY + "collections: ignroe\n")
    answer = lake.ctl("plan")
    assert answer.code == 2
    assert "did you mean `ignore`?" in answer.err
    (lake.root / "array.zarr/zarr.json").unlink()
    (lake.root / "t/x.db-wal").unlink()
    lake.good("scan")
    assert lake.good("collections").out == "no collections\n"
    assert lake.good("collections", "--json").json == {"collections": [], "more": 0}
