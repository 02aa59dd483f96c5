"""Every error that storaged raises on purpose.

StoragedError(message, hint=None)          exit 1
├─ UsageError                              exit 2   a command asked for something that cannot be
├─ ConfigError(problems)                   exit 2   storaged.yaml or a policy file; all problems at once
├─ PolicyError(problems)                   exit 2   a `where:` or condition that does not hold together
├─ JobsFailed                              exit 3   the command ran; some objects failed
├─ NotEmpty                                exit 4   `--check` or `doctor` found something to do
├─ CatalogError                            exit 10
│  ├─ CatalogMissing · CatalogReadOnly · SchemaOutOfDate
│  ├─ CatalogLocked                        exit 11
│  ├─ CatalogBehind                        exit 12  the journal knows more than this catalog, or less: reconcile
│  ├─ JournalHole                          exit 14  a rebuilt catalog may lack what is missing in the journal
│  ├─ ModelUnreadable                               a forecast model in the catalog is damaged, or of a newer version
│  └─ LeaseLost                                     another worker took the job over
├─ ForeignClaim                            exit 13  another catalog owns this tier or root
│  ├─ MarkerLost                                    a place has lost our marker: most likely it is not mounted
│  └─ OtherPlace                                    the marker there is of another tier or dataset of this catalog
├─ StoreError(message, key)                exit 1
│  ├─ ObjectNotFound · AlreadyExists · PermissionDenied · StoreFull
│  ├─ SourceChanged                                 identity is not the one that was asked for
│  ├─ NotANote                                      what stands at a note's name is none that storaged wrote
│  ├─ PlaceAway                                     what is at the URL now is not the place that was confirmed
│  ├─ ObjectCold                           exit 7   must be warmed before it can be read
│  └─ StoreUnavailable (Transient)                  worth another try
├─ VerificationFailed                      exit 1   proof failed; the source stays current
├─ RefusedByGuard                          exit 5   a guard (hold, pin, grace, readers) says no
│  ├─ NotTaken                                      a codec does not take this content, and why
│  └─ OverSpending                                  it would cost more than may be spent, or nobody knows what
└─ RootEmpty                               exit 6   a root that had objects shows none: confirm first
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from storaged.masking import masked


class StoragedError(Exception):
    """Something storaged can name; `hint` says what to do next."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = masked(message)  # here, so that no client's words reach anybody as they are
        self.hint = None if hint is None else masked(hint)
        super().__init__(self.message)


class Transient:
    """Mixin: the same call may succeed a moment later."""


class UsageError(StoragedError):
    """The command asks for something that cannot be."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file: where (file, 1-based line, YAML path), what, and how to mend it. Line 0: no line is to
    blame, but that the file is not there."""

    file: str
    line: int
    path: str
    message: str
    hint: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", masked(self.message))

    @property
    def where(self) -> str:
        line = f":{self.line}" if self.line else ""
        return f"{self.file}{line}" + (f" at {self.path}" if self.path else "")

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" + (f" ({self.hint})" if self.hint else "")


class ConfigError(StoragedError):
    """storaged.yaml or a policy file does not hold; `problems` has all of them."""

    exit_code = 2

    def __init__(self, problems: tuple[Problem, ...], *, hint: str | None = None) -> None:
        count = len(problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''} in the configuration", hint=hint)
        self.problems = problems


class PolicyError(StoragedError):
    """A condition or `where:` of a policy does not hold together."""

    exit_code = 2


class JobsFailed(StoragedError):
    """The command ran to its end and some objects failed."""

    exit_code = 3


class NotEmpty(StoragedError):
    """A check found something to do."""

    exit_code = 4


class RefusedByGuard(StoragedError):
    """A hold, pin, grace period or the readers' contract forbids it."""

    exit_code = 5


class NotTaken(RefusedByGuard):
    """A codec does not take this content: it is damaged, encrypted, of another kind, or would not become smaller."""


class OverSpending(RefusedByGuard):
    """It would cost more than may be spent this month, or what it costs is not known while a limit holds."""


class RootEmpty(StoragedError):
    """A root that had objects shows none (or far fewer): somebody must confirm before anything is forgotten."""

    exit_code = 6


class CatalogError(StoragedError):
    """The catalog cannot do what was asked."""

    exit_code = 10


class CatalogMissing(CatalogError):
    """There is no catalog at this URL."""


class CatalogReadOnly(CatalogError):
    """The catalog cannot be written."""


class SchemaOutOfDate(CatalogError):
    """The catalog's schema is older or newer than this program."""


class CatalogLocked(CatalogError):
    """Another process holds the catalog for longer than we wait."""

    exit_code = 11


class CatalogBehind(CatalogError):
    """The journal holds entries that this catalog never saw: an old copy was restored."""

    exit_code = 12


class JournalHole(CatalogError):
    """A catalog was rebuilt, and what some entries of its journal told is not in it, as they are missing."""

    exit_code = 14


class ModelUnreadable(CatalogError):
    """A forecast model in the catalog is damaged, or was made by a newer version: nothing is decided by it."""


class LeaseLost(CatalogError):
    """Another worker took the job over; nothing was changed."""


class ForeignClaim(StoragedError):
    """Another catalog (or a newer epoch of this one) owns the place."""

    exit_code = 13


class MarkerLost(ForeignClaim):
    """A place does not carry the marker that this catalog left there: most likely it is not mounted."""


class OtherPlace(ForeignClaim):
    """A place carries the marker of another tier or dataset of this catalog: two places were exchanged."""


class StoreError(StoragedError):
    """A store could not do what was asked; `key` says where."""

    def __init__(self, message: str, *, key: str = "", hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.key = key


class ObjectNotFound(StoreError):
    """Nothing is stored at this key."""


class AlreadyExists(StoreError):
    """Something is stored at this key already, and nothing is ever overwritten."""


class PermissionDenied(StoreError):
    """The store refused our credentials or user."""


class StoreFull(StoreError):
    """No space or quota left."""


class SourceChanged(StoreError):
    """What is stored is not what the catalog holds: its identity differs."""


class NotANote(StoreError):
    """What stands at the name of a note is no regular file, or larger than any note."""


class PlaceAway(StoreError):
    """What is at a place's URL now is not what was there when its marker was looked at: it was unmounted, exchanged."""


class ObjectCold(StoreError):
    """The object is in an archive class and must be warmed first."""

    exit_code = 7


class StoreUnavailable(StoreError, Transient):
    """The store did not answer properly; worth another try."""


class VerificationFailed(StoragedError):
    """Bytes are not what they should be; never retried silently."""
