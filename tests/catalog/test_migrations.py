"""The scripts in migrations/ lead to the tables that the code speaks of, on both databases."""

from __future__ import annotations

import re
import sqlite3
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from storaged.catalog import migrate
from storaged.catalog.engine import create_catalog, open_catalog, parse_url, upgrade_catalog
from storaged.catalog.schema_models import metadata
from storaged.catalog.schema_postgres import on_postgres

VERSIONS = migrate.directory() / "versions"


def sqlite_schema(connection: sa.Connection) -> list[Any]:
    """Columns in their order, and constraints in any: a column that was added later stands behind them in the text."""
    found: list[Any] = []
    rows = connection.exec_driver_sql("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'alembic%'").all()
    for kind, name, sql in rows:
        if kind == "index" and "alembic" not in name:
            found.append((name, sql))
        elif kind == "table" and not name.startswith("sqlite_"):
            columns = connection.exec_driver_sql(f"PRAGMA table_xinfo({name})").all()
            keys = sorted(row[2:] for row in connection.exec_driver_sql(f"PRAGMA foreign_key_list({name})"))
            checks = sorted(re.findall(r"CONSTRAINT \w+ (?:CHECK|UNIQUE|PRIMARY KEY) \([^)]*\)+", sql))
            words = ("AUTOINCREMENT" in sql, "WITHOUT ROWID" in sql)
            found.append((name, *map(tuple, columns), *map(tuple, keys), *checks, words))
    return sorted(found, key=lambda row: str(row[0]))


def postgres_schema(connection: sa.Connection) -> list[Any]:
    queries = (
        "SELECT table_name, row_number() OVER (PARTITION BY table_name ORDER BY ordinal_position), column_name, "
        "data_type, collation_name, is_nullable, column_default, is_identity FROM information_schema.columns "
        "WHERE table_schema = 'public' AND table_name NOT LIKE 'v\\_%%'",
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = 'public'::regnamespace",
        "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        "SELECT sequencename, data_type::text, start_value, increment_by FROM pg_sequences WHERE schemaname = 'public'",
    )
    rows = [tuple(row) for query in queries for row in connection.exec_driver_sql(query)]
    return sorted((row for row in rows if "alembic" not in row[0]), key=str)


def test_the_migrations_make_the_same_tables_as_the_schema(empty_url: str, catalog_url: str, dialect: str) -> None:
    read = sqlite_schema if dialect == "sqlite" else postgres_schema
    found = []
    if empty_url == catalog_url:  # one file a test: the other goes beside it
        empty_url += ".schema"
    engine = sa.create_engine(parse_url(empty_url))
    on_postgres()
    metadata.create_all(engine)
    engines = (engine, sa.create_engine(parse_url(catalog_url)))
    for each in engines:
        with each.connect() as connection:
            found.append(read(connection))
        each.dispose()
    assert len(found[0]) > len(metadata.tables)
    assert found[1] == found[0]


def test_keys_sort_by_their_bytes_on_both(empty_url: str) -> None:
    names = ["Z", "a", "é", "a/b", "a-b", "a.b", "\U0001f600", "\uffee"]
    with create_catalog(empty_url) as catalog, catalog.begin() as connection:
        scripted = sa.text("INSERT INTO tiers VALUES (1, 'hot', 0, 'file:///', 'STANDARD', NULL)")
        connection.execute(scripted)
        insert = metadata.tables["datasets"].insert()
        connection.execute(insert, [{"name": n, "root": n, "tier_id": 1, "registered_us": 0} for n in names])
        found = connection.execute(sa.text("SELECT name FROM datasets ORDER BY name")).scalars().all()
    assert found == sorted(names, key=str.encode)


def test_the_program_needs_the_last_of_one_chain_of_revisions() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate.directory()))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [migrate.HEAD]
    assert scripts.get_bases() == ["0001"]
    assert migrate.revisions() == {script.revision for script in scripts.walk_revisions()}


