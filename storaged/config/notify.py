"""The `notify:` section of storaged.yaml: who is told of what. Secrets are elsewhere, see storaged.config.secrets."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from storaged.config.fields import Name, Text
from storaged.config.quantities import BadValueError, shown
from storaged.config.sections import Section
from storaged.config.urls import EndpointUrl

NoticeKind = Literal["plan", "suspended", "damage", "full", "quiet"]
ReceiverFormat = Literal["json", "slack", "mail"]


def _server(text: str) -> str:
    if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+):[0-9]{1,5}", text):
        raise BadValueError(f"{shown(text)} is no mail server", hint="host:port, such as mail.example.org:587")
    return text


def _address(text: str) -> str:
    if not re.fullmatch(r"[^\s@<>,;:\"()\[\]\\]+@[\w.-]+", text):
        raise BadValueError(f"{shown(text)} is no address", hint="such as ann@example.org, without a name before it")
    return text


Address = Annotated[str, AfterValidator(_address)]


class ReceiverSettings(Section):
    """Somebody who is told. Its secrets come from the environment, NAME in upper case with _ for what is no letter or
    digit: STORAGED_NOTIFY_NAME_SECRET signs, STORAGED_NOTIFY_NAME_URL is the URL, where that is a secret itself, and
    STORAGED_NOTIFY_NAME_PASSWORD is the mail user's password; each also as a file (_FILE) or systemd credential."""

    name: Name = Field(description="Its name in messages and in the catalog.")
    format: ReceiverFormat = Field(
        default="json",
        description="json: a POST of a JSON document. slack: a POST as Slack and what is compatible take it. mail.",
    )
    on: list[NoticeKind] = Field(
        default=["plan", "suspended", "damage", "full", "quiet"],
        min_length=1,
        description="What it is told of: a plan waits for somebody to apply it; something is suspended; verify found "
        "damage; a tier is above its high mark; a log tells nothing any more.",
    )
    url: EndpointUrl | None = Field(
        default=None, description="Where json and slack go. Left out: the secret STORAGED_NOTIFY_NAME_URL."
    )
    server: Annotated[str, AfterValidator(_server)] | None = Field(
        default=None, description="The mail server, such as mail.example.org:587."
    )
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls", description="How the way to the mail server is kept secret. With none no password is sent."
    )
    user: Text | None = Field(default=None, description="Whom the mail server knows. Left out: nobody in particular.")
    sender: Address | None = Field(default=None, description="Whom mails come from.")
    to: list[Address] = Field(default=[], description="Whom mails go to.")

    @model_validator(mode="after")
    def _reached(self) -> Self:
        if self.format == "mail":
            if self.url is not None or self.server is None or self.sender is None or not self.to:
                raise BadValueError("a mail needs `server`, `sender` and `to`, and no `url`")
            if self.user is not None and self.security == "none":
                raise BadValueError("a password would be sent in the clear", hint="security: starttls, or no user")
        elif self.server is not None or self.sender is not None or self.to or self.user is not None:
            raise BadValueError("`server`, `user`, `sender` and `to` are for mails", hint="format: mail, or a `url`")
        return self

    def secret_name(self, what: str) -> str:
        """How storaged.config.secrets calls a secret of it."""
        return f"NOTIFY_{re.sub('[^A-Z0-9]', '_', self.name.upper())}_{what}"
