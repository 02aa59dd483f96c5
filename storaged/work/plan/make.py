"""Make a plan and keep it: run the planner's statements, then hash and sum up what they selected.

Nothing but the plan's own rows is written. A plan is a draft until it is whole; a draft that a crash left behind is
removed by the next plan that is made.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa

from storaged.catalog import models, summaries
from storaged.catalog.engine import Catalog
from storaged.catalog.placements import dataset_ids
from storaged.catalog.schema import datasets, objects, plan_items, plans, tiers
from storaged.catalog.schema_totals import object_totals
from storaged.clock import DAY, Clock, iso
from storaged.codecs.registry import COMPRESSING
from storaged.config.messages import did_you_mean
from storaged.config.settings import Settings
from storaged.decide.choice.remembered import waves
from storaged.decide.evidence import Evidence
from storaged.decide.forecast.model import ForecastModel, from_text
from storaged.decide.packing import shrinks
from storaged.decide.places import Prices
from storaged.decide.planner import compile_plan, in_order, left_of
from storaged.decide.policy import LoadedPolicy
from storaged.decide.rest import Rests
from storaged.decide.selection import Inputs, KindChoice
from storaged.decide.summary import Summary
from storaged.errors import ModelUnreadable, RefusedByGuard, UsageError
from storaged.model import AUTO, Fidelity, Mode
from storaged.stores.schemes import minimum_days
from storaged.work.money.plans import known_prices
from storaged.work.money.usage import windows as windows_of
from storaged.work.plan.functions import give_functions
from storaged.work.plan.funnel import Counting, with_funnels
from storaged.work.plan.rows import PAGE, read_rows, tally_rows
from storaged.work.plan.summary import sum_up
from storaged.work.room import rooms_of

DRAFT_IS_DEAD: Final = DAY  # microseconds; no plan takes as long as this

Kind = tuple[str, str, str]  # dataset, format, codec that is wanted
Ratios = Mapping[Kind, float]  # stored bytes over content bytes
Choices = Mapping[tuple[str, str], KindChoice]  # by dataset and format


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan as the catalog keeps it. `state`: draft, saved, applied or discarded."""

    id: int
    hash: str
    state: str
    made_us: int
    policies: tuple[str, ...]
    summary: Summary

    def __str__(self) -> str:
        return f"plan {self.id} ({self.state}), made {iso(self.made_us)}, {self.hash[:16]}\n{self.summary}"


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One object of a plan. Sizes in bytes; `held` None: an action, else what holds it back. `spend`: picodollars that
    it costs once; `saving`: that it saves per month (below 0: that it costs more); None: no prices are known.
    `pack`: that it goes into, as people call it; None: it becomes a blob of its own. `fidelity`: what survives;
    `reencode`: values may be encoded otherwise. `whole`: prefix of the collection that it moves with; None: by itself.
    """

    policy: str
    dataset: str
    name: str
    size: int
    stored_bytes: int
    after_bytes: int
    tier: str
    codec: str
    level: int | None
    grace_us: int
    reason: str
    held: str | None
    in_place: bool
    purge: bool
    spend: int | None = None
    saving: int | None = None
    pack: str | None = None
    fidelity: str = Fidelity.BYTES.value
    reencode: bool = False
    whole: str | None = None


def make_plan(
    catalog: Catalog,
    settings: Settings,
    policies: Iterable[LoadedPolicy],
    clock: Clock,
    *,
    only: Collection[str] | None = None,
    ratios: Ratios | None = None,
    not_taken: Mapping[Kind, str] | None = None,
    choices: Choices = MappingProxyType({}),
    why: Counting = Counting.NEVER,
    only_back: bool = False,
) -> Plan:
    """Plan what the policies want now and save it. Disabled policies are left out.

    `only`: keep the rows of these policies; an object that a policy before them takes is still not theirs. `ratios`:
    of samples; those that the catalog's own objects show are known anyway. `not_taken`: what samples of a kind were not
    taken, and why, in words; `choices`: what samples chose for `codec: auto`, without which such policies do nothing.
    `why`: of which policies their summary shows why they select no more. `only_back`: of policies in `only` that choose
    tiers what comes back to a hotter one, and nothing else.
    Raises UsageError for a name in `only` that cannot be planned, or a tier that the catalog does not know yet, and
    ConfigError for price books and `prices:` of tiers that do not hold together.
    """
    tried = _tried(policies, only)
    now_us = clock.now_us()
    known = gather(catalog, settings, tried, now_us, ratios or {})
    inputs = replace(known, choices=choices, only_back=frozenset(only or ()) if only_back else frozenset())
    names = [p.name for p in tried if only is None or p.name in only]
    kept = [p for p in tried if p.name in names]
    with _drafted(catalog, tried, names, inputs) as plan_id:
        digest, tallies = read_rows(catalog, kept, inputs.grace_us, inputs.evidence.tiers, plan_id)
        summed = sum_up(catalog, kept, inputs, plan_id, not_taken or {}, tallies)
        summary = with_funnels(catalog, kept, inputs, summed, why)
        with catalog.begin() as conn:
            done = {"state": "saved", "hash": digest, "summary": summary.to_json()}
            conn.execute(sa.update(plans).where(plans.c.id == plan_id).values(done))
    return Plan(plan_id, digest, "saved", now_us, tuple(names), summary)


def expect(
    catalog: Catalog,
    settings: Settings,
    policies: Iterable[LoadedPolicy],
    now_us: int,
    *,
    only: Collection[str],
    ratios: Ratios,
    not_taken: Mapping[Kind, str],
    choices: Choices,
    aside: Collection[str] = (),
    every: int = 1,
) -> Summary:
    """What `make_plan` would come to, and no plan is kept. `aside`: guards that hold nothing back. `every`: look at
    each so many-th object only, so that all counts and amounts are that part of what they would be.

    Raises as `make_plan` does.
    """
    tried = _tried(policies, only)
    known = gather(catalog, settings, tried, now_us, ratios)
    inputs = replace(known, aside=frozenset(aside), choices=choices, every=every)
    names = [p.name for p in tried if p.name in only]
    with _drafted(catalog, tried, names, inputs, shares=False) as plan_id:
        kept = [p for p in tried if p.name in names]
        tallies = tally_rows(catalog, plan_id)
        summary = sum_up(catalog, kept, inputs, plan_id, not_taken, tallies)
    forget_plan(catalog, plan_id)
    return summary


@contextmanager
def _drafted(
    catalog: Catalog, tried: Sequence[LoadedPolicy], names: Collection[str], inputs: Inputs, *, shares: bool = True
) -> Iterator[int]:
    """A draft with the rows of the policies `names`; gone where the block raises. `shares`: see `compile_plan`."""
    now_us = inputs.evidence.now_us
    with catalog.begin() as conn:
        dead = sa.select(plans.c.id).where(plans.c.state == "draft", plans.c.made_us < now_us - DRAFT_IS_DEAD)
        _delete(conn, list(conn.execute(dead).scalars()))
        new = {"state": "draft", "made_us": now_us, "policies": json.dumps(list(names))}
        plan_id: int = conn.execute(sa.insert(plans).values(new).returning(plans.c.id)).scalar_one()
    try:
        for compiled in compile_plan(tried, inputs, plan_id, catalog.dialect, shares=shares):
            with catalog.begin() as conn:
                give_functions(conn)
                for statement in compiled.statements:
                    conn.execute(statement)
        others = [p.name for p in tried if p.name not in names]
        if others:
            with catalog.begin() as conn:
                theirs = sa.and_(plan_items.c.plan_id == plan_id, plan_items.c.policy.in_(others))
                conn.execute(sa.delete(plan_items).where(theirs))
                for statement in left_of(inputs, plan_id):
                    conn.execute(statement)
        yield plan_id
    except BaseException:
        with catalog.begin() as conn:
            _delete(conn, [plan_id])
        raise


def unscanned(catalog: Catalog, settings: Settings, policies: Iterable[LoadedPolicy]) -> list[str]:
    """The datasets that these policies look at and that were never scanned: a plan knows none of their objects."""
    with catalog.read() as conn:
        scanned = set(conn.execute(sa.select(datasets.c.name).where(datasets.c.scanned_us.is_not(None))).scalars())
    wanted = [p.policy.target for p in policies if p.policy.mode is not Mode.DISABLED]
    return [name for name in settings.datasets if name not in scanned and any(t.takes(name) for t in wanted)]


def load_plan(catalog: Catalog, plan_id: int) -> Plan:
    """A plan by its number. Raises UsageError."""
    with catalog.read() as conn:
        row = conn.execute(sa.select(plans).where(plans.c.id == plan_id)).one_or_none()
    if row is None:
        raise UsageError(f"there is no plan {plan_id}", hint="`storagectl plan list` shows them")
    return _plan(row)


def list_plans(catalog: Catalog, *, limit: int = 50) -> list[Plan]:
    """The newest plans that were finished, newest first."""
    query = sa.select(plans).where(plans.c.state != "draft").order_by(plans.c.id.desc()).limit(limit)
    with catalog.read() as conn:
        return [_plan(row) for row in conn.execute(query)]


def plan_rows(catalog: Catalog, plan_id: int, *, held: bool | None = None) -> Iterator[PlanRow]:
    """A plan's objects, read as they are asked for. `held`: only those held back, or only the actions."""
    query = (
        sa.select(plan_items, datasets.c.name.label("dataset"), objects.c.name, tiers.c.name.label("tier"))
        .join(objects, objects.c.id == plan_items.c.object_id)
        .join(datasets, datasets.c.id == objects.c.dataset_id)
        .join(tiers, tiers.c.id == plan_items.c.tier_id)
        .where(plan_items.c.plan_id == plan_id)
    )
    if held is not None:
        query = query.where(plan_items.c.held.is_not(None) if held else plan_items.c.held.is_(None))
    last = 0
    while True:  # pages: a read transaction that stays open would keep writers waiting
        page = query.where(plan_items.c.object_id > last).order_by(plan_items.c.object_id).limit(PAGE)
        with catalog.read() as conn:
            rows = conn.execute(page).all()
        for row in rows:
            yield PlanRow(*(getattr(row, name) for name in PlanRow.__slots__))
        if len(rows) < PAGE:
            return
        last = rows[-1].object_id


