"""Sizes, durations, rates and shares as people write them, as pydantic types.

`Size` is int bytes, `Duration` int microseconds, `Percent` a share from 0 to 1; `Rate` and `ShareRate` are per day.
Each type carries its pattern, description and examples into the JSON Schema. What does not fit raises `BadValueError`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Final, Self

from pydantic import BeforeValidator, ByteSize, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from storaged.clock import DAY, SECOND

LARGEST_SIZE: Final = 2**63 - 1  # bytes: what a catalog column holds
LONGEST_DURATION: Final = 36_525 * DAY  # a century: instants minus durations stay within what dates can show
PERIOD_DAYS: Final = {"day": 1.0, "week": 7.0, "month": 30.4375, "year": 365.25}  # Julian year, a twelfth of it

_SIZE = r"[0-9]{1,18}(\.[0-9]{1,9})? ?([KkMmGgTtPpEe]([Ii]?[Bb])?|[Bb])"
_UNITS: Final = {"w": 7 * DAY, "d": DAY, "h": 3600 * SECOND, "m": 60 * SECOND, "s": SECOND, "ms": 1_000, "us": 1}
_DURATION = "(?=[0-9])" + "".join(f"(?:([0-9]{{1,12}}){unit})?" for unit in _UNITS)
_NUMBER = r"[0-9]{1,12}(?:\.[0-9]{1,12})?"
_PERIODS = "|".join(PERIOD_DAYS)
_BYTES: Final = TypeAdapter(ByteSize)

_SIZE_FORMS = "write a number and a unit, such as 128KiB, 1TiB or 1GB (KiB = 1024 bytes, KB = 1000), or plain bytes"
_DURATION_FORMS = "write whole numbers with w d h m s ms, largest first, such as 14d, 1h30m or 250ms (m = minutes)"
_CALENDAR_FORMS = "months and years differ in length: write days, such as 30d for a month or 365d for a year"
_PERCENT_FORMS = "write a share of 100, such as 20% or 20"


class BadValueError(ValueError):
    """A value in a file that cannot be; `hint` says what can. Validators raise it, `validate` reports it."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def shown(value: object) -> str:
    """A value from a file as a message shows it: short, and never with control characters."""
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def parse_size(value: object) -> int:
    """Bytes from `128KiB`, `1TiB`, `1GB` or a whole number of bytes. Raises BadValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        size = value
    elif isinstance(value, str) and re.fullmatch(_SIZE, value):
        size = int(_BYTES.validate_python(value))
    else:
        raise BadValueError(f"{shown(value)} is not a size", hint=_SIZE_FORMS)
    if not 0 <= size <= LARGEST_SIZE:
        raise BadValueError(f"{shown(value)} is out of range for a size", hint="sizes go from 0 to just under 8EiB")
    return size


def parse_duration(value: object) -> int:
    """Microseconds from `14d`, `1h30m`, `250ms`. A bare number is refused (0 needs no unit). Raises BadValueError."""
    if value in (0, "0") and not isinstance(value, bool):
        return 0
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise BadValueError(f"{shown(value)} has no unit of time", hint=_DURATION_FORMS)
    match = re.fullmatch(_DURATION, value) if isinstance(value, str) else None
    if match is None:
        calendar = isinstance(value, str) and re.search(r"[0-9] *(mo|M|y|Y)", value)
        hint = _CALENDAR_FORMS if calendar else _DURATION_FORMS
        raise BadValueError(f"{shown(value)} is not a duration", hint=hint)
    duration = sum(int(count) * unit for count, unit in zip(match.groups(), _UNITS.values(), strict=True) if count)
    if duration > LONGEST_DURATION:
        raise BadValueError(f"{shown(value)} is too long", hint="the longest duration is a century, 36525d")
    return duration


def format_duration(us: int) -> str:
    """Microseconds as people write them: `14d`, `1h30m`, `0s` (no weeks). Reads back as the same duration."""
    if us < 0:
        return f"-{format_duration(-us)}"
    text, rest = "", us
    for unit, length in _UNITS.items():
        if unit != "w" and rest >= length:
            count, rest = divmod(rest, length)
            text += f"{count}{unit}"
    return text or "0s"


def parse_percent(value: object) -> float:
    """A share from 0 to 1 from `20%` or 20. Raises BadValueError; also for bare 0.5, which could mean 0.5% or 50%."""
    if isinstance(value, str) and re.fullmatch(rf"{_NUMBER} ?%", value):
        percent = float(value.rstrip(" %"))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if 0 < value < 1:
            raise BadValueError(
                f"{shown(value)} could be meant as {value:g}% or as {value * 100:g}%", hint="write the % sign"
            )
        percent = float(value)
    else:
        raise BadValueError(f"{shown(value)} is not a percentage", hint=_PERCENT_FORMS)
    if not 0 <= percent <= 100:
        raise BadValueError(f"{shown(value)} is not between 0% and 100%", hint=_PERCENT_FORMS)
    return percent / 100


@dataclass(frozen=True, slots=True)
class Rate:
    """Events per day, from `2/month` or `10/day`. `str()` gives it back as it was written."""

    per_day: float
    text: str = field(default="", compare=False)

    UNIT: ClassVar[str] = ""
    SCALE: ClassVar[float] = 1.0
    WHAT: ClassVar[str] = "a rate"
    EXAMPLES: ClassVar[tuple[str, ...]] = ("2/month", "10/day")

    def __str__(self) -> str:
        return self.text or f"{self.per_day / self.SCALE:g}{self.UNIT}/day"

    @classmethod
    def parse(cls, value: object) -> Self:
        """Raises BadValueError."""
        if isinstance(value, cls):
            return value
        match = re.fullmatch(rf"({_NUMBER}){cls.UNIT}/({_PERIODS})", value) if isinstance(value, str) else None
        if match is None:
            periods = ", ".join(PERIOD_DAYS)
            hint = (
                f"write a number{cls.UNIT and ' with ' + cls.UNIT} per {periods}, such as {' or '.join(cls.EXAMPLES)}"
            )
            raise BadValueError(f"{shown(value)} is not {cls.WHAT}", hint=hint)
        return cls(float(match[1]) * cls.SCALE / PERIOD_DAYS[match[2]], match[0])

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse, serialization=core_schema.to_string_ser_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {
            "type": "string",
            "pattern": rf"^{_NUMBER}{cls.UNIT}/({_PERIODS})$",
            "description": (cls.__doc__ or "").split("`str()`")[0].strip(),
            "examples": list(cls.EXAMPLES),
        }


@dataclass(frozen=True, slots=True)
class ShareRate(Rate):
    """Share of the size read per day (0.05 is 5 %), from `5%/month`."""

    UNIT: ClassVar[str] = "%"
    SCALE: ClassVar[float] = 0.01
    WHAT: ClassVar[str] = "a share per time"
    EXAMPLES: ClassVar[tuple[str, ...]] = ("5%/month", "100%/year")


def _schema(kind: str, pattern: str, description: str, *examples: object) -> WithJsonSchema:
    forms = [{"type": "string", "pattern": f"^(?:{pattern})$"}, {"type": kind, "minimum": 0}]
    return WithJsonSchema({"anyOf": forms, "description": description, "examples": list(examples)})


Size = Annotated[
    int,
    BeforeValidator(parse_size),
    _schema("integer", _SIZE, "A size in bytes, or with a unit: KiB = 1024 bytes, KB = 1000.", "128KiB", "1TiB", 0),
]
Duration = Annotated[
    int,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string", "pattern": f"^(?:{_DURATION}|0)$"}, {"const": 0}],
            "description": "A duration: whole numbers with units w d h m s ms, largest first. m is minutes.",
            "examples": ["14d", "1h30m", "250ms"],
        }
    ),
]
Percent = Annotated[
    float,
    BeforeValidator(parse_percent),
    _schema("number", rf"{_NUMBER} ?%", "A share of 100, with or without the % sign.", "20%", 20),
]
