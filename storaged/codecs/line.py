"""Work on an executor, in the order in which it was given out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Final, Generic, TypeVar

IN_FLIGHT: Final = 16  # pieces that wait for a thread or for their turn to be written

_Made = TypeVar("_Made")


class Line(Generic[_Made]):
    """Work that is done on an executor if there is one, 16 pieces of it at a time, and comes out as it went in."""

    def __init__(self, executor: Executor | None) -> None:
        self._executor = executor
        self._waiting: deque[Future[_Made]] = deque()

    def put(self, work: Callable[[], _Made]) -> Iterator[_Made]:
        """One more; what is done by then. What the work raises comes through, here and below."""
        if self._executor is None:
            yield work()
            return
        self._waiting.append(self._executor.submit(work))
        if len(self._waiting) == IN_FLIGHT:
            yield self._waiting.popleft().result()

    def rest(self) -> Iterator[_Made]:
        """What is left."""
        while self._waiting:
            yield self._waiting.popleft().result()

    def cancel(self) -> None:
        """Nobody waits for what has not begun."""
        for future in self._waiting:
            future.cancel()
