"""The thresholds of a policy, searched on days that were.

One after the other is set to what costs least while the others stay, until none changes any more (coordinate descent).
What is found is judged on other days: the best of many settings looks better on the days that it was found on than it
is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

import numpy as np

from storaged.clock import DAY
from storaged.config.messages import YamlPath
from storaged.config.quantities import Rate, ShareRate, parse_duration, parse_size
from storaged.decide.conditions import CONDITIONS, Condition
from storaged.decide.conditions.reads import ReadsAbove, ReadsBelow, ReadShareBelow
from storaged.decide.conditions.size import SizeOver, SizeUnder
from storaged.decide.conditions.time import AgeOver, IdleFor
from storaged.decide.simulate.rules import RuleSet
from storaged.decide.simulate.trace import Trace

_DAYS: Final = (1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 90, 120, 180, 270, 365)
_SIZES: Final = tuple(f"{n}KiB" for n in (4, 16, 64, 128, 256, 512)) + tuple(f"{n}MiB" for n in (1, 4, 16, 64, 256))
_READS: Final = ("1/year", "2/year", "4/year", "6/year", "1/month", "2/month", "1/week", "2/week", "1/day", "3/day")
_SHARES: Final = ("1%/month", "2%/month", "5%/month", "10%/month", "20%/month", "40%/month", "80%/month", "150%/month")
_READERS: Final[Mapping[type[Condition], tuple[Callable[[str], Any], tuple[str, ...]]]] = {
    IdleFor: (parse_duration, tuple(f"{days}d" for days in _DAYS)),
    AgeOver: (parse_duration, tuple(f"{days}d" for days in _DAYS)),
    SizeOver: (parse_size, _SIZES),
    SizeUnder: (parse_size, _SIZES),
    ReadsBelow: (Rate.parse, _READS),
    ReadsAbove: (Rate.parse, _READS),
    ReadShareBelow: (ShareRate.parse, _SHARES),
}
_TIMED: Final = (IdleFor, AgeOver)
_NAMES: Final = {kind: name for name, kind in CONDITIONS.items()}
_SEARCHED: Final = 20_000_000  # object-days of one trial: more are sampled


@dataclass(frozen=True, slots=True)
class Threshold:
    """One number of a policy file, and the values that are tried for it, as they are written there."""

    path: YamlPath
    kind: type[Condition]
    tried: tuple[str, ...]


Setting = Mapping[YamlPath, str]  # what is written in place of what is there; nothing: as it is


@dataclass(frozen=True, slots=True)
class Tuned:
    """The cheapest setting on the days that were searched; and how many were tried, the policy as it is among them."""

    setting: Setting
    tried: int


def thresholds(rules: RuleSet, days: int) -> tuple[Threshold, ...]:
    """What can be tuned of a policy file on so many days."""
    found = dict.fromkeys(
        (rule.at, type(condition))
        for rule in rules.rules
        for condition in rule.conditions
        if type(condition) in _READERS
    )
    return tuple(Threshold((*at, "when", _NAMES[kind]), kind, tuple(_within(kind, days))) for at, kind in found)


def _within(kind: type[Condition], days: int) -> Iterator[str]:
    """Durations that these days can tell of."""
    read, texts = _READERS[kind]
    return (text for text in texts if kind not in _TIMED or read(text) <= days * DAY)


def tune(rules: RuleSet, found: tuple[Threshold, ...], cost: Callable[[RuleSet], Decimal], most: int) -> Tuned:
    """Search. `cost`: of the days that may be looked at; `most`: so many settings at most."""
    known: dict[tuple[str, ...], Decimal] = {}
    here = ("",) * len(found)

    def total(setting: tuple[str, ...]) -> Decimal | None:
        if setting not in known:
            if len(known) >= most:
                return None
            known[setting] = cost(applied(rules, _setting(found, setting)))
        return known[setting]

    best = total(here)
    changed = True
    while changed:
        changed = False
        for number, threshold in enumerate(found):
            for text in threshold.tried:
                other = (*here[:number], text, *here[number + 1 :])
                told = total(other)
                if told is not None and best is not None and told < best:
                    here, best, changed = other, told, True
    return Tuned(_setting(found, here), len(known))


def _setting(found: tuple[Threshold, ...], texts: tuple[str, ...]) -> Setting:
    return {threshold.path: text for threshold, text in zip(found, texts, strict=True) if text}


def applied(rules: RuleSet, setting: Setting) -> RuleSet:
    """The rules with other thresholds."""
    made = []
    for rule in rules.rules:
        conditions = tuple(_changed(rule.at, condition, setting) for condition in rule.conditions)
        made.append(replace(rule, conditions=conditions))
    return replace(rules, rules=tuple(made))


def _changed(at: YamlPath, condition: Condition, setting: Setting) -> Condition:
    kind = type(condition)
    text = setting.get((*at, "when", _NAMES[kind]))
    return condition if text is None else kind(_READERS[kind][0](text))


def sampled(trace: Trace) -> Trace:
    """The trace, or where it is large every so manieth of its objects in the order of their sizes."""
    step = -(-trace.objects * trace.days // _SEARCHED)
    if step == 1:
        return trace
    by_size = np.argsort(trace.sizes, kind="stable")
    return trace.some(np.sort(by_size[step // 2 :: step]))
