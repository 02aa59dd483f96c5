"""Policies that could pay, as texts: one for each thing that can be done with what there is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from storaged.clock import DAY
from storaged.config.quantities import format_duration
from storaged.config.settings import Settings
from storaged.decide.conditions.size import limit_words
from storaged.decide.evidence import Window
from storaged.decide.kinds import READABLE
from storaged.model import PACK, Readers
from storaged.prices.amount import usd
from storaged.prices.book import STANDARD_SPEED, ClassPrices
from storaged.stores.schemes import terms_of
from storaged.work.advise.forms import KindForms
from storaged.work.advise.look import DAYS, SMALL, Shelf
from storaged.work.advise.texts import word, words

PREFIX: Final = "advised-"  # of the names of these policies and their files
PAYBACK: Final = 365 * DAY  # what does not pay for itself within this is not advised
PACKED_BELOW: Final = 256 << 10  # bytes: smaller objects go into packs
MANY: Final = 100  # small objects: fewer are not worth a pack
_AGES: Final = (30, 7, 1)  # days; the first that most of it has
_LARGER: Final = "-larger"  # in the name of a policy that leaves small objects to packs
_IDLE: Final = tuple(days for days in reversed(DAYS) if days)


@dataclass(frozen=True, slots=True)
class Draft:
    """A policy that could pay. `rank`: where it stands among the others; of those with one rank only the best is
    proposed. `risks`: what a person should know before, in sentences. `raw`: datasets whose readers open paths, so that
    it is held back there. `young`: most of what it asks for may be too young for it. `in_place`: only the class
    changes."""

    rank: int
    name: str
    text: str
    datasets: tuple[str, ...]
    risks: tuple[str, ...]
    raw: tuple[str, ...] = ()
    young: bool = False
    in_place: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """What drafts are made from, of the datasets that advice is asked for."""

    settings: Settings
    shelves: Collection[Shelf]
    kinds: Collection[KindForms]
    windows: Mapping[str, Window]  # by dataset
    prices: Mapping[str, ClassPrices]  # by tier
    collections: Mapping[str, Collection[str]] = field(default_factory=dict)  # kinds of what is there, by dataset

    def homes(self) -> dict[str, list[str]]:
        """The datasets by the tier that their roots count as."""
        found: dict[str, list[str]] = {}
        for name in sorted({s.dataset for s in self.shelves}):
            found.setdefault(self.settings.datasets[name].tier, []).append(name)
        return found

    def age_days(self, shelves: Iterable[Shelf]) -> int:
        """An age that most of these bytes have, where bands can tell; else a day."""
        mine = list(shelves)
        old = sum(s.bytes for s in mine if s.age_days >= _AGES[0])
        return _AGES[0] if 2 * old >= sum(s.bytes for s in mine) else _AGES[-1]

    def colder(self, home: str) -> Iterator[str]:
        """Tiers behind this one that cost something known and are read at once."""
        tiers = self.settings.tiers
        for name in sorted(tiers, key=lambda name: tiers[name].rank):
            archive = terms_of(tiers[name].url).archive(tiers[name].storage_class)
            if tiers[name].rank > tiers[home].rank and {home, name} <= self.prices.keys() and not archive:
                yield name

    def raw(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of these datasets whose readers open paths."""
        return tuple(name for name in names if self.settings.datasets[name].readers is Readers.RAW)


def drafts(known: Known) -> Iterator[Draft]:
    """Every policy that is worth asking what it comes to, those that take first what others would take too first."""
    homes = known.homes()
    for home, names in homes.items():
        of = f"-{home}" if len(homes) > 1 else ""
        plain = [s for s in known.shelves if s.tier == home and s.plain]
        idle = [s for s in plain if s.idle_days >= _IDLE[-1]]
        if idle:
            yield from _moves(known, home, of, idle)
        small = _many([s for s in plain if s.size_from < SMALL])
        if small:
            yield _packs(known, home, of, [s for s in plain if s.dataset in small and s.size_from < SMALL])
        yield from _forms(known, home, of, names, small)


