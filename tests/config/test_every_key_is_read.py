"""Every key of storaged.yaml and of a policy is read by code that acts on it, not only checked and documented.

The models tell which keys there are; the code's syntax trees tell which attributes are read. A key called `size` proves
nothing by a `.size` somewhere: what stands before the dot must be able to be that section. So the trees are walked with
the sections that each name may hold: from annotations, loops, assignments, and calls of what returns a section. What
a section hands to another value (`Tier(rank=self.rank)`) counts only if that value's attribute is read in turn.
"""

from __future__ import annotations

import ast
import dataclasses
import re
import typing
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import storaged
from storaged import model
from storaged.config.settings import Settings
from storaged.decide.conditions import CONDITIONS
from storaged.decide.policy import Policy, When
from storaged.stores import access

PACKAGE = Path(storaged.__file__).parent
VALUES = (model.Tier, model.Dataset, access.Access)  # what sections become


def sections(top: type[BaseModel], found: dict[str, type[Any]] | None = None) -> dict[str, type[Any]]:
    """All models that one is made of, by name."""
    found = {} if found is None else found
    found[top.__name__] = top
    for field in top.model_fields.values():
        for inner in mentioned(field.annotation):
            if issubclass(inner, BaseModel) and inner.__name__ not in found:
                sections(inner, found)
    return found


def mentioned(annotation: Any) -> Iterator[type[Any]]:
    """Every class in an annotation."""
    if isinstance(annotation, type) and not typing.get_args(annotation):
        yield annotation
    for part in typing.get_args(annotation):
        yield from mentioned(part)


def known() -> dict[str, type[Any]]:
    """The classes whose attributes are followed, by name."""
    return sections(Settings) | sections(Policy) | {value.__name__: value for value in VALUES}


@cache
def keys_of(kind: type[Any]) -> dict[str, Any]:
    """The fields of a class and their annotations."""
    if issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


@cache
def within(kind: type[Any], key: str) -> frozenset[str]:
    """The names of the classes in a field's annotation."""
    return frozenset(inner.__name__ for inner in mentioned(keys_of(kind).get(key)))


class Reads(ast.NodeVisitor):
    """Which attributes of which classes a file reads, and which of them only to hand them to another value."""

    def __init__(self, classes: dict[str, type[Any]], returns: dict[str, set[str]]) -> None:
        self.classes = classes
        self.returns = returns  # by the name of a function or property: the classes in its annotation
        self.read: set[tuple[str, str]] = set()
        self.handed: dict[tuple[str, str], set[tuple[str, str]]] = {}
        self.keys = {key for kind in classes.values() for key in keys_of(kind)}
        self.names: list[dict[str, set[str]]] = [{}]
        self.into: tuple[str, str] | None = None

    # -- what may be what ------------------------------------------------------------------------------------------

    def of_text(self, annotation: ast.expr | None) -> set[str]:
        if annotation is None:
            return set()
        return set(re.findall(r"\w+", ast.unparse(annotation))) & set(self.classes)

    def may_be(self, node: ast.expr | None) -> set[str]:
        match node:
            case ast.Name(id=name):
                return next((scope[name] for scope in reversed(self.names) if name in scope), set())
            case ast.Attribute(value=value, attr=attr):
                found = set(self.returns.get(attr, set()))
                for kind in self.may_be(value) if attr in self.keys else ():
                    found |= within(self.classes[kind], attr) & set(self.classes)
                return found
            case ast.Call(func=ast.Name(id=name)) if name in self.classes:
                return {name}
            case ast.Call(func=func, args=args):
                own = set(self.returns.get(name_of(func), set()))
                return own | (self.may_be(func.value) if isinstance(func, ast.Attribute) else set()).union(
                    *(self.may_be(a) for a in args)
                )
            case ast.GeneratorExp() | ast.ListComp() | ast.SetComp() | ast.DictComp():
                self.names.append({})
                for part in node.generators:
                    self.bind(part.target, self.may_be(part.iter))
                found = self.may_be(node.value if isinstance(node, ast.DictComp) else node.elt)
                self.names.pop()
                return found
            case None | ast.Constant():
                return set()
            case _:
                return set().union(*(self.may_be(n) for n in ast.iter_child_nodes(node) if isinstance(n, ast.expr)))

    def bind(self, target: ast.expr, found: set[str]) -> None:
        for node in ast.walk(target):
            if isinstance(node, ast.Name) and found:
                self.names[-1][node.id] = self.names[-1].get(node.id, set()) | found

    # -- the walk --------------------------------------------------------------------------------------------------

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        scope = {"self": {node.name}} if node.name in self.classes else {}
        for part in node.body:  # a dataclass's own attributes are read as self.name
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                self.returns.setdefault(part.target.id, set()).update(self.of_text(part.annotation))
        self.names.append(scope)
        self.generic_visit(node)
        self.names.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        if any("validator" in ast.unparse(d) for d in node.decorator_list):
            return  # that it is right is no use of it
        arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        self.names.append({a.arg: self.of_text(a.annotation) for a in arguments if a.annotation is not None})
        for _ in range(2):  # names that are bound further down, in the second round
            for part in node.body:
                self.visit(part)
        self.names.pop()

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            if isinstance(target, ast.Attribute):
                self.returns.setdefault(target.attr, set()).update(self.may_be(node.value))
            self.bind(target, self.may_be(node.value))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.generic_visit(node)
        if isinstance(node.target, ast.Attribute):
            self.returns.setdefault(node.target.attr, set()).update(self.of_text(node.annotation))
        self.bind(node.target, self.of_text(node.annotation) | self.may_be(node.value))

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.generic_visit(node)
        self.bind(node.target, self.may_be(node.value))

    def visit_For(self, node: ast.For) -> None:
        self.bind(node.target, self.may_be(node.iter))
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self.bind(node.target, self.may_be(node.iter))
        self.generic_visit(node)

    def _comprehended(self, node: Any) -> None:
        for part in node.generators:
            self.visit(part)
        self.generic_visit(node)

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, (ast.GeneratorExp, ast.ListComp, ast.SetComp, ast.DictComp)):
            self._comprehended(node)
        else:
            super().visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        kind = name_of(node.func)
        self.visit(node.func)
        fields = list(keys_of(self.classes[kind])) if kind in self.classes else []
        before = self.into
        for place, value in enumerate(node.args):
            self.into = (kind, fields[place]) if place < len(fields) else before
            self.visit(value)
        for keyword in node.keywords:
            self.into = (kind, keyword.arg) if keyword.arg in fields else before
            self.visit(keyword.value)
        self.into = before

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.visit(node.value)
        if node.attr not in self.keys or not isinstance(node.ctx, ast.Load):
            return
        for kind in self.may_be(node.value):
            if node.attr in keys_of(self.classes[kind]):
                if self.into is None or self.into[0] == kind:
                    self.read.add((kind, node.attr))
                else:
                    self.handed.setdefault((kind, node.attr), set()).add(self.into)


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def read_keys(trees: Iterable[ast.Module], classes: dict[str, type[Any]]) -> set[tuple[str, str]]:
    """(class, key) of all that is read somewhere by code that does more than hand it on or check it."""
    trees = list(trees)
    returns: dict[str, set[str]] = {}
    reads = Reads(classes, returns)
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.returns is not None:
                returns.setdefault(node.name, set()).update(reads.of_text(node.returns))
    for _ in range(2):  # attributes that a file further on sets
        for tree in trees:
            reads.visit(tree)
    found, before = reads.read, 0
    while len(found) > before:
        before = len(found)
        found |= {key for key, values in reads.handed.items() if values & found}
    return found


