"""Listings as the store sent them, for who parses them better than botocore does.

botocore lets a handler of `before-parse` answer in the place of its parser. Ours is on every client of ours, and
answers only for requests that were made inside `unparsed`.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

RAW: Final = "RawBody"

_EVENTS: Final = ("before-parse.s3.ListObjectsV2", "before-parse.s3.ListObjectVersions")
_clients: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
_asked: Final[ContextVar[bool]] = ContextVar("storaged_unparsed", default=False)


@contextmanager
def unparsed() -> Iterator[None]:
    """The listings that are asked for inside come as they were sent, in bytes under RAW."""
    token = _asked.set(True)
    try:
        yield
    finally:
        _asked.reset(token)


def on_client(client: Any) -> None:
    """Let a client of botocore leave pages unparsed. Twice is once."""
    if client not in _clients:
        for event in _EVENTS:
            client.meta.events.register_first(event, _leave_unparsed)
        _clients.add(client)


def _leave_unparsed(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Answers that are errors by their status are left to botocore."""
    if _asked.get() and response_dict["status_code"] == 200:
        customized_response_dict[RAW] = response_dict["body"]
        response_dict["body"] = b""
