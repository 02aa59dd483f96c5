"""YAML files as data with line numbers, and models read from them. Whatever is wrong comes out as one ConfigError.

A strict, small YAML: one document; mappings with text keys, lists, text, whole numbers, plain decimals, true and false.
Dates, `yes`, `0755` and `1:30` stay text. Anchors, aliases, tags, duplicate keys and empty values are refused.
"""

from __future__ import annotations

import copy
import json
import os
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from yaml.composer import ComposerError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from storaged.config.messages import YamlPath, path_text, problems_of
from storaged.config.quantities import shown
from storaged.errors import ConfigError, Problem

SUFFIXES: Final = (".yaml", ".yml")  # of files in directories of which each is read
MAX_BYTES: Final = 1024 * 1024
MAX_DEPTH: Final = 64
_ROUNDS: Final = 20  # what is taken out may leave something that cannot stand without it

M = TypeVar("M", bound=BaseModel)

_TAG: Final = "tag:yaml.org,2002:"
_QUOTES = "put it in quotes"
_ANCHOR = ("anchors (&name) are not used here", "write the value out")
_ALIAS = ("aliases (*name) are not used here", "write the value out")
_TAGGED = ("tags (!name) are not used here", "write the value without it; quotes make it text")


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds, and on which line. `data` is made of dict (with str keys), list, str, int, float and bool;
    whoever would change it takes a copy."""

    file: str
    data: Any
    lines: Mapping[YamlPath, int] = field(repr=False)

    def line(self, path: YamlPath) -> int:
        """The 1-based line of the key or item at `path`; where that is missing, of its nearest parent."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines[path]


def read_file(path: Path) -> Document:
    """Read one YAML file that was found in a directory: what is none is not waited for. Raises as `read_document`."""
    if os.path.lexists(path) and not path.is_file():
        raise ConfigError((Problem(str(path), 0, "", "this is no file, or a link to none", "take it out of there"),))
    return read_document(path)


def read_document(path: Path) -> Document:
    """Read one YAML file. Raises ConfigError with all that is wrong with its form (if unparsable: the first)."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise _broken(path, 1, f"the file cannot be read: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise _broken(path, 1, "the file is larger than 1 MiB", "is this the right file?")
    return _parsed(path, raw)


@lru_cache(maxsize=64)  # a daemon looks at its files again and again, and they are seldom others
def _parsed(path: Path, raw: bytes) -> Document:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _broken(path, line, "the text is not UTF-8", "save the file as UTF-8") from error
    try:
        composer = _Composer(text)
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _broken(path, line, f"the file has the control character U+{error.character:04X}") from error
    try:
        root = composer.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark or composer.get_mark()
        raise _broken(path, mark.line + 1, *_syntax(error)) from error
    except (ValueError, OverflowError) as error:  # escapes beyond Unicode, endless numbers in %YAML
        raise _broken(path, composer.get_mark().line + 1, "there is no such character or number") from error
    if root is None or (root.tag == f"{_TAG}null" and id(root) not in composer.flaws):
        raise _broken(path, 1, "the file is empty")
    walk = _Walk(str(path), composer.flaws)
    data = walk.value(root, ())
    if walk.problems:
        raise ConfigError(tuple(walk.problems))
    return Document(str(path), data, walk.lines)


def rewritten(text: str, values: Mapping[YamlPath, str]) -> str:
    """A file's text with other words at these paths, where there are scalars; all else, comments too, is as it was.

    The text is one that `read_document` takes, and the words are such that need no quotes."""
    root = _Composer(text).get_single_node()
    for path in sorted(values, key=lambda path: _node(root, path).start_mark.index, reverse=True):
        node = _node(root, path)
        text = text[: node.start_mark.index] + values[path] + text[node.end_mark.index :]
    return text


def written(text: str, path: YamlPath) -> str:
    """The scalar at a path of such a text, as it is written there without its quotes."""
    return str(_node(_Composer(text).get_single_node(), path).value)


def _node(node: Any, path: YamlPath) -> Any:
    for part in path:
        node = node.value[part] if isinstance(part, int) else next(v for k, v in node.value if k.value == part)
    return node


def validate(
    model: type[M], document: Document, at: YamlPath = (), *, elsewhere: Mapping[str, str] = MappingProxyType({})
) -> M:
    """The part of the document at `at` as a model. Raises ConfigError with everything that the model finds wrong.
    `elsewhere`: hints for keys that stand in another file.

    Strict: text is only text and numbers are only numbers. Validators raise BadValueError to give a message and a hint.
    """
    data = document.data
    for part in at:
        data = data[part]
    try:
        # By way of JSON: pydantic then reads dates, paths and enums from text although all else is strict.
        return model.model_validate_json(json.dumps(data), strict=True)
    except ValidationError as error:
        problems = problems_of(error, model, data, elsewhere)
    raise ConfigError(
        tuple(
            Problem(document.file, document.line(at + path), path_text(at + path), message, hint)
            for path, message, hint in sorted(problems, key=lambda problem: document.line(at + problem[0]))
        )
    )


def remains(model: type[M], document: Document, needed: Mapping[str, Any], at: YamlPath = ()) -> M | None:
    """As `validate`, without what the model finds wrong: so that what is wrong otherwise is found too. `needed`: what
    stands in for a key that must be there. None where too little is left."""
    data = document.data
    for part in at:
        data = data[part]
    data = copy.deepcopy(data)
    for _ in range(_ROUNDS):
        try:
            return model.model_validate_json(json.dumps(data), strict=True)
        except ValidationError as error:
            for path, _, _ in problems_of(error, model, data):
                _take_out(data, path, needed)
    return None


def _take_out(data: Any, at: YamlPath, needed: Mapping[str, Any]) -> None:
    holders = [data]
    for part in at[:-1]:
        try:
            holders.append(holders[-1][part])
        except (KeyError, IndexError, TypeError):  # it went with another problem
            return
    last = at[-1] if at else ""
    match holders.pop():
        case list() as entries:
            entries.clear()
        case dict() as entries if last in entries:
            del entries[last]
        case dict() as entries if last in needed:
            entries[last] = needed[str(last)]
        case _ if holders:  # what lacks something goes itself
            del holders[-1][at[-2]]


class _Composer(yaml.BaseLoader):
    """Composes nodes with our own few implicit types; notes what is refused without stopping at it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0
        self.flaws: dict[int, list[tuple[str, str]]] = {}  # id of a node → message, hint

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        parser: Any = self  # its stubs leave these methods untyped
        event = parser.peek_event()
        if isinstance(event, yaml.AliasEvent):
            alias = parser.get_event()
            stand_in = ScalarNode(f"{_TAG}str", "", alias.start_mark, alias.end_mark)
            self.flaws[id(stand_in)] = [_ALIAS]
            return stand_in
        flaws = []
        if event.anchor is not None:
            flaws.append(_ANCHOR)
            event.anchor = None
        if event.tag is not None:
            flaws.append(_TAGGED)
            event.tag = None
        if self.depth >= MAX_DEPTH and not isinstance(event, yaml.ScalarEvent):
            raise ComposerError(
                None, None, f"lists and mappings are nested more than {MAX_DEPTH} deep", event.start_mark
            )
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        if flaws:
            self.flaws[id(node)] = flaws
        return node