def test_an_upgrade_from_the_first_schema_keeps_objects_and_begins_heat_anew(empty_url: str) -> None:
    engine = sa.create_engine(parse_url(empty_url))
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(migrate.directory()))
        first = ScriptDirectory.from_config(config).get_revision("0001")
        with Operations.context(MigrationContext.configure(connection)):
            first.module.upgrade()
        for statement in (
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)",
            "INSERT INTO alembic_version VALUES ('0001')",
            "INSERT INTO tiers (id, name, rank, url, storage_class) VALUES (1, 'hot', 0, 'file:///t', 'STANDARD')",
            "INSERT INTO datasets (id, name, root, tier_id, registered_us) VALUES (1, 'lake', 'file:///l', 1, 0)",
            "INSERT INTO objects (id, dataset_id, name, size, mtime_us, created_us, tier_id, stored_bytes, "
            "last_read_us, heat_reads) VALUES (1, 1, 'a', 5, 0, 0, 1, 5, 9, 1.5)",
            "INSERT INTO access (object_id, day, reads, last_us) VALUES (1, 20000, 3, 9)",
            "INSERT INTO heat_coverage VALUES ('log', 1, 0, 10)",
        ):
            connection.execute(sa.text(statement))
    engine.dispose()
    upgrade_catalog(empty_url)
    with open_catalog(empty_url) as catalog, catalog.read() as connection:
        told = "SELECT name, size, raw_class, last_read_us, heat_reads FROM objects"
        assert connection.execute(sa.text(told)).all() == [("a", 5, "STANDARD", None, None)]
        assert connection.execute(sa.text("SELECT count(*) FROM access")).scalar_one() == 0
        assert connection.execute(sa.text("SELECT count(*) FROM heat_coverage")).scalar_one() == 0


def test_an_upgrade_gives_what_was_damaged_to_the_objects_in_it(empty_url: str) -> None:
    engine = sa.create_engine(parse_url(empty_url))
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(migrate.directory()))
        scripts = ScriptDirectory.from_config(config)
        with Operations.context(MigrationContext.configure(connection)):
            for number in range(1, 7):
                scripts.get_revision(f"{number:04d}").module.upgrade()
        blob = "INSERT INTO blobs (id, tier_id, key, state, created_us, sign_us, index, damaged, size) VALUES "
        blob = blob.replace("index", '"index"')
        for statement in (
            "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)",
            "INSERT INTO alembic_version VALUES ('0006')",
            "INSERT INTO tiers (id, name, rank, url, storage_class) VALUES (1, 'hot', 0, 'file:///t', 'STANDARD')",
            "INSERT INTO datasets (id, name, root, tier_id, registered_us) VALUES (1, 'lake', 'file:///l', 1, 0)",
            "INSERT INTO objects (id, dataset_id, name, size, mtime_us, created_us, stored_bytes) "
            "VALUES (1, 1, 'a', 5, 0, 0, 5), (2, 1, 'b', 5, 0, 0, 5)",
            f"{blob} ('bad', 1, 'k', 'live', 0, 0, '', 'cut short', 5), ('good', 1, 'l', 'live', 0, 0, '', NULL, 5)",
            "INSERT INTO replicas (object_id, blob_id, length, generation, state) VALUES (1, 'bad', 5, 1, 'current'), "
            "(2, 'good', 5, 1, 'current')",
        ):
            connection.execute(sa.text(statement))
    engine.dispose()
    upgrade_catalog(empty_url)
    with open_catalog(empty_url) as catalog, catalog.read() as connection:
        told = "SELECT object_id, damaged FROM replicas ORDER BY object_id"
        assert connection.execute(sa.text(told)).all() == [(1, "cut short"), (2, None)]


def test_migration_files_are_numbered_in_order_and_named() -> None:
    files = sorted(path.name for path in VERSIONS.glob("*.py"))
    assert files
    for number, name in enumerate(files, start=1):
        assert re.fullmatch(rf"{number:04d}_[a-z][a-z0-9_]*\.py", name), name
        assert f'revision = "{number:04d}"' in (VERSIONS / name).read_text()


@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_catalog_breaks_no_reference(catalog_url: str) -> None:
    plain = sqlite3.connect(catalog_url.removeprefix("sqlite:///"))
    assert plain.execute("PRAGMA foreign_key_check").fetchall() == []
    assert plain.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    plain.close()


def test_a_blob_without_an_index_has_no_bytes_there_on_both(empty_url: str) -> None:
    blobs = metadata.tables["blobs"]
    with create_catalog(empty_url) as catalog, catalog.begin() as connection:
        connection.execute(sa.text("INSERT INTO tiers VALUES (1, 'hot', 0, 'file:///', 'STANDARD', NULL)"))
        connection.execute(blobs.insert().values(id="a", tier_id=1, key="k", state="live", created_us=0))
        assert connection.execute(sa.select(blobs.c.index)).scalar_one() == b""
