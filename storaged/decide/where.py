"""`where:` of a policy: an SQL expression over an object's columns, parsed and rebuilt from an allow-list.

The text never reaches the database. sqlglot parses it, and every node that is allowed here becomes a SQLAlchemy
expression, literals become parameters; everything else is refused by name. The types are checked, because SQLite and
Postgres differ on what they do when text meets a number. What it means is the same on both (see `sql`).

Columns on reads (`last_access`, `reads_per_day`, `bytes_read_per_day`) select only in datasets that a heat source
has covered for at least one half-life. For "not read for so long" write `idle_for` instead: it asks for the whole time.
"""

from __future__ import annotations

import datetime as dt
import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, NoReturn

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement
from sqlglot import TokenType, exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import SqlglotError

from storaged.clock import from_datetime
from storaged.decide import sql
from storaged.decide.columns import COLUMNS, KEYED, Type
from storaged.decide.evidence import Evidence
from storaged.decide.terms import MOST_TAMED, Term, added, divided, multiplied
from storaged.errors import PolicyError

LONGEST: Final = 4_000  # characters
DEEPEST: Final = 10  # of parts within parts, a chain like a + b + c being one: SQLite's parser takes little more
LONGEST_CHAIN: Final = 100
_READING: Final = Dialect.get_or_raise("postgres")


FUNCTIONS: Final = "lower, upper, length, substr, coalesce, abs"


def compile_where(text: str, evidence: Evidence) -> ColumnElement[bool]:
    """The expression over objects joined to their datasets. Raises PolicyError, naming the part and its place."""
    return _Reading(text, evidence).whole()


def parsed_where(text: str) -> exp.Expression:
    """The tree of an expression that `check_where` has let through."""
    return _Reading(text, Evidence(now_us=0, half_life_us=1)).parsed()


def check_where(text: str) -> None:
    """Raises PolicyError if `text` is not an expression that a policy may use."""
    compile_where(text, Evidence(now_us=0, half_life_us=1))


