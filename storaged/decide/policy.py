"""What a policy may say, and all that is wrong with a file of them at once, by line."""

from __future__ import annotations

import fnmatch
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    create_model,
    field_validator,
    model_validator,
)

from storaged.config.messages import YamlPath, did_you_mean, path_text
from storaged.config.quantities import BadValueError, Duration, shown
from storaged.config.schedules import Schedule
from storaged.config.settings import Limits
from storaged.config.yaml import Document, validate
from storaged.decide.conditions import CONDITIONS, Condition
from storaged.decide.conditions.base import Texts
from storaged.decide.destination import PolicySection, To
from storaged.decide.elsewhere import ELSEWHERE
from storaged.decide.packing import GroupBy, Grouping
from storaged.errors import PolicyError, Problem
from storaged.model import IDENTITY, Fidelity, Mode
from storaged.stores.losses import LOSSES


def _name(text: str) -> str:
    if not re.fullmatch("[A-Za-z0-9][A-Za-z0-9._-]{0,99}", text):
        raise BadValueError(f"{shown(text)} cannot be a name", hint="use letters, digits, . _ and -, at most 100")
    return text


def _where(text: str) -> str:
    from storaged.decide.where import check_where  # slow to import, and seldom needed

    try:
        check_where(text)
    except PolicyError as error:
        raise BadValueError(error.message, hint=error.hint) from error
    return text


def _some_time(us: int) -> int:
    if us == 0:
        raise BadValueError("nothing pays back at once", hint="such as 180d")
    return us


def _loss(name: str) -> str:
    if name not in LOSSES:
        raise BadValueError(f"{shown(name)} is nothing that can be lost", hint=did_you_mean(name, LOSSES))
    return name


_Text = Annotated[str, Field(min_length=1)]


class Target(PolicySection):
    """Which objects a policy looks at."""

    dataset: Texts = Field(
        description="A dataset's name, or a pattern in which * stands for any characters, or a list of these."
    )
    tier: _Text | None = Field(default=None, description="Only objects that are in this tier now.")

    def takes(self, dataset: str) -> bool:
        return any(fnmatch.fnmatchcase(dataset, pattern) for pattern in self.dataset)


_CONDITION_FIELDS: Final[dict[str, Any]] = {
    key: (condition.wants | None, Field(default=None, description=inspect.cleandoc(condition.__doc__ or "")))
    for key, condition in CONDITIONS.items()
}
When = create_model("When", __base__=PolicySection, __doc__="Conditions; all must hold.", **_CONDITION_FIELDS)


class PolicyLimits(Limits):
    """Where a run of this policy stops. What is left out comes from storaged.yaml."""


class Require(PolicySection):
    """What must be true of the money for an object to be touched."""

    payback_within: Annotated[Duration, AfterValidator(_some_time)] = Field(
        description="What it saves per month makes up for what it costs once within this time. What no price is known "
        "of is held back too."
    )


