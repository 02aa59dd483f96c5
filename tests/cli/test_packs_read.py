"""What the commands that read say of objects in packs."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.cli.lake import NAMES, Lake

PACKS = """\
name: packs
target: {dataset: lake}
when: {size_over: 1KiB}
to: {tier: cold, codec: pack}
"""


@pytest.fixture
def packed(lake: Lake) -> Lake:
    """All of it in one pack, the originals gone."""
    lake.configure(grace="0s")
    lake.policy(PACKS)
    lake.moved()
    lake.good("sweep", "--yes")
    assert not list(lake.root.rglob("*.csv"))
    return lake


@pytest.mark.skipif(shutil.which("zstd") is None, reason="no zstd")
def test_locate_tells_how_a_member_is_had_without_storaged(packed: Lake) -> None:
    for name in NAMES:
        [place] = packed.good("locate", f"lake/{name}", "--json").json["places"]
        assert (place["codec"], place["state"], place["offset"] > 0) == ("pack", "current", True)
        out = subprocess.run(place["unpack"], shell=True, capture_output=True, check=True)  # noqa: S602 (a person would)
        assert (out.stdout, out.stderr) == ((f"{name!r},the same words\n" * 2_000).encode(), b"")
        assert place["length"] == len(out.stdout)
    assert "from its pack, without storaged: zstd -dc " in packed.good("locate", f"lake/{NAMES[0]}").out


def test_members_are_listed_read_and_verified_like_any_object(packed: Lake) -> None:
    listed = packed.good("ls", "lake", "-r", "--json").json
    assert {entry["name"].removeprefix("lake/") for entry in listed} == set(NAMES)
    for name in NAMES:
        assert packed.good("cat", f"lake/{name}").out == f"{name!r},the same words\n" * 2_000
    assert packed.good("verify", "--json").json["checked"] == len(NAMES)
    [pack] = (packed.place / "cold").rglob("*.tar.zst")
    pack.write_bytes(pack.read_bytes()[:-1] + b"?")  # what it says of itself is damaged, and none of its objects
    answer = packed.ctl("verify", "--json")
    assert (answer.code, answer.json["refused"], answer.json["damaged"]) == (1, len(NAMES), [])
    assert "`storagectl restage`" in answer.err


def test_a_lost_pack_is_one_finding_with_how_many_objects_it_holds(packed: Lake) -> None:
    [pack] = (packed.place / "cold").rglob("*.tar.zst")
    pack.unlink()
    found = [f for f in packed.ctl("doctor", "--json").json["findings"] if f["check"] == "lost-blob"]
    assert [f["says"].split("it holds ")[1] for f in found] == [f"{len(NAMES)} objects, such as lake/{min(NAMES)}"]
    assert packed.ctl("cat", f"lake/{NAMES[0]}").code == 1
