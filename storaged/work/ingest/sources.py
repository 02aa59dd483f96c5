"""The logs that the configuration names."""

from __future__ import annotations

from collections.abc import Callable

from storaged.clock import from_datetime
from storaged.config.messages import did_you_mean
from storaged.errors import UsageError
from storaged.stores.access import Opening
from storaged.stores.registry import open_store
from storaged.stores.wrappers import Retrying
from storaged.work.context import Context
from storaged.work.ingest.base import IngestReport, LogSource
from storaged.work.ingest.run import ingest


def ingest_source(
    context: Context, name: str, *, progress: Callable[[IngestReport], None] = lambda _report: None
) -> IngestReport:
    """Count what is new in the logs of one source under `heat:`. Raises UsageError for no such source, and as
    `ingest` does."""
    settings = context.settings
    source = next((s for s in settings.heat if s.name == name), None)
    if source is None:
        raise UsageError(f"there is no log source {name!r}", hint=did_you_mean(name, [s.name for s in settings.heat]))
    return ingest(
        context.catalog,
        LogSource(
            name,
            source.format,
            source.path,
            source.lag,
            from_datetime(source.since) if source.since else None,
            tuple(source.datasets) if source.datasets else None,
            tuple(source.exclude_requesters),
            source.max_malformed,
            {str(ours): theirs for ours, theirs in source.keys.items()},
            source.url_prefix,
        ),
        now_us=context.now_us(),
        half_life_us=settings.half_life,
        state_dir=settings.state_dir,
        opener=lambda url: Retrying(open_store(url, Opening(access=settings.access(url), follow=True)), context.clock),
        progress=progress,
    )
