"""A lost catalog back from a backup: it takes storaged.yaml and the tiers that it names, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from storaged.catalog import copies, migrate
from storaged.catalog.engine import parse_url, shown
from storaged.clock import Clock
from storaged.config.settings import Settings
from storaged.errors import ForeignClaim, SchemaOutOfDate, StoreError, UsageError, VerificationFailed
from storaged.stores.base import Store
from storaged.stores.notes import Notes
from storaged.stores.registry import open_store
from storaged.stores.wrappers import Retrying
from storaged.work import claims
from storaged.work.recover import backup
from storaged.work.recover.backup import Backup, Found, Progress


@dataclass(frozen=True, slots=True)
class Restored:
    """A backup that is the catalog again, and the files that were set aside for it."""

    backup: Backup
    catalog: str
    aside: list[Path]

    @property
    def outdated(self) -> bool:
        """Whether an older storaged made it, so that its schema is to be upgraded first."""
        return self.backup.revision != migrate.HEAD


def tiers_of(settings: Settings, clock: Clock) -> dict[str, Store]:
    """The stores of the tiers, without a catalog."""
    opened: dict[str, Store] = {}
    for name, tier in settings.tiers.items():
        how = settings.opening(tier.url, storage_class=tier.storage_class)
        opened[name] = Retrying(open_store(tier.url, how), clock)
    return opened


def find(tiers: Mapping[str, Notes]) -> Found:
    """The backups of the catalog that these tiers belong to, the newest first; of any, where none of them tells."""
    owners = set()
    problems = []
    for name, store in tiers.items():
        try:
            owner = claims.holder(store)
        except (StoreError, ForeignClaim) as error:
            problems.append(f"{name}: {error.message}")
            continue
        if owner is not None:
            owners.add(owner.catalog)
    found = backup.find(tiers, owners.pop() if len(owners) == 1 else None)
    found.problems = list(dict.fromkeys([*problems, *found.problems]))
    return found


def choose(found: Found, name: str | None) -> Backup:
    """The backup of this name, or the newest. Raises UsageError."""
    named = [b for b in found.backups if name in (None, b.name)]
    if not named:
        away = f" ({'; '.join(found.problems)})" if found.problems else ""
        raise UsageError(
            f"there is no backup{f' {name}' if name else ''}{away}",
            hint="`storagectl catalog backups` shows them; `storagectl catalog rebuild` needs none",
        )
    if len({b.catalog for b in named}) > 1:
        raise UsageError(
            "the tiers hold backups of more than one catalog", hint="give the NAME of one: `storagectl catalog backups`"
        )
    return named[0]


def restore(
    settings: Settings,
    url: str,
    which: Backup,
    tiers: Mapping[str, Notes],
    clock: Clock,
    *,
    replace: bool = False,
    progress: Progress = lambda _done, _all: None,
) -> Restored:
    """Make a backup the catalog at `url`. It may act when it was reconciled with its journal, not before.

    `replace`: set an SQLite catalog that is there aside, as `….before-restore-<now>`; who has it open must be stopped.
    Raises CatalogError where a catalog is already, UsageError for another kind of database, SchemaOutOfDate,
    VerificationFailed for a backup that is damaged, CatalogLocked, StoreError.
    """
    where = parse_url(url)
    if which.dialect != where.get_backend_name():
        raise UsageError(
            f"backup {which.name} is of a catalog in {which.dialect}, {shown(where)} is none",
            hint="`catalog:` in storaged.yaml must be of the same kind; `storagectl catalog rebuild` changes it",
        )
    if which.revision not in migrate.revisions():
        raise SchemaOutOfDate(
            f"backup {which.name} was made by storaged {which.version} (schema {which.revision}), "
            f"this one knows {migrate.HEAD}",
            hint="update storaged",
        )
    copies.require_vacant(where, replace=replace)
    sqlite = which.dialect == "sqlite"
    # beside its place: what is renamed must not leave its filesystem
    path = Path(f"{where.database}.restoring") if sqlite else settings.state_dir / "catalog.restoring"
    with backup.alone(settings.state_dir), backup.temporary(path):
        backup.fetch(tiers[which.tier], which, path, progress=progress)
        if sqlite:
            told = copies.examine(path)
            if (told.catalog, told.epoch, told.journal_number) != (which.catalog, which.epoch, which.journal_number):
                raise VerificationFailed(f"backup {which.name} holds another catalog than its manifest says")
        suffix = f".before-restore-{backup.named(clock.now_us())}"
        aside = copies.put_in_place(where, path, replace=replace, suffix=suffix)
    return Restored(which, shown(where), aside)