class Policy(PolicySection):
    """One declarative rule."""

    name: Annotated[str, AfterValidator(_name)] = Field(description="Its name in plans, jobs and messages.")
    target: Target
    when: When | None = None  # type: ignore[valid-type]  # a model made from the registry of conditions
    where: Annotated[_Text, AfterValidator(_where)] | None = Field(
        default=None, description="An SQL condition over an object's columns, which must hold too."
    )
    to: To
    limits: PolicyLimits = PolicyLimits()
    keep_source: Duration | None = Field(
        default=None, description="How long the source is kept after the swap. Left out: `grace` of storaged.yaml."
    )
    rest: Duration | None = Field(
        default=None,
        description="For how long it leaves alone what it would move back against the direction of its last move. Left "
        "out: `rest` of storaged.yaml, or the minimum duration of the storage class that the object would leave.",
    )
    schedule: Schedule | None = Field(
        default=None, description="When the daemon runs it: minute hour day month weekday, in UTC."
    )
    mode: Mode = Field(
        default=Mode.DRY_RUN, description="Whether its schedule may act: active, dry-run (plans only) or disabled."
    )
    allow_loss: tuple[Annotated[str, AfterValidator(_loss), WithJsonSchema({"enum": list(LOSSES)})], ...] = Field(
        default=(),
        description="Metadata that may be lost where the original's place cannot be given it again: "
        f"{', '.join(f'`{name}`' for name in LOSSES)}.",
    )
    purge_noncurrent: bool = Field(
        default=False,
        description="Where the root keeps versions: the older versions of an object are deleted with its source.",
    )
    collections: Literal["keep", "ignore", "whole"] = Field(
        default="keep",
        description="Parts of a table, an array or their like are held back; `ignore`: each is moved by itself; "
        "`whole`: all of them are moved together or none is, as they are, where the conditions hold for all of it.",
    )
    group_by: GroupBy | None = Field(
        default=None,
        description="Of `codec: pack`: what goes into packs together. Partition keys, or `{depth: 2}`: by the first "
        "folders, or `{every: 1d}`: by when objects were modified. Left out: all objects of a dataset.",
    )
    require: Require | None = Field(
        default=None, description="Money: objects of which this does not hold are held back, with the figures."
    )

    @field_validator("group_by")
    @classmethod
    def _of_packs(cls, value: Grouping | None, info: ValidationInfo) -> Grouping | None:
        to = info.data.get("to")
        if to is not None and to.packing is None:
            raise BadValueError("only packs have groups", hint="write `codec: pack` under `to`, or remove `group_by`")
        return value

    @model_validator(mode="after")
    def _selects(self) -> Policy:
        if not self.conditions and self.where is None and not self.to.chooses:
            raise BadValueError("it has no conditions", hint="give `when:` at least one, such as idle_for: 30d")
        return self

    @model_validator(mode="after")
    def _in_place(self) -> Policy:
        if self.to.in_place and (self.keep_source is not None or self.purge_noncurrent):
            raise BadValueError(
                "in place there is no source to keep or to delete", hint="remove `keep_source` and `purge_noncurrent`"
            )
        return self

    @model_validator(mode="after")
    def _moves_whole(self) -> Policy:
        if self.collections != "whole":
            return self
        if self.to.tier is None:
            raise BadValueError("what moves whole goes somewhere", hint="give `tier`, or remove `collections: whole`")
        if self.to.chooses:
            raise BadValueError(
                "what moves whole goes to one tier, and `tier: auto` chooses one for each object",
                hint="name the tier, or remove `collections: whole`",
            )
        if self.to.codec not in (None, IDENTITY):
            raise BadValueError(
                "what moves whole stays as it is: its own program has packed it",
                hint="write `codec: identity`, or remove `codec`",
            )
        if self.drains:
            raise BadValueError(
                "a tier that is full is emptied by its coldest objects, one by one",
                hint="remove `tier_full_above`, or `collections: whole`",
            )
        return self

    @model_validator(mode="after")
    def _chooses_by_cost(self) -> Policy:
        if self.to.chooses and self.drains:
            raise BadValueError(
                "`tier: auto` goes by cost, and not by how full a tier is",
                hint="remove `tier_full_above`, or name the tier that takes what leaves a full one",
            )
        return self

    @model_validator(mode="after")
    def _keeps_tables(self) -> Policy:
        if self.to.fidelity is not Fidelity.TABLE:
            return self
        if self.collections == "ignore":
            raise BadValueError(
                "with `fidelity: table` no part of a collection is taken: its log names the sizes of its files",
                hint="remove `collections: ignore`, or `fidelity: table`",
            )
        if self.keep_source == 0:
            raise BadValueError(
                "with `fidelity: table` the source is all that has the old bytes, and it would be kept for no time",
                hint="give `keep_source` as long as somebody may want to undo it, such as 30d",
            )
        return self

    @property
    def drains(self) -> bool:
        """Whether it empties tiers that are full: the coldest first, and only down to their low mark."""
        return "tier_full_above" in self.conditions

    @property
    def conditions(self) -> dict[str, Condition]:
        """What stands under `when:`, in the order of the registry."""
        given = {key: getattr(self.when, key, None) for key in CONDITIONS}
        return {key: CONDITIONS[key](value) for key, value in given.items() if value is not None}


class PolicyFile(PolicySection):
    """A file with several policies. A file may also be one policy, without `policies:`."""

    policies: list[Policy] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy and where it stands: file, line of its name, its lines as written, and their SHA-256. `at`: where it is
    in the file."""

    policy: Policy
    file: str
    line: int
    text: str
    digest: str
    document: Document = field(repr=False)
    at: YamlPath = ()

    @property
    def name(self) -> str:
        return self.policy.name

    def problem(self, path: YamlPath, message: str, hint: str | None = None) -> Problem:
        """What is odd about what stands at `path` in it."""
        whole = self.at + path
        return Problem(self.file, self.document.line(whole), path_text(whole), message, hint)


@dataclass(frozen=True, slots=True)
class PolicySet:
    """All policies of a directory, in the order in which they are tried, and what looks odd about them."""

    policies: tuple[LoadedPolicy, ...] = ()
    warnings: tuple[Problem, ...] = ()

    def __iter__(self) -> Iterator[LoadedPolicy]:
        return iter(self.policies)

    def __len__(self) -> int:
        return len(self.policies)


def policy_schema() -> dict[str, Any]:
    """The JSON Schema of a policy file, for editors."""
    schema = PolicyFile.model_json_schema()
    both = {"anyOf": [{"$ref": "#/$defs/Policy"}, {"$ref": "#/$defs/PolicyFile"}]}
    file = {key: value for key, value in schema.items() if key != "$defs"}
    return both | {"title": "storaged policy file", "$defs": schema["$defs"] | {"PolicyFile": file}}


def policies_of(document: Document) -> list[tuple[YamlPath, Policy]]:
    """The policies of one file and where in it each stands. Raises ConfigError with all problems."""
    if isinstance(document.data, dict) and "policies" in document.data:
        policies = validate(PolicyFile, document, elsewhere=ELSEWHERE).policies
        return [(("policies", number), policy) for number, policy in enumerate(policies)]
    return [((), validate(Policy, document, elsewhere=ELSEWHERE))]
