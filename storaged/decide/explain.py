"""Why an object is, or is not, what a policy selects: the planner's own expressions, asked about one object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa
from humanize import naturalsize

from storaged.catalog import collections, references
from storaged.catalog.schema import datasets, objects
from storaged.clock import iso
from storaged.config.quantities import format_duration
from storaged.decide.choice.told import ChoiceTold
from storaged.decide.evidence import Window
from storaged.decide.guards import GUARDS, words
from storaged.decide.kinds import DENSE, shown, what_is
from storaged.decide.limits import REQUIREMENTS, needs_prices
from storaged.decide.money import PlanMoney
from storaged.decide.planner import limits_of, why_held
from storaged.decide.policy import LoadedPolicy, Policy
from storaged.decide.selection import TABLES, Inputs, Selection, dense_words
from storaged.decide.sentence import form_words, price_of_undo, waits_words
from storaged.decide.summary import money_lines, payback_words
from storaged.decide.whole import Wholes
from storaged.model import AUTO, DEFAULT_CLASS, IDENTITY, PACK, Fidelity, Mode


@dataclass(frozen=True, slots=True)
class ConditionTold:
    """One condition: what it wants, what is, whether that holds, and when it will if nothing changes (or None)."""

    key: str
    wants: str
    what: str
    holds: bool
    holds_from_us: int | None = None

    def __str__(self) -> str:
        later = "" if self.holds or self.holds_from_us is None else f"; holds from {iso(self.holds_from_us)}"
        return f"{'yes' if self.holds else 'no'}: {self.wants}: {self.what}{later}"


@dataclass(frozen=True, slots=True)
class PolicyTold:
    """What one policy makes of the object. `matches`: it would decide, were no other policy before it. `money`: what
    its move comes to, where it matches and prices are known; per month with the reads of the last month. `whole`: all
    this is told of all of the collection that it is in. `choice`: of `tier: auto`, what it weighs."""

    name: str
    mode: str
    outcome: str
    matches: bool = False
    conditions: tuple[ConditionTold, ...] = ()
    guard: str | None = None
    money: PlanMoney | None = None
    whole: bool = False
    choice: ChoiceTold | None = None
    stay: int = 0  # others in its pack, which no policy moves

    def choosing(self, choice: ChoiceTold, *, moves: bool) -> PolicyTold:
        """The same of a policy that chooses. What it leaves where it is, another policy may take."""
        if moves or any(not condition.holds for condition in self.conditions):
            return replace(self, choice=choice)
        outweighed = "more than half of the weight is against the move" if choice.outweighed else ""
        why = choice.stays or outweighed or "no other place is worth its move"
        return replace(self, choice=choice, outcome=f"nothing to do: {why}", matches=False, money=None)

    def choice_lines(self) -> Iterator[str]:
        """What is weighed, of a policy that chooses."""
        if self.choice is not None:
            yield from (f"    {line}" for line in self.choice.lines())

    def money_lines(self) -> Iterator[str]:
        """What the move comes to, by kind, where that is known."""
        if self.money is not None:
            yield from money_lines(self.money)
            if self.stay:
                others = "another object stays" if self.stay == 1 else f"{self.stay:,} other objects stay"
                yield f"    {others} in its pack, so nothing that the pack costs is saved"


@dataclass(frozen=True, slots=True)
class PartOf:
    """The collection that an object is in: how many objects and bytes of content it has, when any of it was last
    written and read (None: never, as far as logs tell), and in which tiers it is. `asked`: it was asked for, and the
    object is the one of its parts that shows it."""

    prefix: str
    kind: str
    objects: int
    bytes: int
    last_written_us: int | None
    last_read_us: int | None
    tiers: tuple[str, ...]
    asked: bool = False

    def __str__(self) -> str:
        number = f"{self.objects:,} object{'' if self.objects == 1 else 's'}"
        written = "" if self.last_written_us is None else f"last written {iso(self.last_written_us)}, "
        read = "no read known" if self.last_read_us is None else f"last read {iso(self.last_read_us)}"
        size = naturalsize(self.bytes, binary=True)
        told = f"{number}, {size}, {written}{read}, in {', '.join(self.tiers)}"
        return f"{'' if self.asked else 'part of '}{what_is(self.kind)} ({shown(self.prefix)}): {told}"


@dataclass(frozen=True, slots=True)
class Subject:
    """The object as the catalog has it. `tier` None: it is gone. `reads`: all that logs told of. `not_taken`: why a
    codec that was asked for did not take this generation, in words; empty: of none is that known. `pack`: the key of
    the pack that it is in; empty: it is in none. `edition`: empty: it is as its user wrote it. `part_of`: the
    collection that it is in. `referrers`: the first of the files with references that name it, of `all_referrers`."""

    id: int
    dataset_id: int
    dataset: str
    name: str
    size: int
    tier: str | None
    codec: str
    reads: int
    raw_class: str = DEFAULT_CLASS
    not_taken: str = ""
    pack: str = ""
    edition: str = ""
    format: str = ""
    part_of: PartOf | None = None
    referrers: tuple[str, ...] = ()
    all_referrers: int = 0

    @property
    def place(self) -> str:
        """Where it is, in words."""
        if self.tier is None:
            return "gone: its users removed it"
        return f"in {self.tier} as {self.codec}" + (f" {self.pack}" if self.pack else "")

    @property
    def named_by(self) -> str:
        """Which files with references name it, in words."""
        more = self.all_referrers - len(self.referrers)
        others = f" and {more:,} more" if more else ""
        return f"named by references in {', '.join(self.referrers)}{others}: it keeps its path and its bytes"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What all policies make of one object. `decides`: the policy whose row the plan has, or None.

    Limits are not part of it, and neither is whether it is alone in its pack: they depend on what else is in the plan.
    """

    subject: Subject
    policies: tuple[PolicyTold, ...]
    decides: str | None
    outcome: str

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """As a person reads it; names stand as they are, whatever characters they hold."""
        s = self.subject
        itself = f"{s.dataset}/{s.name}: {naturalsize(s.size, binary=True)}, {s.place}, {s.reads:,} reads known"
        if s.part_of is not None and s.part_of.asked:
            yield f"{s.dataset}: {s.part_of}"
            yield f"what is asked of each part, of the first: {itself}"
        else:
            yield itself
            if s.part_of is not None:
                yield str(s.part_of)
        if s.referrers:
            yield s.named_by
        if s.not_taken:
            yield s.not_taken
        yield self.outcome
        for policy in self.policies:
            yield f"  {policy.name} ({policy.mode}): {policy.outcome}"
            for condition in policy.conditions:
                yield f"    {condition}"
            yield from policy.choice_lines()
            yield from policy.money_lines()