def discard_plan(catalog: Catalog, plan_id: int) -> None:
    """Forget a saved plan's rows. Raises UsageError for no such plan, RefusedByGuard for one that was applied."""
    with catalog.begin() as conn:
        mine = sa.and_(plans.c.id == plan_id, plans.c.state == "saved")
        if conn.execute(sa.update(plans).where(mine).values(state="discarded")).rowcount:
            conn.execute(sa.delete(plan_items).where(plan_items.c.plan_id == plan_id))
            return
    plan = load_plan(catalog, plan_id)
    if plan.state != "discarded":
        raise RefusedByGuard(f"plan {plan_id} is {plan.state}; only a saved plan can be discarded")


def forget_plan(catalog: Catalog, plan_id: int) -> None:
    """Leave no trace of a plan that asked for nothing."""
    with catalog.begin() as conn:
        _delete(conn, [plan_id])


def gather(
    catalog: Catalog, settings: Settings, policies: Iterable[LoadedPolicy], now_us: int, ratios: Ratios
) -> Inputs:
    """What these policies need to know besides the rows they look at. Raises UsageError for a tier not yet known."""
    policies = list(policies)
    codecs = {p.policy.to.codec.name for p in policies if p.policy.to.codec and shrinks(p.policy.to.codec)}
    if AUTO in codecs:
        codecs |= {*COMPRESSING}
    with catalog.read() as conn:
        rows = conn.execute(sa.select(tiers.c.name, tiers.c.id, tiers.c.storage_class, tiers.c.rank)).all()
        tier_ids, classes = {r.name: r.id for r in rows}, {r.name: r.storage_class for r in rows}
        numbers = dataset_ids(conn)
        windows = windows_of(conn)
        prices = known_prices(conn, settings, rows, windows, now_us)
        room = rooms_of(conn, settings, tier_ids)
        seen = _seen_ratios(conn, codecs) if codecs else {}
        derived = any(p.policy.to.fidelity is Fidelity.TABLE for p in policies)
        placed = summaries.folders(conn) if derived else ()
        evidence = Evidence(now_us, settings.half_life, tier_ids, windows)
        choosing = [p.policy for p in policies if p.policy.to.chooses]
        foretold = _model(conn) if choosing else _Model()
        looked_at = [number for name, number in numbers.items() if any(p.target.takes(name) for p in choosing)]
        waved = frozenset() if prices is None else waves(conn, evidence, prices.tiers, looked_at)
    for p in policies:
        for tier in unknown_tiers(p, tier_ids):
            hint = "run `storagectl scan` once, it writes the tiers into the catalog"
            raise UsageError(f"policy {p.name}: the catalog does not know tier {tier!r} yet", hint=hint)
    full, high = {i: r.full for i, r in room.items()}, {i: r.high for i, r in room.items()}
    evidence = replace(evidence, full=full, high=high)
    known = {**ratios, **seen}
    rests = Rests(settings.rest, {r.id: r.rank for r in rows}, dict(_minimum_days(rows, prices)))
    quiet, grace, limits = settings.quiet_for, settings.grace, settings.limits
    spending_limit = settings.max_spend_per_month is not None
    return Inputs(
        evidence,
        numbers,
        quiet,
        grace,
        limits,
        known,
        classes,
        prices,
        spending_limit,
        room,
        rests,
        model=foretold.model,
        model_called=foretold.called,
        summaries=placed,
        waves=waved,
    )


