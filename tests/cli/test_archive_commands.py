"""warm, restores, and what the other commands say of an object in an archive class."""

from __future__ import annotations

from typing import Any

import pytest

from storaged.stores.s3.session import S3Session
from storaged.testing.servers import ENVIRONMENT, MotoServer
from tests.cli.lake import Lake
from tests.cli.test_mistakes import fails

BODY = "the same words\n" * 1_000


class Vault:
    """A lake with a second dataset, `vault`, in a bucket whose objects a rule has archived."""

    def __init__(self, lake: Lake, moto: MotoServer, bucket: str) -> None:
        self.lake, self.moto, self.bucket = lake, moto, bucket
        self.user = S3Session(f"s3://{bucket}/vault", moto.access)
        access = f"{{endpoint: {moto.access.endpoint}, region: {moto.access.region}, path_style: true}}"
        lake.configure(
            more=f'  vault: {{root: "s3://{bucket}/vault", readers: storaged}}\nbuckets: {{{bucket}: {access}}}\n'
        )
        lake.good("catalog", "create")

    def put(self, *names: str, storage_class: str = "GLACIER") -> None:
        for name in names:
            self.user.call("put_object", Key=f"vault/{name}", Body=BODY.encode(), StorageClass=storage_class)
        self.lake.good("scan", "vault")

    def requests(self) -> int:
        return sum(request.operation == "RestoreObject" for request in self.moto.log())

    def states(self, *options: str) -> dict[str, str]:
        rows = self.lake.good("restores", "--json", *options).json["restores"]
        return {row["object"]: row["state"] for row in rows}