def as_whole(policy: Policy, subject: Subject) -> PartOf | None:
    """The collection that the policy looks at in the object's stead, if any."""
    return subject.part_of if policy.collections == "whole" else None


def question(loaded: LoadedPolicy, inputs: Inputs, subject: Subject) -> sa.Select[Any]:
    """One row: what the policy's expressions say about this object, in the order in which `told` reads them."""
    selection, object_id = Selection(loaded.policy, inputs), subject.id
    if (part_of := as_whole(loaded.policy, subject)) is not None:
        return Wholes(selection, None, (subject.dataset_id, part_of.prefix)).answer(object_id)
    columns: list[sa.ColumnElement[Any]] = [selection.where(), selection.fits(), selection.there_already()]
    columns += [selection.guard()]
    columns += [objects.c.locked_until_us, selection.rests_until(), selection.young_until()]
    columns += [collections.of_object("prefix"), objects.c.stuck, references.first_of_object()]
    columns += [sa.func.coalesce(objects.c.hold, datasets.c.hold)]
    for condition in loaded.policy.conditions.values():
        columns += [condition.holds(inputs.evidence), *condition.facts()]
    labelled = [column.label(f"c{number}") for number, column in enumerate(columns)]
    return sa.select(*labelled).select_from(TABLES).where(objects.c.id == object_id)