def unknown_tiers(loaded: LoadedPolicy, known: Container[str]) -> list[str]:
    """Tiers that a policy names and the catalog does not know yet: it cannot be planned before a scan."""
    to, target = loaded.policy.to, loaded.policy.target
    named = (target.tier, *(to.among or () if to.chooses else (to.tier,)))
    return [tier for tier in named if tier is not None and tier not in known]


@dataclass(frozen=True, slots=True)
class _Model:
    """The forecast model in use, and how people call it; without one, why there is none."""

    model: ForecastModel | None = None
    called: str = ""


def _model(conn: sa.Connection) -> _Model:
    kept = models.in_use(conn)
    if kept is None:
        return _Model(called="nothing was learnt of its past yet; `storagectl learn` does")
    try:
        return _Model(from_text(kept.text, kept.called), kept.called)
    except ModelUnreadable as error:
        return _Model(called=f"{error.message}; {error.hint}")


def _minimum_days(rows: Iterable[Any], prices: Prices | None) -> Iterator[tuple[int, int]]:
    """What tiers bill at least, as their prices say, else as their storage classes are known to."""
    for row in rows:
        own = None if prices is None else prices.tiers.get(row.id)
        yield row.id, minimum_days(row.storage_class) if own is None else own.minimum_days


def _tried(policies: Iterable[LoadedPolicy], only: Collection[str] | None) -> list[LoadedPolicy]:
    """The policies to evaluate, in order: with `only`, none after the last of them."""
    given = list(policies)
    tried = in_order(given)
    if only is None:
        return tried
    names = [p.name for p in tried]
    for name in only:
        if any(p.name == name and p.policy.mode is Mode.DISABLED for p in given):
            raise UsageError(f"policy {name} is disabled", hint="set its mode to dry-run or active")
        if name not in names:
            raise UsageError(f"there is no policy {name!r}", hint=did_you_mean(name, names))
    return tried[: max((names.index(name) for name in only), default=-1) + 1]


