"""What each form that there is would make of what there is: told by the plan's own samples, and how fast it goes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from storaged.catalog import placements
from storaged.catalog.placements import Seen
from storaged.catalog.schema import datasets, objects
from storaged.clock import Timings
from storaged.codecs.base import Content, InMemory, in_order, worth_it
from storaged.codecs.registry import CODECS, COMPRESSING, codec, preferred, sampled
from storaged.config.settings import Settings
from storaged.decide.policy import LoadedPolicy
from storaged.errors import StoreError
from storaged.model import IDENTITY, PACK, CodecSpec, Origin
from storaged.stores.base import New
from storaged.stores.memory import MemoryStore
from storaged.work.advise.texts import loaded
from storaged.work.content import open_current
from storaged.work.context import Context
from storaged.work.plan.sample import Sampling, sample_kinds

TIMED: Final = 8 << 20  # bytes of content that a form is timed on at most
_QUICK: Final = 1 << 20  # bytes: of less content most of a first time is what a library needs to begin
_KINDS: Final = 24  # kinds that are told of, those with the most bytes


@dataclass(frozen=True, slots=True)
class KindForms:
    """What a kind, the objects of one dataset and format that are stored as they are, would become in each form that
    takes it: stored bytes over content bytes, by name of the codec or `pack`. `not_taken`: what of the samples a codec
    does not take and why, in words. `best`: the codec to propose; empty: none makes it notably smaller."""

    dataset: str
    format: str
    objects: int
    bytes: int
    ratios: Mapping[str, float]
    not_taken: Mapping[str, str]
    best: str


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast a codec makes and reads one object here, in bytes of content per second and process. `object`: which."""

    codec: str
    object: str
    bytes: int
    make: Decimal
    read: Decimal


def sampling(context: Context, names: Collection[str], policies: Iterable[LoadedPolicy]) -> Sampling:
    """What the plan's samples tell of every form that there is, and of the forms that these policies want, at their
    levels."""
    return sample_kinds(context, [*policies, *_asking(context.settings, names)])


def _asking(settings: Settings, names: Collection[str]) -> tuple[LoadedPolicy, ...]:
    """A policy for each form, which asks for it wherever it may be."""
    target = json.dumps(sorted(names))
    texts = {
        Path(
            f"{name}.yaml"
        ): f"name: {name}\ntarget: {{dataset: {target}}}\nwhen: {{size_over: 0}}\nto: {{codec: {name}}}\n"
        for name in (*COMPRESSING, PACK)
    }
    return tuple(loaded(texts, settings))


def kind_forms(conn: sa.Connection, names: Collection[str], told: Sampling) -> list[KindForms]:
    """Of each kind what samples told, the most bytes first."""
    kind = (datasets.c.name, objects.c.format)
    query = (
        sa.select(*kind, sa.func.count(), sa.func.sum(objects.c.size))
        .join(datasets, datasets.c.id == objects.c.dataset_id)
        .where(datasets.c.name.in_(sorted(names)), objects.c.removed_us.is_(None))
        .where(objects.c.codec == IDENTITY.name, objects.c.size > 0)
        .group_by(*kind)
    )
    found = []
    for dataset, name, count, size in conn.execute(query):
        known = {k[2]: r for k, r in told.ratios.items() if k[:2] == (dataset, name) and k not in told.passed}
        mine = {form: known[form] for form in (*CODECS, PACK) if form in known}
        words = {form: why for (d, f, form), why in told.not_taken.items() if (d, f) == (dataset, name)}
        alone = {form: ratio for form, ratio in mine.items() if form != PACK}
        found.append(KindForms(dataset, name, count, int(size), mine, words, preferred(alone)))
    return sorted(found, key=lambda k: (-k.bytes, k.dataset, k.format))[:_KINDS]


def speeds(context: Context, kinds: Iterable[KindForms]) -> list[Speed]:
    """Of each codec how fast it is on an object that it takes, of at most TIMED bytes; those of which there is none are
    left out. Nothing is written but to memory."""
    known = list(kinds)
    timed = (_timed(context, [k for k in known if worth_it(k.ratios.get(name, 1.0))], name) for name in CODECS)
    return [one for one in timed if one is not None]


def _timed(context: Context, kinds: Iterable[KindForms], name: str) -> Speed | None:
    of_them = sa.or_(sa.false(), *(sa.and_(datasets.c.name == k.dataset, objects.c.format == k.format) for k in kinds))
    query = (
        sa.select(objects.c.id)
        .join(datasets, datasets.c.id == objects.c.dataset_id)
        .where(of_them, objects.c.removed_us.is_(None), objects.c.codec == IDENTITY.name)
        .where(objects.c.size > 0, objects.c.size <= TIMED)
        .order_by(objects.c.size.desc(), datasets.c.name, objects.c.name)
        .limit(1)
    )
    with context.catalog.read() as conn:
        held = placements.load(conn, conn.execute(query).scalars())
    for one in held.values():
        with contextlib.suppress(StoreError), open_current(context, one) as content:
            data = content.read_at(0, content.size)
            told = sampled(CodecSpec(name), InMemory(data))
            if told.sample.taken and told.spec.name == name:
                spec = replace(told.spec, level=told.sample.level)
                for _ in range(2 if len(data) < _QUICK else 1):
                    make, read = _made_and_read(InMemory(data), spec, one)
                return Speed(name, one.path, len(data), make, read)
    return None


def _made_and_read(data: Content, spec: CodecSpec, of: Seen) -> tuple[Decimal, Decimal]:
    """Bytes per second of the processor's time, of making, which includes the proof, and of reading: what else the
    machine does meanwhile counts not."""
    store, making, reading = MemoryStore(), Timings(), Timings()
    with making.recording(), store.create("it", New("0" * 32)) as upload:
        origin = Origin("", "0" * 32, of.placement.dataset, of.placement.name, 1, "")
        encoded = codec(spec.name).encode(data, upload.write, spec=spec, origin=origin)
        upload.commit(encoded.origin)
    with reading.recording(), store.open("it") as reader:
        for _ in in_order(codec(spec.name).open(reader, index=encoded.index)):
            pass
    spent = (sum(stage["cpu_us"] for stage in timings.told()["stages"]) for timings in (making, reading))
    return tuple(Decimal(data.size * 1_000_000) / max(us, 1) for us in spent)
