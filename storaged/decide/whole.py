"""Collections that a policy moves whole: what its conditions say of all of one, what holds all of it back, and how a
plan's limits count it. Expressions over the catalog's rows and statements over a plan's own.

A condition is about one object. Of a collection it is asked of all its parts together: they have the sum of their sizes
and of their rates of reads, they were last read, and are as old, as the newest of them. What cannot be put together so,
a format, a partition or `where`, must hold for each part. So the same expressions are asked, over a row that stands for
the whole in place of an object's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import visitors
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.functions import FunctionElement

from storaged.catalog import collections
from storaged.catalog.schema import datasets, objects, plan_items
from storaged.catalog.schema_collections import collections as known
from storaged.decide import sql
from storaged.decide.conditions import Condition
from storaged.decide.conditions.size import size_column
from storaged.decide.guards import GUARDS, TABLES
from storaged.decide.kinds import READABLE
from storaged.decide.limits import Units
from storaged.decide.packs import PACKS
from storaged.decide.policy import Policy
from storaged.decide.rest import REST
from storaged.decide.selection import Selection, where_words
from storaged.heat import threshold

T = TypeVar("T")

PART: Final = "whole"  # with the guard that holds a part behind it: `whole:hold`
MOST: Final = 250_000  # objects of a collection that are moved together
MOST_ON_SQLITE: Final = 90_000  # there nobody else writes for 0.3 ms an object, and who waits gives up after 30 seconds
WHOLE: Final[Mapping[str, str]] = {
    "decided": "a policy before this one decides about a part of what would move whole",
    PART: "a part of what would move whole is held back",
    "scattered": "what would move whole is in more than one tier",
    "unreadable": "no program is known that reads all of it through storaged, by `storaged://`",
    "many": f"what would move whole has more than {MOST:,} objects, or than {MOST_ON_SQLITE:,} in a catalog on SQLite, "
    "where nobody else writes while its pointers move",
}
_CODES: Final = (*GUARDS, *REST, *PACKS)  # in the order in which a part's guard is told

_ONE: Final[ColumnElement[int]] = sa.literal(1, sa.Integer())
_NONE: Final[ColumnElement[int]] = sa.literal(0, sa.Integer())


class _Most(FunctionElement[int]):
    """Objects of a collection whose pointers move together, by what the catalog is on: the first argument, or on SQLite
    the second."""

    inherit_cache = True
    type = sa.Integer()


@compiles(_Most)
def _most(element: _Most, compiler: SQLCompiler, **how: Any) -> str:
    most, _ = element.clauses
    return compiler.process(most, **how)


@compiles(_Most, "sqlite")
def _most_on_sqlite(element: _Most, compiler: SQLCompiler, **how: Any) -> str:
    _, most = element.clauses
    return compiler.process(most, **how)


def _if(holds: ColumnElement[bool]) -> ColumnElement[int]:
    """1 where it holds; 0 where it does not, or is not known."""
    return sa.case((holds, _ONE), else_=_NONE)


class Wholes:
    """The collections that one policy looks at, and their parts. `plan_id`: the plan in which policies before it may
    decide about parts; None: none does. `only`: one collection, by dataset and prefix."""

    def __init__(self, selection: Selection, plan_id: int | None, only: tuple[int, str] | None = None) -> None:
        self._selection = selection
        self._policy = selection.policy
        self._evidence = selection.inputs.evidence
        self._plan_id = plan_id
        self._only = only

    # -- what there is -------------------------------------------------------------------------------------------------

    @cached_property
    def parts(self) -> sa.CTE:
        """Each part, with what is asked of it by itself."""
        s, policy = self._selection, self._policy
        rank = sa.case({code: number for number, code in enumerate(_CODES)}, value=self._code())
        tier = policy.target.tier
        here = sa.true() if tier is None else objects.c.tier_id == self._evidence.tiers[tier]
        columns: dict[str, ColumnElement[Any]] = {
            "object_id": objects.c.id,
            "dataset_id": objects.c.dataset_id,
            "prefix": collections.of_object("prefix"),
            "size": objects.c.size,
            "created_us": objects.c.created_us,
            "last_read_us": objects.c.last_read_us,
            "tier_id": objects.c.tier_id,
            "reads": self._evidence.rate(objects.c.heat_reads),
            "bytes": self._evidence.rate(objects.c.heat_bytes),
            "rank": rank,
            "here": _if(here),
            "there": _if(s.there_already()),
            "each_where": _if(s.where()),
            "decided": self._decided(),
        }
        for key, condition in policy.conditions.items():
            if condition.of_each:
                columns[f"each_{key}"] = _if(condition.holds(self._evidence))
        query = sa.select(*(column.label(name) for name, column in columns.items())).select_from(TABLES)
        query = query.where(s.of_datasets(), collections.of_object("prefix").is_not(None))
        if self._only is not None:
            dataset_id, prefix = self._only
            query = query.where(objects.c.dataset_id == dataset_id, collections.of_object("prefix") == prefix)
        return query.cte("parts").prefix_with("MATERIALIZED")

    def _code(self) -> ColumnElement[str]:
        return sa.func.coalesce(self._selection.guard(), "")

    def _decided(self) -> ColumnElement[int]:
        """Whether a policy before this one decides about a part: not where it merely leaves it alone as a part."""
        if self._plan_id is None:
            return _NONE
        before = plan_items.alias("before")
        left_alone = sa.func.coalesce(before.c.held.startswith("collection:"), sa.false())
        mine = (before.c.plan_id == self._plan_id, before.c.object_id == objects.c.id)
        query = sa.select(_ONE).where(*mine, sa.not_(left_alone)).correlate(objects)
        return sa.func.coalesce(query.scalar_subquery(), 0)

    @cached_property
    def _sums(self) -> sa.CTE:
        """Each collection, as one."""
        p = self.parts.c
        each = [column for column in p if column.name.startswith("each_")]
        columns: dict[str, ColumnElement[Any]] = {
            "objects": sa.func.count(),
            "size": sql.big(sa.func.sum(p.size)),
            "created_us": sa.func.max(p.created_us),
            "last_read_us": sa.func.max(p.last_read_us),
            "tier_id": sa.func.min(p.tier_id),
            "reads": sa.func.sum(p.reads),
            "bytes": sa.func.sum(p.bytes),
            "rank": sa.func.min(p.rank),
            "here": sa.func.max(p.here),
            "there": sa.func.min(p.there),
            "decided": sa.func.max(p.decided),
            "scattered": sa.case((sa.func.max(p.tier_id) != sa.func.min(p.tier_id), _ONE), else_=_NONE),
            **{column.name: sa.func.min(column) for column in each},
        }
        query = sa.select(p.dataset_id, p.prefix, *(column.label(name) for name, column in columns.items()))
        return query.group_by(p.dataset_id, p.prefix).cte("sums").prefix_with("MATERIALIZED")

    @cached_property
    def things(self) -> sa.CTE:
        """The same with their kinds, and with heat as objects have it: a score is a rate's logarithm."""
        s = self._sums.c

        def score(rate: ColumnElement[float]) -> ColumnElement[float]:
            one = self._evidence.at_window(
                lambda window: threshold(1.0, window.until_us, self._evidence.half_life_us), sa.Double()
            )
            return sa.case((rate > 0.0, sa.func.ln(rate) + self._over(one, s)))

        here = sa.and_(known.c.dataset_id == s.dataset_id, known.c.prefix == s.prefix)
        columns = (*s, known.c.kind, score(s.reads).label("heat_reads"), score(s.bytes).label("heat_bytes"))
        return sa.select(*columns).join(known, here).cte("things").prefix_with("MATERIALIZED")

    # -- what is asked of all of one -----------------------------------------------------------------------------------

    @staticmethod
    def _over(asked: ColumnElement[T], row: Any) -> ColumnElement[T]:
        """What is asked of an object, asked of a row that stands for all of a collection."""

        def replaced(element: Any, **_: Any) -> Any:
            return row[element.key] if getattr(element, "table", None) is objects else None

        found: ColumnElement[T] = visitors.replacement_traverse(asked, {}, replaced)
        return found

    def holds(self, key: str, condition: Condition) -> ColumnElement[bool]:
        """Whether a condition of the policy holds for all of it."""
        if condition.of_each:
            return self.things.c[f"each_{key}"] == 1
        return self._over(condition.holds(self._evidence), self.things.c)

    def facts(self, condition: Condition) -> tuple[ColumnElement[Any], ...]:
        """What `tell` needs to know; of what each part is asked, an object's own."""
        given = condition.facts()
        return given if condition.of_each else tuple(self._over(fact, self.things.c) for fact in given)

    def asked(self) -> Iterator[tuple[str, str, ColumnElement[bool]]]:
        """What the policy asks, in order: key, words, and whether it holds."""
        for key, condition in self._policy.conditions.items():
            yield key, str(condition), self.holds(key, condition)
        if self._policy.where is not None:
            yield "where", where_words(self._policy), self.things.c.each_where == 1
        yield "there", "not there already", self.things.c.there == 0

    @property
    def held(self) -> ColumnElement[str]:
        """What holds all of it back; NULL: nothing."""
        t = self.things.c
        most = sa.literal(MOST, sa.Integer()) if self._policy.to.in_place else _Most(MOST, MOST_ON_SQLITE)
        part = sa.case({number: f"{PART}:{code}" for number, code in enumerate(_CODES)}, value=t.rank)
        return sa.case(
            (t.decided == 1, sa.literal("decided", sa.Text())),
            (t.rank.is_not(None), part),
            (self._unreadable(), sa.literal("unreadable", sa.Text())),
            (t.scattered == 1, sa.literal("scattered", sa.Text())),
            (t.objects > most, sa.literal("many", sa.Text())),
        )

    def _unreadable(self) -> ColumnElement[bool]:
        """Whether it would be out of reach for its own program once its originals are released."""
        if self._policy.to.in_place:
            return sa.false()
        return self.things.c.kind.not_in(sorted(READABLE))

    @property
    def what(self) -> ColumnElement[str]:
        """It, in words: `array.zarr/ (zarr, 4 objects, 39 KiB)`."""
        t = self.things.c
        place = sa.case(
            (t.prefix == "", "all of the root"), (t.prefix.endswith("/"), t.prefix), else_=sql.words(t.prefix, "*")
        )
        return sql.words(place, " (", t.kind, ", ", t.objects, " objects, ", size_column(t.size), ")")

    @cached_property
    def _selected(self) -> sa.CTE:
        """The parts of what the policy selects, with what holds all of it back, and the reason."""
        t, p = self.things.c, self.parts.c
        said: list[str | ColumnElement[Any]] = []
        for condition in self._policy.conditions.values():
            said += ["; ", str(condition) if condition.of_each else self._over(condition.reason(self._evidence), t)]
        if self._policy.where is not None:
            said += ["; ", where_words(self._policy)]
        reason = sql.words("with all of ", self.what, *said)
        wanted = (holds for _, _, holds in self.asked())
        found = (
            sa.select(t.dataset_id, t.prefix, self.held.label("held"), reason.label("reason"))
            .join(datasets, datasets.c.id == t.dataset_id)
            .where(t.here == 1, *wanted)
            .cte("wholes")
            .prefix_with("MATERIALIZED")
        )
        same = sa.and_(found.c.dataset_id == p.dataset_id, found.c.prefix == p.prefix)
        return sa.select(p.object_id, found.c.prefix, found.c.held, found.c.reason).join(found, same).cte("taken")

    def verdicts(self) -> sa.Select[Any]:
        """What the policy selects: dataset, prefix, and what holds it back."""
        t = self.things.c
        found = sa.select(t.dataset_id, t.prefix, self.held.label("held"))
        asked = (holds for _, _, holds in self.asked())
        return found.join(datasets, datasets.c.id == t.dataset_id).where(t.here == 1, *asked)

    def answer(self, object_id: int) -> sa.Select[Any]:
        """One row, as `storaged.decide.explain.question` asks it of an object: of all that this one is a part of."""
        t = self.things.c
        where = sa.true() if self._policy.where is None else t.each_where == 1
        nothing = sa.null()
        columns: list[ColumnElement[Any]] = [where, sa.true(), t.there == 1, self.held, nothing, nothing, nothing]
        columns += [t.prefix, nothing, nothing, nothing]
        for key, condition in self._policy.conditions.items():
            columns += [self.holds(key, condition), *self.facts(condition)]
        labelled = [column.label(f"c{number}") for number, column in enumerate(columns)]
        mine = sa.and_(t.dataset_id == objects.c.dataset_id, t.prefix == collections.of_object("prefix"))
        return sa.select(*labelled).select_from(TABLES.join(self.things, mine)).where(objects.c.id == object_id)

    def steps(self, near: Iterable[Condition]) -> sa.Select[Any]:
        """For each part its dataset, whether what is asked holds, and the facts of these conditions: see
        storaged.decide.funnel."""
        columns = [self.things.c.dataset_id, *(holds for _, _, holds in self.asked())]
        columns += [fact for condition in near for fact in self.facts(condition)]
        same = sa.and_(self.parts.c.dataset_id == self.things.c.dataset_id, self.parts.c.prefix == self.things.c.prefix)
        found = self.parts.join(self.things, same).join(datasets, datasets.c.id == self.things.c.dataset_id)
        return sa.select(*columns).select_from(found).where(self.things.c.here == 1)

    # -- in a plan -----------------------------------------------------------------------------------------------------

    def taken_over(self) -> sa.Delete:
        """Take from the policies before it what these leave alone only because it is a part of a collection."""
        mine = (plan_items.c.plan_id == self._plan_id, plan_items.c.held.startswith("collection:"))
        return sa.delete(plan_items).where(*mine, plan_items.c.object_id.in_(sa.select(self._selected.c.object_id)))

    def tables(self) -> sa.Join:
        """The parts of what it selects, as objects."""
        return TABLES.join(self._selected, self._selected.c.object_id == objects.c.id)

    def told(self) -> dict[sa.Column[Any], ColumnElement[Any]]:
        """What the rows of the plan have of it."""
        s = self._selected.c
        reason = sql.words(s.reason, *self._selection.undo_words())
        return {plan_items.c.held: s.held, plan_items.c.reason: reason, plan_items.c.whole: s.prefix}


