"""Advice: what there is, what each form would make of it, and the policies that pay, by the plan's own figures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from storaged.catalog import collections
from storaged.catalog.schema import datasets
from storaged.clock import DAY, iso
from storaged.config.quantities import format_duration
from storaged.decide.evidence import Window
from storaged.decide.guards import GUARDS
from storaged.decide.money import PlanMoney
from storaged.decide.planner import why_held
from storaged.decide.policy import LoadedPolicy
from storaged.decide.summary import PolicySummary, money_words, payback_words
from storaged.errors import UsageError
from storaged.work.advise.atime import Atime, look_at_atime
from storaged.work.advise.drafts import PAYBACK, PREFIX, Draft, Known, drafts
from storaged.work.advise.forms import KindForms, Speed, kind_forms, sampling, speeds
from storaged.work.advise.look import Shelf, SmallObjects, shelves, small_objects
from storaged.work.advise.texts import loaded
from storaged.work.context import Context, local_path
from storaged.work.plan.make import expect, gather, unscanned
from storaged.work.plan.sample import Sampling

MOST: Final = 6  # policies that are proposed
WINDOW: Final = 90 * DAY  # logs that cover less say little of what is idle
LOOKED_AT: Final = 100_000  # objects that tell whether a draft is worth planning for all of them, about
ENOUGH: Final = 1_000  # of those, that it takes; of fewer nobody can tell
_BEFORE: Final = 2  # steps before drafts are planned: counting what there is, and samples
_NOTABLE: Final = 0.1  # without prices: what must be saved of the bytes that a policy takes
_WORTH: Final = Decimal("0.03")  # with prices: what must be saved of what its objects cost a month; no risk is free
_YOUNG: Final = "nothing that it asks for is a day old yet: ask again tomorrow"
_YOUNG_OR_TAKEN: Final = "nothing that it asks for is a day old yet, or a policy of yours has it: ask again tomorrow"
_ASIDE: Final = ("readers",)  # a person can change who reads; until then the policy is held back, and says so


@dataclass(frozen=True, slots=True)
class Proposal:
    """A policy that pays, and what a plan says of it. `expected`: as if all read through storaged (`draft.raw`)."""

    draft: Draft
    policy: LoadedPolicy
    expected: PolicySummary


@dataclass(frozen=True, slots=True)
class NotProposed:
    """A policy that is not proposed, and why in words. `young`: what it is for may be there tomorrow."""

    name: str
    sentence: str
    why: str
    young: bool = False


@dataclass(frozen=True, slots=True)
class Advice:
    """What there is and what pays. `unknown`: what nobody can know yet, and how to get to know it; `basis`: what the
    money rests on. `atime`: what file systems say of the last reads; None: nobody asked for it."""

    at_us: int
    datasets: tuple[str, ...]
    shelves: tuple[Shelf, ...]
    small: tuple[SmallObjects, ...]
    kinds: tuple[KindForms, ...]
    speeds: tuple[Speed, ...]
    proposals: tuple[Proposal, ...]
    dropped: tuple[NotProposed, ...]
    unknown: tuple[str, ...]
    basis: tuple[str, ...]
    atime: Atime | None = None

    @property
    def money(self) -> PlanMoney | None:
        """What all proposals come to together; None: no prices are known."""
        known = [p.expected.money for p in self.proposals if p.expected.money is not None]
        return sum(known[1:], known[0]) if known else None


def advise(
    context: Context,
    names: Collection[str],
    policies: Iterable[LoadedPolicy],
    *,
    atime: bool = False,
    progress: Callable[[int, int | None], None] = lambda _done, _of: None,
) -> Advice:
    """Advice for these datasets, beside the policies that there are. Reads samples, changes nothing. `atime`: tell what
    file systems say of the last reads, too.

    Raises UsageError where nothing was scanned yet, ConfigError for prices that do not hold together.
    """
    now_us = context.now_us()
    progress(0, None)
    own = [p for p in policies if not Path(p.file).name.startswith(PREFIX)]
    inputs = gather(context.catalog, context.settings, own, now_us, {})
    with context.catalog.read() as conn:
        there = shelves(conn, names, inputs.evidence)
        small = small_objects(conn, names, inputs.prices)
        there_whole = collections.counts(conn, names)
        looked = list(
            conn.execute(sa.select(datasets.c.scanned_us).where(datasets.c.name.in_(sorted(names)))).scalars()
        )
    if not there:
        hint = "run `storagectl scan` first"
        if len(looked) == len(names) and all(looked):
            hint = "their roots were empty when they were last scanned; `storagectl scan` looks again"
        raise UsageError("the catalog has no objects of these datasets", hint=hint)
    opened = look_at_atime(context, names) if atime else None  # before samples are read, which changes it
    progress(1, None)
    told = sampling(context, names, own)
    with context.catalog.read() as conn:
        kinds = kind_forms(conn, names, told)
    tiers = {number: name for name, number in inputs.evidence.tiers.items()}
    ids = {number: name for name, number in inputs.datasets.items()}
    prices = {} if inputs.prices is None else {tiers[i]: found for i, found in inputs.prices.tiers.items()}
    windows = {ids[i]: window for i, window in inputs.evidence.windows.items() if i in ids}
    known = Known(context.settings, there, kinds, windows, prices, there_whole)
    asked = _Asked(context, now_us, own, told, known)
    proposals, dropped, basis = asked.chosen(progress)
    return Advice(
        now_us,
        tuple(sorted(names)),
        tuple(there),
        tuple(small),
        tuple(kinds),
        tuple(speeds(context, kinds)),
        tuple(proposals),
        tuple(dropped),
        tuple(_unknown(context, names, known, own)),
        basis,
        opened,
    )


class _Asked:
    """What plans say of drafts, one by one and then together."""

    def __init__(
        self, context: Context, now_us: int, own: Sequence[LoadedPolicy], told: Sampling, known: Known
    ) -> None:
        self.context, self.now_us, self.own, self.told, self.known = context, now_us, own, told, known

    def chosen(
        self, progress: Callable[[int, int | None], None]
    ) -> tuple[list[Proposal], list[NotProposed], tuple[str, ...]]:
        asked = list(drafts(self.known))
        dropped: list[NotProposed] = []
        best: dict[tuple[int, str], _Tried] = {}
        for n, draft in enumerate(asked):
            progress(_BEFORE + n, _BEFORE + len(asked) + 1)
            tried = self._tried(draft)
            part = tried.part
            if not part.actions.objects and not part.held:
                if draft.young:
                    why = _YOUNG_OR_TAKEN if self.own else _YOUNG
                    dropped.append(NotProposed(draft.name, part.sentence, why, young=True))
                continue
            rival = best.get((draft.rank, draft.name))
            if why := self._why_not(part, tried.every):
                dropped.append(NotProposed(draft.name, part.sentence, why))
            elif rival is None:
                best[draft.rank, draft.name] = tried
            else:
                better, other = sorted([tried, rival], key=lambda found: -found.year)
                best[draft.rank, draft.name] = better
                dropped.append(NotProposed(other.draft.name, other.part.sentence, "another tier saves more"))
        progress(_BEFORE + len(asked), _BEFORE + len(asked) + 1)
        kept = sorted(best.values(), key=lambda found: -found.year)
        dropped += [NotProposed(t.draft.name, t.part.sentence, "others save more") for t in kept[MOST:]]
        wanted = [tried.draft for tried in kept[:MOST]]
        found, also, basis = self._together(wanted)
        for draft in [d for d in wanted if d.in_place and not self.known.raw(d.datasets)]:
            rest = [d for d in wanted if d is not draft]
            others, left, its_basis = self._together(rest)
            if sum(_year(p.expected) for p in others) > sum(_year(p.expected) for p in found):
                left.append(NotProposed(draft.name, best[draft.rank, draft.name].part.sentence, "others save more"))
                wanted, found, also, basis = rest, others, left, its_basis
        return found, [*dropped, *also], basis

    def _together(self, wanted: Sequence[Draft]) -> tuple[list[Proposal], list[NotProposed], tuple[str, ...]]:
        """What is proposed of these, each beside those before it; the most saved first."""
        dropped: list[NotProposed] = []
        together = sorted(wanted, key=lambda draft: f"{draft.name}.yaml")  # as files are
        while together:
            parts, basis = self._plan(together)
            out = {p.name: why for p in parts if (why := self._why_not(p))}
            if not out:
                made = {p.name: p for p in self._loaded(together)}
                found = [Proposal(d, made[d.name], p) for d, p in zip(together, parts, strict=True)]
                return sorted(found, key=lambda proposal: -_year(proposal.expected)), dropped, basis
            last = [p for p in parts if p.name in out][-1]
            dropped.append(NotProposed(last.name, last.sentence, f"beside the policies before it: {out[last.name]}"))
            together = [draft for draft in together if draft.name != last.name]
        return [], dropped, ()

    def _tried(self, draft: Draft) -> _Tried:
        """What a plan says of a draft; of many objects, of each so many-th, if these are enough."""
        there = sum(s.objects for s in self.known.shelves if s.dataset in draft.datasets)
        every = max(there // LOOKED_AT, 1)
        (part,), _ = self._plan([draft], every)
        if every > 1 and part.actions.objects + sum(tally.objects for tally in part.held.values()) < ENOUGH:
            every, ((part,), _) = 1, self._plan([draft])
        return _Tried(draft, part, every)

    def _loaded(self, wanted: Sequence[Draft]) -> list[LoadedPolicy]:
        settings = self.context.settings
        texts = {settings.policies / f"{draft.name}.yaml": draft.text for draft in wanted}
        return list(loaded(texts, settings))

    def _plan(self, wanted: Sequence[Draft], every: int = 1) -> tuple[list[PolicySummary], tuple[str, ...]]:
        """What a plan says of these policies, were they among those that there are, in the order of their names."""
        mine = self._loaded(wanted)
        among = sorted([*self.own, *mine], key=lambda p: p.file)  # as files are read; a file's own order stays
        summary = expect(
            self.context.catalog,
            self.context.settings,
            among,
            self.now_us,
            only=[p.name for p in mine],
            ratios=self.told.ratios,
            not_taken=self.told.not_taken,
            choices=self.told.choices,
            aside=_ASIDE,
            every=every,
        )
        return list(summary.policies), summary.basis

    def _why_not(self, part: PolicySummary, every: int = 1) -> str:
        """Why a policy is not worth proposing; empty: it is. `every`: what was looked at, each so many-th object; then
        amounts are no figure to be told."""
        actions, money = part.actions, part.money
        if not actions.objects:
            return _held(part, every)
        if self.known.prices:
            if money is None or money.unpriced == actions.objects:
                return "what it costs is not known: its tiers have no prices"
            if not money.pays_within(PAYBACK):
                return f"it does not pay within {format_duration(PAYBACK)}: {_words(money, every)}"
            if money.saving_12_months <= 0:
                return f"nothing is left after a year: {_words(money, every)}"
            if money.monthly_saving < _WORTH * money.before.total:
                return f"it saves less than {_WORTH:.0%} of what they cost a month: {_words(money, every)}"
            return ""
        if actions.bytes_now - actions.bytes_after < _NOTABLE * actions.bytes_now:
            return f"it saves less than {_NOTABLE:.0%} of the bytes that it takes, and no prices are known"
        return ""


@dataclass(frozen=True, slots=True)
class _Tried:
    """A draft, and what a plan says of it, for each so many-th object (`every`)."""

    draft: Draft
    part: PolicySummary
    every: int

    @property
    def year(self) -> float:
        """What it would save of all objects, about."""
        return _year(self.part) * self.every


def _words(money: PlanMoney, every: int) -> str:
    if every == 1:
        return money_words(money)
    return f"{payback_words(money.payback_months)} (told from every {every}th object)"


def _year(part: PolicySummary) -> float:
    """What a policy saves in a year; without prices the bytes that it saves."""
    if part.money is not None:
        return float(part.money.saving_12_months)
    return float(part.actions.bytes_now - part.actions.bytes_after)


def _held(part: PolicySummary, every: int) -> str:
    """What holds most of a policy's objects back."""
    if not part.held:
        return "no object is left for it"
    code, tally = max(part.held.items(), key=lambda item: (item[1].objects, item[0]))
    count = f"{tally.objects:,} object{'' if tally.objects == 1 else 's'}" if every == 1 else "most objects"
    said = f"{count} held back: {why_held(code)}"
    money = part.held_money.get(code)
    return said if money is None or code in GUARDS else f"{said}: {_words(money, every)}"


