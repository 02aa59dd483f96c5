"""Postgres' own programs for copies: pg_dump and pg_restore. No older than the server, or they refuse it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from psycopg.conninfo import make_conninfo

from storaged.errors import CatalogError, VerificationFailed

_VERSION: Final = re.compile(r"\(PostgreSQL\) (\d+)")


def dump(engine: sa.Engine, path: Path, *, server: int, snapshot: str) -> None:
    """Write what this exported snapshot of the database holds to a file, in pg_dump's custom format, and read the file
    to its end. `server`: the major version of the server. Raises CatalogError, VerificationFailed."""
    # not compressed: that is done to every copy, of whatever kind
    options = ["--format=custom", "--compress=0", "--no-owner", "--no-privileges", f"--snapshot={snapshot}"]
    where, secret = _database(engine)
    _run([_program("pg_dump", server), *where, *options, f"--file={path}"], secret)
    try:
        _run([_program("pg_restore", server), f"--file={os.devnull}", str(path)], {})
    except CatalogError as error:
        raise VerificationFailed(f"the copy of the catalog cannot be read: {error.message}") from error


def restore(engine: sa.Engine, path: Path, *, server: int) -> None:
    """Fill an empty database from a file that `dump` wrote: all of it or nothing. Raises CatalogError."""
    options = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
    where, secret = _database(engine)
    _run([_program("pg_restore", server), *where, *options, str(path)], secret)


def _database(engine: sa.Engine) -> tuple[list[str], dict[str, str]]:
    """How a program reaches the database: arguments, and what stands in no argument, which every user can read."""
    _, told = engine.dialect.create_connect_args(engine.url)
    told = {name: value for name, value in told.items() if name != "context"}  # psycopg's own
    password = told.pop("password", None)
    return ["--no-password", f"--dbname={make_conninfo(**told)}"], {"PGPASSWORD": password} if password else {}


def _program(name: str, server: int) -> str:
    """The newest of those on the PATH and beside pg_config. Raises CatalogError where none will do."""
    config = shutil.which("pg_config")
    beside = Path(_said(config, "--bindir").strip(), name) if config else None
    places = {str(place) for place in (shutil.which(name), beside) if place and os.access(place, os.X_OK)}
    found = {_major(place): place for place in sorted(places)}
    hint = f"install the client programs of Postgres {server}, or put their directory first in PATH"
    if not found:
        raise CatalogError(f"{name} is not installed, and it takes it to copy a catalog in Postgres", hint=hint)
    if max(found) < server:
        raise CatalogError(f"{found[max(found)]} is of Postgres {max(found)}, the server of {server}", hint=hint)
    return found[max(found)]


def _major(program: str) -> int:
    told = _VERSION.search(_said(program, "--version"))
    return int(told[1]) if told else 0


def _said(program: str, option: str) -> str:
    done = subprocess.run([program, option], capture_output=True, text=True, check=False)  # noqa: S603 (on the PATH)
    return done.stdout


def _run(command: list[str], secret: Mapping[str, str]) -> None:
    done = subprocess.run(  # noqa: S603 (a program of Postgres, on the PATH)
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **secret},
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise CatalogError(f"{os.path.basename(command[0])} failed: {said[0]}")