def other_target(loaded: LoadedPolicy, subject: Subject) -> PolicyTold | None:
    """Why the policy does not look at the object at all; None: it does."""
    policy, mode = loaded.policy, loaded.policy.mode.value
    if policy.mode is Mode.DISABLED:
        return PolicyTold(policy.name, mode, "disabled")
    if not policy.target.takes(subject.dataset):
        return PolicyTold(policy.name, mode, f"looks at {' or '.join(policy.target.dataset)}")
    if subject.tier is None:
        return PolicyTold(policy.name, mode, "it is gone")
    packed = policy.to.packing is not None and subject.codec == PACK and subject.tier == policy.to.tier
    if policy.target.tier not in (None, subject.tier) and not packed:
        return PolicyTold(policy.name, mode, f"looks at {policy.target.tier}, and it is in {subject.tier}")
    return None


def unplannable(loaded: LoadedPolicy, unknown: Sequence[str]) -> PolicyTold:
    """What a policy makes of any object while the catalog does not know tiers that it names."""
    tiers = " and ".join(map(repr, unknown))
    outcome = f"cannot be planned: the catalog does not know tier {tiers} yet (`storagectl scan` writes it there)"
    return PolicyTold(loaded.policy.name, loaded.policy.mode.value, outcome)


def told(
    loaded: LoadedPolicy,
    inputs: Inputs,
    subject: Subject,
    answer: Sequence[Any],
    money: PlanMoney | None,
    refused: Mapping[str, str],
) -> PolicyTold:
    """What the policy makes of the object, from the answer to `question` and what its move would come to. `refused`:
    which codecs do not take it, as `CodecSpec.asked` has them, and why."""
    policy, selection = loaded.policy, Selection(loaded.policy, inputs)
    whole = as_whole(policy, subject)
    where, fits, there, guard, locked_us, rests_us, young_us, prefix, stuck, referrer, hold, *rest = answer
    window: Window | None = inputs.evidence.windows.get(subject.dataset_id)
    conditions = []
    for key, condition in policy.conditions.items():
        count = len(condition.facts())
        holds, facts, rest = bool(rest[0]), rest[1 : 1 + count], rest[1 + count :]
        found = condition.tell(facts, window, inputs.evidence)
        conditions.append(ConditionTold(key, str(condition), found.what, holds, found.holds_from_us))
    if policy.where is not None:
        text = " ".join(policy.where.split())
        unknown = "something in it is not known" if where is None else "as the catalog has it"
        conditions.append(ConditionTold("where", text, unknown, bool(where)))
    if policy.to.packing is not None:
        wants = f"at most {naturalsize(policy.to.packing.largest, binary=True)}, to go into a pack"
        conditions.append(ConditionTold("largest", wants, naturalsize(subject.size, binary=True), bool(fits)))
    missing = [condition.key for condition in conditions if not condition.holds]
    matches = not missing and not there
    if missing:
        outcome = f"does not hold: {', '.join(missing)}"
    elif there:
        outcome = f"nothing to do: {_there(policy, subject, inputs)}"
    elif guard is not None:
        seen = f" ({subject.reads:,} raw reads seen)" if guard == "readers" else ""
        waits = {"rest": rests_us, "quiet": young_us}.get(guard)
        known = {"locked_until_us": locked_us, "prefix": prefix, "stuck": stuck, "referrer": referrer, "hold": hold}
        told = words(guard, **known) if guard.partition(":")[0] in GUARDS else why_held(guard)
        why = told + ("" if waits is None else f", {waits_words(waits)}")
        outcome = f"held back: {why}{seen}"
    elif (short := _short_of(policy, inputs, money)) is not None:
        outcome = f"held back: {short}"
    elif policy.to.in_place:
        price = "".join(price_of_undo(selection.storage_class(), subject.raw_class))
        others = f" with all of {shown(whole.prefix)}" if whole else ""
        outcome = f"would become {selection.storage_class()} in place{others}; undo: {price}"
    else:
        ways = [f"go to {policy.to.tier}"] if policy.to.tier else []
        choice = inputs.choices.get((subject.dataset, subject.format)) if selection.auto else None
        if stays := _stays(policy, inputs, subject):
            ways += [f"stay in its form: {stays}"]
        elif policy.to.codec and policy.to.codec.asked in refused:
            ways += [f"stay in its form: {refused[policy.to.codec.asked]}"]
        elif choice is not None:
            ways += [f"be stored as {choice.codec} ({AUTO}: {choice.why})"]
        elif policy.to.codec:
            ways += [f"be {form_words(policy.to.codec)}"]
        beside = _in_a_pack(policy, money) if policy.to.packing else ""
        beside = f" with all of {shown(whole.prefix)}" if whole else beside
        outcome = f"would {' and '.join(ways)}{beside}{_if_it_fits(policy, subject, inputs)}"
    amounts = money if matches else None
    mode, of_all = policy.mode.value, whole is not None
    return PolicyTold(policy.name, mode, outcome, matches, tuple(conditions), guard, amounts, of_all)


