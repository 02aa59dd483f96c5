"""A table as a value, however it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """Columns by title; rows of text, numbers or None. Numbers stand at the right with thousands separated.

    `paths`, `details` and `prose` say what gives way on a narrow terminal: see storaged.cli.layout.
    """

    columns: tuple[str, ...]
    rows: Sequence[Sequence[str | int | None]]
    right: frozenset[str] = frozenset()  # titles of columns of formatted numbers, such as sizes
    title: str = ""
    paths: frozenset[str] = frozenset()
    details: frozenset[str] = frozenset()
    prose: str = ""
