"""What a check finds, and what all checks share.

A check is a function of a context that yields findings as it meets them. It writes nothing, holds no transaction while
it yields, and keeps a bounded number of rows or keys in memory.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Final, TypeVar

from storaged.clock import DAY
from storaged.errors import ForeignClaim, StoreError
from storaged.stores.base import Store
from storaged.work import claims
from storaged.work.claims import Place
from storaged.work.context import Context

T = TypeVar("T")

PAGE: Final = 50_000  # rows or keys that are held at a time
LATE_US: Final = DAY  # what should have been done by itself for so long stands still


class Severity(StrEnum):
    """How much it matters. `info` is worth knowing, and nothing that must be mended."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference. `check` is the name of its kind; `subject` says of what, such as tier:cold or lake/2026/01.csv;
    `fixable`: `--fix` mends it."""

    check: str
    severity: Severity
    subject: str
    says: str
    means: str
    mend: str
    fixable: bool


@dataclass(frozen=True, slots=True)
class FindingKind:
    """One thing that can be wrong. `mend` is text with commands in it; {names} in it are given when it is found."""

    check: str
    severity: Severity
    means: str
    mend: str
    fixable: bool = False

    def found(self, subject: str, says: str, **names: str | Sequence[str]) -> Finding:
        """It was found. `names`, each a word or the words of a command, are quoted for a shell."""
        mend = self.mend.format(**{n: shlex.join([v] if isinstance(v, str) else v) for n, v in names.items()})
        return Finding(self.check, self.severity, subject, says, self.means, mend, self.fixable)


Check = Callable[[Context], Iterator[Finding]]

UNREADABLE = FindingKind(
    "unreadable",
    Severity.ERROR,
    "A place does not answer, does not let us read or list it, or is not there: nothing is known of what is in it.",
    "Mount it, start it, or allow reading and listing; `storagectl doctor` looks again.",
)


def carefully(subject: str, findings: Iterator[Finding]) -> Iterator[Finding]:
    """The findings about one place. Where it fails, that is the last of them."""
    try:
        yield from findings
    except StoreError as error:
        yield UNREADABLE.found(subject, error.message + (f" ({error.hint})" if error.hint else ""))


def our_tiers(context: Context) -> Iterator[tuple[str, Store]]:
    """The tiers that carry our claim. Of the others storaged.work.doctor.places tells, and no more is to be said."""
    for name in context.tiers:
        store = context.tier(name)
        try:
            ours = claims.confirm(store, context.identity, Place("tier", name)) is not None
        except (StoreError, ForeignClaim):
            continue
        if ours:
            yield name, store


def our_roots(context: Context) -> Iterator[tuple[str, Store]]:
    """The roots that are no other catalog's, and answer."""
    for name in context.datasets:
        store = context.root(name)
        try:
            claims.confirm(store, context.identity, Place("dataset", name))
        except (StoreError, ForeignClaim):
            continue
        yield name, store


def in_pages(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most so many."""
    rest = iter(items)
    while page := list(islice(rest, size)):
        yield page
