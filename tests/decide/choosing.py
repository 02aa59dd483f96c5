"""What `tier: auto` must choose, worked out anew: in Decimal, object by object, from the price list."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from math import exp, log

import sqlalchemy as sa

from storaged.catalog import models
from storaged.catalog.engine import Catalog
from storaged.catalog.schema import metadata
from storaged.clock import DAY
from storaged.config.settings import Settings
from storaged.decide.forecast.model import EVERY, ForecastModel, Prior, SharePrior, to_text
from tests.decide.pricing import GB, LIST, MONTH
from tests.decide.seeding import MIB, NOW, Seeder, register

HALF_LIFE = 30  # days
UNTIL = NOW // DAY  # where logs end: a day, since 1970
ORDER = {"hot": 0, "cold": 2, "standard": 3, "rare": 4}
CLASSES = {"hot": "standard", "cold": "glacier-ir", "standard": "standard", "rare": "standard-ia"}
READ_BACK = ("hot", "cold")  # in memory here, so that no checksum is told


def model(
    weights: Mapping[str, float], *, shape: float = 0.02, rate: float = 40.0, drift: float = 0.3, share: float = 0.5
) -> ForecastModel:
    """One that believes the same of all objects."""
    bands = (0, 30, 240)
    return ForecastModel(
        made_us=NOW - DAY,
        first_day=UNTIL - 200,
        cut_day=UNTIL - 1,
        half_life_us=HALF_LIFE * DAY,
        horizons=(90, 180),
        bands=bands,
        priors={(days, EVERY): tuple(Prior(shape, rate, drift, 0.0) for _ in bands) for days in (90, 180)},
        shares={EVERY: SharePrior(share, 3.0)},
        weights={EVERY: dict(weights)},
    )


@dataclass(frozen=True, slots=True)
class Thing:
    """An object: its size in bytes, days since it was written, the tier where it is (a blob of ours, or at its original
    key), and by days ago its reads, each of all of it."""

    size: int
    age: int
    tier: str
    at_key: bool
    reads: Mapping[int, int]

    def kept(self, tier: str) -> Decimal:
        """What a month there costs without reads."""
        told = LIST[CLASSES[tier]]
        return max(self.size, told["size"]) / GB * Decimal(told["storage"])

    def read(self, tier: str, share: Decimal) -> Decimal:
        """What one read there costs."""
        told = LIST[CLASSES[tier]]
        return Decimal(told["get"]) + self.size * share / GB * Decimal(told["retrieval"])

    def move(self, here: str, to: str, *, at_key: bool, in_class: int | None, grace: int) -> Decimal:
        """What a move costs once. `in_class`: for how many days it has been there when it begins; None: all of the
        minimum duration is owed."""
        a, b = LIST[CLASSES[here]], LIST[CLASSES[to]]
        gets = -(-self.size // (4 << 20))
        once = gets * Decimal(a["get"]) + self.size / GB * Decimal(a["retrieval"])
        once += (4 if at_key else 3) * Decimal(a["get"]) + 2 * Decimal(b["get"]) + Decimal(b["put"])
        if to in READ_BACK:
            once += gets * Decimal(b["get"]) + self.size / GB * Decimal(b["retrieval"])
        owed = a["days"] if in_class is None else max(0, a["days"] - in_class - grace)
        return once + self.kept(here) * (grace + owed) / MONTH


@dataclass(frozen=True, slots=True)
class Guessed:
    """Reads in so many months, and their variance."""

    reads: float
    variance: float
    months: float


def forecast(thing: Thing, told: ForecastModel, days: float, *, covered: int) -> tuple[Guessed, Decimal]:
    """By the formulas of docs/auto.md, and the share of its content that a read takes."""
    prior, share, decay = told.of("", days)[0], told.share(""), log(2) / HALF_LIFE
    seen = sum(count * exp(-decay * (ago - 0.5)) for ago, count in thing.reads.items())
    exposed = min(thing.age, covered)
    evidence = prior.shape + seen
    mean = evidence / (prior.rate + (1 - exp(-decay * exposed)) / decay)
    relative = (1 + 1 / evidence) * (1 + prior.drift) - 1
    reads = mean * days
    of_it = (share.reads * share.share + seen) / (share.reads + seen)
    return Guessed(reads, reads + (reads * reads) * relative, days / float(MONTH)), Decimal(of_it)


def chosen(thing: Thing, guess: Guessed, share: Decimal, among: tuple[str, ...], grace: int) -> tuple[str, Decimal]:
    """Where one guess has it, and by how much the choice was ahead of the next (USD): where that is next to nothing,
    either may be right."""
    worths: list[tuple[Decimal, str]] = []
    edge = Decimal(1)
    reads, variance, months = Decimal(guess.reads), Decimal(guess.variance), Decimal(guess.months)
    for tier in among:
        if tier == thing.tier:
            continue
        dearer = thing.read(tier, share) - thing.read(thing.tier, share)
        saved = months * (thing.kept(thing.tier) - thing.kept(tier)) - reads * dearer
        once = thing.move(thing.tier, tier, at_key=thing.at_key, in_class=thing.age, grace=grace)
        back = thing.move(tier, thing.tier, at_key=False, in_class=None, grace=grace)
        spread = dearer * dearer * variance
        risk = spread / (spread + saved * saved) if saved > 0 else Decimal(1)
        cost = once + risk * back
        edge = min(edge, abs(saved - 2 * cost))
        if saved > 0 and saved >= 2 * cost and saved > cost:
            worths.append((saved - cost, tier))
    if not worths:
        return thing.tier, edge
    worths.sort(key=lambda one: (-one[0], ORDER[one[1]]))
    if len(worths) > 1 and worths[0][0] != worths[1][0]:
        edge = min(edge, worths[0][0] - worths[1][0])
    return worths[0][1], edge


def remembered(
    thing: Thing, among: tuple[str, ...], grace: int, days: float, covered: int, waved: bool
) -> tuple[str, Decimal]:
    """Where `memory` has it among these tiers, by docs/auto.md, and how near that was (USD)."""

    def rates(half_life: float, *, one_day: bool = False) -> Decimal:
        decay = log(2) / half_life
        came = [count * decay * exp(-decay * (ago - 0.5)) for ago, count in thing.reads.items()]
        return Decimal(max(came, default=0) if one_day else sum(came))

    slow = log(2) / 365
    year = rates(365) / Decimal(1 + slow * 120 - exp(-slow * min(thing.age, covered)))
    lately, day = rates(2), rates(2, one_day=True)
    span = Decimal(1 / (1 - 2**-0.5))
    trust, long = Decimal("0.4"), Decimal(days)
    down: list[tuple[Decimal, str, bool]] = []
    up: list[tuple[Decimal, str]] = []
    edge = Decimal(1)
    for tier in among:
        if tier == thing.tier:
            continue
        keeps = (thing.kept(thing.tier) - thing.kept(tier)) / MONTH
        dearer = thing.read(tier, Decimal(1)) - thing.read(thing.tier, Decimal(1))
        of_year, of_days, lasting = (keeps - rate * dearer for rate in (year, lately, lately - day))
        once = thing.move(thing.tier, tier, at_key=thing.at_key, in_class=thing.age, grace=grace)
        if keeps > 0:
            edge = min(edge, abs(of_year * long - 2 * once), abs(of_days * long - 2 * once))
            passes = of_year * long > once and min(of_year, of_days) * long >= 2 * once and of_days > 0
            down.append((of_year * long - once, tier, passes and thing.age >= 3))
        else:
            edge = min(edge, abs(lasting * span - trust * once), abs(of_days * span - once / trust))
            edge = min(edge, abs(of_days * span - trust * once) if waved else edge)
            last = 1 in thing.reads and waved and of_days * span > trust * once
            if last or lasting * span > trust * once or of_days * span > once / trust:
                up.append((of_days, tier))
    up.sort(key=lambda one: (-one[0], ORDER[one[1]]))
    down.sort(key=lambda one: (-one[0], ORDER[one[1]]))
    for ranked in ([one[0] for one in up], [one[0] for one in down]):
        if len(ranked) > 1 and ranked[0] != ranked[1]:
            edge = min(edge, ranked[0] - ranked[1])
    if up:
        return up[0][1], edge
    if down and down[0][2]:
        return down[0][1], edge
    return thing.tier, edge


def wave(things: Iterable[Thing]) -> bool:
    """Whether a wave of reads goes over them."""
    decay, span = log(2) / 2, 1 / (1 - 2**-0.5)
    read = size = 0.0
    for thing in things:
        if Decimal(LIST[CLASSES[thing.tier]]["retrieval"]):
            lately = sum(count * decay * exp(-decay * (ago - 0.5)) for ago, count in thing.reads.items())
            read, size = read + min(lately * span, 1) * thing.size, size + thing.size
    return size > 0 and read > 0.4 * size


SIZES = (0, 100_000, 400_000, MIB, 4 * MIB, 4 * MIB + 1, 8 * MIB, 8 * MIB)  # no more than one PUT takes


def learnt(catalog: Catalog, told: ForecastModel, text: str | None = None) -> None:
    """That model is in use from now on. `text`: what the catalog has of it."""
    facts = {"made_us": told.made_us, "cut_day": told.cut_day, "half_life_us": told.half_life_us}
    with catalog.begin() as conn:
        models.keep(conn, **facts, text=to_text(told) if text is None else text, report="{}")


def empty(catalog: Catalog, settings: Settings) -> None:
    with catalog.begin() as conn:
        for table in reversed(metadata.sorted_tables):
            if table.name not in ("meta", "tiers", "datasets"):
                conn.execute(sa.delete(table))
    register(catalog, settings)


def scatter(catalog: Catalog, settings: Settings, seed: int, covered: int) -> dict[str, Thing]:
    """Forty plain objects, most of them at their original keys, by name."""
    chance = random.Random(seed)
    empty(catalog, settings)
    found: dict[str, Thing] = {}
    with catalog.begin() as conn:
        s = Seeder(conn)
        s.cover("events/web", NOW // DAY * DAY - covered * DAY, NOW // DAY * DAY)
        for number in range(40):
            name, size, age = f"{number:02}.csv", chance.choice(SIZES), chance.choice([2, 20, 85, 400])
            most = min(age, covered)
            days = chance.sample(range(1, most + 1), min(chance.choice([0, 0, 1, 3, 12]), most))
            reads = dict.fromkeys(days, chance.choice([1, 1, 40]))
            tier = chance.choice(["hot", "hot", "standard", "cold", "rare"])
            known = {"size": size, "age": age * DAY + NOW % DAY, "tier": tier, "reads": reads}
            if tier in ("hot", "standard"):
                s.object("events/web", name, **known, raw_class="STANDARD")  # type: ignore[arg-type]  # of a mapping
            else:
                made = s.object("events/web", name, **known, raw_state="released")  # type: ignore[arg-type]  # the same
                at = {"codec": "identity", "size": size, "created_us": NOW - age * DAY - NOW % DAY}
                s.replica(made, tier, **at)  # type: ignore[arg-type]  # the same
            found[name] = Thing(size, age, tier, tier in ("hot", "standard"), reads)
    return found


def middle(places: Mapping[str, str], weights: Mapping[str, float]) -> str:
    """The weighted median of the ways to decide, the colder half being more than a half."""
    ordered = sorted({*places.values()}, key=ORDER.__getitem__, reverse=True)
    beyond = 0.0
    for tier in ordered:
        beyond += sum(weights[name] for name, one in places.items() if one == tier)
        if beyond > 0.5:
            return tier
    raise AssertionError("weights add up to 1")
