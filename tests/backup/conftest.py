"""A stage with a catalog to lose, and Postgres' own programs where a test's catalog is in Postgres."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from storaged.testing import FakeClock
from storaged.work.recover import backup
from tests.backup.vaults import Vault, a_vault
from tests.life.conftest import layout, new_bucket, new_places

__all__ = ["layout", "new_bucket", "new_places"]


@pytest.fixture(autouse=True)
def _programs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """pg_dump and pg_restore of the server's version, before those that the machine may have."""
    if "dialect" in request.fixturenames and request.getfixturevalue("dialect") == "postgres":
        programs = request.getfixturevalue("postgres").programs
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def vault(dialect: str, layout: str, clock: FakeClock, request: pytest.FixtureRequest) -> Iterator[Vault]:
    with a_vault(dialect, clock, request) as made:
        yield made


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backups have many parts."""
    monkeypatch.setattr(backup, "PART", 2_048)
