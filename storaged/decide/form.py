"""How a policy names a form: a codec, packs, or `auto`, which leaves it to samples."""

from __future__ import annotations

from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from storaged.codecs.registry import CODECS, options_of, parse_spec
from storaged.config.quantities import BadValueError, shown
from storaged.decide.packing import PackSpec, is_pack
from storaged.errors import UsageError
from storaged.model import AUTO, PACK, CodecSpec


def parse_form(value: object) -> CodecSpec:
    """A codec as `parse_spec` reads it; level `auto` is the codec's own choice. Raises BadValueError."""
    name = next(iter(value), None) if isinstance(value, dict) else value
    if isinstance(value, str) and value.partition(":")[0] == PACK:
        if value != PACK:
            raise BadValueError(f"{shown(value)}: packs have options", hint="write {pack: {level: 9}}")
        return PackSpec(PACK)
    if isinstance(name, str) and name.partition(":")[0] == AUTO:
        if value != AUTO:
            raise BadValueError(f"{shown(value)}: samples choose the level too", hint=f"write {AUTO}")
        return CodecSpec(AUTO)
    if isinstance(value, dict) and isinstance(value.get(name), dict) and value[name].get("level") == "auto":
        value = {name: value[name] | {"level": None}}
    try:
        return parse_spec(value)
    except UsageError as error:
        raise BadValueError(error.message, hint=error.hint) from error


def which_form(value: Any) -> str:
    return "a pack" if is_pack(value) else "a codec"


class FormSchema:
    """Every codec by its name, and with its level where it has levels; made when a schema is asked for."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return _codec_schema()


def _codec_schema() -> dict[str, Any]:
    forms: list[dict[str, Any]] = [{"enum": [*CODECS, AUTO, PACK]}]
    for name, known in CODECS.items():
        if known.levels:
            numbers = {"type": "integer", "minimum": known.levels[0], "maximum": known.levels[-1]}
            told: dict[str, Any] = {"level": {"anyOf": [numbers, {"const": "auto"}]}}
            told |= {option: {"type": "boolean"} for option in options_of(name)}
            options = {"type": "object", "properties": told, "minProperties": 1, "additionalProperties": False}
            forms.append(_object(name, options))
    return {"anyOf": forms}


def _object(key: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {key: schema}, "required": [key], "additionalProperties": False}