class _Reading:
    """One walk over one expression."""

    def __init__(self, text: str, evidence: Evidence) -> None:
        self._text = text
        self._evidence = evidence
        self._heat = False
        self._deep = 0

    def whole(self) -> ColumnElement[bool]:
        try:
            found = self._truth(self.parsed())
        except RecursionError as error:
            raise PolicyError("where: nested too deeply", hint="split it into several policies") from error
        return sa.and_(self._evidence.covered(self._evidence.half_life_us), found) if self._heat else found

    def parsed(self) -> exp.Expression:
        self._check_characters()
        try:
            tokens = _READING.tokenize(self._text)
            trees = _READING.parse_into(exp.Condition, self._text)
        except SqlglotError as error:
            raise PolicyError(_syntax(error), hint="write an SQL condition, such as size > 1048576") from error
        if any(token.comments for token in tokens):
            raise PolicyError("where: comments are not allowed inside it", hint="use YAML's # outside of it")
        tree = trees[0] if len(trees) == 1 else None
        if not isinstance(tree, exp.Expression) or any(token.token_type is TokenType.SEMICOLON for token in tokens):
            raise PolicyError("where: must be one condition", hint="such as size > 1048576 AND format = 'csv'")
        return tree

    def _check_characters(self) -> None:
        if len(self._text) > LONGEST:
            raise PolicyError(f"where: longer than {LONGEST:,} characters", hint="split it into several policies")
        for place, character in enumerate(self._text, 1):
            if not character.isprintable() and character not in "\n\t ":
                raise PolicyError(f"where: character {place} cannot be printed (U+{ord(character):04X})")

    def _refuse(self, node: exp.Expression, message: str, hint: str | None = None) -> NoReturn:
        starts = [part.meta["start"] for part in node.walk() if "start" in part.meta]
        where = f"where, character {min(starts) + 1}" if starts else "where"
        raise PolicyError(f"{where}: {message}", hint=hint)

    def _only(self, node: exp.Expression, *names: str) -> None:
        """Refuse a node that carries more than we read: `between symmetric`, `length(x, 'utf8')`, `a.b`."""
        extra = [name for name, value in node.args.items() if value and name not in names]
        if extra:
            self._refuse(node, f"{_shown(node)} says more than is supported here ({', '.join(extra)})")

    def _truth(self, node: exp.Expression) -> ColumnElement[bool]:
        term = self._term(node)
        if term.kind is not Type.TRUTH:
            self._refuse(node, f"{_shown(node)} is {term.kind}, not a condition", "compare it with something")
        return term.sql

    def _value(self, node: exp.Expression, *kinds: Type) -> Term:
        term = self._term(node)
        if term.kind not in (kinds or (Type.TEXT, Type.NUMBER, Type.TIME)):
            wanted = " or ".join(kinds) or "a value"
            self._refuse(node, f"{_shown(node)} is {term.kind}, and {wanted} is needed here")
        return term

    def _term(self, node: exp.Expression) -> Term:
        node = _inside(node)
        read = _NODES.get(type(node))
        if read is None:
            self._refuse(node, f"{_shown(node)} is not supported", _hint_for(node))
        if self._deep == DEEPEST:
            self._refuse(node, f"more than {DEEPEST} parts within one another", "split it into several policies")
        self._deep += 1
        try:
            return read(self, node)
        finally:
            self._deep -= 1

    def _connect(self, node: exp.Expression) -> Term:
        self._only(node, "this", "expression")
        join = sa.and_ if type(node) is exp.And else sa.or_
        parts: list[Any] = list(node.flatten())
        return Term(Type.TRUTH, join(*(self._truth(part) for part in parts)))

    def _not(self, node: exp.Expression) -> Term:
        self._only(node, "this")
        return Term(Type.TRUTH, sa.not_(self._truth(node.this)))

    def _boolean(self, node: exp.Expression) -> Term:
        return Term(Type.TRUTH, sa.true() if node.this else sa.false())

    def _literal(self, node: exp.Expression) -> Term:
        if node.is_string:
            return Term(Type.TEXT, sql.bytewise(sa.literal(node.this, sa.Text())), node.this)
        if node.this.isdigit():
            number = int(node.this)
            if number >= 2**63:
                self._refuse(node, f"{node.this} is too large")
            return Term(Type.NUMBER, sa.literal(number, sa.BigInteger()), number)
        try:
            fraction = float(node.this)
        except ValueError:
            self._refuse(node, f"{node.this!r} is not a number")
        if not math.isfinite(fraction):
            self._refuse(node, f"{node.this} is too large")
        return Term.number(fraction)

    def _column(self, node: exp.Expression) -> Term:
        self._only(node, "this")
        name = node.name.lower()
        if name in KEYED:
            self._refuse(node, f"{name} is looked up by key", f"write {name}->>'key'")
        column = COLUMNS.get(name)
        if column is None:
            close = difflib.get_close_matches(name, [*COLUMNS, *KEYED], n=1)
            known = f"columns are: {', '.join([*COLUMNS, *KEYED])}"
            quoted = node.this.args.get("quoted")
            hint = "text is written in single quotes" if quoted else f"did you mean {close[0]}?" if close else known
            self._refuse(node, f"there is no column {node.name!r}", hint)
        self._heat |= column.heat
        if column.heat and column.kind is Type.NUMBER:
            return Term(Type.NUMBER, column.sql(self._evidence), most=sql.LARGEST, least=sql.SMALLEST)
        return Term(column.kind, column.sql(self._evidence))

    def _key(self, node: exp.Expression) -> Term:
        self._only(node, "this", "expression", "only_json_types")
        name = node.this.name.lower() if type(node.this) is exp.Column else ""
        if name not in KEYED:
            self._refuse(node, "only tags and partition are looked up by key", "write tags->>'team'")
        self._only(node.this, "this")
        path = node.expression.expressions if type(node.expression) is exp.JSONPath else []
        if len(path) != 2 or type(path[1]) is not exp.JSONPathKey or not isinstance(path[1].this, str):
            self._refuse(node, f"the key of {name} is text in single quotes", f"write {name}->>'key'")
        try:
            return Term(Type.TEXT, sql.json_text(KEYED[name], path[1].this))
        except ValueError as error:
            self._refuse(node, str(error))

    def _cast(self, node: exp.Expression) -> Term:
        self._only(node, "this", "to")
        wanted = node.args["to"].this
        if type(node.this) is not exp.Literal or not node.this.is_string or wanted not in _TIME_TYPES:
            self._refuse(node, f"{_shown(node)} is not supported", "only DATE '2026-01-31' and TIMESTAMP '...'")
        return self._time(node.this, node.this.this)

    def _time(self, node: exp.Expression, text: str) -> Term:
        try:
            when = dt.datetime.fromisoformat(text)
        except ValueError:
            self._refuse(node, f"{text!r} is not a time", "write '2026-01-31' or '2026-01-31T12:00:00Z'")
        instant = from_datetime(when if when.tzinfo else when.replace(tzinfo=dt.UTC))
        return Term(Type.TIME, sa.literal(instant, sa.BigInteger()))

    def _pair(self, node: exp.Expression, left: exp.Expression, right: exp.Expression) -> tuple[Term, Term]:
        """Two values of one kind. Text written beside a time is read as a time."""
        for part in (left, right):
            if type(part) is exp.Null:
                self._refuse(node, "nothing equals NULL", "write IS NULL or IS NOT NULL")
        one, other = self._value(left), self._value(right)
        if one.kind is Type.TIME and isinstance(other.literal, str):
            other = self._time(right, other.literal)
        elif other.kind is Type.TIME and isinstance(one.literal, str):
            one = self._time(left, one.literal)
        if one.kind is not other.kind:
            hint = f"write '{other.literal}'" if one.kind is Type.TEXT and other.literal is not None else None
            self._refuse(node, f"{_shown(left)} is {one.kind} and {_shown(right)} is {other.kind}", hint)
        if isinstance(one.sql.type, sa.Double) or isinstance(other.sql.type, sa.Double):
            return one.real(), other.real()  # SQLite would compare a whole number exactly
        return one, other

    def _compare(self, node: exp.Expression) -> Term:
        self._only(node, "this", "expression")
        one, other = self._pair(node, node.this, node.expression)
        return Term(Type.TRUTH, _COMPARE[type(node)](one.sql, other.sql))

    def _between(self, node: exp.Expression) -> Term:
        self._only(node, "this", "low", "high", "negate")
        value, low = self._pair(node, node.this, node.args["low"])
        value, high = self._pair(node, node.this, node.args["high"])
        return _negated(node, sa.and_(value.sql >= low.sql, value.sql <= high.sql))

    def _in(self, node: exp.Expression) -> Term:
        self._only(node, "this", "expressions", "negate")
        if not node.expressions or any(type(part) is not exp.Literal for part in node.expressions):
            self._refuse(node, "IN takes a list of texts or numbers", "write format IN ('csv', 'json')")
        pairs = [self._pair(node, node.this, part) for part in node.expressions]
        return _negated(node, sa.or_(*(one.sql == other.sql for one, other in pairs)))

    def _is(self, node: exp.Expression) -> Term:
        self._only(node, "this", "expression", "negate")
        if type(node.expression) is not exp.Null:
            self._refuse(node, f"{_shown(node)} is not supported", "only IS NULL and IS NOT NULL")
        return _negated(node, self._value(node.this).sql.is_(None))

    def _like(self, node: exp.Expression) -> Term:
        self._only(node, "this", "expression", "negate")
        value, pattern = self._value(node.this, Type.TEXT), self._value(node.expression, Type.TEXT)
        if not isinstance(pattern.literal, str):
            self._refuse(node, "the pattern of LIKE is text in single quotes")
        try:
            if type(node) is exp.ILike:
                return _negated(node, sql.like(sa.func.lower(value.sql), _ascii_lower(pattern.literal)))
            return _negated(node, sql.like(value.sql, pattern.literal))
        except ValueError as error:
            self._refuse(node, str(error))

    def _arithmetic(self, node: exp.Expression) -> Term:
        chain = [node]
        while type(chain[-1].this) in _OPERATIONS:
            chain.append(chain[-1].this)
        if len(chain) > LONGEST_CHAIN:
            self._refuse(node, f"more than {LONGEST_CHAIN} operations in a row", "split it into several policies")
        term = self._value(chain[-1].this, Type.NUMBER).real()
        for part in reversed(chain):
            self._only(part, "this", "expression", "typed", "safe")
            term = _OPERATIONS[type(part)](term, self._value(part.expression, Type.NUMBER).real())
            if term.tame > MOST_TAMED:
                self._refuse(part, f"{_shown(part)} is far beyond what a number can hold", "multiply and divide less")
        return term

    def _neg(self, node: exp.Expression) -> Term:
        self._only(node, "this")
        term = self._value(node.this, Type.NUMBER).real()
        return replace(term, sql=-term.sql, literal=None)

    def _lower_upper(self, node: exp.Expression) -> Term:
        self._only(node, "this")
        apply = sa.func.lower if type(node) is exp.Lower else sa.func.upper
        return Term(Type.TEXT, apply(sql.bytewise(self._value(node.this, Type.TEXT).sql), type_=sa.Text()))

    def _length(self, node: exp.Expression) -> Term:
        self._only(node, "this")
        return Term(Type.NUMBER, sa.func.length(self._value(node.this, Type.TEXT).sql, type_=sa.Integer()))

    def _substr(self, node: exp.Expression) -> Term:
        self._only(node, "this", "start", "length")
        given = [self._value(node.args[name], Type.NUMBER) for name in ("start", "length") if node.args.get(name)]
        places = [term.literal for term in given]
        if not places or not all(isinstance(n, int) and n < 2**31 for n in places) or places[0] == 0:
            self._refuse(node, "substr counts from 1, in whole numbers", "write substr(name, 1, 4)")
        text = self._value(node.this, Type.TEXT).sql
        return Term(Type.TEXT, sa.func.substr(text, *(sa.literal(n, sa.Integer()) for n in places), type_=sa.Text()))

    def _coalesce(self, node: exp.Expression) -> Term:
        self._only(node, "this", "expressions")
        if not node.expressions:
            self._refuse(node, "coalesce takes two or more values", "write coalesce(tags->>'team', 'none')")
        pairs = [self._pair(node, node.this, part) for part in node.expressions]
        terms = [pairs[0][0], *(other for _, other in pairs)]
        if pairs[0][0].kind is Type.NUMBER:
            terms = [term.real() for term in terms]
        most, least, tame = max(t.most for t in terms), min(t.least for t in terms), max(t.tame for t in terms)
        return Term(pairs[0][0].kind, sa.func.coalesce(*(t.sql for t in terms)), None, most, least, tame)

    def _abs(self, node: exp.Expression) -> Term:
        self._only(node, "this")
        term = self._value(node.this, Type.NUMBER).real()
        return replace(term, sql=sa.func.abs(term.sql, type_=sa.Double()), literal=None)