def _many(small: Iterable[Shelf]) -> set[str]:
    counts: dict[str, int] = {}
    for shelf in small:
        counts[shelf.dataset] = counts.get(shelf.dataset, 0) + shelf.objects
    return {name for name, count in counts.items() if count >= MANY}


# -- what nobody reads goes to a colder tier -------------------------------------------------------------------------


def _moves(known: Known, home: str, of: str, idle: list[Shelf]) -> Iterator[Draft]:
    names = sorted({s.dataset for s in idle})
    length = min(known.windows[name].length_us for name in names) // DAY
    days = next((d for d in _IDLE if d <= length and any(s.idle_days >= d for s in idle)), 0)
    if not days:
        return
    for tier in known.colder(home):
        risks = tuple(_of_tier(known, tier))
        if _same_store(known, names, tier):
            when = {"idle_for": f"{days}d", "size_over": limit(SMALL)}
            to, whole = f"{{tier: {word(tier)}, in_place: true}}", any(known.collections.get(name) for name in names)
            text = _text(known, 1, f"class{of}", names, home, when, to, whole=whole)
            yield Draft(1, f"{PREFIX}1-class{of}", text, tuple(names), risks, in_place=True)
        small = _many([s for s in idle if s.size_from < SMALL])
        if small:
            when = {"idle_for": f"{days}d", "size_under": limit(PACKED_BELOW)}
            to = f"{{tier: {word(tier)}, codec: {PACK}}}"
            text = _text(known, 2, f"idle-packs{of}", sorted(small), home, when, to)
            told = (*risks, *_of_packs(), *_of_raw(known.raw(sorted(small))))
            yield Draft(2, f"{PREFIX}2-idle-packs{of}", text, tuple(sorted(small)), told, known.raw(sorted(small)))
        for (codec, larger), kinds in _by_codec(known, names, small).items():
            of_these, when = _named(kinds, {"idle_for": f"{days}d"}, larger)
            raw, those = known.raw(of_these), f"{_LARGER if larger else ''}{of}"
            rank, what, form = (3, f"idle-{codec}{those}", f", codec: {codec}") if codec else (4, f"idle{those}", "")
            text = _text(known, rank, what, of_these, home, when, f"{{tier: {word(tier)}{form}}}")
            told = (*risks, *(_of_codec(codec) if codec else ()), *_of_raw(raw))
            yield Draft(rank, f"{PREFIX}{rank}-{what}", text, tuple(of_these), told, raw)
        readable = [name for name in names if READABLE & set(known.collections.get(name, ()))]
        if readable:
            when, to = {"idle_for": f"{days}d"}, f"{{tier: {word(tier)}}}"
            text = _text(known, 7, f"whole{of}", readable, home, when, to, whole=True)
            raw = known.raw(readable)
            told = (*risks, *_of_wholes(), *_of_raw(raw))
            yield Draft(7, f"{PREFIX}7-whole{of}", text, tuple(readable), told, raw)


def _same_store(known: Known, names: Iterable[str], tier: str) -> bool:
    """Whether the roots are where classes can be changed in place to that of this tier."""
    url = known.settings.tiers[tier].url
    return terms_of(url).classes and all(terms_of(known.settings.datasets[name].root).classes for name in names)


def _by_codec(known: Known, names: Collection[str], small: set[str]) -> dict[tuple[str, bool], list[KindForms]]:
    """The kinds of these datasets by the codec that is best for them (empty: none is), and by whether their small
    objects are for packs, so that this is for the larger ones only."""
    found: dict[tuple[str, bool], list[KindForms]] = {}
    for kind in sorted(known.kinds, key=lambda k: (k.best, k.dataset, k.format)):
        if kind.dataset in names:
            found.setdefault((kind.best, kind.dataset in small), []).append(kind)
    return found


def _named(kinds: Iterable[KindForms], when: Mapping[str, str], larger: bool) -> tuple[list[str], dict[str, str]]:
    """The datasets of kinds, and conditions with their formats, unless one has none."""
    known = list(kinds)
    names, formats = sorted({k.dataset for k in known}), sorted({k.format for k in known})
    wanted = dict(when) | ({"size_over": limit(PACKED_BELOW)} if larger else {})
    return names, wanted if "" in formats else wanted | {"format": words(formats)}