def _seen_ratios(conn: sa.Connection, codecs: Collection[str]) -> dict[tuple[str, str, str], float]:
    """What objects that are stored so by now show: stored bytes over content bytes."""
    held = object_totals.c
    groups = (datasets.c.name, held.format, held.codec)
    query = (
        sa.select(*groups, sa.func.sum(held.stored_bytes), sa.func.sum(held.size))
        .join(datasets, datasets.c.id == held.dataset_id)
        .where(held.codec.in_(codecs), held.empty == 0)
        .group_by(*groups)
        .having(sa.func.sum(held.objects) > 0)
    )
    return {(d, f, c): int(stored) / int(size) for d, f, c, stored, size in conn.execute(query)}


def is_as_made(catalog: Catalog, settings: Settings, policies: Iterable[LoadedPolicy], plan: Plan) -> bool:
    """Whether what a plan rests on and its rows are those of which its digest was made."""
    with catalog.read() as conn:
        tier_ids = {row.name: row.id for row in conn.execute(sa.select(tiers.c.name, tiers.c.id))}
    kept = [p for p in in_order(policies) if p.name in plan.policies]
    digest, _ = read_rows(catalog, kept, settings.grace, tier_ids, plan.id)
    return digest == plan.hash


def _delete(conn: sa.Connection, ids: list[int]) -> None:
    conn.execute(sa.delete(plan_items).where(plan_items.c.plan_id.in_(ids)))
    conn.execute(sa.delete(plans).where(plans.c.id.in_(ids)))


def _plan(row: Any) -> Plan:
    names = tuple(json.loads(row.policies))
    return Plan(row.id, row.hash, row.state, row.made_us, names, Summary.from_json(row.summary))
