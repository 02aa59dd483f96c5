"""Choose each object's tier, in SQL: each candidate's dollars by each guess, and the weighted middle of the choices.

A guess's choice is the candidate that is worth most. Over the horizon of h months and R reads, a candidate is worth

    saved − once − risk · back        saved = h · keep − R · dearer

with what a month there saves without its reads (keep), what one read costs more there (dearer), what the move costs
once, and what the way back would. The risk that the way back is due, since it saved nothing after all, is at most

    dearer² · Var R / (dearer² · Var R + saved²)

by Cantelli's inequality (F. P. Cantelli, Sui confini della probabilità, 1928; the one-sided form of Chebyshev's), of
whatever shape R is. Nothing is moved for a saving below `TWICE` what it costs (once + risk · back), nor for none.

Several guesses, what is remembered (`remembered.py`), and staying are mixed by their weights: the object goes to the
weighted median of their choices, the tiers in order, as in a simulation (docs/adr/0071). Staying, which never went
anywhere, chooses the hottest of the choices and of where an object is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.sql.elements import ColumnElement

from storaged.catalog.schema import objects
from storaged.clock import DAY
from storaged.config.quantities import format_duration
from storaged.decide import sql
from storaged.decide.choice import remembered
from storaged.decide.choice.candidates import Candidates, TierCandidate
from storaged.decide.choice.least import least_bytes
from storaged.decide.choice.outlook import Outlook, outlook
from storaged.decide.choice.supposed import Supposed, supposing
from storaged.decide.forecast.model import BREAK_EVEN, FORECAST, MEMORY, STAY
from storaged.decide.limits import pays_back
from storaged.decide.money import MONTH_US, TWICE
from storaged.decide.policy import Policy
from storaged.decide.routes import Routes
from storaged.decide.selection import Inputs, Selection
from storaged.decide.spend import Columns
from storaged.heat import REMEMBERED

_HALF: Final = 0.5
_PICO: Final = 10**12
_ZERO: Final[ColumnElement[float]] = sa.literal(0.0, sa.Double())


class Choosing:
    """What one policy with `tier: auto` chooses, as common tables of one statement. `inputs` are about it. `which`: the
    objects that it is asked about, whatever its conditions; None: all of which these hold. `supposed`: of the one that
    it is asked about, reads to choose by in place of its own."""

    def __init__(
        self,
        policy: Policy,
        inputs: Inputs,
        given: Candidates,
        which: ColumnElement[bool] | None = None,
        supposed: Sequence[Supposed] = (),
    ) -> None:
        outlook = _outlook(policy, inputs, given, told=which is not None)
        self._policy = policy
        self._inputs = inputs
        self._candidates = given.of
        self._guesses = outlook.guesses
        self._outlook = outlook
        self._which = which
        self._supposed = supposed
        self._selection = Selection(policy, inputs)
        self._only_back = policy.name in inputs.only_back
        self._days = policy.to.horizon_us / DAY
        self._pairs = [(k, n) for k in range(len(self._guesses)) for n in range(len(self._candidates))]

    @property
    def possible(self) -> bool:
        """Whether anything may be chosen at all."""
        return bool(self._candidates and self._outlook.weights)

    def known(self) -> ColumnElement[bool]:
        """Whether something is foretold of an object: its dataset is known, and it is of the past."""
        born = objects.c.created_us <= self._inputs.evidence.now_us
        return sa.and_(sql.in_ids(objects.c.dataset_id, self._outlook.weights), born)

    def _matched(self) -> Iterator[ColumnElement[bool]]:
        yield self._selection.target()
        yield self.known()
        if self._which is not None:  # what is foretold of it, whatever the policy asks beside
            yield self._which
            return
        yield self._large_enough()
        for condition in self._policy.conditions.values():
            yield condition.holds(self._inputs.evidence)
        yield self._selection.where()

    def _large_enough(self) -> ColumnElement[bool]:
        """Whether it is not so small that nothing could be worth its move."""
        least = least_bytes(Candidates(self._candidates, ()), self._policy.to.horizon_us / MONTH_US)
        ways = [(objects.c.tier_id == tier_id, objects.c.stored_bytes >= nbytes) for tier_id, nbytes in least.items()]
        return sa.case(*ways, else_=sa.true()) if ways else sa.true()

    # -- one table after the other: what is worked out once is fenced (docs/adr/0054) -------------------------------

    @cached_property
    def _routes(self) -> list[Routes]:
        return [one.costs.routes(self._selection.tiers()) for one in self._candidates]

    @cached_property
    def _seen(self) -> sa.CTE:
        """The objects that it looks at, and what is to be known of them."""
        stretches = [stretch for routes in self._routes for stretch in routes.stretches]
        columns = self._candidates[0].costs.seen(stretches, month=self._policy.require is not None)
        columns |= {"object_id": objects.c.id, "dataset_id": objects.c.dataset_id, "share": self._outlook.share}
        if self._which is not None:
            columns |= {"evidence": self._outlook.evidence, "days": self._outlook.days}
            columns["known_days"] = self._outlook.known_days
        for n, one in enumerate(self._candidates):
            columns[f"copied_{n}"] = one.costs.copied()
            columns[f"there_{n}"] = sa.case((one.selection.there_already(), 1), else_=0)
            columns[f"open_{n}"] = sa.case((one.selection.guard().is_(None), 1), else_=0)
        for k, guess in enumerate(self._guesses):
            columns[f"reads_{k}"] = sql.tame(guess.reads)
            columns[f"variance_{k}"] = sql.tame(guess.variance)
            columns[f"months_{k}"] = guess.months
        columns |= remembered.seen(self._inputs.evidence, self._inputs.waves, self._outlook.known_days)
        query = sa.select(*(column.label(name) for name, column in columns.items())).select_from(self._outlook.tables)
        seen = query.where(*self._matched()).offset(0).cte("auto_seen")
        return supposing(seen, self._supposed) if self._supposed else seen

    @cached_property
    def _priced(self) -> sa.CTE:
        """Of each candidate what the move costs once, saves a month without reads, makes a read dearer, and costs back.
        NULL: it is no candidate for the object."""
        seen = dict(self._seen.c.items())
        joined: sa.FromClause = self._seen
        columns: dict[str, ColumnElement[Any]] = {}
        for n, (one, routes) in enumerate(zip(self._candidates, self._routes, strict=True)):
            known = {**seen, "copied": seen[f"copied_{n}"]}
            joined = joined.outerjoin(routes.table, one.costs.on_route(routes, known))
            facts = one.costs.facts(routes, known, shares=True)
            facts["route"] = sa.case((seen[f"there_{n}"] == 0, facts["route"]))
            columns[f"once_{n}"] = one.costs.once(routes, facts)
            columns[f"keep_{n}"] = one.costs.saved(routes, facts, reads=False)
            by_read, by_byte = _dearer(routes, known)
            columns[f"by_read_{n}"], columns[f"by_byte_{n}"] = by_read, by_byte
            columns[f"dearer_{n}"] = by_read + by_byte * (sql.real(known["size"]) * known["share"])
            columns[f"back_{n}"] = one.costs.returning(routes, facts)
            free = seen[f"open_{n}"] == 1
            if self._policy.require is not None:
                saved = one.costs.saved(routes, facts)
                free = sa.and_(free, pays_back(columns[f"once_{n}"], saved, self._policy.require.payback_within))
            columns[f"free_{n}"] = sa.case((free, 1), else_=0)
        guessed = [f"{what}_{k}" for what in ("reads", "variance", "months") for k in range(len(self._guesses))]
        rests_on = ("share", "evidence", "days", "known_days", "size") if self._which is not None else ()
        if self._supposed:
            rests_on = (*rests_on, "supposed")
        remembers = (*REMEMBERED, "young", "waved")
        named = ("object_id", "dataset_id", "tier_id", *rests_on, *guessed, *remembers)
        carried = {name: seen[name] for name in named}
        return _fenced("auto_priced", carried | columns, joined)

    @cached_property
    def _worth(self) -> sa.CTE:
        """What each candidate saves by each guess, costs, and is worth; NULL: it is not to be chosen."""
        priced = dict(self._priced.c.items())
        saved = {
            f"saved_{k}_{n}": sql.tame(
                priced[f"months_{k}"] * priced[f"keep_{n}"] - priced[f"reads_{k}"] * priced[f"dearer_{n}"]
            )
            for k, n in self._pairs
        }
        for n in range(len(self._candidates)):
            saved |= remembered.saved(priced, n)
        by_guess = _fenced("auto_saved", priced | saved, self._priced)
        known = dict(by_guess.c.items())
        costs = {f"cost_{k}_{n}": self._cost(known, k, n) for k, n in self._pairs}
        for n in range(len(self._candidates)):
            costs |= remembered.wants(known, n, self._days)
        costed = _fenced("auto_costs", known | costs, by_guess)
        known = dict(costed.c.items())
        worth = {f"worth_{k}_{n}": _worth(known[f"saved_{k}_{n}"], known[f"cost_{k}_{n}"]) for k, n in self._pairs}
        return _fenced("auto_worth", known | worth, costed)

    @staticmethod
    def _cost(known: Columns, k: int, n: int) -> ColumnElement[float]:
        """What the move costs once, and its way back as far as it is to be feared."""
        saved, dearer, back = known[f"saved_{k}_{n}"], known[f"dearer_{n}"], known[f"back_{n}"]
        spread = dearer * dearer * known[f"variance_{k}"]
        risk = sa.case((saved > 0, spread / sa.func.nullif(spread + saved * saved, _ZERO)), else_=1.0)
        return known[f"once_{n}"] + back * sa.func.coalesce(risk, 1.0)

    @cached_property
    def _picked(self) -> sa.CTE:
        """Each guess's choice as a position in the order of all tiers: an even one stays."""
        worth = dict(self._worth.c.items())
        here = sa.case(*((worth["tier_id"] == tier_id, 2 * place) for tier_id, place in self.places.items()))
        picks = {f"pick_{k}": sa.func.coalesce(*self._best(worth, k), here) for k in range(len(self._guesses))}
        positions = [self.position(n) for n in range(len(self._candidates))]
        picks["pick_memory"] = sa.func.coalesce(*remembered.picks(worth, positions), here)
        return _fenced("auto_picked", {**worth, "here": here, **picks}, self._worth)

    def _best(self, worth: Columns, k: int) -> Iterator[ColumnElement[int]]:
        """The position of the candidate that is worth most, of equals the hottest: of those that guards, rest and
        `require` let pass, else of all, to be held back with its figures."""
        yield self._most(
            [sa.case((worth[f"free_{n}"] == 1, worth[f"worth_{k}_{n}"])) for n in range(len(self._candidates))]
        )
        yield self._most([worth[f"worth_{k}_{n}"] for n in range(len(self._candidates))])

    def _most(self, worths: Sequence[ColumnElement[float]]) -> ColumnElement[int]:
        ways: list[tuple[ColumnElement[bool], ColumnElement[int]]] = []
        for n, worth in enumerate(worths):
            beats = [sa.or_(other.is_(None), worth >= other) for other in worths[n + 1 :]]
            ways.append((sa.and_(worth.is_not(None), *beats), sa.literal(self.position(n), sa.Integer())))
        return sa.case(*ways)

    @cached_property
    def places(self) -> Mapping[int, int]:
        """The place of each tier of the catalog in their order, by its id."""
        evidence, ranks = self._inputs.evidence, self._inputs.rests.ranks
        ordered = sorted(evidence.tiers, key=lambda name: (ranks.get(evidence.tiers[name], 0), name))
        return {evidence.tiers[name]: place for place, name in enumerate(ordered)}

    def position(self, n: int) -> int:
        """That of a candidate, by its number."""
        return 2 * self.places[self._candidates[n].tier_id] + 1

    @cached_property
    def _middled(self) -> sa.CTE:
        known = dict(self._picked.c.items())
        hottest: ColumnElement[int] = known["here"]
        for pick in (
            *(f"pick_{k}" for k, guess in enumerate(self._guesses) if self._counts(guess.name)),
            "pick_memory",
        ):
            hottest = -sql.largest(-hottest, -known[pick])
        voted = _fenced("auto_voted", {**known, "hottest": hottest}, self._picked)
        known = dict(voted.c.items())
        middle = _fenced("auto_middle", {**known, "position": self._middle(known)}, voted)
        known = dict(middle.c.items())
        return _fenced("auto_decided", {**known, "decider": self._decider(known)}, middle)

    def _counts(self, name: str) -> bool:
        """Whether a guess has any weight; one that is only told of has no voice."""
        return any(weights.get(name) for weights in self._outlook.weights.values())

    def verdict(self) -> sa.Select[Any]:
        """Of each object the `position` that is chosen and the one where it is (`here`), of each guess k its `pick_k`,
        `reads_k`, `variance_k`, `months_k`, and what the forecast rests on; `supposed`: by which supposition."""
        return sa.select(*self._middled.c)

    @cached_property
    def chosen(self) -> sa.CTE:
        """The objects that move: `object_id`, the `candidate`'s number, and the `decider`; the `reads` in the horizon
        by that way, and what the move then `saved` and its `cost`, in picodollars."""
        found = self._middled.c
        moved = [(found.position == self.position(n), n) for n in range(len(self._candidates))]
        told: dict[str, ColumnElement[Any]] = {
            "object_id": found.object_id,
            "candidate": sa.case(*moved),
            "decider": found.decider,
        }
        days = self._days
        rate = sql.largest(found.year_reads, found.days_reads)
        for name, columns in {"reads": "reads_{}", "saved": "saved_{}_{}", "cost": "cost_{}_{}"}.items():
            ways: list[tuple[int, int, ColumnElement[Any]]] = [
                (k, n, found[columns.format(k, n)]) for k, n in self._pairs
            ]
            for n in range(len(self._candidates)):
                goes_on = sa.case((found[f"keep_{n}"] > 0, found[f"year_{n}"]), else_=found[f"days_{n}"])
                of_memory = {"reads": rate * days, "saved": goes_on * days, "cost": found[f"once_{n}"]}
                ways.append((len(self._guesses), n, of_memory[name]))
            told[name] = sa.case(
                *(
                    (sa.and_(found.decider == decider, found.position == self.position(n)), value)
                    for decider, n, value in ways
                )
            )
        goes = found.position < found.here if self._only_back else found.position != found.here
        query = sa.select(*(column.label(name) for name, column in told.items())).where(goes)
        return query.cte("auto_chosen").prefix_with("MATERIALIZED")

    def moves(self) -> ColumnElement[bool]:
        """Whether an object is sent anywhere."""
        return objects.c.id.in_(sa.select(self.chosen.c.object_id)) if self.possible else sa.false()

    def reason(self, one: TierCandidate) -> ColumnElement[str]:
        """Why an object is sent to this candidate: what its decider goes by, what that saves and costs, and the
        policy's own conditions."""
        found, policy = self.chosen.c, one.policy
        span, reads = format_duration(self._policy.to.horizon_us), _decimal(found.reads, 3)
        saves, costs = _decimal(found.saved, 6, _PICO), _decimal(found.cost, 6, _PICO)
        foretold = sql.words(
            reads, f" reads expected in {span}, saves $", saves, ", the move and the risk of its way back cost $"
        )
        said: dict[str, ColumnElement[str]] = {
            FORECAST: foretold,
            BREAK_EVEN: sql.words("if it rests as long again as it has, saves $", saves, ", the move costs $"),
            MEMORY: sql.words(
                reads, f" reads in {span} if it goes on as remembered, saves $", saves, ", the move costs $"
            ),
        }
        ways = [(found.decider == number, said[name]) for number, name in enumerate((*self.guesses, MEMORY))]
        more = "; " if policy.conditions or policy.where is not None else ""
        return sql.words("auto: ", sa.case(*ways), costs, more, one.selection.reason())

    @property
    def guesses(self) -> Sequence[str]:
        """Their names, in the order of their numbers."""
        return [guess.name for guess in self._guesses]

    def weights(self, dataset_id: int) -> Mapping[str, float]:
        """What each way to decide has earned for a dataset."""
        return self._outlook.weights[dataset_id]

    def _middle(self, picked: Columns) -> ColumnElement[int]:
        """The weighted median: the coldest position that, with all beyond it, has more than half of the weight."""
        ways = [(self._weight(guess.name, picked), picked[f"pick_{k}"]) for k, guess in enumerate(self._guesses)]
        ways.append((self._weight(MEMORY, picked), picked["pick_memory"]))
        ways.append((self._weight(STAY, picked), picked["hottest"]))
        middle: ColumnElement[int] = picked["here"]
        for number, (_, position) in enumerate(ways):
            beyond: ColumnElement[float] = _ZERO
            for weight, other in ways:
                beyond = beyond + sa.case((other >= position, weight), else_=0.0)
            enough = sa.case((beyond > _HALF, position), else_=-1)
            middle = enough if number == 0 else sql.largest(middle, enough)
        return middle

    def _decider(self, known: Columns) -> ColumnElement[int]:
        """The number of the way that has most weight of those that are for the position, of equals the first: a
        guess's, or memory's, the last. Staying follows them."""
        names, picks = (*self.guesses, MEMORY), [*(f"pick_{k}" for k in range(len(self._guesses))), "pick_memory"]
        weights = [self._weight(name, known) for name in names]
        ways = []
        for number, (weight, pick) in enumerate(zip(weights, picks, strict=True)):
            heaviest = [
                sa.or_(known[other] != known["position"], weight >= its)
                for other, its in zip(picks[number + 1 :], weights[number + 1 :], strict=True)
            ]
            ways.append((sa.and_(known[pick] == known["position"], *heaviest), number))
        return sa.case(*((when, sa.literal(number, sa.Integer())) for when, number in ways))

    def _weight(self, name: str, row: Columns) -> ColumnElement[float]:
        """The weight of a way to decide, by an object's dataset."""
        by_weight: dict[float, list[int]] = {}
        for dataset_id, weights in self._outlook.weights.items():
            by_weight.setdefault(weights.get(name, 0.0), []).append(dataset_id)
        ways: list[tuple[ColumnElement[bool], ColumnElement[float]]] = [
            (sql.in_ids(row["dataset_id"], ids), sa.literal(weight, sa.Double())) for weight, ids in by_weight.items()
        ]
        return ways[0][1] if len(ways) == 1 else sa.case(*ways)


