"""Tables and enumerations of the reference pages."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator


def any_of(values: Iterable[object]) -> str:
    *first, last = [f"`{value}`" for value in values]
    return f"{', '.join(first)} or {last}" if first else last


def cell(text: str) -> str:
    """Text for one line of a table. What stands in backticks is code already."""
    parts = " ".join(inspect.cleandoc(text).split()).replace("|", "\\|").split("`")
    parts[::2] = [part.replace("<", "&lt;").replace("*", "\\*") for part in parts[::2]]
    return "`".join(parts)


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
