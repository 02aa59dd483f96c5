"""What a backup is made of, which ones stay, and what goes wrong while one is made."""

from __future__ import annotations

import pytest

from storaged.errors import (
    AlreadyExists,
    CatalogLocked,
    ForeignClaim,
    PermissionDenied,
    StoreFull,
    VerificationFailed,
)
from storaged.testing import Fault, Faults, FaultyStore
from storaged.testing.faults import flipped
from storaged.work.recover import backup
from storaged.work.recover.rebuild import reconcile
from tests.backup.vaults import Vault

# -- which stay ------------------------------------------------------------------------------------------------------


def test_the_newest_stay_and_those_of_one_second_have_different_names(vault: Vault) -> None:
    vault.scan()
    made = [vault.back_up(keep=2) for _ in range(4)]
    names = [m.backup.name for m in made]
    assert names == sorted(set(names))
    assert [m.removed for m in made] == [[], [], [names[0]], [names[1]]]
    assert vault.names() == [names[3], names[2]]
    assert {note.split("/")[2] for note in vault.notes()} == set(names[2:])


def test_without_a_number_to_keep_all_stay(vault: Vault) -> None:
    vault.scan()
    for _ in range(3):
        vault.back_up()
        vault.days(30)
    assert len(vault.names()) == 3


def test_backups_of_another_catalog_or_epoch_and_what_is_no_backup_are_never_touched(vault: Vault) -> None:
    vault.scan()
    vault.back_up()
    old = vault.notes()
    others = [name.replace(vault.context.identity.catalog, "f" * 32) for name in old]
    strangers = [f"backup/{vault.context.identity.catalog}/readme/x", f"backup/{vault.context.identity.catalog}/x"]
    for name in (*others, *strangers):
        vault.cold.write_note(name, b"of somebody else", create_only=True)
    reconcile(vault.context)
    for _ in range(3):
        vault.days(2)
        vault.back_up(keep=1)
    assert set(vault.notes()) >= {*old, *others, *strangers}
    assert [b.epoch for b in vault.found()] == [2, 1]


def test_parts_without_a_manifest_go_when_they_are_a_day_old_and_count_for_nothing(vault: Vault) -> None:
    vault.scan()
    first = vault.back_up().backup.name
    vault.days(0.5)
    dead = vault.back_up().backup.name
    vault.cold.delete_note(f"{backup.prefix(vault.context.identity.catalog)}{dead}/{backup.MANIFEST}")
    vault.days(0.9)
    assert vault.back_up(keep=2).removed == []
    vault.days(0.2)
    assert vault.back_up(keep=3).removed == [dead]
    assert vault.names()[-1] == first


def test_what_the_place_does_not_let_go_is_told_and_the_backup_is_made(vault: Vault) -> None:
    vault.scan()
    old = vault.back_up().backup.name
    vault.days(1)
    faults = Faults(Fault("delete_note", 0, PermissionDenied("locked until 2030")))
    context = vault.new_context(wrap=lambda store: FaultyStore(store, faults))
    made = backup.backup(context, "cold", 1)
    assert old in made.problems[0]
    assert "locked until 2030" in str(made)
    assert vault.names() == [made.backup.name, old]


# -- what goes wrong while one is made -------------------------------------------------------------------------------


@pytest.mark.usefixtures("small")
def test_a_tier_that_fills_up_keeps_no_part_of_it(vault: Vault) -> None:
    vault.scan()
    faults = Faults(Fault("write_note", 2, StoreFull("no space")))
    context = vault.new_context(wrap=lambda store: FaultyStore(store, faults) if store.url.endswith("cold") else store)
    with pytest.raises(StoreFull):
        backup.backup(context, "cold", 1)
    assert vault.notes() == []


def test_what_does_not_read_back_as_written_is_no_backup(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.scan()
    write = type(vault.cold).write_note

    def lying(store: object, name: str, data: bytes, *, create_only: bool) -> None:
        write(store, name, flipped(data), create_only=create_only)  # type: ignore[arg-type]

    monkeypatch.setattr(type(vault.cold), "write_note", lying)
    with pytest.raises(VerificationFailed, match="does not give back"):
        vault.back_up()
    assert vault.notes() == []


def test_a_tier_that_lost_its_marker_takes_no_backup(vault: Vault) -> None:
    vault.scan()
    vault.cold.delete_note("claim.json")
    with pytest.raises(ForeignClaim, match="is it mounted"):
        backup.backup(vault.new_context(), "cold", None)
    assert vault.notes() == []


def test_two_at_a_time_on_one_machine_are_refused(vault: Vault) -> None:
    vault.scan()
    vault.back_up()
    with backup.alone(vault.settings.state_dir):
        with pytest.raises(CatalogLocked, match="under way"):
            vault.back_up()
        vault.lose()
        with pytest.raises(CatalogLocked, match="under way"):
            vault.restore()
    vault.restore()


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_damaged_catalog_is_not_backed_up(vault: Vault) -> None:
    vault.scan()
    with vault.catalog.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE filler AS SELECT 'some words to find again' AS word FROM objects, meta")
        conn.exec_driver_sql("INSERT INTO filler SELECT printf('%2000d', value) FROM json_each('[1,2,3,4,5,6,7,8,9]')")
        root = conn.exec_driver_sql("SELECT rootpage FROM sqlite_master WHERE name = 'filler'").scalar_one()
        size = conn.exec_driver_sql("PRAGMA page_size").scalar_one()
    vault.catalog.close()
    with open(str(vault.catalog.engine.url.database), "r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * 64)
    with pytest.raises(VerificationFailed, match=r"damaged|cannot be read"):
        vault.back_up()
    assert vault.notes() == []


def test_a_name_that_is_taken_is_never_written_again(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.scan()
    made = vault.back_up().backup
    monkeypatch.setattr(backup, "_next_name", lambda _context, _store: made.name)  # two machines in the same second
    with pytest.raises(AlreadyExists):
        vault.back_up()
    backup.fetch(vault.cold, made, vault.place / "fetched")  # raises where a part is not as it was
