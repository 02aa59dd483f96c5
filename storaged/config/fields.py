"""The texts of storaged.yaml that have rules of their own, as pydantic types. What breaks one raises BadValueError."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, TypeAlias

from pydantic import AfterValidator, Field

from storaged.config.quantities import BadValueError, shown
from storaged.stores.base import RESERVED

_MONEY: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,2})? USD")
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")
_NAME_FORMS = "use letters, digits, . _ and -"


def _name(text: str) -> str:
    if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9._-]{0,99}", text):
        raise BadValueError(f"{shown(text)} cannot be a name", hint=f"{_NAME_FORMS}, at most 100 of them")
    return text


def _tier_name(text: str) -> str:
    if text == "auto":
        raise BadValueError("`auto` cannot be the name of a tier", hint="in a policy it means the cheapest tier")
    return _name(text)


def _dataset_name(text: str) -> str:
    segments = text.split("/")
    plain = all(re.fullmatch("[A-Za-z0-9._-]+", s) and s not in (".", "..", RESERVED) for s in segments)
    if not plain or len(text) > 200:
        hint = f"{_NAME_FORMS}, with / between parts, at most 200 characters; .. and {RESERVED} are no parts"
        raise BadValueError(f"{shown(text)} cannot be the name of a dataset", hint=hint)
    return text


def _partitions(pattern: str) -> str:
    keys = _PLACEHOLDER.findall(pattern)
    rest = _PLACEHOLDER.sub("\0", pattern)  # no pattern holds a NUL: it marks where the placeholders were
    hint = "write it as dt={dt}/hour={hour}"
    for key in keys:
        if not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", key):
            raise BadValueError(f"{{{key}}} in {shown(pattern)} is not a plain word", hint=hint)
        if keys.count(key) > 1:
            raise BadValueError(f"{{{key}}} is in {shown(pattern)} twice", hint="each partition key has one place")
    if not keys or "{" in rest or "}" in rest:
        raise BadValueError(f"{shown(pattern)} has no placeholder, or a brace too many", hint=hint)
    if "\0\0" in rest:
        raise BadValueError(f"{shown(pattern)} has two placeholders with nothing between", hint=hint)
    if "" in rest.split("/"):
        raise BadValueError(f"{shown(pattern)} has a slash too many", hint=hint)
    return pattern


def _money(text: str) -> str:
    if not _MONEY.fullmatch(text):
        number = re.fullmatch(r"[$]?([0-9]{1,12}([.][0-9]{1,2})?) *([$]|usd|dollars?)?", text.strip(), re.IGNORECASE)
        written = f"{number[1]} USD" if number else "50 USD"
        raise BadValueError(f"{shown(text)} is not an amount of money", hint=f"write it as {written}")
    return text


def _plain_path(path: Path) -> Path:
    if str(path).startswith("~"):
        raise BadValueError("~ does not stand for a home directory here", hint="write the whole path")
    return path


Text: TypeAlias = Annotated[str, Field(min_length=1)]
Name: TypeAlias = Annotated[str, AfterValidator(_name)]
TierName: TypeAlias = Annotated[str, AfterValidator(_tier_name)]
DatasetName: TypeAlias = Annotated[str, AfterValidator(_dataset_name)]
Partitions: TypeAlias = Annotated[str, AfterValidator(_partitions)]
Money: TypeAlias = Annotated[str, AfterValidator(_money)]
FilePath: TypeAlias = Annotated[Path, AfterValidator(_plain_path)]
