"""Every log format, by the name that `heat:` in storaged.yaml gives it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from storaged.work.ingest.base import LogFormat
from storaged.work.ingest.jsonl import JSONL
from storaged.work.ingest.s3_access import S3_ACCESS
from storaged.work.ingest.spool import SPOOL

FORMATS: Final[Mapping[str, LogFormat]] = {log.name: log for log in (JSONL, S3_ACCESS, SPOOL)}
