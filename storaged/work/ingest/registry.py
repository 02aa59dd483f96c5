"""Every log format, by the name that `heat:` in storaged.yaml gives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from storaged.errors import UsageError
from storaged.work.ingest.base import LogFormat, LogSource
from storaged.work.ingest.jsonl import JSONL, mapped
from storaged.work.ingest.s3_access import S3_ACCESS
from storaged.work.ingest.spool import SPOOL

FORMATS: Final[Mapping[str, LogFormat]] = {log.name: log for log in (JSONL, S3_ACCESS, SPOOL)}


def reading(source: LogSource) -> LogFormat:
    """How a source's lines are read. Raises UsageError for a format that there is not."""
    if source.format not in FORMATS:
        raise UsageError(f"there is no log format {source.format!r}", hint=f"formats are: {', '.join(sorted(FORMATS))}")
    if source.keys or source.url_prefix:
        return mapped(source.keys, source.url_prefix)
    return FORMATS[source.format]