_TIME_TYPES: Final = {exp.DataType.Type.DATE, exp.DataType.Type.TIMESTAMP, exp.DataType.Type.TIMESTAMPTZ}
_COMPARE: Final[Mapping[type[exp.Expression], Callable[[Any, Any], ColumnElement[bool]]]] = {
    exp.EQ: lambda a, b: a == b,
    exp.NEQ: lambda a, b: a != b,
    exp.LT: lambda a, b: a < b,
    exp.LTE: lambda a, b: a <= b,
    exp.GT: lambda a, b: a > b,
    exp.GTE: lambda a, b: a >= b,
}
_OPERATIONS: Final[Mapping[type[exp.Expression], Callable[[Term, Term], Term]]] = {
    exp.Add: lambda a, b: added(a, b, "+"),
    exp.Sub: lambda a, b: added(a, b, "-"),
    exp.Mul: multiplied,
    exp.Div: divided,
}
_NODES: Final[Mapping[type[exp.Expression], Callable[[_Reading, exp.Expression], Term]]] = {
    exp.And: _Reading._connect,
    exp.Or: _Reading._connect,
    exp.Not: _Reading._not,
    exp.Boolean: _Reading._boolean,
    exp.Literal: _Reading._literal,
    exp.Column: _Reading._column,
    exp.JSONExtractScalar: _Reading._key,
    exp.Cast: _Reading._cast,
    **dict.fromkeys(_COMPARE, _Reading._compare),
    exp.Between: _Reading._between,
    exp.In: _Reading._in,
    exp.Is: _Reading._is,
    exp.Like: _Reading._like,
    exp.ILike: _Reading._like,
    **dict.fromkeys(_OPERATIONS, _Reading._arithmetic),
    exp.Neg: _Reading._neg,
    exp.Lower: _Reading._lower_upper,
    exp.Upper: _Reading._lower_upper,
    exp.Length: _Reading._length,
    exp.Substring: _Reading._substr,
    exp.Coalesce: _Reading._coalesce,
    exp.Abs: _Reading._abs,
}


