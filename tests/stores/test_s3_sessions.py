"""What sessions of S3 have in common, and what each has for itself."""

from __future__ import annotations

from typing import Any

from botocore.session import Session

from storaged.stores.s3.session import _session

CLIENT = "creating-client-class.s3"


def answers(session: Session, event: str, **told: Any) -> list[Any]:
    """Who answers an event, in their order."""
    return [handler for handler, _ in session.get_component("event_emitter").emit(event, **told)]


def test_a_session_answers_as_one_of_botocores_own() -> None:
    asked: dict[str, Any] = {"class_attributes": {}, "base_classes": []}
    own = answers(Session(), CLIENT, **asked)
    assert own
    assert answers(_session(None), CLIENT, **asked) == own


def test_what_one_session_is_told_no_other_hears() -> None:
    one, before = _session(None), _session(None)
    one.register("ours", answers_nothing)
    assert answers(one, "ours") == [answers_nothing]
    assert answers(before, "ours") == answers(_session(None), "ours") == []


def answers_nothing(**_: Any) -> None:
    """A handler."""