def the_code() -> Iterator[ast.Module]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield ast.parse(path.read_text(), str(path))


def refused(kind: type[BaseModel], key: str) -> bool:
    """Whether a key is there only to be refused with a message of its own."""
    return kind.model_fields[key].annotation is Any and any(
        key in decorator.info.fields for decorator in kind.__pydantic_decorators__.field_validators.values()
    )


def unread(found: set[tuple[str, str]]) -> list[str]:
    return sorted(
        f"{name}.{key}"
        for name, kind in (sections(Settings) | sections(Policy)).items()
        if kind is not When
        for key in kind.model_fields
        if not refused(kind, key) and not any((base.__name__, key) in found for base in kind.__mro__)
    )


def test_every_key_is_read_by_code_that_acts_on_it() -> None:
    assert unread(read_keys(the_code(), known())) == []


def test_every_condition_is_one_that_selects() -> None:
    assert set(When.model_fields) == set(CONDITIONS)


CODE = """
class Uses:
    def __init__(self, settings: Settings, lines: Lines) -> None:
        self.settings = settings
        self.lines = lines

    def all(self) -> list[int]:
        bounded = {name: tier.capacity for name, tier in self.settings.tiers.items() if tier.capacity}
        return [self.lines.high, *(capacity.size for capacity in bounded.values())]

    @model_validator(mode="after")
    def right(self, capacity: Capacity) -> bool:
        return capacity.low < 1

    def values(self) -> dict[str, Tier]:
        return {
            name: Tier(name, tier.rank, tier.url, read_latency_s=tier.read_latency)
            for name, tier in self.settings.tiers.items()
        }


def ranks(made: Uses) -> list[int]:
    return [tier.rank for tier in made.values().values()]
"""


@pytest.mark.parametrize(
    ("key", "is_read"),
    [
        ("Capacity.size", True),
        ("Capacity.high", False),  # only something else has a high that is read
        ("Capacity.low", False),  # only looked at to see whether it is right
        ("TierSettings.capacity", True),
        ("TierSettings.rank", True),  # what it is handed to is read
        ("TierSettings.read_latency", False),  # what it is handed to is not
        ("TierSettings.prices", False),
    ],
)
def test_a_key_that_nothing_reads_is_found(key: str, is_read: bool) -> None:
    assert (key not in unread(read_keys([ast.parse(CODE)], known()))) == is_read
