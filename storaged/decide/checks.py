"""Policies held against the configuration: tiers and datasets that are not there, and what would never do anything."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator
from dataclasses import dataclass

from storaged.config.messages import YamlPath, did_you_mean, path_text
from storaged.config.quantities import shown
from storaged.config.settings import Settings
from storaged.config.yaml import Document
from storaged.decide.conditions.tier import HIGH
from storaged.decide.policy import Policy
from storaged.errors import Problem
from storaged.stores.schemes import CLASSED, terms_of


@dataclass(frozen=True, slots=True)
class Check:
    """What only the configuration can tell about a policy."""

    document: Document
    at: YamlPath
    policy: Policy
    settings: Settings

    def _problem(self, path: YamlPath, message: str, hint: str | None = None) -> Problem:
        whole = self.at + path
        return Problem(self.document.file, self.document.line(whole), path_text(whole), message, hint)

    def problems(self) -> Iterator[Problem]:
        """What is wrong."""
        target, to, tiers = self.policy.target, self.policy.to, self.settings.tiers
        for path, tier in self._tiers():
            if tier not in tiers:
                yield self._problem(path, f"there is no tier {shown(tier)}", did_you_mean(tier, tiers))
            elif to.in_place and path != ("target", "tier"):
                yield from self._in_place(tier)
        if to.chooses and not any(name not in tiers or tiers[name].prices for name in to.among or tiers):
            hint = "give them `prices` in storaged.yaml"
            yield self._problem(("to", "tier"), "`auto` goes by cost, and none of its tiers has prices", hint)
        if to.tier is not None and to.tier == target.tier and to.codec is None:
            hint = "name another tier, or a codec"
            yield self._problem(("to",), f"objects in {to.tier} would stay in {to.tier}, as they are", hint)
        yield from self._groups()
        if "tier_full_above" in self.policy.conditions:
            looked_at = [target.tier] if target.tier in tiers else list(tiers)
            if not any(tiers[str(tier)].capacity for tier in looked_at):
                path = ("when", "tier_full_above")
                message = f"no capacity is known of {', '.join(map(str, looked_at))}"
                yield self._problem(path, message, "give the tier a `capacity` in storaged.yaml")

    def _tiers(self) -> Iterator[tuple[YamlPath, str]]:
        """The tiers that it names, and where."""
        to = self.policy.to
        named = to.among or () if to.chooses else (to.tier,)
        place = ("to", "among") if to.chooses else ("to", "tier")
        for path, tier in ((("target", "tier"), self.policy.target.tier), *((place, name) for name in named)):
            if tier is not None:
                yield path, tier

    def _groups(self) -> Iterator[Problem]:
        """Partition keys that a dataset does not have."""
        keys = self.policy.group_by.keys if self.policy.group_by else ()
        for name, dataset in self.settings.datasets.items():
            if not keys or not self.policy.target.takes(name):
                continue
            known = re.findall(r"\{(\w+)\}", dataset.partitions or "")
            missing = [key for key in keys if key not in known]
            if missing:
                message = f"dataset {name} has no partition key {' and no '.join(map(shown, missing))}"
                hint = did_you_mean(missing[0], known) or "give the dataset `partitions` in storaged.yaml"
                yield self._problem(("group_by",), message, hint)

    def _in_place(self, name: str) -> Iterator[Problem]:
        tier, path = self.settings.tiers[name], ("to", "in_place")
        terms = terms_of(tier.url)
        if not terms.classes:
            yield self._problem(
                path, f"tier {name} is not on {CLASSED}, so it has no storage class to give", "name one that is"
            )
        elif terms.archive(tier.storage_class):
            message = f"what is in {tier.storage_class} cannot be read under its original key"
            yield self._problem(path, message, "move it there instead: remove `in_place`")
        else:
            roots = [d.root for dataset, d in self.settings.datasets.items() if self.policy.target.takes(dataset)]
            if roots and not any(terms_of(root).classes for root in roots):
                yield self._problem(path, f"none of its datasets is on {CLASSED}", "remove `in_place`")

    def _below_low(self) -> Iterator[Problem]:
        share, target = self.policy.conditions["tier_full_above"].value, self.policy.target.tier
        for name, tier in self.settings.tiers.items():
            low = tier.capacity.low if tier.capacity else 0.0
            if target in (None, name) and share != HIGH and share < low:
                message = (
                    f"{name} is emptied down to {low * 100:.4g}% (`low`) only: from {share * 100:.4g}% on this selects"
                )
                message += " what then stays"
                yield self._problem(("when", "tier_full_above"), message, "write high, or a share above `low`")

    def warnings(self) -> Iterator[Problem]:
        """What looks odd."""
        names, tier = self.settings.datasets, self.policy.to.tier
        if self.policy.drains:
            yield from self._below_low()
        if self.policy.require is not None and tier in self.settings.tiers and not self.settings.tiers[tier].prices:
            message = f"tier {tier} has no prices, so that `require` holds all of it back"
            yield self._problem(("require",), message, "give the tier `prices` in storaged.yaml")
        for name in self.policy.to.among or ():
            if name in self.settings.tiers and not self.settings.tiers[name].prices:
                message = f"tier {name} has no prices, so that nothing is sent there"
                yield self._problem(("to", "among"), message, "give the tier `prices` in storaged.yaml")
        for pattern in self.policy.target.dataset:
            if not fnmatch.filter(names, pattern):
                message = f"no dataset is called {shown(pattern)}"
                yield self._problem(("target", "dataset"), message, did_you_mean(pattern, names))
