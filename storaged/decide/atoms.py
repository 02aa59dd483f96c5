"""What conditions ask for, as comparisons of one column with one value, and whether some of them can hold together.

What cannot be said so (an OR, arithmetic, idleness) is left out: then more seems possible than is. Whoever asks must
only ever warn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlglot import exp

from storaged.decide.columns import COLUMNS, KEYED, Kind
from storaged.decide.where import parsed_where


@dataclass(frozen=True, slots=True)
class Atom:
    """`column` `sign` `values`: = (one of these), <, <=, >, >=. `whole`: the column has whole numbers."""

    column: str
    sign: str
    values: tuple[Any, ...]
    whole: bool = False


_SIGNS: Final[Mapping[type[exp.Expr], str]] = {exp.EQ: "=", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="}
_TURNED: Final = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_WHOLE: Final = frozenset({"size", "stored_bytes", "generation"})


def atoms_of_where(text: str) -> Iterator[Atom]:
    """The comparisons that must all hold for a `where:` to hold."""
    yield from _all_of(parsed_where(text))


def _all_of(node: exp.Expr) -> Iterator[Atom]:
    if isinstance(node, exp.Paren):
        yield from _all_of(node.this)
    elif isinstance(node, exp.And):
        for part in node.flatten():
            yield from _all_of(part)
    elif isinstance(node, exp.Between) and not node.args.get("negate"):
        for end, value in ((">=", node.args["low"]), ("<=", node.args["high"])):
            yield from _compared(node.this, end, [value])
    elif isinstance(node, exp.In) and not node.args.get("negate"):
        yield from _compared(node.this, "=", node.expressions)
    elif (sign := _SIGNS.get(type(node))) is not None:
        yield from _compared(node.this, sign, [node.expression])
        yield from _compared(node.expression, _TURNED[sign], [node.this])


def _compared(left: exp.Expr, sign: str, right: list[exp.Expr]) -> Iterator[Atom]:
    """An atom, where a column stands on the left and nothing but literals on the right."""
    column = _column(left)
    values = [_literal(part) for part in right]
    if column is None or any(value is None for value in values):
        return
    known = COLUMNS.get(column)
    wants_text = known is None or known.kind is Kind.TEXT
    if known is not None and known.kind is Kind.TIME:
        return
    if all(isinstance(value, str) == wants_text for value in values):
        yield Atom(column, sign, tuple(values), column in _WHOLE)


def _column(node: exp.Expr) -> str | None:
    if isinstance(node, exp.Column):
        name = node.name.lower()
        return {"object": "name"}.get(name, name)
    if isinstance(node, exp.JSONExtractScalar) and isinstance(node.this, exp.Column):
        path = node.expression.expressions if isinstance(node.expression, exp.JSONPath) else []
        name = node.this.name.lower()
        if name in KEYED and len(path) == 2 and isinstance(path[1].this, str):
            return f"{name}.{path[1].this}"
    return None


def _literal(node: exp.Expr) -> Any:
    if not isinstance(node, exp.Literal):
        return None
    return node.this if node.is_string else float(node.this)


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
        return any(all(_holds(value, atom) for atom in atoms) for value in possible)
    low = [(atom.values[0], atom.sign == ">") for atom in atoms if atom.sign in (">", ">=")]
    high = [(atom.values[0], atom.sign == "<") for atom in atoms if atom.sign in ("<", "<=")]
    if not low or not high:
        return True
    (least, above), (most, below) = max(low), min(high, key=lambda end: (end[0], not end[1]))
    if atoms[0].whole:
        return bool(least // 1 + (1 if above or least % 1 else 0) <= most // 1 - (1 if below and not most % 1 else 0))
    return bool(least < most or (least == most and not above and not below))


def _holds(value: Any, atom: Atom) -> bool:
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
