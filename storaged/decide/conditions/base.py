"""The port of a condition."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema
from sqlalchemy.sql.elements import ColumnElement

from storaged.decide.atoms import Atom
from storaged.decide.evidence import Evidence, Window

UNCOVERED: Final = "no heat source tells of its reads"


def _listed(value: object) -> object:
    """One text is a list of one; a list becomes what a frozen model holds."""
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


Nearest = Literal["", "min", "max"]
_TEXT: Final = {"type": "string", "minLength": 1}
Texts = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    Field(min_length=1),
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT, "minItems": 1}]}),
]


@dataclass(frozen=True, slots=True)
class Told:
    """What `explain` says of one object: what is, and when the condition would hold if nothing changed (or None)."""

    what: str
    holds_from_us: int | None = None


class Condition(ABC):
    """One line under `when:`. `wants` is the type of its value in the policy file.

    `nearest`: whether the object with the least or the largest of its one fact comes nearest to it; empty: none is
    nearer than another. `of_reads`: whether it is about reads, which only logs tell. `of_each`: of a collection that
    moves whole it is asked of each part, and not of all of it together.
    """

    wants: ClassVar[Any]
    nearest: ClassVar[Nearest] = ""
    of_reads: ClassVar[bool] = False
    of_each: ClassVar[bool] = False

    def __init__(self, value: Any) -> None:
        self.value = value

    @abstractmethod
    def __str__(self) -> str:
        """What must hold, as a part of the policy's sentence: `idle for 14d`."""

    @abstractmethod
    def holds(self, evidence: Evidence) -> ColumnElement[bool]:
        """Whether it holds, over objects joined to datasets. NULL where it cannot be known: does not select."""

    @abstractmethod
    def reason(self, evidence: Evidence) -> ColumnElement[str]:
        """Why an object was selected, for its row in the plan: `idle 41 d ≥ 14 d`."""

    def atoms(self) -> tuple[Atom, ...]:
        """What it asks of single columns, so far as that can be said so (storaged.decide.atoms)."""
        return ()

    @abstractmethod
    def facts(self) -> tuple[ColumnElement[Any], ...]:
        """What `tell` needs to know of the object."""

    @abstractmethod
    def tell(self, facts: Sequence[Any], window: Window | None, evidence: Evidence) -> Told:
        """What `explain` says of an object with these facts in a dataset with this window."""