for _kind, _pattern, _first in (
    ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", "true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", "[-+]?(0|[1-9][0-9]{0,17})", list("-+0123456789")),
    ("float", r"[-+]?(0|[1-9][0-9]{0,17})\.[0-9]{1,17}", list("-+0123456789")),
):
    _Composer.add_implicit_resolver(f"{_TAG}{_kind}", re.compile(f"^(?:{_pattern})$"), _first)


class _Walk:
    """Turns nodes into data, and remembers lines and problems."""

    def __init__(self, file: str, flaws: Mapping[int, list[tuple[str, str]]]) -> None:
        self.file = file
        self.flaws = flaws
        self.lines: dict[YamlPath, int] = {}
        self.problems: list[Problem] = []

    def value(self, node: Node, path: YamlPath) -> Any:
        """The data of a node. Problems are noted, and something harmless stands in."""
        self.lines.setdefault(path, node.start_mark.line + 1)  # an entry of a mapping has its key's line already
        for message, hint in self.flaws.get(id(node), ()):
            self._note(node, path, message, hint)
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        match node.tag.removeprefix(_TAG):
            case "int":
                return int(node.value)
            case "float":
                return float(node.value)
            case "bool":
                return node.value.lower() == "true"
            case "null" if id(node) not in self.flaws:
                self._note(node, path, "there is no value here", "give one, or remove the line")
        return self._text(node, path)

    def _mapping(self, node: MappingNode, path: YamlPath) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._key(key_node, path)
            inner = (*path, key)
            if key in data:
                self._note(key_node, inner, f"{shown(key)} is given twice", f"first on line {self.lines[inner]}")
            self.lines.setdefault(inner, key_node.start_mark.line + 1)
            data[key] = self.value(value_node, inner)
        return data

    def _key(self, node: Node, path: YamlPath) -> str:
        for message, hint in self.flaws.get(id(node), ()):
            self._note(node, path, message, hint)
        if not isinstance(node, ScalarNode):
            self._note(node, path, "a key is one word, not a list or mapping", "is a brace or colon out of place?")
            return ""
        if node.tag == f"{_TAG}null":
            self._note(node, path, "a key is missing before the colon", None)
        elif node.tag != f"{_TAG}str":
            self._note(node, path, f"the key {node.value} is not text", f'{_QUOTES}: "{node.value}"')
        return self._text(node, path)

    def _text(self, node: Node, path: YamlPath) -> str:
        text: str = node.value
        for character in text:
            if character not in "\n\t" and unicodedata.category(character) in ("Cc", "Cs"):
                self._note(node, path, f"the text has the control character U+{ord(character):04X}", "remove it")
                return ""
        return text

    def _note(self, node: Node, path: YamlPath, message: str, hint: str | None) -> None:
        self.problems.append(Problem(self.file, node.start_mark.line + 1, path_text(path), message, hint))


def _broken(path: Path, line: int, message: str, hint: str | None = None) -> ConfigError:
    return ConfigError((Problem(str(path), line, "", message, hint),))


def _syntax(error: yaml.MarkedYAMLError) -> tuple[str, str | None]:
    """PyYAML's words, and what most likely helps."""
    said = error.problem or error.context or "this is not YAML"
    if "\\t" in said:
        return "a tab cannot be used here", "indent with spaces"
    if "mapping values are not allowed" in said:
        return "a second colon, or a key that is indented too far", "put text that holds a colon and a space in quotes"
    if "single document" in (error.context or ""):
        return "a second document begins here (---)", "one file holds one document"
    return f"{error.context}: {said}" if error.context else said, None
