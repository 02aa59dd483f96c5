"""Jobs on a Dask cluster. A task is "claim what is due, and work on one job" (storaged.daemon.station); Dask carries
the call and the answer, and decides on which machine.

A task that is lost, runs twice or dies means that a lease runs out. So nothing is tried again here.
"""

from __future__ import annotations

import logging
import threading
from typing import Final

from storaged.catalog.turns import waiting
from storaged.clock import new_id
from storaged.daemon.generations import Generation
from storaged.daemon.jobs import OnClaimed, Ran
from storaged.daemon.station import Reply, order, work_one
from storaged.errors import StoragedError, UsageError

try:
    import distributed
except ImportError as error:
    raise UsageError(
        f"`workers.engine` is dask, and its package cannot be loaded: {error}",
        hint="pip install 'storaged[dask]', on the machine of the daemon and on those of the cluster",
    ) from error

CONNECT_S: Final = 5.0
LOOK_S: Final = 0.5  # how often a runner looks whether its task is still wanted and its scheduler there


class Cluster:
    """The workers of a Dask scheduler. It connects when a job is due, and again after the scheduler was away."""

    def __init__(self, address: str) -> None:
        self.problem: str | None = None
        self.processes = 0
        self._address = address
        self._client: distributed.Client | None = None
        self._connecting = threading.Lock()
        self._stopping = threading.Event()
        for name in ("distributed", "distributed.client", "distributed.core"):  # what matters we say ourselves
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def job(self, now: Generation, started: OnClaimed) -> Ran | None:
        context = now.context
        with context.catalog.read() as conn:
            due = waiting(conn, context.now_us(), now.settings.workers.lease)
        if not due:
            return None
        client = self._connected()
        if client is None:
            return None
        try:
            self.processes = len(client.ncores())
            if not self.processes:
                self.problem = f"the Dask scheduler at {self._address} has no workers"
                return None
            answer = self._answer(client, now)
        except StoragedError:
            raise
        except Exception as error:  # noqa: BLE001  of Dask, whatever it is: the job waits, or its lease runs out
            self._lost(client, error)
            return None
        if answer is None:
            return None
        self.problem = None if answer.refused is None else f"a worker of Dask refuses: {answer.refused}"
        if answer.ran is not None:
            started(answer.ran.claimed)
        return answer.ran

    def _answer(self, client: distributed.Client, now: Generation) -> Reply | None:
        """Of one task; None: nobody waits for it any more. It runs on to the end of its job."""
        finished = threading.Event()
        future = client.submit(
            work_one,
            order(now, share=1 / (1 + self.processes)),
            key=f"storaged-job-{new_id()}",
            pure=False,
            retries=0,
        )
        future.add_done_callback(lambda _: finished.set())
        while not finished.wait(LOOK_S):
            if self._stopping.is_set():
                future.cancel()
                return None
            if client.status != "running":
                raise OSError("the connection broke")
        answer: Reply = future.result(timeout=CONNECT_S)
        return answer

    def _connected(self) -> distributed.Client | None:
        """The client, if there is one or can be one. While one runner tries, the others wait for the next poll."""
        if self._stopping.is_set() or not self._connecting.acquire(blocking=False):
            return None
        try:
            if self._client is None:
                self._client = distributed.Client(self._address, timeout=CONNECT_S, set_as_default=False)
            return self._client
        except (OSError, ValueError) as error:
            self.problem = f"the Dask scheduler at {self._address} cannot be reached: {error}"
            return None
        finally:
            self._connecting.release()

    def _lost(self, client: distributed.Client, error: Exception) -> None:
        """A connection that broke is made anew at the next poll."""
        self.problem = f"a task on the Dask cluster at {self._address} was lost: {type(error).__name__}: {error}"
        if client.status == "running" and not isinstance(error, OSError):
            return
        with self._connecting:
            if self._client is client:
                self._client = None
                client.close(timeout=CONNECT_S)

    def at(self) -> list[dict[str, object]]:
        """None: the catalog says which process is at which job."""
        return []

    def drain(self) -> None:
        """Tasks that did not begin are taken back; those that run end their job without us."""
        self._stopping.set()

    def abandon(self) -> list[str]:
        """What runs is not in this process."""
        return []

    def close(self) -> None:
        self._stopping.set()
        with self._connecting:
            if self._client is not None:
                self._client.close(timeout=CONNECT_S)
                self._client = None
