"""What is refused on the way back, and what is done with what is there already."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from storaged.catalog.facts import get, put
from storaged.errors import (
    CatalogError,
    PermissionDenied,
    SchemaOutOfDate,
    StoragedError,
    UsageError,
    VerificationFailed,
)
from storaged.testing import Fault, Faults, FaultyStore
from storaged.testing.faults import cut, flipped
from storaged.work.recover import backup
from storaged.work.recover.restore import choose, find, restore
from tests.backup.vaults import Vault


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("harm", ["flipped", "cut", "missing", "exchanged"])
def test_a_damaged_part_is_refused_and_an_older_backup_restores(harm: str, vault: Vault) -> None:
    vault.scan()
    older = vault.back_up().backup.name
    newest = vault.back_up().backup
    folder = f"{backup.prefix(newest.catalog)}{newest.name}/"
    last, first = folder + newest.parts[-1].name, folder + newest.parts[0].name
    data = vault.cold.read_note(last)
    assert data
    assert len(newest.parts) > 2
    if harm == "missing":
        vault.cold.delete_note(last)
    else:
        bad = {"flipped": flipped(data), "cut": cut(data), "exchanged": vault.cold.read_note(first) or b""}[harm]
        vault.cold.write_note(last, bad, create_only=False)
    vault.lose()
    with pytest.raises(
        VerificationFailed, match=f"{newest.parts[-1].name} of backup {newest.name} .* is (damaged|missing)"
    ):
        vault.restore()
    assert not list(vault.place.glob("*.restoring*"))
    vault.restore(older)
    vault.come_back()


def test_a_manifest_that_cannot_be_read_is_told_and_hides_no_other(vault: Vault) -> None:
    vault.scan()
    older = vault.back_up().backup.name
    newest = vault.back_up().backup
    name = f"{backup.prefix(newest.catalog)}{newest.name}/{backup.MANIFEST}"
    whole = vault.cold.read_note(name) or b""
    tiers = {"cold": vault.cold}
    for bad, why in (
        (cut(whole), "damaged"),
        (b"", "damaged"),
        (b"[]", "damaged"),
        (json.dumps({"format": 99}).encode(), "newer storaged"),
        (json.dumps({**json.loads(whole), "digest": None, "parts": [{}]}).encode(), "damaged"),
    ):
        vault.cold.write_note(name, bad, create_only=False)
        found = find(tiers)
        assert [b.name for b in found.backups] == [older]
        assert why in found.problems[0]
        assert vault.back_up(keep=9).removed == []
        vault.cold.delete_note(f"{backup.prefix(newest.catalog)}{find(tiers).backups[0].name}/{backup.MANIFEST}")


def test_a_tier_that_is_away_is_told_and_hides_no_other(vault: Vault) -> None:
    vault.scan()
    made = vault.back_up().backup.name
    away = FaultyStore(vault.context.tier("hot"), Faults(Fault("read_note", 0, PermissionDenied("no entry"))))
    found = find({"hot": away, "cold": vault.cold})
    assert ([b.name for b in found.backups], found.problems) == ([made], ["hot: no entry"])


def test_a_catalog_that_is_there_is_not_overwritten(vault: Vault) -> None:
    vault.scan()
    vault.back_up()
    with pytest.raises(CatalogError, match=r"already|is not empty"):
        vault.restore()
    vault.reopen()
    assert vault.back_up().backup.epoch == 1, "the catalog goes on"


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_what_is_replaced_is_set_aside_with_its_journals(vault: Vault) -> None:
    vault.scan()
    vault.back_up()
    with vault.catalog.begin() as conn:
        put(conn, "mark", "of the newer one")
    vault.catalog.close()
    place = Path(str(vault.catalog.engine.url.database))
    for side in ("-journal", "-wal", "-shm"):
        Path(f"{place}{side}").write_bytes(b"of the old file")
    old = place.read_bytes()
    restored = vault.restore(replace=True)
    assert [path.name.removeprefix(place.name)[:16] for path in restored.aside] == [".before-restore-"] * 4
    assert restored.aside[0].read_bytes() == old
    assert {path.read_bytes() for path in restored.aside[1:]} == {b"of the old file"}
    vault.come_back()
    with vault.catalog.read() as conn:
        assert get(conn, "mark") is None


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_journal_that_the_lost_file_left_is_not_written_into_the_restored_one(vault: Vault) -> None:
    vault.scan()
    vault.back_up()
    vault.lose()
    place = str(vault.catalog.engine.url.database)
    for side in ("-journal", "-wal"):
        Path(place + side).write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"\xff" * 600)
    restored = vault.restore()
    assert len(restored.aside) == 2
    vault.come_back()


def test_a_backup_of_another_kind_of_database_or_a_newer_schema_is_refused(vault: Vault, tmp_path: Path) -> None:
    vault.scan()
    made = vault.back_up().backup
    tiers = {"cold": vault.cold}
    other = f"sqlite:///{tmp_path}/x.db" if made.dialect == "postgresql" else "postgresql://u@/x"
    with pytest.raises(UsageError, match="is none"):
        restore(vault.settings, other, made, tiers, vault.clock)
    name = f"{backup.prefix(made.catalog)}{made.name}/{backup.MANIFEST}"
    told = json.loads(vault.cold.read_note(name) or b"")
    vault.cold.write_note(name, json.dumps({**told, "revision": "9999"}).encode(), create_only=False)
    vault.lose()
    with pytest.raises(SchemaOutOfDate, match="9999"):
        vault.restore()


def test_there_must_be_one_and_it_must_be_clear_which(vault: Vault) -> None:
    vault.scan()
    tiers = {"cold": vault.cold}
    with pytest.raises(UsageError, match="there is no backup"):
        choose(find(tiers), None)
    made = vault.back_up().backup
    with pytest.raises(UsageError, match="there is no backup 20000101T000000Z"):
        choose(find(tiers), "20000101T000000Z")
    for name in vault.notes():  # another catalog's, and nothing says whose tier this is
        copied = (vault.cold.read_note(name) or b"").replace(made.catalog.encode(), b"f" * 32)
        vault.cold.write_note(name.replace(made.catalog, "f" * 32), copied, create_only=True)
    assert choose(find(tiers), None) == made
    vault.cold.delete_note("claim.json")
    with pytest.raises(UsageError, match="more than one catalog"):
        choose(find(tiers), None)


def test_a_place_that_refuses_is_told_without_a_traceback(vault: Vault, tmp_path: Path) -> None:
    vault.scan()
    made = vault.back_up().backup
    gone = vault.settings.model_copy(update={"state_dir": tmp_path / "none"})
    vault.lose()
    with pytest.raises(StoragedError, match=r"backup\.lock: no such file"):
        restore(gone, vault.url, made, {"cold": vault.cold}, vault.clock)
