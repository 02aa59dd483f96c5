"""A past made ready for the policies of storaged.yaml: where each object begins, what it would take in each form, and
which policies look at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

import numpy as np
import sqlalchemy as sa

from storaged.catalog.schema import objects
from storaged.config.settings import Settings
from storaged.decide.conditions.labels import Format
from storaged.decide.packing import PackSpec
from storaged.decide.selection import TABLES, Inputs
from storaged.decide.simulate.forms import Asker, ReplayedPolicy, TierForm, asks_fixed, fixed, fixed_holds
from storaged.decide.simulate.trace import Ints, Mask, Trace
from storaged.model import PACK
from storaged.work.context import Context
from storaged.work.money.past import Past
from storaged.work.plan.functions import give_functions
from storaged.work.plan.make import Ratios

_FEW: Final = 3  # kinds that a note names


@dataclass(frozen=True, slots=True)
class Replay:
    """A trace with all that rules need. `masks`: which of its masks each policy has. `pack_share`: what
    share of a pack one of its objects is on average. `one_home`: whether everything begins in the first tier. `notes`:
    what is to be said of it."""

    trace: Trace
    masks: Mapping[Asker, int] = field(default_factory=dict)
    pack_share: Decimal = Decimal(1)
    one_home: bool = True
    notes: tuple[str, ...] = ()


def of_history(
    context: Context,
    past: Past,
    inputs: Inputs,
    policies: Sequence[ReplayedPolicy],
    forms: Sequence[TierForm],
    assumed: Mapping[str, float],
) -> Replay:
    """Of the catalog's own past, whose objects are asked. `inputs` has the ratios; `assumed`: by codec, before them."""
    masks: dict[Asker, Mask] = {}
    with context.catalog.read() as conn:
        give_functions(conn)
        for one in policies:
            if asks_fixed(one.policy):
                query = sa.select(objects.c.id).select_from(TABLES).where(fixed_holds(one.policy, inputs))
                found = np.fromiter(conn.execute(query.where(objects.c.removed_us.is_(None))).scalars(), np.int64)
                masks[one.key] = np.isin(past.ids, found)
            if one.kinds is not None:
                datasets, formats, kind = _kinds(past.trace)
                taken: Mask = np.array([(d, f) in one.kinds for d in datasets for f in formats], bool)[kind]
                masks[one.key] = masks.get(one.key, np.ones(past.trace.objects, bool)) & taken
    plain = [form.tier for form in forms if form.plain and form.at_key]
    homes = [plain.index(home_of(context.settings, name)) for name in past.trace.datasets]
    home = np.array(homes, np.int8)[past.trace.dataset]
    return _made(replace(past.trace, home=home), masks, policies, forms, inputs.ratios, assumed)


def of_trace(
    trace: Trace, policies: Sequence[ReplayedPolicy], forms: Sequence[TierForm], assumed: Mapping[str, float]
) -> Replay:
    """Of accesses from a file, whose names tell the formats. `assumed`: ratios by codec."""
    masks: dict[Asker, Mask] = {}
    for one in policies:
        if asks_fixed(one.policy):
            holds = np.ones(trace.objects, bool)
            if (packing := one.policy.to.packing) is not None:
                holds &= trace.sizes <= packing.largest
            for condition in fixed(one.policy):
                if isinstance(condition, Format):  # all others are obstacles
                    holds &= np.array([name in condition.formats for name in trace.formats], bool)[trace.format]
            masks[one.key] = holds
    return _made(trace, masks, policies, forms, {}, assumed)


def home_of(settings: Settings, dataset: str) -> str:
    """The tier that a dataset's objects begin in: that of its root."""
    known = settings.datasets.get(dataset)
    hottest = min(settings.tiers, key=lambda name: settings.tiers[name].rank)
    return hottest if known is None or known.tier is None else known.tier


def _made(
    trace: Trace,
    masks: Mapping[Asker, Mask],
    policies: Sequence[ReplayedPolicy],
    forms: Sequence[TierForm],
    ratios: Ratios,
    assumed: Mapping[str, float],
) -> Replay:
    stored: list[Ints] = []
    notes: list[str] = []
    for form in forms:
        sizes = trace.sizes if form.plain else _stored(trace, form.form, ratios, assumed)
        stored.append(sizes)
    for codec in dict.fromkeys(form.form for form in forms if not form.plain):
        notes += _told(trace, codec, ratios, assumed)
    packs = [p.policy.to.packing for p in policies if p.policy.to.packing is not None]
    made = replace(trace, stored=tuple(stored), masks=tuple(masks.values()))
    share = _share(made, forms, packs[0]) if packs else Decimal(1)
    numbers = {name: number for number, name in enumerate(masks)}
    return Replay(made, numbers, share, trace.home is None or not trace.home.any(), tuple(notes))


def _kinds(trace: Trace) -> tuple[Sequence[str], Sequence[str], Ints]:
    """Datasets, formats, and by object the number of its pair."""
    datasets, formats = trace.datasets or ("",), trace.formats or ("",)
    of_dataset = np.zeros(trace.objects, np.int64) if trace.dataset is None else trace.dataset.astype(np.int64)
    of_format = np.zeros(trace.objects, np.int64) if trace.format is None else trace.format
    return datasets, formats, of_dataset * len(formats) + of_format


def _stored(trace: Trace, codec: str, ratios: Ratios, assumed: Mapping[str, float]) -> Ints:
    """What each object takes in a codec; its size where no ratio is known."""
    datasets, formats, kind = _kinds(trace)
    known = [assumed.get(codec, ratios.get((d, f, codec), 1.0)) for d in datasets for f in formats]
    stored: Ints = np.rint(trace.sizes * np.array(known)[kind]).astype(np.int64)
    return stored


def _told(trace: Trace, codec: str, ratios: Ratios, assumed: Mapping[str, float]) -> list[str]:
    """What ratio a codec is reckoned with, and where it is from."""
    if codec in assumed:
        return [f"{codec}: {assumed[codec]:.4g} of the content is stored, as --ratio says"]
    datasets, formats, kind = _kinds(trace)
    pairs = [(d, f) for d in datasets for f in formats]
    counts, nbytes = np.bincount(kind, minlength=len(pairs)), np.bincount(kind, trace.sizes, minlength=len(pairs))
    known = [n for n, (d, f) in enumerate(pairs) if counts[n] and (d, f, codec) in ratios]
    unknown = [n for n in range(len(pairs)) if counts[n] and n not in known]
    said = []
    content = sum(nbytes[n] for n in known)
    if content:
        stored = sum(nbytes[n] * ratios[(*pairs[n], codec)] for n in known)
        said.append(f"{codec}: {stored / content:.4g} of the content is stored, by samples and by what is stored so")
    if unknown:
        named = [f"{f or 'no format'} of {d}" if d else f or "no format" for d, f in (pairs[n] for n in unknown[:_FEW])]
        more = ", …" if len(unknown) > _FEW else ""
        count = int(sum(counts[n] for n in unknown))
        said.append(
            f"{codec}: no ratio is known of {count:,} objects ({', '.join(named)}{more}): they count at full size; "
            f"--ratio {codec}=0.5 assumes one"
        )
    return said


def _share(trace: Trace, forms: Sequence[TierForm], packing: PackSpec) -> Decimal:
    """What share of a full pack one object is, on average of those that a pack takes."""
    number = next((n for n, form in enumerate(forms) if form.form == PACK), None)
    fits = trace.sizes <= packing.largest
    if number is None or not fits.any():
        return Decimal(1)
    return min(Decimal(1), Decimal(int(trace.sizes[fits].sum())) / int(fits.sum()) / packing.target)
