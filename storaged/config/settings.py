"""`storaged.yaml` as a frozen value. Whatever is wrong with it is reported at once, by line.

Passwords are not part of it: see storaged.config.secrets.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr

from storaged.config.checks import cross_problems, mount_problems, place_problems
from storaged.config.fields import DatasetName, FilePath, Money, Text, TierName
from storaged.config.notify import ReceiverSettings
from storaged.config.quantities import BadValueError, Duration
from storaged.config.sections import (
    BucketSettings,
    Capacity,
    DatasetSettings,
    HeatSource,
    Limits,
    Section,
    TierSettings,
    WorkerSettings,
    at_least,
    duration_field,
)
from storaged.config.service import DaemonSettings
from storaged.config.urls import CatalogUrl, check_store_url, resolved_catalog_url, store_location
from storaged.config.yaml import read_document, remains, validate
from storaged.errors import ConfigError, UsageError
from storaged.model import DEFAULT_CLASS, Dataset, Tier
from storaged.stores.access import Access, Opening
from storaged.stores.schemes import terms_of
from storaged.stores.terms import Terms

__all__ = [
    "BucketSettings",
    "Capacity",
    "DatasetSettings",
    "HeatSource",
    "Limits",
    "Settings",
    "TierSettings",
    "WorkerSettings",
    "at_another_place",
    "find_config",
    "load_settings",
    "settings_schema",
    "what_holds",
]

FILE_NAME: Final = "storaged.yaml"
DEFAULT_CATALOG: Final = "sqlite:///storaged.db"
DEFAULT_STATE_DIR: Final = Path("state")


class Settings(Section):
    """All of storaged.yaml. `file` is where it was read; relative paths are made absolute from its directory."""

    catalog: CatalogUrl = Field(
        default=DEFAULT_CATALOG,
        description="sqlite:///relative.db, sqlite:////absolute.db or postgresql://user@host/database.",
    )
    state_dir: FilePath = Field(
        default=DEFAULT_STATE_DIR, description="Directory for locks, spools and temporary files."
    )
    policies: FilePath = Field(default=Path("policies"), description="Directory of the policy files.")
    price_books: FilePath = Field(
        default=Path("prices"), description="Directory of price books of your own, beside those that are shipped."
    )
    quiet_for: Duration = duration_field("1h", "Younger objects are left alone.")
    grace: Duration = duration_field("7d", "How long a superseded source is kept. `undo` works until then.")
    rest: Duration = duration_field(
        "7d", "What was moved is not moved back by a policy for so long, nor within its class's minimum duration."
    )
    keep_overwritten: Duration = duration_field(
        "365d",
        "How long the old content is kept where a program writes to the original key of an object that was moved, "
        "such as by `>>`, unless `storagectl overwritten --confirm` lets it go before.",
    )
    late_put_window: Duration = duration_field(
        "7d", "How long a failed attempt's key is checked for writes that arrive late."
    )
    half_life: Annotated[Duration, at_least("1h")] = duration_field("30d", "Heat halves in this time.")
    tiers: dict[TierName, TierSettings] = Field(min_length=1, description="The tiers by name.")
    datasets: dict[DatasetName, DatasetSettings] = Field(default={}, description="The datasets by name.")
    buckets: dict[Text, BucketSettings] = Field(
        default={}, description="How buckets are reached, by name or glob; the first that fits counts."
    )
    heat: list[HeatSource] = Field(default=[], description="Logs that tell who read what.")
    limits: Limits = Field(default_factory=Limits, description="Limits of every policy that does not set its own.")
    max_spend_per_month: Money | None = Field(
        default=None, description="At most so much money for all policies together in a calendar month (UTC)."
    )
    cpu_hour: Money | None = Field(
        default=None, description="What an hour of a core costs in plans, such as 0.04 USD. Left out: nothing."
    )
    workers: WorkerSettings = Field(default_factory=WorkerSettings, description="Size and number of jobs.")
    notify: list[ReceiverSettings] = Field(default=[], description="Who is told of what, by webhook or mail.")
    daemon: DaemonSettings = Field(default_factory=DaemonSettings, description="What `storaged run` does when.")

    _file: Path = PrivateAttr(default=Path())

    @property
    def file(self) -> Path:
        """Absolute path of the file that this was read from."""
        return self._file

    @property
    def hottest(self) -> str:
        """Name of the tier of the lowest rank."""
        return min(self.tiers, key=lambda name: self.tiers[name].rank)

    def access(self, url: str) -> Access:
        """How the bucket that a store's URL names is reached."""
        bucket = urlsplit(url).netloc
        found = next((how for name, how in self.buckets.items() if fnmatchcase(bucket, name)), None)
        return found.value() if found else Access()

    def server(self, url: str) -> tuple[Terms, Access] | None:
        """Which server has the place at a URL, by which credentials: equal of places between which it copies by itself,
        as a rule. None: there is no such server."""
        terms = terms_of(url)
        return (terms, replace(self.access(url), path_style=False)) if terms.copies else None

    def opening(self, url: str, *, storage_class: str = DEFAULT_CLASS) -> Opening:
        """How the place at a tier's or root's URL is opened, from outside of all others."""
        return Opening(
            storage_class=storage_class, access=self.access(url), follow=self.follows(url), bare=self.bare(url)
        )

    def follows(self, url: str) -> bool:
        """Whether the links on the way to a tier's or root's directory are followed."""
        tiers = (tier.follow for tier in self.tiers.values() if tier.url == url)
        return any((*tiers, *(dataset.follow for dataset in self.datasets.values() if dataset.root == url)))

    def bare(self, url: str) -> bool:
        """Whether it is the root of a dataset whose claim is an attribute of the directory."""
        return any(dataset.claim == "attribute" for dataset in self.datasets.values() if dataset.root == url)

    @property
    def tier_values(self) -> dict[str, Tier]:
        return {name: tier.value(name) for name, tier in self.tiers.items()}

    @property
    def dataset_values(self) -> dict[str, Dataset]:
        """The datasets as values of storaged.model, by name."""
        return {name: dataset.value(name) for name, dataset in self.datasets.items()}


