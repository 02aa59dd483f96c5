"""Many small pieces of work, some at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from storaged.errors import StoragedError

T = TypeVar("T")
R = TypeVar("R")

THREADS: Final = 8


def together(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """`work` on every item, some at a time; results in the order of the items."""
    todo = list(items)
    if len(todo) < 2:
        return [work(item) for item in todo]
    with ThreadPoolExecutor(min(THREADS, len(todo)), thread_name_prefix="storaged-read") as pool:
        return list(pool.map(work, todo))


def caught(work: Callable[[T], R], on_error: str) -> Callable[[T], R | Exception]:
    """`work` that returns its error, unless `on_error` is "raise"."""

    def caught(item: T) -> R | Exception:
        try:
            return work(item)
        except (OSError, StoragedError) as error:
            if on_error == "raise":
                raise
            return error

    return caught
