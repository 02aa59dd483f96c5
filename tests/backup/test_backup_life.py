"""The catalog is lost and comes back from a backup: with what the journal tells of since, and the heat of before."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from storaged.catalog.schema import access, jobs, objects
from storaged.catalog.schema_attempts import attempts
from storaged.errors import CatalogBehind
from storaged.model import AttemptState
from storaged.testing import FakeClock
from storaged.work.recover import backup
from storaged.work.recover.rebuild import reconcile
from tests.backup.vaults import Vault, a_vault
from tests.life.crashes import Crash, CrashingCatalog, CrashingStore, Effects
from tests.life.deaths import filled, nothing_is_lost
from tests.life.scenes import NAMES
from tests.life.test_rebuild import COMMANDS
from tests.life.world import text


def _later(vault: Vault) -> dict[str, bytes]:
    """What happens after the backup: moves, an undo, releases, and users' own writes. What shall be read then."""
    wanted = dict(NAMES)
    vault.migrate("c.bin")
    vault.undo("lake/a.csv")
    vault.days(8)
    vault.sweep()
    vault.write("a.csv", text("of a user, later"))
    vault.write("new.csv", text("new"))
    vault.days(0.1)
    vault.scan()
    vault.migrate("new.csv", tier="warm")
    assert vault.raw("c.bin") is None, "released after the backup was made"
    return {**wanted, "a.csv": text("of a user, later"), "new.csv": text("new")}


@pytest.mark.parametrize("layout", ["local", "s3"])
def test_everything_reads_right_after_the_catalog_was_lost_restored_and_reconciled(vault: Vault) -> None:
    filled(vault, NAMES).migrate("a.csv", "d/b.csv")
    with vault.catalog.begin() as conn:
        conn.execute(sa.insert(access).values(object_id=vault.seen("a.csv").id, day=20_000, reads=7, last_us=1))
    made = vault.back_up().backup
    wanted = _later(vault)
    vault.lose()
    assert vault.names() == [made.name]
    vault.restore()
    vault.reopen()
    for command in COMMANDS.values():
        with pytest.raises(CatalogBehind, match="brought up to its journal"):
            command(vault.context)
    vault.come_back()
    nothing_is_lost(vault, wanted)
    with vault.catalog.read() as conn:
        assert conn.execute(sa.select(access.c.reads)).scalars().all() == [7], "what no journal knows of"
    assert vault.back_up().backup.epoch == 2


def test_a_backup_to_which_the_journal_adds_nothing_is_reconciled_too_before_it_acts(vault: Vault) -> None:
    filled(vault, NAMES).migrate("a.csv")
    vault.back_up()
    lost = vault.new_context()
    vault.lose()
    vault.restore()
    vault.reopen()
    assert lost.identity == vault.context.identity, "two that act in one epoch would undo each other's work"
    for command in COMMANDS.values():
        with pytest.raises(CatalogBehind):
            command(vault.context)
    vault.come_back()
    nothing_is_lost(vault, NAMES)


def test_what_was_under_way_when_the_backup_was_made_ends_and_leaves_nothing(vault: Vault) -> None:
    filled(vault, NAMES).enqueue(NAMES, "warm")
    vault.dies(vault.work, "head", len(NAMES))
    with vault.catalog.read() as conn:
        assert "running" in conn.execute(sa.select(jobs.c.state)).scalars().all()
        assert conn.execute(sa.select(attempts.c.id).where(attempts.c.state == AttemptState.STAGED.value)).all()
    vault.back_up()
    vault.lose()
    vault.restore()
    vault.come_back()
    with vault.catalog.read() as conn:
        assert set(conn.execute(sa.select(jobs.c.state)).scalars()) == {"cancelled"}
        assert not conn.execute(sa.select(attempts.c.id).where(attempts.c.state == AttemptState.STAGED.value)).all()
    vault.migrate(*NAMES)
    nothing_is_lost(vault, NAMES)


def test_backups_are_no_strays_and_no_objects(vault: Vault) -> None:
    filled(vault, NAMES).migrate("a.csv")
    vault.back_up()
    before = vault.notes()
    vault.is_rebuilt()
    vault.days(30)
    vault.sweep()
    assert reconcile(vault.context).strays == 0
    assert vault.notes() == before
    assert len(vault.stored("cold")) == 1


@pytest.mark.parametrize("act", ["the first backup", "one that removes others"])
def test_a_crash_after_every_effect_leaves_whole_backups_or_none(
    act: str,
    dialect: str,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    monkeypatch.setattr(backup, "PART", 4_096)
    crashes = 0
    with a_vault(dialect, clock, request) as vault:
        filled(vault, NAMES)
        for n in range(1, 200):
            if act != "the first backup":
                vault.days(2)
                vault.back_up(keep=2)
            effects = Effects(stop_after=n)
            context = vault.new_context(
                catalog=CrashingCatalog(vault.catalog, effects),
                wrap=lambda store, e=effects: CrashingStore(store, e),
            )
            try:
                backup.backup(context, "cold", 1)
            except Crash:
                crashes += 1
            _each_is_whole(vault)
            if not effects.dead:
                break
            if act == "the first backup":
                written = any(e.startswith("write_note") and e.endswith(backup.MANIFEST) for e in effects.log)
                assert bool(vault.found()) == written
        else:
            pytest.fail("a backup has no end")
        assert crashes >= 4, effects.log
        vault.days(2)
        last = vault.back_up(keep=1).backup
        assert {note.split("/")[2] for note in vault.notes()} == {last.name}, "what died is cleared away"
        assert sorted(p.name for p in vault.settings.state_dir.glob("*backup*")) == ["backup.lock"]


def _each_is_whole(vault: Vault) -> None:
    path = vault.place / "fetched"
    for one in vault.found():
        backup.fetch(vault.cold, one, path)
        assert path.stat().st_size == one.size


def test_an_old_copy_of_the_catalog_cannot_make_its_newest_backup(vault: Vault) -> None:
    filled(vault, NAMES)
    restore: Callable[[], object] = vault.databases.copy(vault.catalog)
    vault.migrate("a.csv")
    vault.takes_over(restore())
    with pytest.raises(CatalogBehind):
        vault.back_up()
    assert vault.notes() == []


def test_a_backup_changes_nothing_in_the_catalog(vault: Vault) -> None:
    filled(vault, NAMES).migrate("a.csv")

    def rows() -> list[object]:
        with vault.catalog.read() as conn:
            return [conn.execute(sa.select(table)).all() for table in objects.metadata.sorted_tables]

    before = rows()
    vault.back_up()
    assert rows() == before
