"""What is foretold of the reads of a policy's objects, in which ways, and of which datasets nothing is: these stay."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.schema import objects
from storaged.clock import DAY, iso
from storaged.config.quantities import format_duration
from storaged.decide import sql
from storaged.decide.conditions.base import UNCOVERED
from storaged.decide.conditions.time import span_words
from storaged.decide.evidence import Window
from storaged.decide.forecast.model import BREAK_EVEN, FORECAST
from storaged.decide.guards import TABLES
from storaged.decide.policy import Policy
from storaged.decide.selection import Inputs
from storaged.prices.book import DAYS_PER_MONTH

LEAST_WINDOW: Final = 30 * DAY  # of which logs must tell: a month's rhythm, once
STALE: Final = 7 * DAY  # since the logs' end
OLD_MODEL: Final = 90 * DAY  # since it was found to be the best
_AHEAD: Final = DAY  # that clocks may differ
_NAMES: Final = 3  # of datasets that are told


@dataclass(frozen=True, slots=True)
class Guess:
    """One way to foretell what comes of an object, as `weights` call it. `reads`: so many in the horizon, `variance`:
    of that number; `months`: for how long a place is reckoned."""

    name: str
    reads: ColumnElement[float]
    variance: ColumnElement[float]
    months: ColumnElement[float]


@dataclass(frozen=True, slots=True)
class Outlook:
    """`guesses`: the ways to foretell, over the columns of `tables`. `weights`: by dataset id, the share of each of
    them and of STAY (they add up to 1). What is of other datasets stays. `share`: of its content that a read takes.
    `evidence`: reads that the forecast counts as seen in so many `days`, its own and the prior's. `known_days`: whole
    days for which reads are known."""

    tables: sa.Join
    guesses: tuple[Guess, ...]
    weights: Mapping[int, Mapping[str, float]]
    share: ColumnElement[float]
    evidence: ColumnElement[float]
    days: ColumnElement[float]
    known_days: ColumnElement[int]


def outlook(policy: Policy, inputs: Inputs, idle_days: ColumnElement[int], *, told: bool = False) -> Outlook:
    """What is foretold of the objects that a policy with `tier: auto` looks at. `idle_days`: whole days without a
    read. `told`: with all guesses, those that have no weight too."""
    from storaged.decide.forecast.rates import columns  # numpy takes long to import, and most plans need none

    model = inputs.model
    zero: ColumnElement[float] = sa.literal(0.0, sa.Double())
    still = staying(policy, inputs)
    known = {n: name for name, n in inputs.datasets.items() if policy.target.takes(name) and name not in still}
    if model is None or not known:
        return Outlook(TABLES, (), {}, zero, zero, zero, sa.literal(0, sa.Integer()))
    days = policy.to.horizon_us / DAY
    months: ColumnElement[float] = sa.literal(days / float(DAYS_PER_MONTH), sa.Double())
    found = columns(model, inputs.evidence, known, days)
    reads = found.mean * days
    idle = sql.real(-sql.largest(-idle_days, -found.known_days)) / float(DAYS_PER_MONTH)  # a silence is no rest
    guesses = (
        Guess(FORECAST, reads, reads + found.spread * days * found.spread * days, months),
        Guess(BREAK_EVEN, zero, zero, sa.case((idle < months, idle), else_=months)),
    )
    weights = {number: model.weights_of(name) for number, name in known.items()}
    used = tuple(guess for guess in guesses if told or any(of[guess.name] for of in weights.values()))
    share = sa.case((objects.c.size > 0, found.nbytes / found.mean / sql.real(objects.c.size)), else_=0.0)
    tables = TABLES.join(found.priors, found.on)
    return Outlook(tables, used, weights, share, found.evidence, found.days, found.known_days)


def staying(policy: Policy, inputs: Inputs) -> dict[str, str]:
    """The datasets, by name, of which all stays where it is, and why: unknown is not cold."""
    found = {}
    for name, number in inputs.datasets.items():
        if policy.target.takes(name):
            why = next(_unknown(inputs, inputs.evidence.windows.get(number), name), None)
            if why is not None:
                found[name] = why
    return found


def by_reason(still: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    """What `staying` found, by reason: some of the datasets' names, and how many more there are."""
    found: dict[str, list[str]] = {}
    for name, why in sorted(still.items()):
        found.setdefault(why, []).append(name)
    for why, names in found.items():
        more = [f"{len(names) - _NAMES:,} more"] if len(names) > _NAMES else []
        yield why, [*names[:_NAMES], *more]


def _unknown(inputs: Inputs, window: Window | None, dataset: str) -> Iterator[str]:
    now_us, model = inputs.evidence.now_us, inputs.model
    if model is None:
        yield inputs.model_called
        return
    if window is None:
        yield UNCOVERED
        return
    if window.until_us > now_us + _AHEAD:
        yield f"its logs reach until {iso(window.until_us)}, which is to come"
    if window.until_us < now_us - STALE:
        yield f"its logs end at {iso(window.until_us)}: what came after is not known"
    if window.length_us < LEAST_WINDOW:
        yield (
            f"its reads are known for {span_words(window.length_us)} only, and it takes {format_duration(LEAST_WINDOW)}"
        )
    cut_us = model.cut_day * DAY
    if model.made_us > now_us + _AHEAD or cut_us > now_us + _AHEAD:
        yield f"the model is of {iso(max(model.made_us, cut_us))}, which is to come; `storagectl learn` makes another"
    if model.made_us < now_us - OLD_MODEL:
        yield f"the model was found good at {iso(model.made_us)}, long ago; `storagectl learn` judges it anew"
    if model.half_life_us != inputs.evidence.half_life_us:
        yield (
            f"the model is of a half-life of {format_duration(model.half_life_us)}, and heat has one of "
            f"{format_duration(inputs.evidence.half_life_us)}; `storagectl learn` makes another"
        )
    if not model.weights_of(dataset):
        yield "its past has not told yet what pays there; `storagectl learn` finds out"