def load_settings(path: Path, *, look: bool = False) -> Settings:
    """Read and check storaged.yaml. Raises ConfigError with every problem in it, in the order of its lines.

    `look`: at the places on this machine too. What is wrong there now is no reason to load nothing: it stops what
    touches that place.
    """
    document = read_document(path)
    file = Path(os.path.abspath(path))
    problems = [*cross_problems(document, file.parent, catalog=DEFAULT_CATALOG, state_dir=DEFAULT_STATE_DIR)]
    problems += [*place_problems(document, file.parent), *mount_problems(document)] if look else ()
    try:
        settings = validate(Settings, document)
    except ConfigError as error:
        problems.extend(error.problems)
    if problems:
        raise ConfigError(tuple(sorted(problems, key=lambda problem: problem.line)))
    return _placed(settings, file)


def what_holds(path: Path) -> Settings | None:
    """The settings of a storaged.yaml in which something is wrong, without what is wrong: to find what else is. None
    where too little is left. What is missing is stood in for, so that what names it still finds it."""
    found = remains(Settings, read_document(path), _NEEDED)
    return None if found is None else _placed(found, Path(os.path.abspath(path)))


_NEEDED: Final = {"rank": 1_000, "url": "file:///", "root": "file:///"}


def at_another_place(settings: Settings, tier: str, url: str) -> Settings:
    """The same settings with this tier at `url`. Raises UsageError for a URL that cannot be, or that lies in another
    place or around one."""
    try:
        url = check_store_url(url)
    except BadValueError as error:
        raise UsageError(str(error), hint=error.hint) from error
    if tier not in settings.tiers:
        raise UsageError(f"there is no tier {tier!r}", hint=f"tiers are: {', '.join(sorted(settings.tiers))}")
    others = {f"tier {n!r}": t.url for n, t in settings.tiers.items() if n != tier}
    others |= {f"the root of dataset {n!r}": d.root for n, d in settings.datasets.items()}
    mine = store_location(url)
    for what, other in others.items():
        theirs = store_location(other)
        shorter = min(len(mine), len(theirs))
        if mine[:shorter] == theirs[:shorter]:
            raise UsageError(f"{url} lies in {what} or around it", hint="give the tier a place of its own")
    moved = settings.tiers[tier].model_copy(update={"url": url})
    made = settings.model_copy(update={"tiers": {**settings.tiers, tier: moved}})
    made._file = settings.file
    return made


def settings_schema() -> dict[str, Any]:
    """The JSON Schema of storaged.yaml, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Settings.model_json_schema()}


def find_config(explicit: Path | None, environ: Mapping[str, str]) -> Path:
    """The storaged.yaml to use: as named, in $STORAGED_CONFIG, here, in the home directory, in /etc.

    Raises UsageError, which tells every place that was looked at.
    """
    if explicit is not None:
        places = [explicit]
    elif environ.get("STORAGED_CONFIG"):
        places = [Path(environ["STORAGED_CONFIG"])]
    else:
        home = [Path(environ["HOME"]) / ".config/storaged" / FILE_NAME] if environ.get("HOME") else []
        places = [Path(FILE_NAME), *home, Path("/etc/storaged") / FILE_NAME]
    for place in places:
        if os.path.isfile(place):
            return place
    looked = ", ".join(str(place) for place in places)
    raise UsageError(f"there is no configuration at {looked}", hint="run `storagectl init` to write a starter")


def _placed(settings: Settings, file: Path) -> Settings:
    """The settings with relative paths made absolute and every dataset's tier filled in."""
    base, hottest = file.parent, settings.hottest
    placed = settings.model_copy(
        update={
            "catalog": resolved_catalog_url(settings.catalog, base),
            "state_dir": base / settings.state_dir,
            "policies": base / settings.policies,
            "price_books": base / settings.price_books,
            "datasets": {
                name: dataset.model_copy(update={"tier": dataset.tier or hottest})
                for name, dataset in settings.datasets.items()
            },
            "heat": [source.placed(base) for source in settings.heat],
            "daemon": settings.daemon.placed(base),
        }
    )
    placed._file = file
    return placed
