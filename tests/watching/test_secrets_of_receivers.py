"""What a receiver answers, and what the way to it makes of a secret, tells nobody the secret."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from storaged.config.notify import ReceiverSettings
from storaged.daemon.receivers import send
from tests.watching.test_notices import DELIVERY, NOW, Hook, Mailbox, mail, served


@pytest.fixture
def hook() -> Iterator[Hook]:
    yield from served(Hook())


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    yield from served(Mailbox())


def test_an_answer_that_repeats_a_secret_url_is_not_told(hook: Hook) -> None:
    """As web servers do: Cannot POST /services/T0/SECRET. What Slack says of itself is."""
    environ = {"STORAGED_NOTIFY_OPS_URL": f"{hook.url}/secret_word"}
    for says, told in (("Cannot POST /hook/secret_word", ""), ("secret_wo", ""), ("no_service", ": no_service")):
        hook.answers, hook.says = [404], says
        assert send(ReceiverSettings(name="ops", format="slack"), DELIVERY, environ, NOW) == f"404{told}"


def test_a_password_that_cannot_be_sent_is_not_told(mailbox: Mailbox) -> None:
    receiver = mail(mailbox.server).model_copy(update={"user": "ann"})  # without TLS, which no configuration may say
    environ = {"STORAGED_NOTIFY_OPS_PASSWORD": "p\N{SNOWMAN}ss"}
    assert send(receiver, DELIVERY, environ, NOW) == "UnicodeEncodeError"
