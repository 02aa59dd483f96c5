"""The spool of our own reader: the same JSON lines, written by `storaged.work.ingest.reads`."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from storaged.work.ingest.jsonl import JSONL

SPOOL: Final = replace(JSONL, name="spool", own=True)
