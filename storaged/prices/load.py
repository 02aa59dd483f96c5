"""Price books from YAML, shipped and the user's own. Whatever is wrong comes out at once, by file and line."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

from storaged.config.fields import Text
from storaged.config.messages import YamlPath, did_you_mean, path_text
from storaged.config.quantities import BadValueError, shown
from storaged.config.sections import Section
from storaged.config.yaml import SUFFIXES, read_file, validate
from storaged.errors import ConfigError, Problem, UsageError
from storaged.prices.amount import ZERO
from storaged.prices.book import (
    DAYS_PER_MONTH,
    STANDARD_SPEED,
    ClassPrices,
    Disk,
    Egress,
    Inner,
    PriceBook,
    Retrieval,
    Source,
    Step,
)
from storaged.prices.formulas import amortised

SHIPPED: Final = Path(str(files("storaged.prices") / "books"))

_NO_FIGURES: Final = ("storage_class", "archived", "sources", "unverified")


def _word(text: str) -> str:
    if not text or text.strip("abcdefghijklmnopqrstuvwxyz0123456789-"):
        raise BadValueError(f"{shown(text)} cannot be part of a price's id", hint="lower-case letters, digits and -")
    return text


Word = Annotated[str, AfterValidator(_word)]
Price = Annotated[Decimal, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[Decimal, Field(gt=0, allow_inf_nan=False)]


class _Source(Section):
    text: Text
    date: dt.date


class _Step(Section):
    up_to_gb: int | None = Field(default=None, gt=0)
    per_gb: Price


class _Disk(Section):
    price_per_tb: Price
    lifetime_months: Positive
    copies: Annotated[Decimal, Field(ge=1, allow_inf_nan=False)]
    usable: Annotated[Decimal, Field(gt=0, le=1, allow_inf_nan=False)]
    watts_per_tb: Price
    per_kwh: Price


class _Requests(Section):
    put: Price
    get: Price
    list: Price
    transition_in: Price


class _Retrieval(Section):
    per_gb: Price = ZERO
    per_1000: Price = ZERO
    hours: Price = ZERO


class _Minimum(Section):
    days: int = Field(default=0, ge=0)
    bytes: int = Field(default=0, ge=0)


class _Overhead(Section):
    bytes: int = Field(default=0, ge=0)
    standard_bytes: int = Field(default=0, ge=0)


class _Monitoring(Section):
    per_1000: Price
    from_bytes: int = Field(ge=0)
    per_days: Positive = DAYS_PER_MONTH


class _Inner(Section):
    name: Word
    idle_days: int = Field(gt=0)
    per_gb: Price


class _Egress(Section):
    internet: Price
    regions: Price


class _Cited(Section):
    """What may say where its figures were read: by the path of a figure, such as `requests.get`."""

    sources: dict[Text, Text] = Field(default={})
    unverified: list[Text] = Field(default=[])


class _Class(_Cited):
    storage_class: Text
    storage: list[_Step] | None = Field(default=None, min_length=1)
    disk: _Disk | None = None
    requests: _Requests | None = None
    retrieval: dict[Word, _Retrieval] = Field(default={})
    minimum: _Minimum = _Minimum()
    overhead: _Overhead = _Overhead()
    monitoring: _Monitoring = _Monitoring(per_1000=ZERO, from_bytes=0)
    inner: list[_Inner] = Field(default=[])
    opt_in: list[_Inner] = Field(default=[])
    archived: bool = False


class _Region(_Cited):
    source: Text
    egress: _Egress
    classes: dict[Word, _Class] = Field(min_length=1)


class _File(Section):
    provider: Word
    title: Text
    gb: int = Field(gt=0)
    sources: dict[Text, _Source] = Field(min_length=1)
    regions: dict[Word, _Region] = Field(min_length=1)


def load_prices(directory: Path | None = None) -> PriceBook:
    """The shipped books, and those of a directory, whose regions take the place of shipped ones of the same id.

    A missing directory holds none. Raises ConfigError with every problem of every file.
    """
    books = list(_shipped())
    problems: list[Problem] = []
    for path in own_books(directory) if directory is not None else []:
        try:
            books.append(read_book(path))
        except ConfigError as error:
            problems.extend(error.problems)
    classes: dict[str, ClassPrices] = {}
    for found in books:
        regions = {prices.region for prices in found}
        classes = {id_: prices for id_, prices in classes.items() if prices.region not in regions}
        classes |= {prices.id: prices for prices in found}
    if problems:
        raise ConfigError(tuple(problems))
    return PriceBook(classes)


@functools.cache
def _shipped() -> tuple[list[ClassPrices], ...]:
    """The books that came with the program. Read once: a daemon plans often."""
    return tuple(read_book(path) for path in sorted(SHIPPED.glob("*.yaml")))


def own_books(directory: Path) -> list[Path]:
    """The *.yaml and *.yml files of a directory, by name."""
    return sorted(path for path in directory.glob("*.y*ml") if path.suffix in SUFFIXES)


def prices_of(book: PriceBook, id_: str) -> ClassPrices:
    """A class by its id. Raises UsageError."""
    found = book.classes.get(id_)
    if found is None:
        raise UsageError(f"no price book knows {id_!r}", hint=did_you_mean(id_, book.classes))
    return found


def read_book(path: Path) -> list[ClassPrices]:
    """The classes of one file, hottest first in each region. Raises ConfigError with everything wrong with it."""
    document = read_file(path)
    told = validate(_File, document)
    problems = [
        Problem(document.file, document.line(at), path_text(at), message, hint)
        for name, region in told.regions.items()
        for at, message, hint in _wrong(region, document.data["regions"][name], ("regions", name), told.sources)
    ]
    if problems:
        raise ConfigError(tuple(sorted(problems, key=lambda problem: problem.line)))
    sources = {name: Source(source.text, source.date.isoformat()) for name, source in told.sources.items()}
    return [
        _class(f"{told.provider}/{name}/{word}", told.gb, one, region, document.data["regions"][name], sources)
        for name, region in told.regions.items()
        for word, one in region.classes.items()
    ]


def _wrong(
    region: _Region, raw: Mapping[str, Any], at: YamlPath, sources: Iterable[str]
) -> Iterator[tuple[YamlPath, str, str | None]]:
    """What only shows when entries are held against one another: where, what, and how to mend it."""
    figures: set[str] = set()
    for name, one in region.classes.items():
        here = (*at, "classes", name)
        figures |= (mine := _figures(raw, raw["classes"][name]))
        yield from _miscited(one, here, mine, sources)
        if (one.storage is None) == (one.disk is None):
            yield here, "a class has either `storage` or `disk`", "`disk` is for disks of your own"
        if one.requests is None and one.disk is None:
            yield here, "`requests` is missing", "put, get, list and transition_in, per 1,000"
        for odd in ("inner", "opt_in"):
            days = [inner.idle_days for inner in getattr(one, odd)]
            if days != sorted(set(days)):
                yield (*here, odd), "inner tiers follow one another by rising idle_days", None
        if one.storage is not None and not _rising(one.storage):
            yield (*here, "storage"), "volume steps rise, and the last one has no `up_to_gb`", None
    yield from _miscited(region, at, figures, sources)
    if region.source not in sources:
        yield (*at, "source"), f"there is no source {shown(region.source)}", did_you_mean(region.source, sources)


def _miscited(
    told: _Cited, at: YamlPath, figures: set[str], sources: Iterable[str]
) -> Iterator[tuple[YamlPath, str, str | None]]:
    paths: list[tuple[YamlPath, str]] = [((*at, "sources", figure), figure) for figure in told.sources]
    paths += [((*at, "unverified", n), figure) for n, figure in enumerate(told.unverified)]
    for path, figure in paths:
        if figure not in figures:
            yield path, f"there is no figure {shown(figure)}", did_you_mean(figure, figures)
    for figure, source in told.sources.items():
        if source not in sources:
            yield (*at, "sources", figure), f"there is no source {shown(source)}", did_you_mean(source, sources)


def _figures(region: Mapping[str, Any], told: Mapping[str, Any]) -> set[str]:
    """The paths of all figures that a class is given, the region's egress among them."""

    def paths(inside: Mapping[str, Any], before: str) -> Iterator[str]:
        for key, value in inside.items():
            yield before + key
            if isinstance(value, Mapping):
                yield from paths(value, f"{before}{key}.")

    figures = {key: value for key, value in told.items() if key not in _NO_FIGURES} | {"egress": region["egress"]}
    return set(paths(figures, ""))


