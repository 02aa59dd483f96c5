"""In which codec an object is written: what its codec does not take stays as it is, or moves as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from storaged.catalog import attempts, refused
from storaged.catalog.items import Item, ToTier, codec_of, key_at
from storaged.catalog.queue import ItemOutcome
from storaged.catalog.refused import Refused
from storaged.codecs.registry import Sampled, compresses, sampled
from storaged.model import IDENTITY, CodecSpec
from storaged.work.context import Context
from storaged.work.packs import OpenPacks
from storaged.work.rewrite.stage import AT_ONCE, at_once
from storaged.work.rewrite.swap import lies_so
from storaged.work.rewrite.trouble import skipped

Found = Sampled | ItemOutcome | None  # what a sample said, or what became of the object instead; None: none was taken


def sample(item: Item, packs: OpenPacks) -> Sampled:
    """What the codec of an item, or the one in its place, says of its content."""
    with packs.current(item.seen) as source:
        return sampled(codec_of(item.to), at_once(source) if source.size <= AT_ONCE else source)


def samples(
    items: Sequence[Item], each: Callable[[Sequence[Item]], Iterator[Sampled | ItemOutcome]]
) -> Iterator[Found]:
    """For each item what `each` found in its content; None for a codec that does not compress: those are not looked at,
    nor handed to a thread."""
    found = each([i for i in items if compresses(codec_of(i.to))])
    return (next(found) if compresses(codec_of(i.to)) else None for i in items)


def choose(
    context: Context,
    job_id: int,
    found: Iterable[tuple[Item, Found]],
    outcomes: list[ItemOutcome],
    noting: AbstractContextManager[None],
) -> list[Item]:
    """Those that are to be written, by what samples said; the others go into `outcomes`. `noting`: the time that it
    takes to note it."""
    chosen: list[Item] = []
    other: list[tuple[str, str, str]] = []
    idle: list[Refused] = []  # or each plan would pick it again for its codec
    for item, one in found:
        if one is None or not isinstance(item.to, ToTier):
            chosen.append(item)
        elif isinstance(one, ItemOutcome):
            outcomes.append(one)
        elif one.sample.taken and one.spec.name == item.to.codec.name:
            spec = replace(one.spec, level=one.sample.level)
            chosen.append(replace(item, to=replace(item.to, codec=spec)))
        else:
            if one.sample.taken:
                spec = CodecSpec(one.spec.name, one.sample.level)
                already = f"{one.not_taken}; it is stored with {spec.name} already"
                instead = f"stored with {spec.name}: {one.not_taken}"
            else:
                spec, already, instead = IDENTITY, f"{one.why}: left alone", f"stored as it is: {one.why}"
            seen = item.seen
            idle.append(Refused(seen.id, seen.placement.generation, one.asked.asked, one.not_taken))
            if lies_so(context, item, spec):
                outcomes.append(skipped(item, already))
            else:
                chosen.append(_stored_as(item, item.to, spec, instead))
                other.append((item.attempt, chosen[-1].key, spec.name))
    if other or idle:
        with noting, context.catalog.begin() as conn:
            if other:
                attempts.rekey(conn, job_id, other)
            refused.note(conn, idle)
    return chosen


def _stored_as(item: Item, to: ToTier, spec: CodecSpec, note: str) -> Item:
    """The same attempt with another codec, and why."""
    to = replace(to, codec=spec)
    p = item.seen.placement
    return replace(item, to=to, key=key_at(to, p.name, item.attempt, p.dataset), note=note)