def _decimal(number: ColumnElement[float], digits: int, unit: int = 1) -> ColumnElement[str]:
    """A number of such units that is not negative, with so many digits after the point."""
    one = 10**digits
    whole = sql.whole(number * (one / unit))
    return sql.words(whole // one, ".", sql.padded(whole % one, digits))


def _outlook(policy: Policy, inputs: Inputs, given: Candidates, *, told: bool) -> Outlook:
    idle = given.of[0].costs.idle_days() if given.of else sa.literal(0, sa.Integer())
    return outlook(policy, inputs, idle, told=told)


def _fenced(name: str, columns: Mapping[str, ColumnElement[Any]], table: sa.FromClause) -> sa.CTE:
    query = sa.select(*(column.label(key) for key, column in columns.items())).select_from(table)
    return query.offset(0).cte(name)


def _dearer(routes: Routes, seen: Columns) -> tuple[ColumnElement[float], ColumnElement[float]]:
    """Picodollars by which a read costs more there, and a byte of content that it takes, which shrinks as the object
    does."""
    one: ColumnElement[float] = sa.literal(1.0, sa.Double())
    shrunk = sql.real(seen["after"]) / sql.real(seen["own"])
    after = sa.case((seen["own"] > seen["after"], shrunk), else_=one)
    by_byte: ColumnElement[float] = _ZERO
    for name, number in {"read_bytes": one, "after_read_bytes": after}.items():
        if name in routes.saved:
            by_byte = by_byte - routes.table.c[f"saved_{name}"] * number
    return (-routes.table.c["saved_reads"] if "reads" in routes.saved else _ZERO), by_byte


def _worth(saved: ColumnElement[float], cost: ColumnElement[float]) -> ColumnElement[float]:
    return sa.case((sa.and_(saved > 0, saved > cost, saved >= TWICE * cost), saved - cost))