def _inside(node: exp.Expression) -> exp.Expression:
    """What is within its parentheses."""
    while type(node) is exp.Paren:
        node = node.this
    return node


def _negated(node: exp.Expression, found: ColumnElement[bool]) -> Term:
    """The condition, or its opposite where it was written with NOT inside: `x NOT LIKE y`, `x IS NOT NULL`."""
    return Term(Type.TRUTH, sa.not_(found) if node.args.get("negate") else found)


def _ascii_lower(text: str) -> str:
    return "".join(character.lower() if character.isascii() else character for character in text)


def _shown(node: exp.Expression) -> str:
    text = node.sql(dialect="postgres", comments=False)
    return f"`{text}`" if len(text) <= 60 else f"`{text[:57]}...`"


def _syntax(error: SqlglotError) -> str:
    for found in getattr(error, "errors", []):
        if found.get("description"):
            return f"where, character {found.get('col', 1)}: cannot be read as SQL near {found.get('highlight')!r}"
    return "where: cannot be read as SQL: is a quote missing?"


def _hint_for(node: exp.Expression) -> str:
    if isinstance(node, (exp.Subquery, exp.Select, exp.Exists, exp.All, exp.Any)):
        return "a policy looks at one object at a time: subqueries are not allowed"
    if isinstance(node, (exp.CurrentTimestamp, exp.CurrentDate, exp.Interval)):
        return "for time that has passed write `idle_for` or `age_over` under `when:`"
    if isinstance(node, (exp.Glob, exp.RegexpLike, exp.RegexpILike, exp.SimilarTo)):
        return "patterns are written with LIKE or ILIKE: % for any characters, _ for one"
    if isinstance(node, exp.Func):
        return f"functions are: {FUNCTIONS}"
    return "allowed are columns, literals, comparisons, AND, OR, NOT, IN, LIKE, BETWEEN, IS NULL and + - * /"