@pytest.fixture
def vault(lake: Lake, moto: MotoServer, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Vault:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return Vault(lake, moto, bucket)


def test_a_cold_object_fails_with_its_own_exit_code_until_it_was_warmed(vault: Vault) -> None:
    vault.put("a b.csv")
    lake = vault.lake
    fails(lake.ctl("cat", "vault/a b.csv"), 7, "GLACIER", "5 h (Standard)", "`storagectl warm 'vault/a b.csv'`")
    told = lake.ctl("cat", "vault/a b.csv", "--json")
    assert (told.code, told.json["error"]["kind"], told.json["error"]["exit_code"]) == (7, "ObjectCold", 7)

    assert (
        "asked for 1 object, 14.6 KiB, at Standard speed for 2 days"
        in lake.good("warm", "vault/a b.csv", "--days", "2").out
    )
    fails(lake.ctl("cat", "vault/a b.csv"), 7, "on its way")
    assert vault.states() == {"a b.csv": "warming"}
    vault.moto.finish_restores(vault.bucket)
    assert vault.states("--no-refresh") == {"a b.csv": "warming"}
    assert vault.states() == {"a b.csv": "readable"}
    assert lake.good("cat", "vault/a b.csv").out == BODY


def test_restores_show_what_tier_and_class_and_when(vault: Vault) -> None:
    vault.put("a.csv")
    vault.lake.good("warm", "vault", "--speed", "Bulk")
    [row] = vault.lake.good("restores", "--json").json["restores"]
    assert (row["dataset"], row["object"], row["tier"], row["storage_class"]) == ("vault", "a.csv", "hot", "GLACIER")
    assert (row["speed"], row["days"], row["stored_bytes"]) == ("Bulk", 7, len(BODY))
    assert row["asked_at"] < row["expected_at"]
    assert (row["ready_at"], row["readable_until"], row["error"]) == (None, None, None)
    shown = vault.lake.good("restores").out.splitlines()
    assert shown[0].split()[:5] == ["object", "tier", "class", "stored", "state"]
    assert shown[1].startswith("vault/a.csv  hot")
    assert vault.states("--state", "failed") == {}
    assert "1 on their way, the last expected" in vault.lake.good("status").out
    assert vault.lake.good("status", "--json").json["restores"]["warming"] == 1


def test_a_dry_run_says_what_it_would_take_and_changes_nothing(vault: Vault) -> None:
    vault.put("a.csv", "b.csv")
    vault.put("c.csv", storage_class="STANDARD")
    before = vault.lake.state()
    told = vault.lake.good("warm", "vault", "--dry-run", "--json").json
    assert {o["object"]: o["state"] for o in told["objects"]} == {
        "vault/a.csv": "asked",
        "vault/b.csv": "asked",
        "vault/c.csv": "readable",
    }
    assert (told["dry_run"], told["bytes"], told["speed"]) == (True, 2 * len(BODY), "Standard")
    assert "a fee per request and per byte" in told["billed"]["GLACIER"]
    assert told["ready_by"] == max(of["expected_at"] for of in told["objects"] if of["state"] == "asked")
    text = vault.lake.good("warm", "vault", "--dry-run").out
    assert "would ask for 2 objects" in text
    assert f"readable by {told['ready_by'][:13]}" in text
    assert (vault.requests(), vault.states()) == (0, {})
    assert vault.lake.state() == before


def test_much_is_asked_for_after_a_question_only(vault: Vault) -> None:
    vault.put(*(f"{n}.csv" for n in range(101)))
    fails(vault.lake.ctl("warm", "vault"), 2, "ask for 101 objects of 1.4 MiB, at Standard speed for 7 days", "--yes")
    fails(vault.lake.ctl("warm", "vault", "--yes", "--max-bytes", "1MiB"), 5, "--max-bytes is 1.0 MiB")
    assert vault.requests() == 0
    assert "and 81 more" in vault.lake.good("warm", "vault", "--yes", "--max-bytes", "2MiB").out
    assert vault.requests() == 101


def test_what_could_not_be_asked_for_is_listed_and_told_by_the_exit_code(vault: Vault) -> None:
    vault.put("a.csv")
    vault.put("b.csv", storage_class="DEEP_ARCHIVE")
    told = vault.lake.ctl("warm", "vault", "--speed", "Expedited", "--json")
    assert told.code == 3
    left: list[dict[str, Any]] = [o for o in told.json["objects"] if o["state"] == "left"]
    assert [o["object"] for o in left] == ["vault/b.csv"]
    assert "DEEP_ARCHIVE" in left[0]["reason"]
    assert vault.states() == {"a.csv": "warming"}


def test_a_store_that_cannot_be_looked_at_is_a_warning_and_an_exit_code(vault: Vault) -> None:
    vault.put("a.csv")
    vault.lake.good("warm", "vault")
    vault.moto.faults.add("AccessDenied", operation="HeadObject", key="vault/a.csv", times=100)
    told = vault.lake.ctl("restores", "--json")
    assert told.code == 3
    assert "warning: vault/a.csv" in told.err
    assert (told.json["restores"][0]["state"], told.json["errors"][0]["object"]) == ("warming", "vault/a.csv")


def test_locate_says_the_tier_and_class_that_the_catalog_has(vault: Vault) -> None:
    for number, kept in enumerate(("STANDARD", "GLACIER", "DEEP_ARCHIVE", "GLACIER_IR")):
        vault.put(f"{number}.csv", storage_class=kept)
        [place] = vault.lake.good("locate", f"vault/{number}.csv", "--json").json["places"]
        query = f"SELECT tier, storage_class FROM v_objects WHERE object = '{number}.csv'"
        [row] = vault.lake.good("sql", query, "--json").json
        assert (place["tier"], place["storage_class"]) == (row["tier"], kept) == (row["tier"], row["storage_class"])


def test_locate_says_how_readable_a_place_in_an_archive_class_is(vault: Vault) -> None:
    vault.put("a.csv")
    vault.put("b.csv", storage_class="STANDARD")

    def warmth(name: str) -> str | None:
        [place] = vault.lake.good("locate", f"vault/{name}", "--json").json["places"]
        return str(place["warmth"]) if place["warmth"] else None

    assert (warmth("a.csv"), warmth("b.csv")) == ("cold", None)
    vault.lake.good("warm", "vault/a.csv")
    assert warmth("a.csv") == "warming"
    vault.moto.finish_restores(vault.bucket)
    assert str(warmth("a.csv")).startswith("readable until 20")
    assert "in an archive class" in vault.lake.good("locate", "vault/a.csv").out
    assert "in an archive class" not in vault.lake.good("locate", "vault/b.csv").out
