"""Where a policy's objects go, and in which form: what stands under `to:`."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from storaged.clock import DAY
from storaged.codecs.base import Derives
from storaged.codecs.registry import REENCODE, codec
from storaged.config.quantities import BadValueError, Duration, format_duration, shown
from storaged.decide.conditions.base import Texts
from storaged.decide.form import FormSchema, parse_form, which_form
from storaged.decide.packing import PackCodec, PackSpec
from storaged.model import AUTO, CodecSpec, Fidelity

HORIZON_US: Final = 180 * DAY  # no storage class is known to bill more at least
LONGEST_HORIZON_US: Final = 730 * DAY  # forecasts are learnt of a year of reads at most
_ONLY: Final = "write `codec: parquet`, or remove `fidelity`"


class PolicySection(BaseModel):
    """A part of a policy: no other keys than these."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _some_days(us: int) -> int:
    if us < DAY:
        raise BadValueError("nothing pays back within a day", hint="such as 180d")
    if us > LONGEST_HORIZON_US:
        raise BadValueError(
            "no forecast reaches that far: they are learnt of what was read in 365 days at most",
            hint=f"{format_duration(LONGEST_HORIZON_US)} at most, twice as far",
        )
    return us


class To(PolicySection):
    """Where the objects go, and in which form."""

    tier: Annotated[str, Field(min_length=1)] | None = Field(
        default=None,
        description="The tier they go to, or `auto`: each goes where it costs least, by a forecast of its reads "
        "(`storagectl learn`). Left out: they stay where they are.",
    )
    among: Texts | None = Field(
        default=None,
        description="Of `tier: auto`: a tier, or a list of those to choose from; what is in another may stay there. "
        "Left out: all whose objects are read at once.",
    )
    horizon: Annotated[Duration, AfterValidator(_some_days)] | None = Field(
        default=None,
        description="Of `tier: auto`: for how long a place is reckoned. A tier that bills a longer minimum duration is "
        "not chosen. Left out: 180d; 730d at most.",
    )
    fidelity: Fidelity = Field(
        default=Fidelity.BYTES,
        description="What survives of the content. `table`: schema, rows and their order, and not the bytes: with "
        "`codec: parquet`, a Parquet file becomes another file of the same table, and its name reads as that. What is "
        "no Parquet file survives byte by byte.",
    )
    codec: (
        Annotated[
            Annotated[CodecSpec, PlainValidator(parse_form), FormSchema(), Tag("a codec")] | PackCodec,
            Discriminator(which_form),
        ]
        | None
    ) = Field(
        default=None,
        description="How it is encoded there: a codec's name, or `{NAME: {OPTION: …}}`; `pack`: many small objects in "
        "one blob; `auto`: the codec that samples of its kind (dataset and format) are best off with, or none where "
        "they do not shrink. `{parquet: {reencode: true}}`, beside `fidelity: table`: values get the encodings that "
        "make them smallest, row groups and pages stay. Left out: as it is now.",
    )
    in_place: bool = Field(
        default=False,
        description="They stay under their original keys and only get the tier's storage class (S3, both of them).",
    )

    @field_validator("among", "horizon")
    @classmethod
    def _of_auto(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and info.data.get("tier", AUTO) != AUTO:
            hint = f"write `tier: auto`, or remove `{info.field_name}`"
            raise BadValueError("only `tier: auto` chooses a tier", hint=hint)
        return value

    @field_validator("among")
    @classmethod
    def _each_once(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        given = value or ()
        if AUTO in given:
            raise BadValueError(
                "`auto` is no tier to choose", hint="name tiers, or leave out `among`: all are looked at"
            )
        if twice := [name for name in given if given.count(name) > 1]:
            raise BadValueError(f"{shown(twice[0])} stands there twice", hint="name each tier once")
        return value

    @field_validator("codec")
    @classmethod
    def _of_table(cls, value: CodecSpec | None, info: ValidationInfo) -> CodecSpec | None:
        if info.data.get("fidelity") is not Fidelity.TABLE or value is None:
            if value is not None and value.reencode and "fidelity" in info.data:
                raise BadValueError(
                    f"with `{REENCODE}` another file of the table is made, and its bytes do not come back",
                    hint=f"write `fidelity: table` beside it, or remove `{REENCODE}`",
                )
            return value
        if isinstance(value, PackSpec) or value.name == AUTO or not isinstance(codec(value.name), Derives):
            raise BadValueError(f"{value.name} makes no other file of a table", hint=_ONLY)
        return replace(value, fidelity=Fidelity.TABLE)

    @property
    def chooses(self) -> bool:
        """Whether each object's tier is chosen by what it costs there."""
        return self.tier == AUTO

    @property
    def horizon_us(self) -> int:
        """For how long `tier: auto` reckons."""
        return HORIZON_US if self.horizon is None else self.horizon

    @property
    def packing(self) -> PackSpec | None:
        """The packs that the objects become; None: each becomes a blob of its own, or stays one."""
        return self.codec if isinstance(self.codec, PackSpec) else None

    @model_validator(mode="after")
    def _says_something(self) -> To:
        if self.tier is None and self.codec is None:
            raise BadValueError("this changes nothing", hint="give `tier`, `codec` or both")
        if self.chooses and self.packing is not None:
            raise BadValueError(
                "packs go to one tier, and `tier: auto` chooses one for each object", hint="name the tier, or a codec"
            )
        if self.in_place and (self.tier is None or self.codec is not None):
            raise BadValueError("in place only the storage class changes", hint="give `tier`, and no `codec`")
        if self.fidelity is Fidelity.TABLE and self.codec is None:
            raise BadValueError("another file of a table is made by a codec", hint=_ONLY)
        return self
