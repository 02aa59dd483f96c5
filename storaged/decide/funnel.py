"""Why a policy selects what it does: how many objects of its target are left after each thing that it asks for.

Up to what a policy matches that is one statement of counts, a row for each dataset; what held back the rest is in the
plan's own rows. Where nothing is left, the object that comes nearest to what was asked tells how far away that is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from humanize import naturalsize
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog import collections
from storaged.catalog.schema import objects
from storaged.clock import iso
from storaged.decide.choice.candidates import candidates
from storaged.decide.choice.choosing import Choosing
from storaged.decide.choice.outlook import by_reason, staying
from storaged.decide.conditions import Condition, Told
from storaged.decide.conditions.base import UNCOVERED
from storaged.decide.planner import HELD, why_held
from storaged.decide.policy import Policy
from storaged.decide.selection import TABLES, Inputs, Selection
from storaged.decide.whole import PART, Wholes

_NAMES: Final = 3  # of datasets that are told
_MENDS: Final[Mapping[str, str]] = {
    "readers": "`readers: storaged`, once all of them read through it, lifts that",
    "referred": "`storagectl references` tells which files do, and what lifts that",
    "unread": "`storagectl references` tells which, and why",
}


@dataclass(frozen=True, slots=True)
class FunnelStep:
    """One thing that is asked: a condition, `where`, a guard, a limit, by its key and in words, and how many objects
    are left after it. `why`: what explains those that it takes away; empty: nothing more is known."""

    key: str
    asked: str
    left: int
    why: str = ""


def funnel_lines(steps: Sequence[FunnelStep]) -> Iterator[str]:
    """The steps down to the first that leaves nothing."""
    width = max((len(f"{step.left:,}") for step in steps), default=0)
    for step in steps:
        yield f"{step.left:>{width},}  {step.asked}" + (f" ({step.why})" if step.why else "")
        if not step.left:
            return


def counts(policy: Policy, inputs: Inputs) -> sa.Select[Any]:
    """For each dataset one row: its id, its objects in the target, and for each of `_asked` how many hold so far,
    and the fact of the one of the others that comes nearest, as `told` reads them."""
    selection = Selection(policy, inputs)
    asked = [(key, holds.label(f"h{n}")) for n, (key, _, holds) in enumerate(_asked(policy, inputs))]
    near = {key: condition for key, condition in policy.conditions.items() if condition.nearest}
    columns = [objects.c.dataset_id, *(holds for _, holds in asked)]
    columns += [fact.label(f"f_{key}") for key, condition in near.items() for fact in condition.facts()]
    alone = sa.select(*columns).select_from(TABLES).where(selection.target())
    if policy.collections == "whole":
        alone = alone.where(collections.of_object("prefix").is_(None))
        inner = sa.union_all(alone, Wholes(selection, None).steps(near.values())).subquery()
    else:
        inner = alone.subquery()
    found: list[ColumnElement[Any]] = [inner.c.dataset_id, sa.func.count().label("objects")]
    before: list[ColumnElement[bool]] = []
    for number, (key, _) in enumerate(asked):
        holds = inner.c[f"h{number}"]
        lost = sa.and_(*before, sa.not_(sa.func.coalesce(holds, sa.false())))
        before.append(holds)
        found.append(sa.func.count().filter(sa.and_(*before)))
        if key in near:
            found.append(_nearest(near[key], inner.c[f"f_{key}"], lost))
    labelled = [column.label(f"c{number}") for number, column in enumerate(found)]
    return sa.select(*labelled).group_by(inner.c.dataset_id).order_by(inner.c.dataset_id)


def told(
    policy: Policy,
    inputs: Inputs,
    rows: Sequence[Sequence[Any]],
    actions: int,
    held: Mapping[str, int],
) -> tuple[FunnelStep, ...]:
    """The funnel from the rows of `counts`, and from how many objects of the plan are actions or held back by what."""
    left = sum(int(row[1]) for row in rows)
    steps = [FunnelStep("target", "in its target", left, "" if left else _nobody(policy))]
    place = 2
    for key, asked, _ in _asked(policy, inputs):
        condition = policy.conditions.get(key)
        left, before = sum(int(row[place]) for row in rows), left
        why = "" if left == before else _why(policy, key, rows, place, inputs)
        steps.append(FunnelStep(key, asked, left, why))
        place += 1 + (condition is not None and condition.nearest != "")
    planned = actions + sum(held.values())
    if planned < left:
        left = planned
        steps.append(FunnelStep("earlier", "not taken by a policy before it", left))
    order = list(HELD)
    for code in sorted(held, key=lambda code: (order.index(code.partition(":")[0]), code)):
        left = max(left - held[code], actions)  # the catalog may have changed since it was counted
        steps.append(FunnelStep(code, *_held(code, left)))
    return tuple(steps)


def _held(code: str, left: int) -> tuple[str, int, str]:
    """What holds objects back in words, and what it means or lifts it."""
    head, _, of_part = code.partition(":")
    if head == PART:
        return "not held back by a part of what would move whole", left, why_held(of_part)
    return f"not held back by {head}", left, _MENDS.get(code) or why_held(code)


def _asked(policy: Policy, inputs: Inputs) -> Iterator[tuple[str, str, ColumnElement[bool]]]:
    """What a policy asks of the objects in its target, in order: key, words, and whether it holds."""
    selection = Selection(policy, inputs)
    for key, condition in policy.conditions.items():
        yield key, str(condition), condition.holds(inputs.evidence)
    if policy.where is not None:
        yield "where", f"where {' '.join(policy.where.split())}", selection.where()
    if policy.to.packing is not None:
        largest = naturalsize(policy.to.packing.largest, binary=True)
        yield "largest", f"at most {largest}, to go into a pack", selection.fits()
    if policy.to.chooses:
        mine = inputs.about(policy)
        choosing = Choosing(policy, mine, candidates(policy, mine))
        yield "foretold", "whose reads are foretold", choosing.known()
        yield "worth", "for which another tier is worth the move", choosing.moves()
        return
    yield "there", "not there already", sa.not_(selection.there_already())


def _nearest(condition: Condition, fact: ColumnElement[Any], lost: ColumnElement[bool]) -> ColumnElement[Any]:
    """The fact of the nearest of those that are lost. One that is not known counts as the least."""
    if condition.nearest == "max":
        return sa.func.max(fact).filter(lost)
    known = sa.func.count(fact).filter(lost) == sa.func.count().filter(lost)
    return sa.case((known, sa.func.min(fact).filter(lost)))


def _why(policy: Policy, key: str, rows: Sequence[Sequence[Any]], place: int, inputs: Inputs) -> str:
    """What explains that a step takes something away."""
    condition = policy.conditions.get(key)
    if key == "foretold":
        return "; ".join(f"{', '.join(names)}: {why}" for why, names in by_reason(staying(policy, inputs)))
    if condition is None:
        return "in that tier and form, or its codec did not take them" if key == "there" else ""
    names = {number: name for name, number in inputs.datasets.items()}
    dark: list[str] = []
    nearest: list[tuple[bool, float, Told]] = []
    for row in rows:
        window = inputs.evidence.windows.get(row[0])
        if condition.of_reads and window is None:
            dark.append(names[row[0]])
        elif condition.nearest and (fact := row[place + 1]) is not None:
            found = condition.tell((fact,), window, inputs.evidence)
            far = -fact if condition.nearest == "max" else fact
            later = found.holds_from_us
            nearest.append((later is None, far if later is None else later, found))
    said = []
    if dark:
        more = f" and {len(dark) - _NAMES:,} more" if len(dark) > _NAMES else ""
        said.append(f"{UNCOVERED}: {', '.join(dark[:_NAMES])}{more}")
    if nearest:
        _, _, best = min(nearest, key=lambda found: found[:2])
        from_when = "" if best.holds_from_us is None else f", holds from {iso(best.holds_from_us)}"
        said.append(f"the nearest: {best.what}{from_when}")
    return "; ".join(said)


def _nobody(policy: Policy) -> str:
    """Why there may be no object in the target at all."""
    if policy.target.tier is not None:
        return f"the catalog has no object of {' or '.join(policy.target.dataset)} in {policy.target.tier}"
    return f"the catalog has no object of {' or '.join(policy.target.dataset)}; `storagectl scan` finds them"
