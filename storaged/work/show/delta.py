"""Which files of a Delta table no version needs, by deltalake's own dry run of VACUUM. Nothing is written.

Of two things in a table's folder that run knows nothing, and lists them whether they are needed or not: files of
deletion vectors, which versions name beside their data, and `metadata/`, by which readers of Iceberg know the table
(UniForm). These are never called unneeded.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from storaged.config.settings import Settings
from storaged.errors import StoragedError
from storaged.stores.registry import library_options
from storaged.work.show.unneeded import Needs, NotRead, lacking_extra

EXTRA: Final = "delta"
_UNTOLD: Final = re.compile(r"(?:.*/)?deletion_vector_[^/]*\.bin|metadata/.*")


def needs(settings: Settings, root: str, prefix: str, keys: dict[str, int]) -> Needs:
    """What VACUUM would remove of a table in a folder of a root, and what it would as soon as no older version is kept.
    `keys`: the table's objects. Raises NotRead, UsageError."""
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError
    except ImportError as error:
        raise lacking_extra("deltalake", EXTRA) from error
    url = f"{root.rstrip('/')}/{prefix}".rstrip("/")
    try:
        table = DeltaTable(url, storage_options=dict(library_options(root, settings.access(root))))
        due = table.vacuum(dry_run=True, full=True)
        older = table.vacuum(0, dry_run=True, enforce_retention_duration=False)
        kept_for = table.metadata().configuration.get("delta.deletedFileRetentionDuration", "interval 1 week")
        version = table.version()
    except (DeltaError, OSError, ValueError, StoragedError) as error:
        raise NotRead(f"deltalake does not read it: {error}") from error
    found, whenever = ({key for name in names if (key := _key(prefix, name, keys))} for names in (due, older))
    untold = {key for key in found | whenever if _UNTOLD.fullmatch(key, len(prefix))}
    unneeded = frozenset(found - untold)
    aged = frozenset(whenever - untold) - unneeded
    return Needs(
        unneeded,
        aged,
        seen=f"version {version}",
        how=_SPARK if untold else "DeltaTable(…).vacuum(dry_run=False, full=True), or VACUUM in Spark",
        risk=f"versions older than {kept_for or 'the retention'} cannot be read any more after it",
    )


_SPARK: Final = "VACUUM in Spark, not by deltalake, which would delete deletion vectors and metadata/ that are needed"


def _key(prefix: str, name: str, keys: dict[str, int]) -> str:
    """The object that it calls so; empty: the catalog has none. Its log encodes paths, a listing does not."""
    return next((key for key in (f"{prefix}{name}", f"{prefix}{unquote(name)}") if key in keys), "")
