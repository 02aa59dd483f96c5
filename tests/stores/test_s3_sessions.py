"""What sessions of S3 have in common, and what each has for itself."""

from __future__ import annotations

import asyncio
from typing import Any

from aiobotocore.session import AioSession

from storaged.stores.s3.session import _session

CLIENT = "creating-client-class.s3"


def answers(session: AioSession, event: str, **told: Any) -> list[Any]:
    """Who answers an event, in their order."""

    async def ask() -> list[tuple[Any, Any]]:
        found: list[tuple[Any, Any]] = await session.get_component("event_emitter").emit(event, **told)
        return found

    return [handler for handler, _ in asyncio.run(ask())]


def test_a_session_answers_as_one_of_botocores_own() -> None:
    asked: dict[str, Any] = {"class_attributes": {}, "base_classes": []}
    own = answers(AioSession(), CLIENT, **asked)
    assert own
    assert answers(_session(None), CLIENT, **asked) == own


def test_what_one_session_is_told_no_other_hears() -> None:
    one, before = _session(None), _session(None)
    one.register("ours", answers_nothing)
    assert answers(one, "ours") == [answers_nothing]
    assert answers(before, "ours") == answers(_session(None), "ours") == []


def answers_nothing(**_: Any) -> None:
    """A handler."""
