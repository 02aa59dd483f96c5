"""A policy as S3 lifecycle rules: what of it these can say, what not, and where they would move what it would not.

A rule knows a prefix, sizes and the age since an object was written. What a policy asks beside that makes it choose
fewer objects, so that a rule without it is refused; what only makes it slower, or moves less, is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from storaged.clock import DAY
from storaged.config.messages import YamlPath
from storaged.config.settings import Settings
from storaged.decide.conditions import Condition
from storaged.decide.conditions.labels import Tags
from storaged.decide.conditions.size import SizeOver, SizeUnder
from storaged.decide.conditions.time import AgeOver, IdleFor
from storaged.decide.planner import limits_of
from storaged.decide.policy import LoadedPolicy
from storaged.errors import Problem
from storaged.model import Mode
from storaged.stores.schemes import terms_of

_IN_PLACE: Final = "a rule changes the storage class in place, and this policy moves what it selects"


@dataclass(frozen=True, slots=True)
class RootFacts:
    """What the catalog has of a dataset's objects at their original keys. `classes`: how many, by storage class.
    `held`, `pinned`, `parts`, `locked`: how many are under a hold, pinned elsewhere, parts of collections, locked."""

    versioned: bool = False
    classes: Mapping[str, int] = field(default_factory=dict)
    held: int = 0
    pinned: int = 0
    parts: int = 0
    locked: int = 0


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """Rules by bucket, and what of the policy they do not say, in words."""

    rules: Mapping[str, list[dict[str, Any]]]
    unsaid: tuple[str, ...]


def lifecycle(loaded: LoadedPolicy, settings: Settings, facts: Mapping[str, RootFacts]) -> Lifecycle:
    """The rules of a policy without `refusals`. `facts`: by dataset."""
    policy = loaded.policy
    storage_class = settings.tiers[str(policy.to.tier)].storage_class
    age, over, under = 0, None, None
    for condition in policy.conditions.values():
        match condition:
            case AgeOver():
                age = condition.value
            case SizeUnder():
                under = condition.value
            case SizeOver():
                over = condition.value
    rules: dict[str, list[dict[str, Any]]] = {}
    for name in looked_at(loaded, settings):
        root = settings.datasets[name].root
        terms = terms_of(root)
        days = max(-(-max(age, settings.quiet_for) // DAY), terms.rule_days(storage_class))
        bucket, told = terms.rule(
            f"storaged {loaded.name} {name}",
            root,
            storage_class,
            days=days,
            over=over,
            under=under,
            enabled=policy.mode is Mode.ACTIVE,
        )
        rules.setdefault(bucket, []).append(told)
    return Lifecycle(rules, tuple(_unsaid(loaded, settings, facts, age, sized=over is not None or under is not None)))


def looked_at(loaded: LoadedPolicy, settings: Settings) -> list[str]:
    """The datasets in buckets that it looks at, and whose tags are those that it wants."""
    wanted: dict[str, str] = {}
    for condition in loaded.policy.conditions.values():
        if isinstance(condition, Tags):
            wanted |= condition.value
    return [
        name
        for name, dataset in settings.datasets.items()
        if loaded.policy.target.takes(name)
        and terms_of(dataset.root).rules
        and all(dataset.tags.get(key) == text for key, text in wanted.items())
    ]


def refusals(loaded: LoadedPolicy, settings: Settings, facts: Mapping[str, RootFacts]) -> Iterator[Problem]:
    """Why rules would move what the policy would not, or none can be made."""
    policy = loaded.policy
    if not policy.to.in_place:
        yield loaded.problem(("to",), _IN_PLACE, "a policy with `in_place: true` can become a rule")
        return
    if policy.to.chooses:
        yield loaded.problem(("to", "tier"), "a rule does not choose: it names one storage class", "name the tier")
        return
    for key, condition in policy.conditions.items():
        if (why := _refused(condition)) is not None:
            yield loaded.problem(("when", key), why, "export a policy of age and size alone")
    for path, what in _others(loaded, settings):
        yield loaded.problem(path, f"a rule does not know {what}, and would move what this keeps", None)
    names = looked_at(loaded, settings)
    if not names:
        yield loaded.problem(("target", "dataset"), "none of its datasets is in a bucket of S3", None)
    for name in names:
        yield from _of_dataset(loaded, name, settings, facts.get(name))


def _refused(condition: Condition) -> str | None:
    """Why a condition cannot be left to a rule; None: it can."""
    if isinstance(condition, IdleFor):
        return (
            "idle is not old: a rule knows the age since an object was written, and would move what is read every day"
        )
    if condition.of_reads:
        return "a rule knows no reads"
    if isinstance(condition, AgeOver | SizeOver | Tags):
        return None
    return "a rule does not know it"


def _others(loaded: LoadedPolicy, settings: Settings) -> Iterator[tuple[YamlPath, str]]:
    policy = loaded.policy
    if policy.where is not None:
        yield ("where",), "`where`"
    if policy.require is not None:
        yield ("require",), "`require`"
    limits = limits_of(policy, settings.limits)
    if limits.max_spend is not None or limits.max_spend_per_month is not None:
        yield ("limits",), "what may be spent (`max_spend`, `max_spend_per_month`)"
    elif settings.max_spend_per_month is not None:
        yield ("name",), "what may be spent (`max_spend_per_month` of storaged.yaml)"


def _of_dataset(loaded: LoadedPolicy, name: str, settings: Settings, facts: RootFacts | None) -> Iterator[Problem]:
    dataset, policy = settings.datasets[name], loaded.policy
    to = settings.tiers[str(policy.to.tier)].storage_class
    at: YamlPath = ("target", "dataset")
    if facts is None:
        yield loaded.problem(at, f"{name} was never scanned, so that nothing is known of its bucket", "run a scan")
        return
    apart = policy.collections == "ignore"
    pinned = dataset.pin not in (None, policy.to.tier)
    for number, what in (
        (dataset.hold is not None, "is on hold"),
        (pinned, f"is pinned to {dataset.pin}"),
        (facts.versioned, "keeps versions: a plan holds it back, a rule would leave the bytes of older ones"),
        (facts.held, f"has {facts.held:,} objects on hold"),
        (facts.pinned, f"has {facts.pinned:,} objects that are pinned elsewhere"),
        (facts.locked, f"has {facts.locked:,} objects that are locked"),
        (facts.parts and not apart, f"has {facts.parts:,} parts of collections, which are not moved by themselves"),
    ):
        if number:
            yield loaded.problem(at, f"{name} {what}", "name other datasets")
    if policy.target.tier is None:
        return
    wanted = settings.tiers[policy.target.tier].storage_class
    for found, count in sorted(facts.classes.items()):
        if found not in (wanted, to) and terms_of(dataset.root).rule_leads(found, to):
            what = f"{name} has {count:,} objects of class {found}, which a rule to {to} would take too"
            yield loaded.problem(("target", "tier"), what, "a rule does not know the class that an object has")


def _unsaid(
    loaded: LoadedPolicy, settings: Settings, facts: Mapping[str, RootFacts], age: int, *, sized: bool
) -> Iterator[str]:
    policy = loaded.policy
    to = settings.tiers[str(policy.to.tier)].storage_class
    terms = {name: terms_of(settings.datasets[name].root) for name in looked_at(loaded, settings)}
    least = max(of.rule_days(to) for of in terms.values())
    yield "age: S3 counts days from when an object was written, to the midnight after"
    if age % DAY or max(least * DAY, settings.quiet_for) > age:
        yield f"days: whole ones, at least {least} for {to}, and as many as `quiet_for` has"
    if policy.target.tier is not None:
        yield f"target.tier {policy.target.tier}: of what comes later a rule takes all, whatever its class"
    if not sized:
        yield f"size: S3 leaves what is smaller than {max(of.rule_bytes for of in terms.values()) >> 10} KiB as it is"
    away = {c for name, of in terms.items() for c in facts[name].classes if c != to and not of.rule_leads(c, to)}
    if away:
        yield f"classes: no rule leads from {', '.join(sorted(away))} to {to}"
    limits = limits_of(policy, settings.limits)
    pace = [key for key in ("max_objects", "max_bytes", "max_percent") if getattr(limits, key) is not None]
    if pace:
        yield f"limits ({', '.join(pace)}): a rule moves all that it fits, within days"
    yield "guards: later holds, pins and locks, damage, jobs under way, `rest` and the error budget do not stop it"
    yield "no plan, no money, no history and no undo: the next scan notes what the store changed"
    if policy.schedule is not None:
        yield "schedule: S3 looks once a day"
    if policy.mode is not Mode.ACTIVE:
        yield f"mode {policy.mode.value}: the rules are disabled"
