"""Advice: what it says, that its policies are policies, and that its dollars are those of the plan."""

from __future__ import annotations

import json
import os
import random
import re
import time
import zipfile
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from storaged.catalog.engine import open_catalog
from storaged.clock import SystemClock, iso
from storaged.config.settings import load_settings
from storaged.mounts import mount_of, mounts
from storaged.work.advise import run
from storaged.work.advise.atime import Atime, keeps, look_at_atime
from storaged.work.context import Context
from tests.cli.conftest import Golden
from tests.cli.lake import OLD, Lake, stable

PRICES = {"hot": "standard", "warm": "standard-ia", "cold": "glacier-ir"}
TABLE = "tables/<img src=x>&'.csv"


def put(lake: Lake, name: str, data: bytes) -> None:
    """A user's file, written some time ago."""
    path = lake.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (OLD, OLD))


def line(number: int) -> bytes:
    return (
        json.dumps({"user": f"u{number % 97}", "path": f"/a/{number % 13}", "ms": number * 7 % 1001}).encode() + b"\n"
    )


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def mixed(lake: Lake) -> Lake:
    """Small events, a table, pictures and an archive; tiers with prices, and no policies."""
    for day in range(120):
        put(lake, f"events/{day:03}.jsonl", b"".join(line(day * 400 + n) for n in range(400)))
    put(
        lake,
        TABLE,
        b"id,name,amount\n" + b"".join(b"%d,name %d,%d.5\n" % (n, n % 50, n % 999) for n in range(20_000)),
    )
    for n in range(3):
        put(lake, f"pictures/{n}.jpg", b"\xff\xd8\xff\xe0" + noise(n, 300_000))
    (lake.place / "policies/policy.yaml").unlink()
    price(lake)
    lake.make_catalog()
    lake.good("scan")
    return lake


def price(lake: Lake) -> None:
    text = lake.config.read_text()
    for tier, name in PRICES.items():
        text = text.replace(f"  {tier}: {{", f"  {tier}: {{prices: aws/us-east-1/{name}, ")
    lake.config.write_text(text)


def money(policies: list[dict[str, Any]]) -> dict[str, Any]:
    return {p["policy"] if "policy" in p else p["name"]: p["money"] for p in policies}


def test_advice_is_as_reviewed_and_changes_nothing(mixed: Lake, golden: Golden) -> None:
    """The page says the same, needs nothing from elsewhere, and shows names as text."""
    before, file = mixed.state(), mixed.place.parent / "advice.html"
    told = mixed.good("advise", "--html", str(file)).out
    assert mixed.state() == before
    golden("advise", stable(told, mixed.place))
    page = file.read_text()
    assert "lake/tables/&lt;img src=x&gt;&amp;&#x27;.csv" in page
    assert re.search(r"<script|<[^>]*(src|href)=|url\(|://", page) is None
    assert "saved in 12 months" in page
    assert page.count("<pre") == 2


def test_its_policies_hold_and_come_to_what_the_plan_says(mixed: Lake) -> None:
    """Of what is read by path, once all read through storaged; until then it says what holds it back. What
    storaged.yaml says of a dataset counts at once, before any scan. No file that is there is written over: the same
    again is no trouble, and where one says something else, none is written."""
    text, into = mixed.config.read_text(), mixed.place / "policies"
    mixed.config.write_text(text.replace("readers: storaged", "readers: raw"))
    told = mixed.good("advise", "--write", str(into), "--json").json
    assert {p["policy"] for p in told["proposals"]} == {"advised-5-packs", "advised-6-parquet-larger"}
    assert all(p["needs_readers"] == ["lake"] for p in told["proposals"])
    packs, parquet = sorted(map(Path, told["written"]))
    assert mixed.good("policy", "check", "--json").json["warnings"] == []
    assert mixed.good("plan", "--json").json["actions"] == 0
    mixed.config.write_text(text.replace("readers: storaged", "readers: storaged, hold: case 7"))
    assert "held back: a legal hold: case 7" in mixed.good("explain", f"lake/{TABLE}").out
    mixed.config.write_text(text)
    plan = mixed.good("plan", "--json").json
    assert plan["actions"] == 121
    assert money(plan["policies"]) == money(told["proposals"])
    assert plan["money"] == told["money"]
    packs.unlink()
    assert mixed.good("advise", "--write", str(into), "--json").json["written"] == [str(packs)]
    parquet.write_text(parquet.read_text().replace("dry-run", "disabled"))
    packs.unlink()
    answer = mixed.ctl("advise", "--write", str(into))
    assert answer.code == 2
    assert "says something else" in answer.err
    assert [p.name for p in into.iterdir()] == [parquet.name]


