"""Places of storaged's own on this machine that others can get at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy.engine import make_url

from storaged.config.settings import Settings
from storaged.private import others

_WORDS: Final = {"read": "read", "write": "write to", "exchange": "exchange"}
MEND: Final = "chmod o-rwx it, or put it below a directory that only storaged may enter"


class Exposed(NamedTuple):
    """One place, and what everybody on this machine may do there."""

    subject: str  # as `storagectl doctor` names it
    says: str


def exposed(settings: Settings) -> Iterator[Exposed]:
    """Tiers, state directory and catalog that everybody can read or change; configuration and policies that everybody
    can change: those hold no content, and often lie below /etc."""
    private = [(f"tier:{name}", Path(tier.url[7:])) for name, tier in settings.tiers.items() if _local(tier.url)]
    private.append(("state_dir", settings.state_dir))
    where = make_url(settings.catalog)
    if where.drivername == "sqlite" and where.database:
        private.append(("catalog", Path(where.database)))
    for subject, path in private:
        yield from _told(subject, path, ("read", "write", "exchange"))
    for subject, path in (("policies", settings.policies), ("configuration", settings.file)):
        yield from _told(subject, path, ("write", "exchange"))


def _local(url: str) -> bool:
    return url.startswith("file://")


def _told(subject: str, path: Path, wrong: tuple[str, ...]) -> Iterator[Exposed]:
    found = others(path)
    may = [_WORDS[what] for what in wrong if what in found]
    if may:
        yield Exposed(subject, f"everybody on this machine can {' and '.join(may)} {path}")
