"""A worker's signs of life while a job is its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from storaged.catalog import queue
from storaged.catalog.queue import ClaimedJob
from storaged.clock import SECOND
from storaged.errors import LeaseLost, StoragedError
from storaged.work.context import Context

RENEWALS: Final = 3  # signs of life within one lease


@contextmanager
def heartbeat(context: Context, claimed: ClaimedJob) -> Iterator[Callable[[], bool]]:
    """Renew the lease from a thread of its own; the yielded function says whether it is still ours."""
    lease_us = context.settings.workers.lease
    stop, lost = threading.Event(), threading.Event()

    def beat() -> None:
        while not stop.wait(lease_us / SECOND / RENEWALS):
            try:
                with context.catalog.begin() as conn:
                    queue.renew(conn, claimed, now_us=context.now_us(), lease_us=lease_us)
            except LeaseLost:
                lost.set()
                return
            except StoragedError:
                continue  # the catalog does not answer: the lease may still be ours, the swap will tell

    (thread := threading.Thread(target=beat, name=f"lease-{claimed.id}", daemon=True)).start()
    try:
        yield lambda: not lost.is_set()
    finally:
        stop.set()
        thread.join()