def _unknown(context: Context, names: Collection[str], known: Known, own: Iterable[LoadedPolicy]) -> Iterator[str]:
    """What cannot be known from what there is."""
    unread = sorted(name for name in names if name not in known.windows)
    if unread:
        times = any(local_path(context.dataset(name).root) is not None for name in unread)  # buckets keep none
        yield (
            f"who reads {', '.join(unread)}: no log covers it, so nothing there counts as idle, no colder tier is "
            "proposed for it, and money counts no reads; give storaged.yaml a log (`heat:`), then `storagectl ingest`"
            + ("; `--atime` tells what file systems say of it" if times else "")
        )
    short: dict[Window, list[str]] = {}
    for name in sorted(set(names) & known.windows.keys()):
        if known.windows[name].length_us < WINDOW:
            short.setdefault(known.windows[name], []).append(name)
    for window, of_it in sorted(short.items()):
        length = format_duration(window.length_us // DAY * DAY)
        yield f"whether {', '.join(of_it)} was read before {iso(window.from_us)}: the logs cover {length}"
    if not known.prices:
        yield "what anything costs: no tier has `prices` in storaged.yaml; `storagectl prices show` lists what there is"
    for name in unscanned(context.catalog, context.settings, own):
        yield f"what is in {name}: it was never scanned"
