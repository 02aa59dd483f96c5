"""The spool of our own reader: the same JSON lines, written by `storaged.work.spool`."""

from __future__ import annotations

from typing import Final

from storaged.work.ingest.base import LogFormat
from storaged.work.ingest.jsonl import NOWHERE, SELECT

SPOOL: Final = LogFormat("spool", SELECT, own=True, nowhere=NOWHERE)
