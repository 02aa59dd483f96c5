"""Heat from logs that already exist: lines to daily counts, each counted once whatever copies of a log there are.

`run` goes through the files of a source; `lines` cuts them into pieces known by content, `ledger` knows which were
counted, `events` turns lines into daily counts (DuckDB), `rollups` adds them to the catalog, `coverage` says up to when
they tell everything. A new log format is one file that makes a `LogFormat` and one line in `registry`.
"""

from storaged.work.ingest.base import IngestReport, LogFormat, LogSource, Malformed
from storaged.work.ingest.registry import FORMATS
from storaged.work.ingest.run import ingest

__all__ = ["FORMATS", "IngestReport", "LogFormat", "LogSource", "Malformed", "ingest"]
