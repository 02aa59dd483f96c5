"""The policy files of a directory, and all that is wrong with them at once, by file and line.

Loading is all or nothing: one broken file raises, and who runs the policies keeps those that it has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from pydantic import model_validator

from storaged.config.messages import YamlPath, path_text
from storaged.config.quantities import shown
from storaged.config.settings import Settings
from storaged.config.yaml import SUFFIXES, Document, read_document, read_file, remains
from storaged.decide.checks import Check
from storaged.decide.policy import LoadedPolicy, Policy, PolicySet, policies_of
from storaged.decide.swings import swings
from storaged.errors import ConfigError, Problem

LOOKED_AT: Final = 1_000  # entries of a folder among the policies; somebody's home may be below it


class _Part(Policy):
    """What is left of a policy without what is wrong in it."""

    name: str = ""

    @model_validator(mode="after")
    def _selects(self) -> _Part:
        return self


def load_policies(directory: Path, settings: Settings) -> PolicySet:
    """Every policy of the directory's *.yaml and *.yml files, files by name. A missing directory holds none.

    Raises ConfigError with all problems of all files.
    """
    loaded: list[LoadedPolicy] = []
    taken: dict[str, str] = {}  # names, and where they are
    problems: list[Problem] = []
    warnings: list[Problem] = []
    if not directory.is_dir():
        warnings.append(_no_directory(directory, settings))
    warnings.extend(_not_read(directory))
    for path in sorted(p for p in directory.glob("*.y*ml") if p.suffix in SUFFIXES):
        try:
            document = read_file(path)
        except ConfigError as error:
            problems.extend(error.problems)
            continue
        try:
            found = policies_of(document)
        except ConfigError as error:
            problems.extend(error.problems)
            for at, part in _remaining(document):
                problems.extend(_twins(document, at, part.name, taken))
                problems.extend(Check(document, at, part, settings).problems())
            continue
        for one in _loaded(path, document, found):
            problems.extend(_twins(document, one.at, one.name, taken))
            check = Check(document, one.at, one.policy, settings)
            problems.extend(check.problems())
            warnings.extend(check.warnings())
            loaded.append(one)
    if problems:
        raise ConfigError(tuple(problems))
    return PolicySet(tuple(loaded), (*warnings, *swings(loaded, settings)))


def _not_read(directory: Path) -> Iterator[Problem]:
    """What looks like policies and is none: files by another spelling of the suffix, and those in folders."""
    try:
        entries = sorted(directory.iterdir())
    except OSError:
        return
    message = "it is not read, and what policies it has do nothing"
    for entry in entries:
        if entry.suffix not in SUFFIXES and entry.suffix.lower() in SUFFIXES:
            hint = "only names that end with .yaml or .yml are: rename it"
            yield Problem(str(entry), 0, "", message, hint)
        elif entry.is_dir() and not entry.is_symlink() and not entry.name.startswith("."):
            inside = islice(entry.rglob("*"), LOOKED_AT)
            found = next((path for path in inside if path.suffix.lower() in SUFFIXES), None)
            if found is not None:
                yield Problem(str(found), 0, "", message, f"policies lie in {directory} itself")


def _no_directory(directory: Path, settings: Settings) -> Problem:
    """That there are no policies, by the line that names their directory, if one does."""
    what = "is no directory" if directory.exists() else "does not exist"
    document = read_document(settings.file)
    if ("policies",) not in document.lines:
        return Problem(str(directory), 0, "", f"it {what}: there are no policies")
    message = f"{directory} {what}: there are no policies"
    return Problem(document.file, document.line(("policies",)), "policies", message)


def load_file(path: Path, settings: Settings) -> tuple[LoadedPolicy, ...]:
    """The policies of one file, wherever it is. Raises ConfigError with all that is wrong with them."""
    document = read_document(path)
    found = tuple(_loaded(path, document, policies_of(document)))
    problems = [p for one in found for p in Check(document, one.at, one.policy, settings).problems()]
    if problems:
        raise ConfigError(tuple(problems))
    return found


def _loaded(path: Path, document: Document, found: list[tuple[YamlPath, Policy]]) -> Iterator[LoadedPolicy]:
    lines = path.read_text("utf-8").splitlines(keepends=True)
    starts = [document.line(at) for at, _ in found] if found[0][0] else [1]
    for (at, policy), start, end in zip(found, starts, [*starts[1:], len(lines) + 1], strict=True):
        text = "".join(lines[start - 1 : end - 1])
        digest = hashlib.sha256(text.encode()).hexdigest()
        yield LoadedPolicy(policy, str(path), document.line((*at, "name")), text, digest, document, at)


def _twins(document: Document, at: YamlPath, name: str, taken: dict[str, str]) -> Iterator[Problem]:
    """A policy of a name that another one has."""
    path = (*at, "name")
    line = document.line(path)
    first = f"by {document.file}:{line}"
    if name and taken.setdefault(name, first) != first:
        yield Problem(document.file, line, path_text(path), f"the name {shown(name)} is taken", taken[name])


def _remaining(document: Document) -> Iterator[tuple[YamlPath, _Part]]:
    """The policies of a file in which something is wrong, each without that, where enough of it is left."""
    several = isinstance(document.data, dict) and isinstance(document.data.get("policies"), list)
    for at in [("policies", n) for n in range(len(document.data["policies"]))] if several else [()]:
        policy = remains(_Part, document, {}, at)
        if policy is not None:
            yield at, policy
