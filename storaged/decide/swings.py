"""Policies that would move one object away and back again, run after run: found before they do.

Each policy is a step between *places*, a tier and a codec. Steps of two or three policies that lead back to where they
began are told, if one object may be such that the conditions of all of them hold.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from storaged.codecs.registry import FORMS
from storaged.config.messages import path_text
from storaged.config.quantities import format_duration
from storaged.config.settings import Settings
from storaged.decide.atoms import Atom, together
from storaged.decide.known import policy_atoms
from storaged.decide.policy import LoadedPolicy
from storaged.errors import Problem
from storaged.model import Mode

Place = tuple[str, str]  # tier and codec
_OF_ITS_PLACE = frozenset({"tier", "codec", "stored_bytes"})  # columns that a move changes
_LONGEST = 3  # policies


@dataclass(frozen=True, slots=True)
class _Step:
    loaded: LoadedPolicy
    atoms: tuple[Atom, ...]

    def leads(self, place: Place) -> Place:
        """Where the policy moves an object that is there; the same place: it leaves it alone."""
        policy = self.loaded.policy
        here = (Atom("tier", "=", (place[0],)), Atom("codec", "=", (place[1],)))
        if policy.target.tier not in (None, place[0]) or not together((*self._of_its_place(), *here)):
            return place
        return policy.to.tier or place[0], policy.to.codec.name if policy.to.codec else place[1]

    def _of_its_place(self) -> Iterator[Atom]:
        return (atom for atom in self.atoms if atom.column in ("tier", "codec"))

    def lasting(self) -> Iterator[Atom]:
        """What it asks of an object that no move changes."""
        return (atom for atom in self.atoms if atom.column not in _OF_ITS_PLACE)


def swings(policies: Sequence[LoadedPolicy], settings: Settings) -> Iterator[Problem]:
    """What to warn of: each set of policies once, at the last of them."""
    rules = (one for one in policies if not one.policy.to.chooses)  # a choice of tiers weighs the way back itself
    steps = [_step(loaded) for loaded in rules if loaded.policy.mode is not Mode.DISABLED]
    places = list(itertools.product(settings.tiers, FORMS))
    told: set[frozenset[str]] = set()
    for length in range(2, _LONGEST + 1):
        for way in _ways(steps, places, length):
            names = frozenset(step.loaded.name for step, _ in way)
            chosen = [step for step, _ in way]
            if any(known <= names for known in told) or not _may_meet(chosen, settings):
                continue
            told.add(names)
            last = max((step.loaded for step in chosen), key=policies.index)
            legs = ", ".join(f"{step.loaded.name} moves it to {_words(to, way)}" for step, to in way)
            yield Problem(
                last.file,
                last.line,
                path_text(("name",)),
                f"the conditions of {' and '.join(sorted(names))} can hold for the same object: {legs}, and so on",
                "let one exclude the other, such as reads_below: 1/week there and reads_above: 1/day here; else "
                f"only `rest` ({format_duration(settings.rest)}) keeps them apart",
            )


def _step(loaded: LoadedPolicy) -> _Step:
    return _Step(loaded, tuple(atom for _, atom in policy_atoms(loaded.policy)))


def _ways(steps: Sequence[_Step], places: Sequence[Place], length: int) -> Iterator[list[tuple[_Step, Place]]]:
    """Circles of so many policies, each of which moves something: the policies and where each leads."""
    leading = {begin: [(step, to) for step in steps if (to := step.leads(begin)) != begin] for begin in places}

    def on(begin: Place, here: Place, way: list[tuple[_Step, Place]]) -> Iterator[list[tuple[_Step, Place]]]:
        for step, to in leading.get(here, ()):
            if any(step is one for one, _ in way) or (len(way) + 1 == length) != (to == begin):
                continue
            further = [*way, (step, to)]
            if to == begin:
                yield further
            else:
                yield from on(begin, to, further)

    for begin in places:
        yield from on(begin, begin, [])


def _may_meet(steps: Sequence[_Step], settings: Settings) -> bool:
    """Whether one object of a dataset that all look at may satisfy all of their conditions."""
    policies = [step.loaded.policy for step in steps]
    if len({policy.to.in_place for policy in policies}) > 1:
        return False  # what was moved is not at its original key any more, so that nothing is changed in place
    lasting = [atom for step in steps for atom in step.lasting()]
    for name, dataset in settings.datasets.items():
        facts = [Atom("dataset", "=", (name,)), Atom("owner", "=", (dataset.owner,))]
        asked = {atom.column for atom in lasting if atom.column.startswith("tags.")}
        tags = {column: dataset.tags.get(column.removeprefix("tags.")) for column in asked}
        if None in tags.values() or not all(policy.target.takes(name) for policy in policies):
            continue
        facts += [Atom(column, "=", (value,)) for column, value in tags.items()]
        if together((*lasting, *facts)):
            return True
    return False


def _words(place: Place, way: Sequence[tuple[_Step, Place]]) -> str:
    """The tier, and the codec where it is what changes."""
    if len({tier for _, (tier, _) in way}) == 1:
        return f"{place[0]} as {place[1]}"
    return place[0]
