"""The sweeper: releases what was superseded when its grace is over, and clears away what attempts left behind.

Deleting is the last step of a long proof: the grace is over, nobody holds the object, the swap is durable in the
journal, the current replica is there with its proven identity and the source with its recorded one; then the intent
is taken under guard and made durable; only then the key is deleted, if it still has that identity.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from storaged.catalog import queue, totals
from storaged.work.context import Context
from storaged.work.release.blobs import Blobs
from storaged.work.release.sources import Sources
from storaged.work.release.tombstones import Swept, clear_tombstones


def sweep(context: Context, *, progress: Callable[[str, int], None] = lambda _what, _n: None) -> Swept:
    """One pass over everything that is due. Safe at any moment, beside any number of workers and other sweepers.

    Raises ForeignClaim, and CatalogBehind also where the journal has a hole; what a single key's store refuses is
    reported, not raised.
    """
    context.ready()
    context.journal.flush()
    context.journal.check_whole()
    swept = Swept()
    with ThreadPoolExecutor(context.settings.workers.threads, thread_name_prefix="sweep") as pool:
        with context.catalog.begin() as conn:  # jobs whose worker died
            lease_us = context.settings.workers.lease
            queue.give_up_leases(conn, now_us=context.now_us(), lease_us=lease_us)
            totals.fold(conn)
        Sources(context, swept, progress, pool).release()
        Blobs(context, swept, progress, pool).release()
        clear_tombstones(context, swept, progress)
    return swept
