"""What a `where:` asks for, as atoms (storaged.decide.atoms). Imported only where there is one: sqlglot is slow to
import."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sqlglot import exp

from storaged.decide.atoms import Atom
from storaged.decide.columns import COLUMNS, KEYED, Type
from storaged.decide.where import parsed_where

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
    wants_text = known is None or known.kind is Type.TEXT
    if known is not None and known.kind is Type.TIME:
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