def test_what_is_dense_is_left_alone_with_the_reason(mixed: Lake) -> None:
    put(mixed, "noise.bin", noise(9, 400_000))
    with zipfile.ZipFile(mixed.root / "a.zip", "w") as archive:
        archive.writestr("inside", b"the same words\n" * 10_000)
    put(mixed, "film.mp4", b"\0\0\0\x20ftypisom" + noise(8, 400_000))
    mixed.good("scan")
    for name, why in (
        ("pictures/0.jpg", "it is jpeg, which is compressed already"),
        ("a.zip", "it is zip, which is compressed already"),
        ("film.mp4", "it is mp4, which is compressed already"),
        ("noise.bin", "it does not shrink"),
    ):
        told = mixed.good("advise", f"lake/{name}", "--json").json
        assert (told["choice"], told["why"]) == ("identity", f"{why}: it stays as it is")
        assert all(c["why_not"] and c["money"] is None for c in told["candidates"])
    told = mixed.good("advise", f"lake/{TABLE}", "--json").json
    assert told["choice"] == "parquet"
    assert [c["codec"] for c in told["candidates"] if c["money"]] == ["zstd", "parquet"]
    assert "choice: parquet: parquet leaves 1% of it, the least" in mixed.good("advise", f"lake/{TABLE}").out


def test_samples_choose_the_codec_of_each_kind(mixed: Lake) -> None:
    """The choice is in the plan's rows and told by explain; pictures stay, with the reason; the second time there is
    nothing to do, also for what its kind's codec turns out not to take."""
    put(mixed, "other.csv", noise(3, 300_000))
    mixed.good("scan")
    mixed.policy("name: best\ntarget: {dataset: lake}\nwhen: {size_over: 100KiB}\nto: {codec: auto}\n")
    assert "parquet (auto: parquet leaves" in mixed.good("explain", f"lake/{TABLE}").out
    for name in ("pictures/0.jpg", "pictures/1.jpg"):
        told = mixed.good("explain", f"lake/{name}").out
        assert "nothing to do: auto: pictures/0.jpg: it is jpeg, which is compressed already" in told
    plan = mixed.good("plan", "--no-sample", "--json").json
    assert plan["actions"] == 2
    assert any(
        note.startswith("left alone: lake, jpg: pictures/0.jpg: it is jpeg") for note in plan["policies"][0]["notes"]
    )
    rows = {row["name"]: row for row in mixed.good("plan", "show", "1", "--json").json["objects"]}
    assert {(row["codec"], row["reason"].rpartition("; ")[2][:21]) for row in rows.values()} == {
        ("parquet", "auto: parquet leaves ")
    }
    assert mixed.good("apply", "1", "--yes", "--json").json["done"] == 1
    assert mixed.good("plan", "--json").json["actions"] == 0
    told = mixed.good("explain", "lake/other.csv").out
    assert "nothing to do: " in told
    assert "does not take it" in told


