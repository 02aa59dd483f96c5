"""Functions that a plan's statements use and that SQLite lacks."""

from __future__ import annotations

import math
import sqlite3

import sqlalchemy as sa

from storaged.decide import sql


def give_functions(conn: sa.Connection) -> None:
    """Give SQLite the logarithm and exponential that conditions on heat use, which many builds of it lack, and what
    splits names."""
    raw = conn.connection.driver_connection
    if isinstance(raw, sqlite3.Connection):
        raw.create_function("ln", 1, lambda x: None if x is None else math.log(x), deterministic=True)
        raw.create_function(sql.FIRST_FOLDERS, 2, _first_folders, deterministic=True)
        raw.create_function(sql.LONGEST_PART, 1, _longest_part, deterministic=True)
        raw.create_function("exp", 1, lambda x: None if x is None else math.exp(x), deterministic=True)


def _longest_part(name: str) -> int:
    return max(len(part.encode()) for part in name.split("/"))


def _first_folders(name: str, most: int) -> str:
    return "/".join(name.split("/")[:-1][:most])
