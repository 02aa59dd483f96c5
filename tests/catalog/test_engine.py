"""The catalog as a user meets it: there or not, locked, read-only, older, newer, damaged, shared, killed."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from storaged.catalog import migrate
from storaged.catalog.drivers import explain
from storaged.catalog.engine import (
    Catalog,
    create_catalog,
    open_catalog,
    upgrade_catalog,
    wal_is_safe,
)
from storaged.catalog.schema import meta
from storaged.errors import CatalogError, CatalogLocked, CatalogMissing, CatalogReadOnly, SchemaOutOfDate

only_sqlite = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
only_postgres = pytest.mark.parametrize("dialect", ["postgres"], indirect=True)


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A directory that this process may read but not write: as root it acts as another user meanwhile."""
    directory = Path(tempfile.mkdtemp())
    user = os.geteuid()
    yield directory
    if user == 0:
        os.seteuid(0)
    directory.chmod(0o755)
    shutil.rmtree(directory)


def give_up_root() -> None:
    if os.geteuid() == 0:
        os.seteuid(65534)


def put(catalog: Catalog, key: str, value: str) -> None:
    with catalog.begin() as connection:
        connection.execute(meta.insert().values(key=key, value=value))


def values(catalog: Catalog) -> dict[str, str]:
    with catalog.read() as connection:
        return {row.key: row.value for row in connection.execute(sa.select(meta))}


def run(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_new_catalog_has_an_identity_and_is_found_again(empty_url: str) -> None:
    with create_catalog(empty_url, catalog_id="ab" * 16) as catalog:
        assert values(catalog) == {"catalog_id": "ab" * 16, "epoch": "1", "journal_number": "0"}
    with open_catalog(empty_url) as catalog:
        assert values(catalog)["catalog_id"] == "ab" * 16


def test_two_catalogs_never_share_an_identity(tmp_path: Path) -> None:
    with (
        create_catalog(f"sqlite:///{tmp_path / 'a.db'}") as a,
        create_catalog(f"sqlite:///{tmp_path / 'b.db'}") as b,
    ):
        assert values(a)["catalog_id"] != values(b)["catalog_id"]


def test_a_catalog_is_never_created_over_another(catalog_url: str) -> None:
    with open_catalog(catalog_url) as catalog:
        before = values(catalog)
    with pytest.raises(CatalogError, match="already"):
        create_catalog(catalog_url)
    with open_catalog(catalog_url) as catalog:
        assert values(catalog) == before


def test_a_catalog_is_never_created_among_other_tables(empty_url: str) -> None:
    if empty_url.startswith("sqlite"):
        with sqlite3.connect(empty_url.removeprefix("sqlite:///")) as plain:
            plain.execute("CREATE TABLE theirs (x)")
        plain.close()
    else:
        with psycopg.connect(empty_url) as server:
            server.execute("CREATE TABLE theirs (x int)")
    with pytest.raises(CatalogError, match="other tables"):
        create_catalog(empty_url)
    with pytest.raises(CatalogMissing):
        open_catalog(empty_url)


def test_an_empty_place_is_no_catalog_and_stays_empty(empty_url: str, tmp_path: Path) -> None:
    for attempt in (open_catalog, upgrade_catalog):
        with pytest.raises(CatalogMissing) as caught:
            attempt(empty_url)
        assert "storagectl catalog create" in str(caught.value.hint)
    assert list(tmp_path.iterdir()) == []


@only_postgres
def test_a_database_that_does_not_exist_is_a_missing_catalog(empty_url: str) -> None:
    with pytest.raises(CatalogMissing, match="no database"):
        open_catalog(empty_url.replace("/test", "/nosuch"))


@pytest.mark.parametrize("url", ["postgresql://postgres@/x?host=/nonexistent", "postgresql://127.0.0.1:1/x"])
def test_a_server_that_is_not_there_is_named_with_a_hint(url: str) -> None:
    with pytest.raises(CatalogError, match="cannot be reached") as caught:
        open_catalog(url)
    assert caught.value.hint
    assert caught.value.__cause__ is not None


def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="does not exist"):
        create_catalog(f"sqlite:///{tmp_path / 'no' / 'catalog.db'}")


@pytest.mark.parametrize("url", ["", "catalog.db", "mysql://host/x", "sqlite://", "sqlite:///:memory:"])
def test_any_other_database_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(CatalogError) as caught:
        open_catalog(url)
    assert "sqlite:////" in str(caught.value.hint)


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "50% of a?b#c d.db"
    create_catalog(sa.URL.create("sqlite", database=str(path)).render_as_string()).close()
    assert path.exists()
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "catalog.db"
    path.write_text("dear diary\n" * 1000)
    for attempt in (open_catalog, create_catalog, upgrade_catalog):
        with pytest.raises(CatalogError, match="not a catalog"):
            attempt(f"sqlite:///{path}")
    assert path.read_text() == "dear diary\n" * 1000


