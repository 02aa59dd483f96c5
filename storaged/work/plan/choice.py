"""What `tier: auto` of a policy chooses for one object: the planner's own statement, and the dollars behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

import sqlalchemy as sa

from storaged.catalog.schema import objects
from storaged.clock import DAY, iso
from storaged.decide.choice.candidates import Candidates, TierCandidate, candidates, sent_to
from storaged.decide.choice.choosing import Choosing
from storaged.decide.choice.outlook import staying
from storaged.decide.choice.supposed import PastOfOne, Supposed, edges
from storaged.decide.choice.told import (
    ChoiceTold,
    EvenlyTold,
    RememberedTold,
    alternatives,
    like_words,
    model_words,
    rests_words,
)
from storaged.decide.choice.weighed import Foretold, Weighed, weighed
from storaged.decide.explain import Subject
from storaged.decide.forecast.model import FORECAST, MEMORY, STAY
from storaged.decide.policy import Policy
from storaged.decide.selection import TABLES, Inputs
from storaged.prices.amount import ZERO
from storaged.prices.book import DAYS_PER_MONTH

_NOWHERE: Final = "no tier is left that it may be sent to"


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a policy chooses for an object: the policy as if it named that tier, `moves`: it is another place than where
    the object is, and why."""

    policy: Policy
    moves: bool
    told: ChoiceTold


def chosen_for(conn: sa.Connection, policy: Policy, inputs: Inputs, subject: Subject) -> Chosen:
    """Of an object that is there, in one of the policy's datasets."""
    inputs = inputs.about(policy)
    given = candidates(policy, inputs)
    stays = sent_to(policy, str(subject.tier))
    told = ChoiceTold(policy.to.horizon_us, left_out=given.left_out)
    if (why := staying(policy, inputs).get(subject.dataset)) is not None:
        return Chosen(stays, False, replace(told, stays=why))
    choosing = Choosing(policy, inputs, given, objects.c.id == subject.id)
    row = conn.execute(choosing.verdict()).mappings().one_or_none() if choosing.possible else None
    if row is None:
        created_us = conn.execute(sa.select(objects.c.created_us).where(objects.c.id == subject.id)).scalar_one()
        why = _NOWHERE
        if created_us > inputs.evidence.now_us:
            why = f"it is of {iso(created_us)}, which is to come"
        elif inputs.prices is None or inputs.evidence.tiers[str(subject.tier)] not in inputs.prices.tiers:
            why = f"no prices are known of where it is, in {subject.tier}"
        return Chosen(stays, False, replace(told, stays=why))
    return _chosen(conn, policy, inputs, subject, given, choosing, row, told)


def _chosen(
    conn: sa.Connection,
    policy: Policy,
    inputs: Inputs,
    subject: Subject,
    given: Candidates,
    choosing: Choosing,
    row: sa.RowMapping,
    told: ChoiceTold,
) -> Chosen:
    which = objects.c.id == subject.id
    known: dict[int, Weighed] = {}
    tiers = {row["here"]: str(subject.tier)}
    for number, one in enumerate(given):
        at = choosing.position(number)
        tiers[at] = one.tier
        if row[f"once_{number}"] is not None:
            known[at] = _weighed(conn, inputs, one, which, Decimal(row["share"]))
    policies = {choosing.position(number): one.policy for number, one in enumerate(given)}
    position = row["position"]
    moves = position != row["here"]
    chosen = policies[position] if moves else sent_to(policy, str(subject.tier))
    weights = choosing.weights(subject.dataset_id)
    if not known:
        priced = inputs.prices is not None and inputs.evidence.tiers[str(subject.tier)] in inputs.prices.tiers
        why = _NOWHERE if priced else f"no prices are known of where it is, in {subject.tier}"
        return Chosen(chosen, moves, replace(told, stays=why, weights=weights))
    k = choosing.guesses.index(FORECAST)
    figures = (row[f"reads_{k}"], row[f"variance_{k}"], row[f"months_{k}"], row["evidence"])
    foretold = Foretold(*map(Decimal, figures))
    picks = {name: row[f"pick_{number}"] for number, name in enumerate(choosing.guesses)}
    picks |= {MEMORY: row["pick_memory"], STAY: row["hottest"]}
    past = PastOfOne(
        dict(row), foretold, policy.to.horizon_us / DAY, choosing.guesses, subject.dataset_id in inputs.waves
    )

    def where(supposed: Sequence[Supposed]) -> list[str]:
        """The tiers, were these its reads."""
        query = Choosing(policy, inputs, given, which, supposed).verdict()
        found = {one["supposed"]: one["position"] for one in conn.execute(query).mappings()}
        return [tiers[found[number]] for number in range(len(supposed))]

    return Chosen(
        chosen,
        moves,
        replace(
            told,
            reads_per_month=foretold.reads / foretold.months,
            rests_on=_rests_on(conn, policy, inputs, subject, row),
            remembered=RememberedTold(*(Decimal(row[name]) * DAYS_PER_MONTH for name in ("year_reads", "days_reads"))),
            weights=weights,
            picks={name: tiers[picks[name]] for name, weight in weights.items() if weight},
            if_read=where([past.one_more()])[0],
            alternatives=tuple(alternatives(known, tiers, row["here"], position, foretold)),
            evenly=tuple(
                EvenlyTold(Decimal(rate), tier)
                for rate, tier in edges(lambda rates: where([past.evenly(rate) for rate in rates]))
            ),
        ),
    )


def _weighed(
    conn: sa.Connection, inputs: Inputs, one: TierCandidate, which: sa.ColumnElement[bool], share: Decimal
) -> Weighed:
    """The dollars of one candidate, which has prices for it."""
    if inputs.prices is None:
        raise ValueError("there are no prices")
    row = conn.execute(one.costs.groups(TABLES, sa.literal("", sa.Text()), which, shares=True)).mappings().one()
    route, counts = one.costs.counts(row)
    unread = replace(counts, reads=0, read_bytes=ZERO, after_read_bytes=ZERO)
    back = one.costs.way_back(one.costs.stretches[row["route"]])
    return weighed(route, unread, back, one.costs.terms, inputs.prices.volumes(), share)


def _rests_on(conn: sa.Connection, policy: Policy, inputs: Inputs, subject: Subject, row: sa.RowMapping) -> str:
    model, window = inputs.model, inputs.evidence.windows[subject.dataset_id]
    if model is None:
        raise ValueError("there is no model")
    created_us = conn.execute(sa.select(objects.c.created_us).where(objects.c.id == subject.id)).scalar_one()
    band = model.band(max(window.until_us - created_us, 0) / DAY)
    prior = model.of(subject.dataset, policy.to.horizon_us / DAY)[band]
    own = subject.dataset if subject.dataset in model.datasets else ""
    return rests_words(
        row["evidence"] - prior.shape,
        row["days"] - prior.rate,
        prior.shape,
        prior.rate,
        like_words(own, model.bands, band),
        model_words(inputs.model_called, model.cut_day * DAY, foretells=model.foretells),
    )
