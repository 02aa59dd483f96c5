"""What conditions ask for, as comparisons of one column with one value, and whether some of them can hold together.

What cannot be said so (an OR, arithmetic, idleness) is left out: then more seems possible than is. Whoever asks must
only ever warn.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Atom:
    """`column` `sign` `values`: = (one of these), <, <=, >, >=. `whole`: the column has whole numbers."""

    column: str
    sign: str
    values: tuple[Any, ...]
    whole: bool = False


def together(atoms: Iterable[Atom]) -> bool:
    """Whether one object may be such that all of these hold."""
    by_column: dict[str, list[Atom]] = {}
    for atom in atoms:
        by_column.setdefault(atom.column, []).append(atom)
    return all(_together(of_one) for of_one in by_column.values())


def _together(atoms: list[Atom]) -> bool:
    if len({isinstance(value, str) for atom in atoms for value in atom.values}) > 1:
        return True  # texts and numbers: what that comes to only the object tells
    given = [set(atom.values) for atom in atoms if atom.sign == "="]
    if given:
        possible = set.intersection(*given)
        return any(all(holds(value, atom) for atom in atoms) for value in possible)
    low = [(atom.values[0], atom.sign == ">") for atom in atoms if atom.sign in (">", ">=")]
    high = [(atom.values[0], atom.sign == "<") for atom in atoms if atom.sign in ("<", "<=")]
    if not low or not high:
        return True
    (least, above), (most, below) = max(low), min(high, key=lambda end: (end[0], not end[1]))
    if atoms[0].whole:
        return bool(least // 1 + (1 if above or least % 1 else 0) <= most // 1 - (1 if below and not most % 1 else 0))
    return bool(least < most or (least == most and not above and not below))


def holds(value: Any, atom: Atom) -> bool:
    """Whether it holds of an object whose column has this value."""
    match atom.sign:
        case "=":
            return value in atom.values
        case "<":
            return bool(value < atom.values[0])
        case "<=":
            return bool(value <= atom.values[0])
        case ">":
            return bool(value > atom.values[0])
        case _:
            return bool(value >= atom.values[0])