def together(policy: Policy, plan_id: int) -> Units:
    """What moves whole as one, under the id of one of its objects."""
    item = plan_items.alias("part")
    alone = sa.case((item.c.whole.is_(None), item.c.object_id))
    lead = sa.func.min(item.c.object_id).over(partition_by=(objects.c.dataset_id, item.c.whole, alone)).label("lead")
    mine = (item.c.plan_id == plan_id, item.c.policy == policy.name, item.c.held.is_(None))
    columns = [item.c[name] for name in ("object_id", "tier_id", "stored_bytes", "after_bytes", "spend", "saving")]
    parts = sa.select(lead, *columns).join(objects, objects.c.id == item.c.object_id).where(*mine)
    led = parts.subquery("led")

    def summed(name: str) -> ColumnElement[int]:
        unknown = sa.func.count(led.c[name]) < sa.func.count()
        return sa.case((unknown, None), else_=sql.big(sa.func.sum(led.c[name]))).label(name)

    unit = (
        sa.select(
            led.c.lead.label("object_id"),
            sa.literal(plan_id, sa.BigInteger()).label("plan_id"),
            sa.literal(policy.name, sa.Text()).label("policy"),
            sa.cast(sa.null(), sa.Text()).label("held"),
            (sa.true() if policy.to.in_place else sa.false()).label("in_place"),
            sa.func.min(led.c.tier_id).label("tier_id"),
            *(summed(name) for name in ("stored_bytes", "after_bytes", "spend", "saving")),
            sa.func.count().label("number"),
        )
        .group_by(led.c.lead)
        .subquery("unit")
    )

    def members(over: sa.Select[Any]) -> sa.Select[Any]:
        those = parts.subquery("those")
        return sa.select(those.c.object_id).where(those.c.lead.in_(over))

    return Units(unit, unit.c.number, members)
