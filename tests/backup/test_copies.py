"""A copy of the catalog is of one moment, whoever works beside it, and made by programs that can."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog import copies, engine
from storaged.catalog.engine import Catalog, open_catalog
from storaged.catalog.facts import get, put
from storaged.catalog.schema import meta
from storaged.clock import SystemClock
from storaged.errors import (
    CatalogError,
)
from storaged.testing import FakeClock
from storaged.work.recover import backup
from tests.backup.vaults import Vault

# -- beside others ---------------------------------------------------------------------------------------------------


def _two_counters(catalog: Catalog) -> None:
    """Two rows that are the same number in every moment."""
    more = {"value": sa.cast(sa.cast(meta.c.value, sa.Integer) + 1, sa.Text)}
    with catalog.begin() as conn:
        for key in ("one", "two"):
            if not conn.execute(sa.update(meta).where(meta.c.key == key).values(more)).rowcount:
                put(conn, key, "1")


def _counted(catalog: Catalog) -> tuple[int, int]:
    with catalog.read() as conn:
        return int(get(conn, "one") or 0), int(get(conn, "two") or 0)


@pytest.fixture(params=["log", "rollback"])
def durability(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How SQLite keeps commits. Other than by default it is for a test's short life, on a file of its own."""
    monkeypatch.setattr(engine, "wal_is_safe", lambda _version: request.param == "log")
    return str(request.param)


def test_a_copy_that_is_made_while_many_write_is_of_one_moment(
    durability: str, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.scan()
    monkeypatch.setattr(copies, "_STEP", 4)
    vault.context.clock = SystemClock()
    _two_counters(vault.catalog)
    begun, stop = threading.Event(), threading.Event()

    def write() -> None:
        while not stop.is_set():
            _two_counters(vault.catalog)
            begun.set()

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        assert begun.wait(240)
        before = _counted(vault.catalog)
        vault.back_up()
        after = _counted(vault.catalog)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    vault.lose()
    vault.restore()
    vault.reopen()
    one, two = _counted(vault.catalog)
    assert one == two
    assert before[0] <= one <= after[0]
    assert before < after, durability


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_a_copy_ends_though_every_step_of_it_is_overtaken(
    durability: str, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "_STEP", 4)
    catalog = vault.databases.make()

    class Busy(FakeClock):
        writes = 0

        def sleep(self, seconds: float) -> None:
            _two_counters(catalog)
            self.writes += 1

    clock = Busy()
    path = vault.place / "copy.db"
    told = copies.copy_out(catalog, path, clock)
    assert told == copies.examine(path)
    assert (clock.writes > 3) == (durability == "rollback"), "in a log's one step nobody is waited for"
    with open_catalog(f"sqlite:///{path}") as copy:
        assert _counted(copy) in {(n, n) for n in (clock.writes, clock.writes - 1)}


@pytest.mark.parametrize("dialect", ["sqlite"])
def test_no_lock_of_this_process_is_lost_by_a_backup(vault: Vault) -> None:
    vault.scan()
    attempt = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0).execute('BEGIN IMMEDIATE')"
    with vault.catalog.begin() as conn:
        put(conn, "held", "yes")
        made: list[str] = []
        thread = threading.Thread(target=lambda: made.append(vault.back_up().backup.name))
        thread.start()
        thread.join(60)
        assert made
        other = subprocess.run(
            [sys.executable, "-c", attempt, str(vault.catalog.engine.url.database)], capture_output=True, check=False
        )
        assert b"database is locked" in other.stderr
    with vault.catalog.read() as conn:
        assert get(conn, "held") == "yes"


# -- Postgres' programs ----------------------------------------------------------------------------------------------


def _program(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.mark.parametrize("dialect", ["postgres"])
def test_programs_that_are_missing_or_older_than_the_server_are_named(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.scan()
    made = vault.back_up().backup
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(CatalogError, match="pg_dump is not installed"):
        vault.back_up()
    _program(tmp_path / "bin", "pg_dump", "echo 'pg_dump (PostgreSQL) 9.6.24'")
    with pytest.raises(CatalogError, match=r"pg_dump is of Postgres 9, the server of \d\d") as caught:
        vault.back_up()
    assert "PATH" in str(caught.value.hint)
    vault.lose()
    with pytest.raises(CatalogError, match="pg_restore is not installed"):
        vault.restore()
    assert vault.names() == [made.name]


@pytest.mark.parametrize("dialect", ["postgres"])
def test_programs_beside_pg_config_are_found(vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.scan()
    programs = os.environ["PATH"].split(os.pathsep)[0]
    _program(tmp_path / "bin", "pg_config", f"echo {programs}")
    _program(tmp_path / "bin", "pg_dump", "echo 'pg_dump (PostgreSQL) 9.6.24'")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert vault.back_up().backup.dialect == "postgresql"


@pytest.mark.parametrize("dialect", ["postgres"])
def test_a_password_stands_in_no_argument_and_what_the_program_says_is_told(
    vault: Vault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.scan()
    folder = tmp_path / "bin"
    told = f'echo "$0 $*" >> {tmp_path}/arguments; echo "$PGPASSWORD" >> {tmp_path}/password'
    version = '[ "$1" = --version ] && echo "pg_dump (PostgreSQL) 99" && exit'
    _program(folder, "pg_dump", f"{version}\n{told}\necho 'pg_dump: error: no such luck' >&2\nexit 1")
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    word = "s3cret word"
    url = sa.make_url(vault.url).set(password=word)
    with (
        open_catalog(url.render_as_string(hide_password=False)) as catalog,
        pytest.raises(CatalogError, match="pg_dump failed: pg_dump: error: no such luck"),
    ):
        backup.backup(vault.new_context(catalog=catalog), "cold", None)
    arguments = (tmp_path / "arguments").read_text()
    assert "--dbname=" in arguments
    assert "s3cret" not in arguments
    assert (tmp_path / "password").read_text() == f"{word}\n"


@pytest.mark.parametrize("dialect", ["postgres"])
def test_a_database_with_anything_in_it_is_not_restored_into(vault: Vault) -> None:
    vault.scan()
    vault.back_up()
    vault.lose()
    other = sa.create_engine(engine.parse_url(vault.url), poolclass=sa.NullPool)
    with other.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE somebodys (id INT)")
    with pytest.raises(CatalogError, match="is not empty"):
        vault.restore()
