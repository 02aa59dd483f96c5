"""What pydantic found wrong, in plain words with a hint. A model's JSON Schema tells its keys and meanings."""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from storaged.config.quantities import BadValueError, shown

YamlPath: TypeAlias = tuple[str | int, ...]

_MAPPING = "a mapping of keys to values"
_WANTED: Final = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "dataclass_type": _MAPPING,
    "path_type": "a path",
    "datetime_type": "a date and time",
    "datetime_parsing": "a date and time",
    "datetime_from_date_parsing": "a date and time",
    "timezone_aware": "a time zone",
}
_NEAR: Final = "did you mean"
_INSTANT = "write it as 2026-01-31T00:00:00Z"
_BOUNDS: Final = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}


def path_text(path: YamlPath) -> str:
    """A path as people write it: `datasets.flights.root`, `policies[0].when`. Keys that would mislead are quoted."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            plain = re.fullmatch(r"[\w/-]+", part)
            text += ("." if text else "") + (part if plain else json.dumps(part))
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint for a word that is not known: the nearest known one, else all of them (None if there are none)."""
    names = sorted(known)
    lowered = {name.lower(): name for name in names}
    near = difflib.get_close_matches(word.lower(), lowered, n=1)
    if near:
        return f"{_NEAR} `{lowered[near[0]]}`?"
    return f"known here: {', '.join(names)}" if names else None


def problems_of(
    error: ValidationError, model: type[BaseModel], data: Any, elsewhere: Mapping[str, str] = MappingProxyType({})
) -> list[tuple[YamlPath, str, str | None]]:
    """Path in `data`, message and hint of every error. The model must have a JSON Schema. `elsewhere`: hints for keys
    that the model has not."""
    schema = _schema_of(model)
    found: dict[tuple[YamlPath, str], str | None] = {}  # the branches of a union often say the same
    for details in error.errors(include_url=False):
        path = _path_in(data, details["loc"])
        if details["type"] == "missing":
            path = (*path, details["loc"][-1])
        message, hint = _said(details, path, schema)
        if details["type"] == "extra_forbidden" and not (hint or "").startswith(_NEAR):
            hint = elsewhere.get(str(path[-1]), hint)
        found.setdefault((path, message), hint)
    return [(path, message, hint) for (path, message), hint in found.items()]


@functools.cache
def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _path_in(data: Any, loc: YamlPath) -> YamlPath:
    """The parts of pydantic's location that are in the data; the others name branches of unions."""
    path: YamlPath = ()
    for part in loc:
        known = data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
        if part in known:
            path, data = (*path, part), data[part]
    return path


def _said(details: ErrorDetails, path: YamlPath, schema: dict[str, Any]) -> tuple[str, str | None]:
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    match kind:
        case "value_error":
            cause = context["error"]
            return (cause.message, cause.hint) if isinstance(cause, BadValueError) else (str(cause), None)
        case "missing":
            meanings = (s["description"] for s in _schemas_at(schema, path) if "description" in s)
            return f"`{path[-1]}` is missing", next(meanings, None)
        case "extra_forbidden":
            return f"unknown key `{path[-1]}`", did_you_mean(str(path[-1]), _keys(schema, path[:-1]))
        case "literal_error" | "enum":
            choices = re.findall(r"'([^']*)'", context["expected"])
            near = did_you_mean(value, choices) if isinstance(value, str) else None
            return f"{_name(value)} is not one of {', '.join(choices)}", near
        case "too_short":
            return f"at least {context['min_length']} entry is needed here", None
        case "string_too_short":
            return "this text is empty" if not value else f"{shown(value)} is too short", None
        case "string_too_long":
            return f"{shown(value)} is longer than {context['max_length']} characters", None
    if kind in _WANTED:
        return f"{_WANTED[kind]} is wanted here, not {_name(value)}", _hint(kind, value, path, schema)
    if kind in _BOUNDS:
        key, words = _BOUNDS[kind]
        return f"{shown(value)} is not {words} {context[key]}", None
    said = re.sub(r"^(\w+) should ", "must ", details["msg"])
    return f"{_name(value)}: {said}", None


def _hint(kind: str, value: Any, path: YamlPath, schema: dict[str, Any]) -> str | None:
    wanted = _WANTED[kind]
    if wanted == "text" and isinstance(value, (bool, int, float)):
        return f'put it in quotes: "{shown(value)}"'
    if wanted == "true or false" and str(value).lower() in ("yes", "no", "on", "off", "y", "n"):
        return "yes, no, on and off are plain text here: write true or false"
    if wanted in ("a whole number", "a number") and isinstance(value, str):
        return "write plain digits without quotes, leading zeros or separators, such as 1000"
    if wanted == "a list":
        return "begin each item with `- `, or write [a, b]"
    if wanted == _MAPPING and (keys := sorted(_keys(schema, path))):
        return f"its keys are {', '.join(keys)}"
    return _INSTANT if wanted in ("a date and time", "a time zone") else None


def _name(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, list) else shown(value)


def _keys(schema: dict[str, Any], path: YamlPath) -> set[str]:
    return {key for s in _schemas_at(schema, path) for key in s.get("properties", {})}


def _schemas_at(root: dict[str, Any], path: YamlPath) -> list[dict[str, Any]]:
    """Every schema that may hold at `path`."""
    found = list(_branches(root, root))
    for part in path:
        inner: list[Any] = []
        for schema in found:
            if isinstance(part, int):
                inner.append(schema.get("items"))
            else:
                inner.append(schema.get("properties", {}).get(part, schema.get("additionalProperties")))
        found = [branch for schema in inner if isinstance(schema, dict) for branch in _branches(schema, root)]
    return found


def _branches(schema: dict[str, Any], root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A schema, what it refers to and what it may be instead."""
    yield schema
    if "$ref" in schema:
        yield from _branches(root["$defs"][schema["$ref"].rpartition("/")[2]], root)
    for inner in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        yield from _branches(inner, root)
