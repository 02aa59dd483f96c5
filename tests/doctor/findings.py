"""What the doctor finds in a world, and what its answers name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.catalog.schema import metadata
from storaged.model import Origin
from storaged.stores.base import New, Store
from storaged.work.context import Context
from storaged.work.doctor import Finding, examine
from tests.life.world import World

# Time passes in tests and not on servers; and most worlds have no copies of their catalogs.
ALWAYS = frozenset({"clock-skew", "no-backup"})

one_catalog = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)  # what is tested is in the stores


def findings(world: World, *, context: Context | None = None, deep: bool = False) -> list[Finding]:
    """All but those of ALWAYS."""
    return [f for f in examine(context or world.context, deep=deep) if f.check not in ALWAYS]


def checks(world: World, *, context: Context | None = None, deep: bool = False) -> list[str]:
    """Their names, in order."""
    return sorted(f.check for f in findings(world, context=context, deep=deep))


def found(world: World, check: str, *, deep: bool = False) -> Finding:
    """The only finding, which must be of this kind."""
    [one] = findings(world, deep=deep)
    assert one.check == check, one
    return one


def commands(text: str) -> list[str]:
    """The commands in a `mend`, without the program's name."""
    return re.findall(r"`storagectl ([^`]*)`", text)


def change(world: World, **wanted: Any) -> None:
    """Change every row of a table: table={column: value}. What a test does behind storaged's back."""
    with world.catalog.begin() as conn:
        for table, values in wanted.items():
            conn.execute(sa.update(metadata.tables[table]).values(values))


def dump(catalog: Catalog) -> dict[str, list[Any]]:
    """All rows of all tables."""
    with catalog.read() as conn:
        return {
            name: sorted(map(repr, conn.execute(sa.select(table)).all())) for name, table in metadata.tables.items()
        }


def tree(place: Path) -> dict[str, tuple[bytes, int, int]]:
    """Every file and directory below a place but the catalog's own: bytes, mode and mtime."""
    return {
        str(p.relative_to(place)): (p.read_bytes() if p.is_file() else b"", p.stat().st_mode, p.stat().st_mtime_ns)
        for p in place.rglob("*")
        if not p.name.startswith("catalog.db")
    }


def put(store: Store, key: str, origin: Origin, content: bytes = b"content") -> None:
    """Store something that says so of itself."""
    with store.create(key, New(origin.attempt, origin=origin)) as upload:
        upload.write(content)
        upload.commit(origin)


def names(some: Iterable[Finding]) -> list[str]:
    """Their kinds and subjects."""
    return [f"{f.check} {f.subject}" for f in some]