def _there(policy: Policy, subject: Subject, inputs: Inputs) -> str:
    """Why there is nothing to do for an object that is where the policy wants it."""
    if policy.to.in_place:
        return "it has that storage class already"
    if stays := _stays(policy, inputs, subject):
        return f"it stays in its form: {stays}"
    if policy.to.codec is not None and policy.to.codec.name == AUTO and subject.codec == IDENTITY.name:
        choice = inputs.choices.get((subject.dataset, subject.format))
        if choice is None or choice.codec == IDENTITY.name:
            return f"{AUTO}: {'no sample of its kind could be read' if choice is None else choice.why}"
        return subject.not_taken
    if policy.to.codec is None or policy.to.codec.name in (AUTO, subject.codec):
        return "it is there already"
    if policy.to.fidelity is Fidelity.TABLE and subject.edition:
        return "it is another file of the same table already"
    return subject.not_taken or "compressing it does not pay"


def _stays(policy: Policy, inputs: Inputs, subject: Subject) -> str:
    """Why it stays in its form whatever form the policy asks for; empty: it does not."""
    kind = "" if subject.part_of is None else subject.part_of.kind
    return dense_words(kind) if kind in DENSE and Selection(policy, inputs).may_be_dense else ""


def _short_of(policy: Policy, inputs: Inputs, money: PlanMoney | None) -> str | None:
    """What the money is that the policy's `require` asks for; None: nothing is short of it."""
    if money is None:
        limited = needs_prices(policy, limits_of(policy, inputs.limits), spending_limit=inputs.spending_limit)
        return REQUIREMENTS["no-prices"] if limited else None
    if policy.require is None or policy.to.packing is not None or money.pays_within(policy.require.payback_within):
        return None  # of packs a plan judges the whole, which is not known here
    wanted = format_duration(policy.require.payback_within)
    return f"{payback_words(money.payback_months)}, and `require` wants that within {wanted}"


def _if_it_fits(policy: Policy, subject: Subject, inputs: Inputs) -> str:
    """That a plan may hold it back, where the tier that it would go to has no room for all of its content."""
    tier = policy.to.tier
    room = None if tier in (None, subject.tier) else inputs.rooms.get(inputs.evidence.tiers[str(tier)])
    if room is None or room.free >= subject.size:
        return ""
    left = naturalsize(max(room.free, 0), binary=True)
    return f", if it fits: {tier} has room for {left}, and a plan holds back what is more"


def _in_a_pack(policy: Policy, money: PlanMoney | None) -> str:
    """With whom an object would be packed, and what of its money is short of what `require` asks of all of them."""
    beside = " with others, if there are any"
    if policy.require is None or money is None or money.pays_within(policy.require.payback_within):
        return beside
    wanted = format_duration(policy.require.payback_within)
    own = payback_words(money.payback_months)
    return f"{beside} and the whole pack pays back within {wanted}: a plan tells; this one's share {own}"


def conclude(subject: Subject, policies: Sequence[PolicyTold]) -> Explanation:
    found = [policy for policy in policies if policy.matches]
    first = found[0] if found else None
    if first is not None and (first.guard or "").startswith("collection:"):  # it only leaves it alone as a part
        first = next((policy for policy in found if policy.whole), first)
    if first is None:
        return Explanation(subject, tuple(policies), None, "no policy selects it")
    return Explanation(subject, tuple(policies), first.name, f"{first.name} decides: {first.outcome}")
