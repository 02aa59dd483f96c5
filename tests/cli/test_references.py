"""What people see of references."""

from __future__ import annotations

import json

from tests.cli.lake import Lake

ZARR = {".zgroup": '{"zarr_format":2}', "t/.zarray": "{}"}


def refs(lake: Lake, name: str, *named: str) -> None:
    """As kerchunk writes them."""
    ranges = {f"t/{n}": [f"{lake.root}/{one}", 0, 8] for n, one in enumerate(named)}
    (lake.root / name).write_text(json.dumps({"version": 1, "refs": ZARR | ranges}))


def test_references_are_listed_with_what_they_name_and_what_is_missing(lake: Lake) -> None:
    lake.good("catalog", "create")
    lake.write("a.csv", "b.csv")
    refs(lake, "r.json", "a.csv", "gone.csv")
    assert lake.good("references").out == "no references\n"
    scanned = lake.good("scan", "--json").json["scans"][0]
    assert (scanned["references"], scanned["unread_references"], scanned["not_looked_into"]) == (1, 0, 0)
    listed = lake.good("references").out
    assert "1 file with references" in listed
    assert "lake/r.json names lake/gone.csv, which is not there" in listed
    [one] = lake.good("references", "lake", "--json").json["references"]
    assert (one["key"], one["targets"], one["missing"], one["missing_samples"], one["unread"]) == (
        *("r.json", 2, 1, ["lake/gone.csv"], None),
    )
    assert lake.ctl("references", "pond").code == 2
    plan = lake.good("plan").out
    assert "references name its path, and where in its bytes something is" in plan
    why = " ".join(lake.good("explain", "lake/a.csv").out.split())
    assert "named by references in lake/r.json: it keeps its path and its bytes" in why
    answer = lake.ctl("restage", "lake/a.csv", "--tier", "cold")
    assert answer.code == 5
    assert "lake/r.json names its path" in answer.err


def test_one_that_cannot_be_read_is_told_with_what_it_holds(lake: Lake) -> None:
    lake.good("catalog", "create")
    lake.write("a.csv")
    refs(lake, "r.json", "a.csv")
    text = (lake.root / "r.json").read_text()
    (lake.root / "r.json").write_text(text[:-9])
    assert "1 file with references cannot be read" in lake.good("scan").err
    listed = " ".join(lake.good("references").out.split())
    assert "it is damaged" in listed
    assert "all of lake keeps its place" in listed
    plan = " ".join(lake.good("plan").out.split())
    assert "references that cannot be read may name its path" in plan