def test_a_damaged_file_is_named_with_the_way_back(tmp_path: Path, sqlite_template: Path) -> None:
    path = tmp_path / "catalog.db"
    content = bytearray(sqlite_template.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(CatalogError, match="cannot be read") as caught:
        open_catalog(f"sqlite:///{path}")
    assert "reconcile" in str(caught.value.hint)


def test_a_newer_catalog_is_neither_opened_nor_upgraded(catalog_url: str) -> None:
    with open_catalog(catalog_url) as catalog, catalog.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    for attempt in (open_catalog, upgrade_catalog):
        with pytest.raises(SchemaOutOfDate, match="newer storaged") as caught:
            attempt(catalog_url)
        assert caught.value.hint == "update storaged"


def test_an_older_catalog_is_opened_only_after_an_upgrade(
    catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = migrate.HEAD
    with open_catalog(catalog_url) as catalog:
        put(catalog, "kept", "yes")
    scripts = tmp_path / "migrations"  # the program one schema later
    shutil.copytree(migrate.directory(), scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "9000_more.py").write_text(
        f"import sqlalchemy as sa\nfrom alembic import op\nrevision = '9000'\ndown_revision = '{migrate.HEAD}'\n"
        "def upgrade() -> None:\n    with op.batch_alter_table('objects') as table:\n"
        "        table.alter_column('format', nullable=True)\n"  # SQLite copies the table
        "        table.add_column(sa.Column('more', sa.Text()))\n"
    )
    monkeypatch.setattr(migrate, "directory", lambda: scripts)
    monkeypatch.setattr(migrate, "HEAD", "9000")
    with pytest.raises(SchemaOutOfDate, match=f"has schema {head}") as caught:
        open_catalog(catalog_url)
    assert "storagectl catalog upgrade" in str(caught.value.hint)
    assert upgrade_catalog(catalog_url) == (head, "9000")
    with open_catalog(catalog_url) as catalog, catalog.read() as connection:
        assert connection.execute(sa.text("SELECT value FROM meta WHERE key = 'kept'")).scalar() == "yes"
        assert connection.execute(sa.text("SELECT count(more) FROM objects")).scalar() == 0
        assert connection.execute(sa.text("SELECT count(*) FROM v_objects")).scalar() == 0
    assert upgrade_catalog(catalog_url) == ("9000", "9000")


def test_an_upgrade_that_fails_changes_nothing(
    catalog_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = tmp_path / "migrations"
    shutil.copytree(migrate.directory(), scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "9000_broken.py").write_text(
        f"from alembic import op\nrevision = '9000'\ndown_revision = '{migrate.HEAD}'\n"
        "def upgrade() -> None:\n    op.drop_table('audit')\n    raise RuntimeError('power is out')\n"
    )
    with monkeypatch.context() as patched:
        patched.setattr(migrate, "directory", lambda: scripts)
        patched.setattr(migrate, "HEAD", "9000")
        with pytest.raises(RuntimeError, match="power is out"):
            upgrade_catalog(catalog_url)
    with open_catalog(catalog_url) as catalog, catalog.read() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM v_audit")).scalar() == 0


def test_a_write_is_all_or_nothing(catalog: Catalog) -> None:
    before = values(catalog)

    def fail_half_way() -> None:
        with catalog.begin() as connection:
            connection.execute(meta.insert().values(key="a", value="1"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert values(catalog) == before


def test_a_read_transaction_cannot_write(catalog: Catalog) -> None:
    before = values(catalog)
    with pytest.raises(CatalogReadOnly), catalog.read() as connection:
        connection.execute(meta.insert().values(key="a", value="1"))
    assert values(catalog) == before
    put(catalog, "a", "1")  # and the connection writes again afterwards


def test_a_catalog_opened_for_reading_cannot_write(catalog_url: str) -> None:
    with open_catalog(catalog_url, read_only=True) as catalog:
        assert "catalog_id" in values(catalog)
        with pytest.raises(CatalogReadOnly), catalog.begin():
            pass
        with pytest.raises((sa.exc.OperationalError, sa.exc.InternalError)), catalog.engine.begin() as connection:
            connection.execute(meta.insert().values(key="a", value="1"))


def test_a_read_sees_one_snapshot_and_holds_nothing_afterwards(catalog: Catalog, catalog_url: str) -> None:
    with open_catalog(catalog_url, wait_s=0.1) as other:
        with catalog.read() as connection:
            first = connection.execute(sa.select(sa.func.count()).select_from(meta)).scalar()
            if catalog.dialect == "sqlite" and not wal_is_safe(sqlite3.sqlite_version_info):
                with pytest.raises(CatalogLocked):  # its commit waits for us
                    put(other, "a", "1")
            else:
                put(other, "a", "1")
            assert connection.execute(sa.select(sa.func.count()).select_from(meta)).scalar() == first
        put(other, "b", "1")
    assert "b" in values(catalog)


def test_a_lock_that_another_holds_too_long_is_named(catalog: Catalog, catalog_url: str) -> None:
    change = meta.update().where(meta.c.key == "epoch").values(value="2")
    with open_catalog(catalog_url, wait_s=0.1) as other:
        with catalog.begin() as connection:
            connection.execute(change)
            with pytest.raises(CatalogLocked) as caught, other.begin() as waiting:
                waiting.execute(change)
            assert caught.value.exit_code == 11
            assert caught.value.hint
        with other.begin() as waiting:
            waiting.execute(change)


@only_sqlite
def test_a_file_that_may_not_be_written_is_read_only(as_nobody: Path, sqlite_template: Path, dialect: str) -> None:
    path = as_nobody / "catalog.db"
    shutil.copyfile(sqlite_template, path)
    path.chmod(0o444)
    as_nobody.chmod(0o555)
    give_up_root()
    with open_catalog(f"sqlite:///{path}") as catalog:
        assert "catalog_id" in values(catalog)
        with pytest.raises(CatalogReadOnly, match="cannot be written"):
            put(catalog, "a", "1")


@only_sqlite
def test_a_directory_without_room_for_the_journal_is_named(
    as_nobody: Path, sqlite_template: Path, dialect: str
) -> None:
    path = as_nobody / "catalog.db"
    shutil.copyfile(sqlite_template, path)
    path.chmod(0o666)
    as_nobody.chmod(0o555)
    give_up_root()
    with open_catalog(f"sqlite:///{path}") as catalog, pytest.raises(CatalogError) as caught:
        put(catalog, "a", "1")
    assert "its directory" in str(caught.value.hint)


@only_sqlite
def test_a_file_that_may_not_be_read_is_named(as_nobody: Path, sqlite_template: Path, dialect: str) -> None:
    path = as_nobody / "catalog.db"
    shutil.copyfile(sqlite_template, path)
    path.chmod(0o000)
    as_nobody.chmod(0o755)
    give_up_root()
    with pytest.raises(CatalogError, match="cannot be opened") as caught:
        open_catalog(f"sqlite:///{path}")
    assert "mode of the file" in str(caught.value.hint)


@only_sqlite
def test_a_full_disk_is_named_and_loses_nothing(catalog: Catalog) -> None:
    before = values(catalog)

    def write_too_much() -> None:
        with catalog.begin() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
            connection.execute(meta.insert().values(key="a", value="x" * 100_000))

    with pytest.raises(CatalogError, match="no space"):
        write_too_much()
    assert values(catalog) == before


@pytest.mark.parametrize(
    ("error", "expected", "words"),
    [
        (psycopg.errors.DiskFull("could not extend file"), CatalogError, "no room"),
        (psycopg.errors.TooManyConnections("sorry, too many clients"), CatalogError, "no room"),
        (psycopg.errors.SerializationFailure("could not serialize"), CatalogLocked, "holds rows"),
        (psycopg.errors.DeadlockDetected("deadlock detected"), CatalogLocked, "holds rows"),
        (psycopg.errors.InsufficientPrivilege("permission denied"), CatalogReadOnly, "refuses this user"),
        (psycopg.errors.InvalidPassword("password authentication failed"), CatalogError, "cannot be reached"),
        (psycopg.errors.QueryCanceled("canceling statement"), CatalogError, "ended the statement"),
        (psycopg.errors.AdminShutdown("terminating connection"), CatalogError, "cannot be reached"),
    ],
)
def test_what_a_server_refuses_is_explained(error: psycopg.Error, expected: type[CatalogError], words: str) -> None:
    known = explain(error, "postgresql://host/x")
    assert type(known) is expected
    assert words in known.message
    assert known.hint


def test_mistakes_in_our_own_sql_keep_their_type(catalog: Catalog) -> None:
    with pytest.raises(sa.exc.IntegrityError), catalog.begin() as connection:
        connection.execute(meta.insert().values(key="epoch", value="2"))
    with pytest.raises((sa.exc.OperationalError, sa.exc.ProgrammingError)), catalog.read() as connection:
        connection.execute(sa.text("SELECT nothing FROM nowhere"))


@only_postgres
def test_a_restarted_server_is_noticed_and_the_next_transaction_works(catalog: Catalog, catalog_url: str) -> None:
    def lose_the_connection() -> None:
        with catalog.begin() as connection:
            own = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
            with psycopg.connect(catalog_url) as other:
                other.execute("SELECT pg_terminate_backend(%s, 10000)", [own])
            connection.execute(sa.select(meta))

    with pytest.raises(CatalogError, match="cannot be reached"):
        lose_the_connection()
    assert "catalog_id" in values(catalog)


@only_postgres
def test_a_password_is_never_shown(catalog_url: str) -> None:
    secret = catalog_url.replace("postgres@", "postgres:hunter2@")
    with open_catalog(secret) as catalog:
        assert "hunter2" not in catalog.url
    with pytest.raises(CatalogMissing) as caught:
        open_catalog(secret.replace("/test", "/nosuch"))
    assert "hunter2" not in caught.value.message


def test_threads_share_a_catalog_without_losing_a_write(catalog: Catalog) -> None:
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(10):
                put(catalog, f"{number}-{i}", "x")
                values(catalog)
        except BaseException as error:  # noqa: BLE001  the assertion below shows it
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(12)]  # more than there are connections
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sum(1 for key in values(catalog) if "-" in key) == 120


COUNT = """
import sys, sqlalchemy as sa
from storaged.catalog.engine import open_catalog
with open_catalog(sys.argv[1]) as catalog:
    for _ in range(50):
        with catalog.begin() as connection:
            at = int(connection.execute(sa.text("SELECT value FROM meta WHERE key='count'" + sys.argv[2])).scalar_one())
            connection.execute(sa.text("UPDATE meta SET value = :v WHERE key = 'count'"), {"v": str(at + 1)})
"""


def test_two_processes_write_without_losing_a_count(catalog: Catalog, catalog_url: str) -> None:
    put(catalog, "count", "0")
    lock = " FOR UPDATE" if catalog.dialect == "postgresql" else ""
    writers = [run(COUNT, catalog_url, lock) for _ in range(2)]
    for writer in writers:
        _, errors = writer.communicate(timeout=120)
        assert writer.returncode == 0, errors
    assert values(catalog)["count"] == "100"


HALF_DONE = """
import sys, time
from storaged.catalog.engine import open_catalog
from storaged.catalog.schema import meta
with open_catalog(sys.argv[1]) as catalog, catalog.begin() as connection:
    for i in range(400):  # more than SQLite's page cache: pages reach the file before any commit
        connection.execute(meta.insert().values(key=f"half-{i}", value="x" * 20_000))
    connection.execute(meta.update().where(meta.c.key == "epoch").values(value="666"))
    print("ready", flush=True)
    time.sleep(600)
"""


def test_a_writer_killed_in_mid_transaction_leaves_the_catalog_as_it_was(catalog_url: str) -> None:
    with open_catalog(catalog_url) as catalog:
        before = values(catalog)
        file = Path(str(catalog.engine.url.database))
        size = file.stat().st_size if catalog.dialect == "sqlite" else 0
    writer = run(HALF_DONE, catalog_url)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    if size:
        assert file.stat().st_size > size, "the fault did not happen: nothing was half written"
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    with open_catalog(catalog_url, read_only=True) as catalog:  # who may only read is not kept from it either
        assert values(catalog) == before
    with open_catalog(catalog_url) as catalog:
        assert values(catalog) == before
        put(catalog, "a", "1")
        if catalog.dialect == "sqlite":
            with catalog.read() as connection:
                assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"


FORKED = """
import os, sys
from storaged.catalog.engine import open_catalog
from storaged.errors import CatalogError
catalog = open_catalog(sys.argv[1])
child = os.fork()
if child == 0:
    try:
        with catalog.begin(): pass
    except CatalogError as error:
        catalog.close()
        os._exit(7 if "fork" in error.message else 1)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
with catalog.begin() as connection:
    connection.exec_driver_sql("UPDATE meta SET value = '2' WHERE key = 'epoch'")
"""


def test_a_forked_child_is_refused_and_the_parent_goes_on(catalog: Catalog, catalog_url: str) -> None:
    process = run(FORKED, catalog_url)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert values(catalog)["epoch"] == "2"


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 0), False),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
        ((4, 0, 0), True),
    ],
)
def test_the_write_ahead_log_is_used_only_where_it_keeps_commits(version: tuple[int, int, int], safe: bool) -> None:
    assert wal_is_safe(version) is safe


@only_sqlite
def test_the_journal_is_the_one_that_this_library_keeps_safely(catalog_url: str) -> None:
    path = catalog_url.removeprefix("sqlite:///")
    plain = sqlite3.connect(path)
    plain.execute("PRAGMA journal_mode = WAL")  # by a program that knows no better
    plain.close()
    with open_catalog(catalog_url) as catalog, catalog.read() as connection:
        mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
        safe = wal_is_safe(sqlite3.sqlite_version_info)
        assert mode == ("wal" if safe else "delete")
        assert sqlite3.sqlite_version in catalog.journal_note
        assert ("write-ahead log can lose commits" in catalog.journal_note) is not safe
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 3  # EXTRA
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
