"""Policies held against what the catalog has: datasets, tiers, formats, tags and partitions that no object has.

Such a policy is not wrong, and selects nothing all the same. So this only warns.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from storaged.config.messages import YamlPath, did_you_mean
from storaged.config.quantities import shown
from storaged.decide.atoms import Atom, holds
from storaged.decide.policy import LoadedPolicy, Policy
from storaged.errors import Problem
from storaged.model import Mode

MOST_PARTITIONS: Final = 10_000  # of one dataset; of more than these nothing is concluded
_DIGITS: Final = 15  # of partition values that compare as numbers
_FEW: Final = 12  # values that a hint lists
_NAMED: Final = frozenset({"format", "owner", "tier", "dataset"})  # columns


@dataclass(frozen=True, slots=True)
class KnownDataset:
    """What the objects of a dataset have. `tiers` and `formats`: of those that are there. `partitions`: their values by
    key; None: there are more than MOST_PARTITIONS."""

    tiers: frozenset[str] = frozenset()
    formats: frozenset[str] = frozenset()
    owner: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    partitions: Mapping[str, frozenset[str]] | None = field(default_factory=dict)


def policy_atoms(policy: Policy) -> Iterator[tuple[YamlPath, Atom]]:
    """What a policy asks of single columns, and where in it that stands."""
    for key, condition in policy.conditions.items():
        for atom in condition.atoms():
            column, _, inner = atom.column.partition(".")
            yield ("when", key, inner) if inner and column == key else ("when", key), atom
    if policy.where is not None:
        from storaged.decide.where_atoms import atoms_of_where  # slow to import, and seldom needed

        for atom in atoms_of_where(policy.where):
            yield ("where",), atom


def unmatched(
    policies: Iterable[LoadedPolicy], known: Mapping[str, KnownDataset], configured: Collection[str]
) -> Iterator[Problem]:
    """What the policies name and no object has. `known`: datasets by name that have objects. `configured`: the names of
    all; what names none of them is told without a catalog."""
    for loaded in policies:
        if loaded.policy.mode is not Mode.DISABLED:
            yield from _of_policy(loaded, known, configured)


def _of_policy(
    loaded: LoadedPolicy, known: Mapping[str, KnownDataset], configured: Collection[str]
) -> Iterator[Problem]:
    target = loaded.policy.target
    for pattern in target.dataset:
        if fnmatch.filter(configured, pattern) and not fnmatch.filter(known, pattern):
            message = f"the catalog has no object of {shown(pattern)}"
            yield loaded.problem(("target", "dataset"), message, "`storagectl scan` finds them")
    looked_at = {name: of for name, of in known.items() if target.takes(name)}
    if not looked_at:
        return
    if target.tier is not None:
        there = {tier for of in looked_at.values() for tier in of.tiers}
        if target.tier not in there:
            message = f"none of its objects is in the tier {shown(target.tier)}"
            yield loaded.problem(("target", "tier"), message, f"they are in {', '.join(sorted(there))}")
    for path, atom in policy_atoms(loaded.policy):
        column, _, key = atom.column.partition(".")
        if key:
            yield from _keyed(loaded, path, atom, column, key, looked_at)
        elif column in _NAMED and atom.sign == "=":
            has = _values(column, looked_at)
            for value in atom.values:
                if value not in has:
                    message = f"none of its objects has the {column} {shown(value)}"
                    yield loaded.problem(path, message, did_you_mean(value, has - {""}))


def _values(column: str, datasets: Mapping[str, KnownDataset]) -> set[str]:
    match column:
        case "dataset":
            return set(datasets)
        case "owner":
            return {of.owner for of in datasets.values()}
        case "tier":
            return {tier for of in datasets.values() for tier in of.tiers}
        case _:
            return {kind for of in datasets.values() for kind in of.formats}


def _keyed(
    loaded: LoadedPolicy, path: YamlPath, atom: Atom, column: str, key: str, datasets: Mapping[str, KnownDataset]
) -> Iterator[Problem]:
    """A tag or a partition key that no dataset has, or a value of it that none of them has."""
    what = "tag" if column == "tags" else "partition key"
    by_key: dict[str, set[str]] = {}
    for of in datasets.values():
        values = {key: {text} for key, text in of.tags.items()} if column == "tags" else of.partitions
        if values is None:
            return
        for name, found in values.items():
            by_key.setdefault(name, set()).update(found)
    if key not in by_key:
        message = f"none of its objects has the {what} {shown(key)}"
        yield loaded.problem(path, message, did_you_mean(key, by_key) or _nothing_keyed(column))
    elif not any(holds(*_alike(value, atom)) for value in by_key[key]):
        wanted = " or ".join(map(shown, map(str, atom.values)))
        message = f"of none of its objects the {what} {key} is {'' if atom.sign == '=' else atom.sign + ' '}{wanted}"
        few = atom.sign == "=" and len(by_key[key]) <= _FEW
        yield loaded.problem(
            path, message, did_you_mean(str(atom.values[0]), by_key[key]) if few else _range(by_key[key])
        )


def _alike(value: str, atom: Atom) -> tuple[str | int, Atom]:
    """Both as numbers where both are, else as texts: as the statements compare them."""
    wanted = [str(other) for other in atom.values]
    if all(text.isascii() and text.isdecimal() and len(text) <= _DIGITS for text in (value, *wanted)) and atom.whole:
        return int(value), atom
    return value, Atom(atom.column, atom.sign, tuple(wanted))


def _nothing_keyed(column: str) -> str:
    name = "tags" if column == "tags" else "partitions"
    return f"they have none: give the dataset `{name}` in storaged.yaml"


def _range(values: set[str]) -> str:
    """From where to where the values go."""
    ordered = sorted(values, key=lambda text: (int(text) if text.isdecimal() else -1, text))
    return f"known here: {ordered[0]} to {ordered[-1]}"