def _rising(steps: list[_Step]) -> bool:
    tops = [step.up_to_gb for step in steps]
    bounded = [top for top in tops[:-1] if top is not None]
    return tops[-1] is None and len(bounded) == len(tops) - 1 and bounded == sorted(set(bounded))


def _class(
    id_: str, gb: int, told: _Class, region: _Region, raw: Mapping[str, Any], sources: Mapping[str, Source]
) -> ClassPrices:
    thousand = Decimal(1000)
    retrieval = {
        speed: Retrieval(way.per_gb, way.per_1000 / thousand, way.hours) for speed, way in told.retrieval.items()
    }
    requests = told.requests or _Requests(put=ZERO, get=ZERO, list=ZERO, transition_in=ZERO)
    figures = _figures(raw, raw["classes"][id_.rpartition("/")[2]])
    cited = {figure: source for figure, source in region.sources.items() if figure in figures} | told.sources
    unverified = {figure for figure in region.unverified if figure in figures} | set(told.unverified)
    return ClassPrices(
        id=id_,
        storage_class=told.storage_class,
        gb=gb,
        storage=_steps(told, gb),
        put=requests.put / thousand,
        get=requests.get / thousand,
        list_=requests.list / thousand,
        transition_in=requests.transition_in / thousand,
        retrieval={STANDARD_SPEED: Retrieval(), **retrieval},
        minimum_days=told.minimum.days,
        minimum_bytes=told.minimum.bytes,
        overhead_bytes=told.overhead.bytes,
        overhead_standard_bytes=told.overhead.standard_bytes,
        standard=_steps(next(iter(region.classes.values())), gb),
        monitoring=told.monitoring.per_1000 / thousand * DAYS_PER_MONTH / told.monitoring.per_days,
        monitoring_bytes=told.monitoring.from_bytes,
        inner=tuple(Inner(inner.name, inner.idle_days, inner.per_gb) for inner in told.inner),
        archived=told.archived,
        egress=Egress(region.egress.internet, region.egress.regions),
        unverified=frozenset(unverified),
        sources={"": sources[region.source], **{figure: sources[name] for figure, name in cited.items()}},
        opt_in=tuple(Inner(inner.name, inner.idle_days, inner.per_gb) for inner in told.opt_in),
        disk=Disk(**dict(told.disk)) if told.disk else None,
    )


def _steps(told: _Class, gb: int) -> tuple[Step, ...]:
    if told.disk is not None:
        return (Step(None, amortised(Disk(**dict(told.disk)), gb)),)
    return tuple(Step(step.up_to_gb, step.per_gb) for step in told.storage or ())