# -- what shrinks is stored smaller ----------------------------------------------------------------------------------


def _packs(known: Known, home: str, of: str, small: list[Shelf]) -> Draft:
    names = sorted({s.dataset for s in small})
    age_days = known.age_days(small)
    when = {"age_over": f"{age_days}d", "size_under": limit(PACKED_BELOW)}
    text = _text(known, 5, f"packs{of}", names, home, when, f"{{codec: {PACK}}}")
    raw = known.raw(names)
    return Draft(
        5, f"{PREFIX}5-packs{of}", text, tuple(names), (*_of_packs(), *_of_raw(raw)), raw, age_days == _AGES[-1]
    )


def _forms(known: Known, home: str, of: str, names: list[str], small: set[str]) -> Iterator[Draft]:
    for (codec, larger), kinds in _by_codec(known, names, small).items():
        if not codec:
            continue
        alike = {(k.dataset, k.format) for k in kinds}
        mine = [s for s in known.shelves if s.tier == home and (s.dataset, s.format) in alike]
        age_days = known.age_days(mine)
        of_these, when = _named(kinds, {"age_over": f"{age_days}d"}, larger)
        what = f"{codec}{_LARGER if larger else ''}{of}"
        text = _text(known, 6, what, of_these, home, when, f"{{codec: {codec}}}")
        raw = known.raw(of_these)
        told = (*_of_codec(codec), *_of_raw(raw))
        young = age_days == _AGES[-1] and (not larger or any(s.size_from >= SMALL for s in mine))
        yield Draft(6, f"{PREFIX}6-{what}", text, tuple(of_these), told, raw, young)


# -- texts -----------------------------------------------------------------------------------------------------------


def limit(size: int) -> str:
    """A size as policies have it."""
    return limit_words(size).replace(" ", "")


def _text(
    known: Known,
    rank: int,
    what: str,
    names: Iterable[str],
    home: str,
    when: Mapping[str, str],
    to: str,
    *,
    whole: bool = False,
) -> str:
    lines = [
        f"name: {PREFIX}{rank}-{what}",
        f"target: {{dataset: {words(list(names))}, tier: {word(home)}}}",
        "when:",
        *(f"  {key}: {value}" for key, value in when.items()),
        f"to: {to}",
    ]
    if whole:
        lines.append("collections: whole   # tables and arrays of many files: all of one, or nothing of it")
    if known.prices:
        lines.append(f"require: {{payback_within: {format_duration(PAYBACK)}}}")
    if known.settings.limits.max_percent is not None:
        lines.append("limits: {max_percent: 100%}   # it is advised for all of these objects")
    return "\n".join([*lines, "mode: dry-run"]) + "\n"


def _of_tier(known: Known, tier: str) -> Iterator[str]:
    """What moving there risks."""
    settings, prices = known.settings.tiers[tier], known.prices[tier]
    if settings.read_latency:
        yield f"a reader waits {format_duration(settings.read_latency)} for the first byte from {tier}"
    way = prices.retrieval[STANDARD_SPEED]
    if way.per_gb:
        yield f"what is read there after all costs {usd(way.per_gb)} a GB for retrieval"
    if prices.minimum_days:
        yield f"what leaves {tier} within {prices.minimum_days} days is billed for all of them"
    yield "idle is what the logs say: a reader that they do not see is not known"


def _of_packs() -> Iterator[str]:
    yield "objects of a pack are read by storaged, one request each; other programs read a pack as a tar in zstd"
    yield "an object that is removed leaves its bytes in its pack until enough are gone"


def _of_wholes() -> Iterator[str]:
    yield "all files of a table or array move at once, and come back at once; its program then reads it by `storaged://`"
    yield "what is appended to one afterwards lies in two tiers until it is brought back"


def _of_codec(codec: str) -> Iterator[str]:
    yield f"the same bytes come back under the old name; a reader decodes {codec}, and without storaged reads its blobs"


def _of_raw(raw: Collection[str]) -> Iterator[str]:
    if raw:
        yield (
            f"{' and '.join(raw)}: programs open these files by their paths and would not find them any more, so it is "
            "held back until storaged.yaml says `readers: storaged`"
        )
