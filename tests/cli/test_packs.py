"""Packs at the command line, from the plan to the job; what makes them is told elsewhere."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from storaged.catalog.engine import open_catalog
from storaged.catalog.schema import blobs, objects, replicas
from storaged.model import PACK
from tests.cli.lake import Lake

POLICY = """\
name: packed
target: {dataset: lake}
when: {size_over: 1}
to: {tier: cold, codec: pack}
group_by: {depth: 1}
"""
NAMES = ("2026/01.csv", "2026/02.csv", "2026/03.csv", "2025/01.csv", "2025/02.csv", "alone/x.csv")


@pytest.fixture
def packed(lake: Lake) -> Lake:
    """Files in three folders, one of them with a single one, and a policy that packs folders."""
    lake.policy(POLICY)
    return lake.fill(*NAMES)


def test_a_plan_and_its_jobs_name_the_packs(packed: Lake) -> None:
    """In text and in JSON; one job of each pack."""
    told = packed.good("plan").out
    assert "packed to 256 MiB, by the first folder" in told
    assert "5 objects" in told
    assert "in 2 packs" in told
    assert "held back: 1 object" in told
    assert "there is nothing to pack it with" in told
    assert "ratio not known yet" not in told  # neighbours were packed to tell
    rows = packed.good("plan", "show", "1", "--json").json["objects"]
    assert {row["name"]: row["pack"] for row in rows} == {name: f"{name[:4]}/0001" for name in NAMES[:5]}
    assert all(row["after_bytes"] < row["size"] / 2 for row in rows)
    assert "cold as pack 2026/0001" in packed.good("plan", "show", "1").out
    applied = packed.good("apply", "1", "--yes", "--no-wait", "--json").json
    shown = [packed.good("job", "show", str(job), "--json").json for job in applied["jobs"]]
    assert {job["pack"]: job["objects"] for job in shown} == {"2025/0001": 2, "2026/0001": 3}
    words = packed.good("job", "show", str(applied["jobs"][0])).out.split()
    assert words[words.index("pack") + 1] == shown[0]["pack"]
    history = packed.good("policy", "history", "packed", "--json").json["runs"]
    assert [run["packs"] for run in history] == [2]
    assert "packs" in packed.good("policy", "history", "packed").out


def test_explain_names_the_pack_that_a_member_is_in(packed: Lake) -> None:
    """By its key, which carries its name."""
    told = packed.good("explain", "lake/2026/01.csv").out
    assert "would go to cold and be packed to 256 MiB with others, if there are any" in told
    with open_catalog(f"sqlite:///{packed.place}/catalog.db") as catalog, catalog.begin() as conn:
        number = conn.execute(sa.select(objects.c.id).where(objects.c.name == "2026/01.csv")).scalar_one()
        cold = conn.execute(sa.text("SELECT id FROM tiers WHERE name = 'cold'")).scalar_one()
        blob = {"id": "b" * 32, "tier_id": cold, "key": "lake/2026/0001.bbbb.tar.zst", "state": "live", "codec": PACK}
        conn.execute(sa.insert(blobs).values(blob | {"size": 100, "index": b"", "created_us": 1}))
        row = {"object_id": number, "blob_id": "b" * 32, "length": 10, "generation": 1, "state": "current"}
        conn.execute(sa.insert(replicas).values(row))
        moved = {"raw_state": "released", "tier_id": cold, "codec": PACK}
        conn.execute(sa.update(objects).where(objects.c.id == number).values(moved))
    answer = packed.good("explain", "lake/2026/01.csv")
    assert "in cold as pack lake/2026/0001.bbbb.tar.zst" in answer.out
    assert "nothing to do: it is there already" in answer.out


def test_no_command_packs_an_object_by_itself(packed: Lake) -> None:
    """The codec of packs is the policies' alone."""
    packed.policy(POLICY.replace("codec: pack", "codec: pack:9"))
    answer = packed.ctl("policy", "check")
    assert answer.code != 0
    assert "policy.yaml:4" in answer.err + answer.out
    assert "{pack: {level: 9}}" in answer.err + answer.out
