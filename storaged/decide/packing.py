"""What a policy says of packs: how large they become, what is too large for them, and what goes into one together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

import sqlalchemy as sa
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.schema import objects
from storaged.clock import DAY, SECOND
from storaged.codecs.base import check_level
from storaged.codecs.pack import LEVEL, NAME_BYTES, PART_BYTES
from storaged.codecs.registry import PackLevels, compresses
from storaged.config.quantities import (
    BadValueError,
    Duration,
    Percent,
    Size,
    format_duration,
    parse_percent,
    parse_size,
    shown,
)
from storaged.decide import sql
from storaged.decide.conditions.base import Texts
from storaged.decide.money import PACK_SIZE
from storaged.errors import UsageError
from storaged.model import AUTO, PACK, CodecSpec

SMALLEST: Final = 1 << 20  # bytes of content in a pack
LARGEST: Final = 64 << 30  # below what an upload takes in parts of the least size
MEMBERS: Final = 4  # of the largest objects that a pack takes, it holds at least so many
_SHARE: Final = 0.10
_HOUR: Final = 3600 * SECOND
_DEEPEST: Final = 64


@dataclass(frozen=True, slots=True)
class PackSpec(CodecSpec):
    """The codec of packs. `target`: bytes of content that a pack holds at most, but for its last member; `largest`:
    bytes of content of an object that still goes into one. `repack_below`: what is in a pack is packed anew once less
    than this of that pack's content is still somebody's: a share, in parts of `sql.FINENESS`."""

    level: int | None = LEVEL
    target: int = PACK_SIZE
    largest: int = int(PACK_SIZE * _SHARE)
    repack_below: int = sql.FINENESS // 2


def unpackable(name: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether a tar would not give an object of this name back: `storaged.codecs.pack.why_not`, as far as that goes by
    the name."""
    framed = sql.words("/", name, "/")
    parts = (framed.contains(part) for part in ("//", "/./", "/../"))
    size = sql.octets(name)
    return sa.or_(*parts, size > NAME_BYTES, sa.and_(size > PART_BYTES, sql.longest_part(name) > PART_BYTES))


def shrinks(spec: CodecSpec) -> bool:
    """Whether less is stored than the content has, by a ratio."""
    return isinstance(spec, PackSpec) or spec.name == AUTO or compresses(spec)


def _target(size: int) -> int:
    if not SMALLEST <= size <= LARGEST:
        raise BadValueError(f"{shown(size)} bytes are no size of a pack", hint="from 1MiB to 64GiB")
    return size


def _level(level: object) -> int:
    if type(level) is not int:
        raise BadValueError(f"the level is a whole number, not {shown(level)}", hint="such as 9")
    try:
        check_level(PackLevels(), level)
    except UsageError as error:
        raise BadValueError(error.message, hint=error.hint) from error
    return level


def _largest(value: object) -> int | float:
    """Bytes, or a share of the target (a float)."""
    if isinstance(value, str) and value.endswith("%"):
        return parse_percent(value)
    if not isinstance(value, str):
        raise BadValueError(f"{shown(value)} could be a share or a size", hint="write 10% or 16MiB")
    return parse_size(value)


_LEVELS: Final = {"type": "integer", "minimum": PackLevels.levels[0], "maximum": PackLevels.levels[-1]}


class PackOptions(BaseModel):
    """How large packs become, and how they are compressed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: Annotated[Size, AfterValidator(_target)] = Field(
        default=PACK_SIZE,
        description="How much content a pack holds. A group becomes as many packs as that asks for, of even size.",
        json_schema_extra={"default": "256MiB"},
    )
    level: Annotated[int, BeforeValidator(_level), WithJsonSchema(_LEVELS)] = Field(
        default=LEVEL, description="As of zstd.", json_schema_extra={"default": LEVEL}
    )
    largest: Annotated[
        int | float,
        BeforeValidator(_largest),
        WithJsonSchema({"type": "string", "examples": ["10%", "16MiB"]}),
    ] = Field(
        default=_SHARE,
        description="What is larger is left to other policies: a share of `target` or a size, at most 25% of it.",
        json_schema_extra={"default": "10%"},
    )

    repack_below: Percent = Field(
        default=0.5,
        description="What is in a pack is packed anew once less of its content than this is somebody's. 0%: never.",
        json_schema_extra={"default": "50%"},
    )

    @field_validator("largest")
    @classmethod
    def _fits(cls, largest: int | float, info: ValidationInfo) -> int | float:
        target = info.data.get("target")
        if target is not None and not 0 < _bytes(largest, target) <= target // MEMBERS:
            raise BadValueError(
                "an object of that size is no member of a pack", hint="at most a quarter of `target`, such as 10%"
            )
        return largest


def _bytes(largest: int | float, target: int) -> int:
    return largest if isinstance(largest, int) else target * round(largest * sql.FINENESS) // sql.FINENESS


class _Made:
    """Of a pydantic field: written as a type, and made of what that reads by a function."""

    def __init__(self, written: Any, make: Callable[[Any], object]) -> None:
        self._written, self._make = written, make

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._make, handler.generate_schema(self._written))


class PackForm(BaseModel):
    """`pack` with options."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pack: PackOptions = Field(description="Many small objects in one blob.")

    def packing(self) -> PackSpec:
        """The codec that it means."""
        o = self.pack
        largest, below = _bytes(o.largest, o.target), round(o.repack_below * sql.FINENESS)
        return PackSpec(PACK, o.level, target=o.target, largest=largest, repack_below=below)


