"""version: of storaged and of what it stands on."""

from __future__ import annotations

import platform
import sqlite3

import typer

from storaged.cli.options import JsonOption, of
from storaged.cli.render import Output, pairs
from storaged.version import __version__


def version(ctx: typer.Context, _json: JsonOption = False) -> None:
    """Print the versions of storaged, Python, SQLite and the catalog's schema, for reports.

    Example: storagectl version --json
    """
    from storaged.catalog.migrate import HEAD

    facts = {
        "storaged": __version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "catalog_schema": HEAD,
        "system": platform.platform(),
    }
    Output(of(ctx)).show(facts, pairs(facts.items()))