def test_what_file_systems_say_of_reads_is_told_only_if_asked_for_and_marked(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was asked before samples were read, which would change it."""
    now = time.time()
    for name, read_days, size in (("new.csv", 1, 100), ("months.csv", 100, 300), ("never.csv", 800, 600)):
        put(lake, name, b"a,b\n" * (size // 4))
        os.utime(lake.root / name, (now - read_days * 86_400, now - 800 * 86_400))
    (lake.place / "policies/policy.yaml").unlink()
    lake.make_catalog()
    lake.good("scan")
    assert lake.good("advise", "--json").json["atime"] is None
    for options, kept in (("rw,relatime", "relatime"), ("rw,noatime", "noatime"), ("rw", "strictatime")):
        monkeypatch.setattr(
            "storaged.work.advise.atime.mounts", lambda o=options: mounts(f"1 0 8:1 / / {o} - ext4 x rw")
        )
        for name, read_days in (("new.csv", 1), ("months.csv", 100), ("never.csv", 800)):
            os.utime(lake.root / name, (now - read_days * 86_400, now - 800 * 86_400))
        told = lake.good("advise", "--atime", "--json").json["atime"]
        [share] = told["datasets"]
        assert share["kept"] == kept
        assert (share["objects"], share["files"], share["bytes"]) == (3, 3, 1_000)
        assert share["not_opened"] == [
            {"days": 30, "bytes": 900}, {"days": 90, "bytes": 900}, {"days": 365, "bytes": 600},
        ]  # fmt: skip
        assert share["not_since_written_bytes"] == 600
    file = lake.place / "advice.html"
    text = lake.good("advise", "--atime", "--html", str(file)).out
    for said in (text, file.read_text()):
        assert "no policy goes by it" in said
        assert "60 %" in said
    assert "--atime" in lake.good("advise").out
    assert lake.ctl("advise", "lake/new.csv", "--atime").code == 2


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("1 0 8:1 / /srv rw,nosuid,noatime - ext4 /dev/a rw", "noatime"),
        ("1 0 8:1 / /srv ro,relatime - ext4 /dev/a ro", "noatime"),
        ("1 0 8:1 / /srv rw,relatime master:1 - nfs4 host:/a rw", "server"),
        ("1 0 8:1 / /srv rw,relatime - fuse.sshfs host:/a rw", "server"),
        ("1 0 8:1 / /srv rw,nodiratime - xfs /dev/a rw", "strictatime"),
        ("1 0 8:1 / /elsewhere rw - xfs /dev/a rw", "unknown"),
    ],
)
def test_how_a_mount_keeps_the_time_of_a_read_is_told_by_its_line(line: str, kept: str) -> None:
    assert keeps(mount_of("/srv/data", mounts(line))) == kept


def test_of_very_many_files_some_are_asked_and_of_buckets_none(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storaged.work.advise.atime.LOOKED_AT", 4)
    for n in range(30):
        put(lake, f"{n}.bin", b"x" * 10)
    lake.make_catalog()
    lake.good("scan")
    (lake.root / "8.bin").unlink()
    with open_catalog(load_settings(lake.config).catalog) as catalog:
        context = Context(load_settings(lake.config), catalog, SystemClock(), actor="test")
        [share] = look_at_atime(context, ["lake"]).shares
        assert (share.objects, 2 <= share.files <= 4, share.bytes) == (30, True, 10 * share.files)
        context.datasets["lake"] = replace(context.datasets["lake"], root="s3://bucket/lake")
        assert look_at_atime(context, ["lake"]) == Atime((), ("lake",))


def test_an_object_that_is_not_there_and_options_that_are_for_more_are_mistakes(mixed: Lake) -> None:
    assert mixed.ctl("advise", "lake/none").code == 2
    assert mixed.ctl("advise", "lake/").code == 2
    assert mixed.ctl("advise", "none").code == 2
    assert mixed.ctl("advise", f"lake/{TABLE}", "--write", "x").code == 2
    assert mixed.ctl("advise", f"lake/{TABLE}", "lake").code == 2


def test_where_nothing_pays_it_says_so_and_why(lake: Lake) -> None:
    (lake.place / "policies/policy.yaml").unlink()
    for n in range(3):
        put(lake, f"{n}.bin", noise(n, 200_000))
    lake.make_catalog()
    lake.good("scan")
    out = lake.good("advise").out
    assert "nothing here could be smaller, colder or in packs" in out
    assert "what anything costs: no tier has `prices`" in out
    assert "no log covers it, so nothing there counts as idle" in out


def test_of_what_was_just_written_it_says_that_it_is_too_young(lake: Lake) -> None:
    """Policies leave alone what is younger than a day: there is something to gain, tomorrow."""
    for n in range(3):
        put(lake, f"{n}.csv", b"the same words\n" * 20_000)
        os.utime(lake.root / f"{n}.csv")
    (lake.place / "policies/policy.yaml").unlink()
    lake.make_catalog()
    lake.good("scan")
    told = lake.good("advise").out
    assert "nothing here could be" not in told
    assert "no policy pays" not in told
    assert "or a policy of yours" not in told
    assert told.index("nothing is old enough yet:") < told.index("a day old yet: ask again tomorrow")


def test_advice_before_a_scan_asks_for_one(lake: Lake) -> None:
    lake.make_catalog()
    answer = lake.ctl("advise")
    assert answer.code == 2
    assert "storagectl scan" in answer.err


def test_what_the_logs_call_idle_is_proposed_for_the_tier_that_saves_most(
    mixed: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what is read is not. Own policies come first: what they take is not proposed again. Nor is what saves too
    little of what there is."""
    now = int(time.time())
    reads = [
        {"ts": iso((now - ago * 86_400) * 1_000_000), "op": "GET", "url": f"file://{mixed.root}/{TABLE}"}
        for ago in (100, 2, 1)
    ]
    (mixed.place / "reads.jsonl").write_text("".join(json.dumps(each) + "\n" for each in reads))
    since = iso((now - 101 * 86_400) * 1_000_000)
    with mixed.config.open("a") as config:
        config.write(f"heat: [{{name: log, format: jsonl, path: reads.jsonl, since: {since}}}]\n")
    mixed.good("ingest")
    told = mixed.good("advise", "--json").json
    texts = {p["policy"]: p for p in told["proposals"]}
    assert texts["advised-2-idle-packs"]["objects"] == 120
    assert {d["why"] for d in told["not_proposed"] if d["policy"] == "advised-2-idle-packs"} == {
        "another tier saves more"
    }
    assert texts["advised-4-idle-larger"]["objects"] == 3
    assert texts["advised-6-parquet-larger"]["objects"] == 1
    assert all("retrieval" in " ".join(p["risks"]) for p in told["proposals"] if "idle" in p["policy"])
    mixed.policy("name: mine\ntarget: {dataset: lake}\nwhen: {format: jsonl}\nto: {tier: cold}\nmode: active\n")
    names = {p["policy"] for p in mixed.good("advise", "--json").json["proposals"]}
    assert "advised-2-idle-packs" not in names
    assert names
    monkeypatch.setattr(run, "_WORTH", Decimal(1))
    told = mixed.good("advise", "--json").json
    assert told["proposals"] == []
    assert any(d["why"].startswith("it saves less than 100% of what they cost a month") for d in told["not_proposed"])
