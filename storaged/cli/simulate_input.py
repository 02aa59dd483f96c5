"""What a simulation is of: accesses, and tiers and policies either as given with the call or of storaged.yaml."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from storaged.cli.options import Options
from storaged.cli.render import count
from storaged.clock import DAY
from storaged.errors import ConfigError, Problem, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from storaged.catalog.engine import Catalog
    from storaged.config.settings import Settings
    from storaged.decide.policy import LoadedPolicy
    from storaged.decide.simulate.forms import ReplayedPolicy
    from storaged.decide.simulate.rules import RuleSet
    from storaged.decide.simulate.run import Listing
    from storaged.decide.simulate.trace import Trace
    from storaged.prices.book import ClassPrices, PriceBook
    from storaged.work.money.past import Past

_HALF_LIFE_US: Final = 30 * DAY  # where no configuration says otherwise
_REST_US: Final = 7 * DAY  # likewise
_TOGETHER: Final = "policies"  # the name of all of storaged.yaml's
_ALONE: Final = "packs are full: `group_by` and what is alone in its group play no part"


@dataclass(frozen=True, slots=True)
class SimulationInput:
    """Accesses, the places that objects may be in, the sets of rules that are tried, and what is to be said of it.

    `left_out`: policies of storaged.yaml that cannot be simulated, and why."""

    trace: Trace
    listing: Listing
    rules: Sequence[RuleSet]
    book: PriceBook
    half_life_us: int = _HALF_LIFE_US
    rest_us: int = _REST_US
    first_us: int | None = None  # when its first day begins, where that is known
    notes: tuple[str, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)


def of_classes(
    options: Options, tiers: str, trace: str | None, history: str | None, files: Sequence[Path]
) -> SimulationInput:
    """With tiers given as classes of price books, and policy files that call them hot, warm, cold and archive."""
    from storaged.cli.context import opened
    from storaged.cli.prices import known_prices
    from storaged.decide.simulate.run import Listing

    book = known_prices(options)
    listed = _tiers(tiers, book)
    rules = _rules(files, listed)
    notes: list[str] = []
    if trace is not None:
        found = _read(trace, notes)
        return SimulationInput(found, Listing.of(listed), rules, book, notes=tuple(notes))
    days = days_of("--history", str(history))
    with opened(options) as context:
        past = _past(context.catalog, days)
        half_life_us, rest_us = context.settings.half_life, context.settings.rest
    notes = ["every object begins in the first tier, wherever it is now; those that were removed are not part of it"]
    notes += _about(past)
    first_us = past.first_day * DAY
    return SimulationInput(past.trace, Listing.of(listed), rules, book, half_life_us, rest_us, first_us, tuple(notes))


def of_configuration(
    options: Options,
    trace: str | None,
    history: str | None,
    files: Sequence[Path],
    ratios: Sequence[str],
    *,
    sample: bool,
) -> SimulationInput:
    """With the tiers of storaged.yaml, and its policies or those of the files."""
    from storaged.cli.context import load, opened
    from storaged.decide.simulate import forms as of
    from storaged.prices.load import load_prices
    from storaged.prices.tiers import tier_prices
    from storaged.work.plan import replay
    from storaged.work.plan.make import gather
    from storaged.work.plan.sample import Sampling, sample_kinds

    assumed = dict(map(_ratio, ratios))
    days = None if history is None else days_of("--history", history)
    settings = load(options)
    book = load_prices(settings.price_books)
    notes: list[str] = []
    prices = _simulated(tier_prices(settings, book), settings, notes)
    given, left_out = _groups(settings, files, prices, of_trace=trace is not None, samples=sample)
    first_us = None
    if trace is not None:
        groups = {name: list(of.replayed(group, prices)) for name, group in given.items()}
        policies = [one for group in groups.values() for one in group]
        forms = of.forms_of(policies, prices)
        found = replay.of_trace(_read(trace, notes, formats=True), policies, forms, assumed)
        notes.append("every object begins in the first tier; a trace has no datasets, so that each policy looks at all")
    else:
        with opened(options) as context:
            past = _past(context.catalog, days or 0)
            _require_prices(context.settings, past, prices)
            told = sample_kinds(context, [p for group in given.values() for p in group]) if sample else Sampling({}, {})
            groups = {name: list(of.replayed(group, prices, told.choices)) for name, group in given.items()}
            policies = [one for group in groups.values() for one in group]
            forms = of.forms_of(policies, prices)
            loaded = [one.loaded for one in policies]
            inputs = gather(context.catalog, context.settings, loaded, context.now_us(), told.ratios)
            found = replay.of_history(context, past, inputs, policies, forms, assumed)
        first_us = past.first_day * DAY
        notes.append("every object begins in the tier of its root, as it was written; removed ones are not part of it")
        notes += [*_about(past), *_chosen(policies)]
    ranks = {name: tier.rank for name, tier in settings.tiers.items()}
    listing = of.listing(forms, prices, ranks, found.pack_share, one_home=found.one_home)
    rests = {name: max(settings.rest, of_tier.minimum_days * DAY) for name, of_tier in prices.items()}
    rules = [of.rules(name, group, forms, found.masks, ranks, rests) for name, group in groups.items()]
    names = [form.tier if form.plain else f"{form.tier} as {form.form}" for form in forms]
    notes += [f"places: {', '.join(dict.fromkeys(names))}", *found.notes]
    notes += [f"left out: {name}: {why}" for name, why in left_out.items()]
    if any(one.policy.to.packing for one in policies):
        notes.append(_ALONE)
    rest_us = settings.rest
    return SimulationInput(
        found.trace, listing, rules, book, settings.half_life, rest_us, first_us, tuple(notes), left_out
    )


def _require_prices(settings: Settings, past: Past, prices: Mapping[str, ClassPrices]) -> None:
    """Raises UsageError where a dataset of the past begins in a tier without prices."""
    from storaged.work.plan import replay

    for name in past.trace.datasets:
        tier = replay.home_of(settings, name)
        if tier not in prices:
            hint = "give the tier `prices` in storaged.yaml"
            raise UsageError(f"{name} begins in the tier {tier}, which has no prices", hint=hint)


def _chosen(policies: Sequence[ReplayedPolicy]) -> Iterator[str]:
    """What samples chose for `codec: auto`."""
    for one in policies:
        if one.kinds is not None:
            kinds = [f"{form or 'no format'} of {dataset}" for dataset, form in sorted(one.kinds)]
            more = f" and {len(kinds) - 3:,} more" if len(kinds) > 3 else ""
            yield f"{one.loaded.name}: by samples `auto` is {one.codec} for {', '.join(kinds[:3])}{more}"


def _simulated(prices: Mapping[str, ClassPrices], settings: Settings, notes: list[str]) -> dict[str, ClassPrices]:
    """The tiers that a simulation may move objects between, by rank. The others are noted."""
    names = sorted(settings.tiers, key=lambda name: settings.tiers[name].rank)
    found = {name: prices[name] for name in names if name in prices and not prices[name].inner}
    for name in names:
        if name not in prices:
            notes.append(f"the tier {name} has no prices, and is not part of it")
        elif prices[name].inner:
            notes.append(f"the tier {name} moves objects by itself, and is not part of it")
    if not found:
        hint = "give the tiers `prices` in storaged.yaml, or name classes of price books with --tiers"
        raise UsageError("no tier has prices that can be simulated", hint=hint)
    return found


def _groups(
    settings: Settings, files: Sequence[Path], prices: Mapping[str, ClassPrices], *, of_trace: bool, samples: bool
) -> tuple[dict[str, list[LoadedPolicy]], dict[str, str]]:
    """Sets of policies by name, in the order in which they are tried; and those of storaged.yaml that are left out,
    with why. Raises ConfigError with all that cannot be simulated of files that were named."""
    from storaged.decide.load import load_file, load_policies
    from storaged.decide.planner import in_order
    from storaged.decide.simulate.forms import obstacles

    if not files:
        taken, left_out = [], {}
        for loaded in in_order(load_policies(settings.policies, settings)):
            why = "; ".join(
                message for _, message, _ in obstacles(loaded.policy, prices, of_trace=of_trace, samples=samples)
            )
            if why:
                left_out[loaded.name] = why
            else:
                taken.append(loaded)
        return ({_TOGETHER: taken} if taken else {}), left_out
    found: dict[str, list[LoadedPolicy]] = {}
    problems: list[Problem] = []
    for file in files:
        _require_free(file, found)
        try:
            found[file.stem] = in_order(load_file(file, settings))
        except ConfigError as error:
            problems.extend(error.problems)
            continue
        for loaded in found[file.stem]:
            problems += [
                loaded.problem(path, message, hint)
                for path, message, hint in obstacles(loaded.policy, prices, of_trace=of_trace, samples=samples)
            ]
        if not found[file.stem]:
            problems.append(Problem(str(file), 1, "", "every policy in it is disabled"))
    if problems:
        raise ConfigError(tuple(problems))
    return found, {}


def _ratio(text: str) -> tuple[str, float]:
    from storaged.codecs.registry import FORMS

    codec, _, share = text.partition("=")
    if codec not in FORMS or not re.fullmatch(r"[0-9]{0,3}\.?[0-9]{1,9}", share) or not 0 < float(share) <= 2:
        raise UsageError(f"--ratio {text} is no codec and share", hint="such as zstd=0.3: so much is stored of it")
    return codec, float(share)


def _read(where: str, notes: list[str], *, formats: bool = False) -> Trace:
    from storaged.work.money.trace import read_trace

    return read_trace(where, formats=formats, on_note=notes.append)


def days_of(option: str, given: str, least: int = 1) -> int:
    """Whole days, so many at least, from what an option was given. Raises UsageError."""
    from storaged.config.quantities import BadValueError, parse_duration

    try:
        days, rest = divmod(parse_duration(given), DAY)
    except BadValueError as error:
        raise UsageError(f"{option}: {error}", hint=error.hint) from error
    if days < least or rest:
        raise UsageError(f"{option} {given} is not a number of days", hint="such as 180d")
    return days


def _past(catalog: Catalog, days: int) -> Past:
    from storaged.work.money.past import read_past

    return read_past(catalog, days)


def _about(past: Past) -> list[str]:
    notes = []
    if past.older:
        notes.append(f"{count(past.older, 'object')} older than the first day: their age counts from it")
    if past.left_out:
        notes.append(f"left out, for their reads are not known of all these days: {', '.join(past.left_out)}")
    return notes


def _tiers(given: str, book: PriceBook) -> list[ClassPrices]:
    from storaged.prices.load import prices_of

    found = [prices_of(book, id_.strip()) for id_ in given.split(",")]
    for number, prices in enumerate(found):
        if prices.inner:
            hint = "it stands beside the policies by itself; list what they may move between"
            raise UsageError(f"{prices.id} moves objects by itself, so no policy can", hint=hint)
        if prices in found[:number]:
            raise UsageError(f"--tiers names {prices.id} twice")
    return found


def _rules(files: Sequence[Path], tiers: Sequence[ClassPrices]) -> list[RuleSet]:
    from storaged.config.yaml import read_document
    from storaged.decide.simulate.rules import rules_of

    found: list[RuleSet] = []
    problems: list[Problem] = []
    for file in files:
        _require_free(file, [rules.name for rules in found])
        try:
            found.append(rules_of(read_document(file), file.stem, tiers))
        except ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise ConfigError(tuple(problems))
    return found


def _require_free(file: Path, taken: Collection[str]) -> None:
    """Raises UsageError where a file's name is that of another set, or of what they are compared with."""
    from storaged.decide.simulate.run import BASELINES

    if file.stem in BASELINES or file.stem in taken:
        raise UsageError(f"the name {file.stem} is taken", hint=f"give {file} another name: it names the policy")
