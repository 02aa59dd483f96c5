"""What a plan comes to, as a value that prints and that the catalog keeps as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from humanize import naturalsize
from pydantic import TypeAdapter

from storaged.decide.planner import HELD

SAMPLES: Final = 3  # names shown of each kind


@dataclass(frozen=True, slots=True)
class Tally:
    """Objects, their stored bytes now and as expected, and some of their names (`dataset: object`)."""

    objects: int = 0
    bytes_now: int = 0
    bytes_after: int = 0
    samples: tuple[str, ...] = ()

    def names(self) -> str:
        """The sample names, and whether there are more."""
        return ", ".join(self.samples) + (", …" if self.objects > len(self.samples) else "")


@dataclass(frozen=True, slots=True)
class PolicySummary:
    """One policy's part: what it would do, and what is held back by which guard or limit.

    `raw_reads`: reads seen of the objects that `readers` holds. `unknown_ratio`: actions whose compression is not
    known yet; they count with their whole size. `stop_on_error_rate` (0 to 1) is for whoever works it off.
    """

    name: str
    mode: str
    sentence: str
    actions: Tally = field(default_factory=Tally)
    held: Mapping[str, Tally] = field(default_factory=dict)
    raw_reads: int = 0
    unknown_ratio: int = 0
    stop_on_error_rate: float | None = None
    notes: tuple[str, ...] = ()

    def lines(self) -> Iterator[str]:
        """The part as it prints."""
        yield f"{self.name} ({self.mode}): {self.sentence}"
        a = self.actions
        if not a.objects:
            yield "  nothing to do"
        else:
            yield f"  {_objects(a.objects)}, {_size(a.bytes_now)} → {_size(a.bytes_after)}"
            yield f"    {a.names()}"
        if self.unknown_ratio:
            yield f"    ratio not known yet: {_objects(self.unknown_ratio)} counted at full size"
        for note in self.notes:
            yield f"    {note}"
        for code in HELD:
            tally = self.held.get(code)
            if tally is not None:
                seen = f" ({self.raw_reads:,} raw reads seen)" if code == "readers" else ""
                yield f"  held back: {_objects(tally.objects)}, {_size(tally.bytes_now)}: {HELD[code]}{seen}"
                yield f"    {tally.names()}"


@dataclass(frozen=True, slots=True)
class Summary:
    """A plan's summary: every policy that was tried, in that order."""

    policies: tuple[PolicySummary, ...] = ()

    @property
    def actions(self) -> int:
        """How many objects the plan would act on."""
        return sum(policy.actions.objects for policy in self.policies)

    def __str__(self) -> str:
        return "\n".join(line for policy in self.policies for line in policy.lines()) or "no policies"

    def to_json(self) -> str:
        """The summary as JSON."""
        return _JSON.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str) -> Summary:
        """What `to_json` wrote."""
        return _JSON.validate_json(text)


_JSON: Final = TypeAdapter(Summary)


def _size(size: int) -> str:
    return naturalsize(size, binary=True)


def _objects(count: int) -> str:
    return f"{count:,} object{'' if count == 1 else 's'}"
