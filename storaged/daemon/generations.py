"""The configuration that a daemon goes by, and the one after it: what began with one ends with it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from storaged.config.settings import Settings
from storaged.decide.policy import PolicySet
from storaged.errors import RefusedByGuard
from storaged.work.context import Context
from storaged.work.rewrite.worker import Worker

Load = Callable[[], tuple[Settings, PolicySet]]  # raises ConfigError, UsageError


@dataclass(slots=True)
class Generation:
    """A configuration and what works by it."""

    settings: Settings
    policies: PolicySet
    context: Context
    worker: Worker
    users: int = 0


class Generations:
    """The newest configuration that held as a whole, and older ones while something still works by them."""

    def __init__(self, load: Load, new_context: Callable[[Settings], Context], worker: str) -> None:
        """`worker`: the name that jobs are claimed under. Raises as `load` does."""
        self._load = load
        self._new_context = new_context
        self._worker = worker
        self._lock = threading.Lock()
        self.now = self._made(*load())

    def _made(self, settings: Settings, policies: PolicySet) -> Generation:
        context = self._new_context(settings)
        return Generation(settings, policies, context, Worker(context, name=self._worker))

    @contextmanager
    def using(self) -> Iterator[Generation]:
        """The newest configuration, kept while the block runs."""
        with self._lock:
            used = self.now
            used.users += 1
        try:
            yield used
        finally:
            with self._lock:
                used.users -= 1
                self._close(used)

    def reload(self) -> None:
        """Take what stands in the files now, if all of it holds; else raise as `load` does, and nothing changes.

        Raises RefusedByGuard where the catalog or the engine is another one: a daemon has one for its life.
        """
        settings, policies = self._load()
        if settings.catalog != self.now.settings.catalog:
            raise RefusedByGuard("`catalog` has changed", hint="stop the daemon and start it again")
        for name in ("engine", "address"):
            if getattr(settings.workers, name) != getattr(self.now.settings.workers, name):
                raise RefusedByGuard(f"`workers.{name}` has changed", hint="stop the daemon and start it again")
        with self._lock:
            old = self.now
            if settings == old.settings:
                old.policies = policies
            else:
                self.now = self._made(settings, policies)
                self._close(old)

    def close(self) -> None:
        """End the newest one's threads."""
        self.now.worker.close()

    def _close(self, generation: Generation) -> None:
        if generation is not self.now and not generation.users:
            generation.worker.close()
