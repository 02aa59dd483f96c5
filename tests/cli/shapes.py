"""The shapes of JSON documents: JSON Schemas that are widened by what commands print, and never narrowed."""

from __future__ import annotations

import re
from typing import Any

import jsonschema

DECIMAL = re.compile(r"-?\d+(\.\d+)?")
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
FORMATS = {"decimal": DECIMAL, "date-time": INSTANT}
# Objects whose keys are names that users chose, or kinds of which some are there: last word of their path.
MAPS = frozenset(
    (
        *("billed", "buckets", "charged", "counts", "coverage", "datasets", "held", "held_back", "held_money", "jobs"),
        *("packed", "policies", "prices", "reads_from", "retrieval", "sources", "tags", "tiers"),
    )
)

Schema = dict[str, Any]


def widened(schema: Schema | None, value: Any, name: str = "") -> Schema:
    """The schema, which also takes this value. Fields that are not always there are not `required` any more."""
    new = _schema(value, name)
    return new if schema is None else _union(schema, new)


def _schema(value: Any, name: str) -> Schema:
    match value:
        case None:
            return {"type": "null"}
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer"}
        case float():
            return {"type": "number"}
        case str():
            found = next((kind for kind, text in FORMATS.items() if text.fullmatch(value)), None)
            return {"type": "string", "format": found} if found else {"type": "string"}
        case list():
            items: Schema | None = None
            for entry in value:
                items = widened(items, entry, "")
            return {"type": "array", "items": items} if items is not None else {"type": "array"}
        case dict() if name in MAPS:
            inside: Schema | None = None
            for entry in value.values():
                inside = widened(inside, entry, "")
            return {"type": "object", "additionalProperties": inside if inside is not None else True}
        case dict():
            return {
                "type": "object",
                "properties": {key: _schema(entry, key) for key, entry in value.items()},
                "required": sorted(value),
                "additionalProperties": False,
            }
    raise TypeError(f"{value!r} is no JSON")


def _types(schema: Schema) -> set[str]:
    kind = schema["type"]
    return {kind} if isinstance(kind, str) else set(kind)


def _union(old: Schema, new: Schema) -> Schema:
    """What takes the values of both."""
    kinds = _types(old) | _types(new)
    if "number" in kinds:
        kinds.discard("integer")
    found: Schema = {"type": sorted(kinds) if len(kinds) > 1 else next(iter(kinds))}
    formats = {s.get("format") for s in (old, new) if "string" in _types(s)}
    if len(formats) == 1 and None not in formats:
        found["format"] = formats.pop()
    if items := [s["items"] for s in (old, new) if "items" in s]:
        found["items"] = items[0] if len(items) == 1 else _union(*items)
    whole = [s for s in (old, new) if "object" in _types(s)]
    if any("properties" not in s for s in whole):
        inside = [s["additionalProperties"] for s in whole if isinstance(s.get("additionalProperties"), dict)]
        found["additionalProperties"] = True if not inside else inside[0] if len(inside) == 1 else _union(*inside)
    elif whole:
        keys = list(dict.fromkeys(key for s in whole for key in s["properties"]))
        found["properties"] = {
            key: parts[0] if len(parts) == 1 else _union(*parts)
            for key in keys
            for parts in [[s["properties"][key] for s in whole if key in s["properties"]]]
        }
        found["required"] = sorted(set.intersection(*(set(s["required"]) for s in whole)))
        found["additionalProperties"] = False
    return found


def differences(schema: Schema, value: Any) -> list[str]:
    """Where a document is not what its schema says."""
    checker = jsonschema.FormatChecker(formats=())
    for kind, text in FORMATS.items():
        checker.checks(kind)(lambda value, text=text: not isinstance(value, str) or bool(text.fullmatch(value)))
    validator = jsonschema.Draft202012Validator(schema, format_checker=checker)
    return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]