def is_pack(value: object) -> bool:
    """Whether `codec:` of a policy is a mapping that names packs."""
    return isinstance(value, dict) and PACK in value


PackCodec = Annotated[PackSpec, _Made(PackForm, PackForm.packing), Tag("a pack")]


@dataclass(frozen=True, slots=True)
class Grouping:
    """What goes into packs together: objects whose partitions have the same values of these keys, or that have the same
    first folders, or that were modified in the same span of time. Of all three none: all objects of a dataset."""

    keys: tuple[str, ...] = ()
    depth: int = 0
    every_us: int = 0

    def __str__(self) -> str:
        """As part of the policy's sentence."""
        if self.keys:
            return f"by {' and '.join(self.keys)}"
        if self.depth:
            return f"by the first {f'{self.depth} folders' if self.depth > 1 else 'folder'}"
        return f"by when they were modified, every {format_duration(self.every_us)}" if self.every_us else ""

    def label(self) -> ColumnElement[str]:
        """What tells an object's group, as part of a pack's name; empty: there is but one. NULL: it has none."""
        if self.keys:
            parts: list[str | ColumnElement[Any]] = []
            for key in self.keys:
                parts += [f"{'/' if parts else ''}{key}=", sql.json_text(objects.c.partition, key)]
            return sql.words(*parts)
        if self.depth:
            return sql.first_folders(objects.c.name, self.depth)
        if self.every_us:
            return sql.span(objects.c.mtime_us, self.every_us)
        return sa.literal("", sa.Text())


def _key(key: str) -> str:
    try:
        return sql.json_key(key)
    except ValueError as error:
        raise BadValueError(str(error)) from error


def _unlike(keys: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(keys)) < len(keys):
        raise BadValueError("a key is named twice", hint="name each once")
    return tuple(_key(key) for key in keys)


def _whole_hours(us: int) -> int:
    if us == 0 or us % (DAY if us >= DAY else _HOUR) or (us < DAY and DAY % us):
        raise BadValueError(
            f"{format_duration(us)} is no span to group by", hint="whole days, or hours that divide one: 1h, 6h, 1d, 7d"
        )
    return us


class GroupRule(BaseModel):
    """Groups without partitions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    depth: int | None = Field(
        default=None, ge=1, le=_DEEPEST, description="Objects with the same first folders, so many of them."
    )
    every: Annotated[Duration, AfterValidator(_whole_hours)] | None = Field(
        default=None, description="Objects modified in the same span of so long, counted from 1970 in UTC."
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> GroupRule:
        if (self.depth is None) is (self.every is None):
            raise BadValueError("one way to group is wanted here", hint="`depth: 2` or `every: 1d`, or a list of keys")
        return self

    def grouping(self) -> Grouping:
        """The groups that it means."""
        return Grouping(depth=self.depth or 0, every_us=self.every or 0)


_Keys = Annotated[Texts, AfterValidator(_unlike)]


def _of_keys(keys: tuple[str, ...]) -> Grouping:
    return Grouping(keys=keys)


def _which(value: Any) -> str:
    return "a rule" if isinstance(value, dict) else "keys"


GroupBy = Annotated[
    Annotated[Grouping, _Made(_Keys, _of_keys), Tag("keys")]
    | Annotated[Grouping, _Made(GroupRule, GroupRule.grouping), Tag("a rule")],
    Discriminator(_which),
]
