"""Many ids in one parameter of a statement: a list of as many parameters takes longer to write than to look up."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine


class _Many(TypeDecorator[Any]):
    """An array on Postgres, JSON on SQLite."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, kind: type[sa.BigInteger] | type[sa.Text]) -> None:
        super().__init__()
        self.kind = kind

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            from sqlalchemy.dialects.postgresql import ARRAY  # here: it loads every driver of Postgres that there is

            return dialect.type_descriptor(ARRAY(self.kind()))
        return dialect.type_descriptor(sa.Text())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return list(value) if dialect.name == "postgresql" else json.dumps(list(value))


IDS: Final = _Many(sa.BigInteger)
TEXTS: Final = _Many(sa.Text)


class _each(FunctionElement[Any]):  # noqa: N801 (SQL names it so)
    """The values of such a parameter, as what IN looks in."""

    inherit_cache = True


@compiles(_each, "sqlite")
def _in_json(element: _each, compiler: SQLCompiler, **how: Any) -> str:
    return _OF_JSON % compiler.process(element.clauses, **how)


@compiles(_each, "postgresql")
def _in_array(element: _each, compiler: SQLCompiler, **how: Any) -> str:
    return _OF_ARRAY % compiler.process(element.clauses, **how)


_OF_JSON: Final = "(SELECT value FROM json_each(%s))"
_OF_ARRAY: Final = "(SELECT unnest(%s))"


def among(column: sa.ColumnElement[Any], values: Iterable[Any] | sa.BindParameter[Any]) -> sa.ColumnElement[bool]:
    """Whether a column has one of these values: numbers, or texts. Or one of a parameter of type IDS or TEXTS, for a
    statement that is made once."""
    if not isinstance(values, sa.BindParameter):
        kind = TEXTS if isinstance(column.type, sa.Text) else IDS
        values = sa.bindparam(None, list(values), type_=kind, unique=True)
    return column.op("IN", is_comparison=True)(_each(values))
