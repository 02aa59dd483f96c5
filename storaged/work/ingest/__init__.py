"""Heat from logs that already exist: lines to daily counts, each counted once whatever copies of a log there are.

`run` goes through the logs of a source; `fetch` copies those in a store; `lines` cuts them into blocks of text,
`ledger` knows which lines were counted, `events` turns lines into daily counts (DuckDB), `rollups` adds them to the
catalog, `coverage` says up to when they tell everything. A new log format is one file that makes a `LogFormat` and one
line in `registry`; its name is in `storaged.config.sections.LogFormatName`.
"""

from storaged.work.ingest.base import IngestReport, LogFormat, LogSource, Malformed
from storaged.work.ingest.registry import FORMATS
from storaged.work.ingest.run import ingest

__all__ = ["FORMATS", "IngestReport", "LogFormat", "LogSource", "Malformed", "ingest"]
