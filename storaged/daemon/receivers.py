"""Telling receivers: a POST of JSON, signed; text as Slack takes it; a mail. One try each, with a bound in time for all
of it.

The signature is `Storaged-Signature: t=SECONDS,v1=HEX`: HMAC-SHA256, under the receiver's secret, of the seconds since
1970 in decimal, a dot, and the body. Who checks it refuses what is older than some minutes, or was seen before: the
same `Storaged-Notice` may come twice.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import smtplib
import socket
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from email.utils import format_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from storaged.catalog import notices
from storaged.catalog.notices import Delivery
from storaged.clock import SECOND, iso, to_datetime
from storaged.config.notify import ReceiverSettings
from storaged.config.secrets import secret
from storaged.daemon import events
from storaged.daemon.deadline import Deadline
from storaged.daemon.events import Tell
from storaged.errors import StoragedError, UsageError
from storaged.printable import printable
from storaged.work.context import Context

TIMEOUT_S: Final = 5.0  # for each step on the way
WHOLE_S: Final = 30.0  # for all steps of a try: another daemon takes it for lost after CLAIM_US
_LATE: Final = f"it was not done after {WHOLE_S:.0f} s"
_ANSWER: Final = 200  # bytes of an answer that are told
_WORD: Final = re.compile("[a-z_]{1,40}")  # as Slack says what is wrong: no_service


def send(receiver: ReceiverSettings, told: Delivery, environ: Mapping[str, str], now_us: int) -> str | None:
    """One try. Returns why it failed, in words without secrets; None: it was taken."""
    try:
        if receiver.format == "mail":
            return _mail(receiver, told, environ, now_us)
        return _post(receiver, told, environ, now_us)
    except StoragedError as error:
        return error.message


def deliver(context: Context, environ: Mapping[str, str], tell: Tell) -> bool:
    """Take the delivery that is due longest and try it once. Whether there was one. Raises CatalogError."""
    with context.catalog.read() as conn:  # a look alone keeps no writer waiting
        if not notices.is_due(conn, context.now_us()):
            return False
    with context.catalog.begin() as conn:
        told = notices.take(conn, context.now_us())
    if told is None:
        return False
    receiver = next((r for r in context.settings.notify if r.name == told.receiver), None)
    gone = "it does not stand in `notify` any more"
    error = gone if receiver is None else send(receiver, told, environ, context.now_us())
    with context.catalog.begin() as conn:
        notices.end(conn, told, error, context.now_us(), last=receiver is None)
    if error is not None:
        last = receiver is None or told.tries >= notices.TRIES
        tell(events.Undelivered(told.receiver, told.notice.subject, error, told.tries, last))
    return True


def document(told: Delivery) -> dict[str, Any]:
    """What a receiver of JSON gets."""
    n = told.notice
    facts = {"version": 1, "id": told.id, "kind": n.kind, "about": n.about, "subject": n.subject, "text": n.text}
    return {**facts, "since": iso(told.since_us), "over": iso(told.over_us)}


def signature(key: str, body: bytes, now_us: int) -> str:
    """The value of `Storaged-Signature`."""
    seconds = now_us // SECOND
    made = hmac.new(key.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={made}"


def _post(receiver: ReceiverSettings, told: Delivery, environ: Mapping[str, str], now_us: int) -> str | None:
    passed = secret(receiver.secret_name("URL"), environ)
    url = receiver.url or (passed.get_secret_value().strip() if passed else None)
    if url is None:
        name = f"STORAGED_{receiver.secret_name('URL')}"
        raise UsageError(f"receiver {receiver.name} has no url", hint=f"`url` in storaged.yaml, or ${name}")
    if passed and not re.match("https?://[^/?#]", url):
        raise UsageError(f"the secret URL of receiver {receiver.name} is none of http or https")
    what = {"text": _slack(told)} if receiver.format == "slack" else document(told)
    body = json.dumps(what).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "storaged", "Storaged-Notice": str(told.id)}
    if key := secret(receiver.secret_name("SECRET"), environ):
        headers["Storaged-Signature"] = signature(key.get_secret_value(), body, now_us)
    with Deadline(WHOLE_S, step_s=TIMEOUT_S) as deadline:
        try:
            status, said = _answered(deadline, urlsplit(url), body, headers)
        except (HTTPException, OSError, ValueError) as error:
            return _LATE if deadline.over else _cause(error)  # without the URL, which may be a secret
    if 200 <= status < 300:
        return None
    words = printable(said.decode("utf-8", "replace")).strip()
    if receiver.url is None and (words in url or not _WORD.fullmatch(words)):
        words = ""  # many servers say what was asked for, which is a secret here
    return f"{status}: {words}".removesuffix(": ")


def _answered(deadline: Deadline, url: SplitResult, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Status and begin of the answer to a POST. Redirects are not followed, and no proxy is asked."""
    host, tls = url.hostname or "", url.scheme == "https"
    port = url.port or (443 if tls else 80)
    connection: HTTPConnection
    connection = HTTPSConnection(host, port) if tls else HTTPConnection(host, port)
    try:
        made = deadline.connect(host, port)
        connection.sock = ssl.create_default_context().wrap_socket(made, server_hostname=host) if tls else made
        target = url._replace(scheme="", netloc="", path=url.path or "/", fragment="").geturl()
        connection.request("POST", target, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(_ANSWER)
    finally:
        connection.close()


def _cause(error: Exception) -> str:
    name = type(error).__name__
    return f"{name}: {error.strerror}" if isinstance(error, OSError) and error.strerror else name


def _slack(told: Delivery) -> str:
    """Slack's own escapes: nothing in it is a link, a mention or a channel."""
    text = f"{told.notice.subject}\n{told.notice.text}"
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _mail(receiver: ReceiverSettings, told: Delivery, environ: Mapping[str, str], now_us: int) -> str | None:
    message = EmailMessage()
    message["Subject"] = f"storaged: {printable(told.notice.subject)}"
    message["From"], message["To"] = receiver.sender, ", ".join(receiver.to)
    message["Date"] = format_datetime(to_datetime(now_us))
    message["Message-ID"] = f"<storaged.{told.id}.{told.since_us}@{str(receiver.sender).partition('@')[2]}>"
    over = f"\nOver since {iso(told.over_us)}.\n" if told.over_us else ""
    message.set_content(f"{told.notice.text}\n\nSince {iso(told.since_us)}.\n{over}")
    host, _, port = str(receiver.server).rpartition(":")
    with Deadline(WHOLE_S, step_s=TIMEOUT_S) as deadline:
        try:
            _mailed(deadline, receiver, host.strip("[]"), int(port), message, environ)
        except UnicodeError as error:
            return type(error).__name__  # its words have a part of what was sent, which may be the password
        except (smtplib.SMTPException, OSError, ValueError) as error:
            return _LATE if deadline.over else f"{type(error).__name__}: {printable(str(error))[:_ANSWER]}"
    return None


class _Mailing(smtplib.SMTP):
    """A connection to a mail server that ends at a deadline."""

    def __init__(self, deadline: Deadline, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._deadline, self._tls = deadline, tls
        super().__init__(host, port, timeout=TIMEOUT_S)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:  # as SMTP_SSL makes its own
        made = self._deadline.connect(host, port)
        return made if self._tls is None else self._tls.wrap_socket(made, server_hostname=host)


def _mailed(
    deadline: Deadline,
    receiver: ReceiverSettings,
    host: str,
    port: int,
    message: EmailMessage,
    environ: Mapping[str, str],
) -> None:
    context = ssl.create_default_context()
    with _Mailing(deadline, host, port, context if receiver.security == "tls" else None) as server:
        if receiver.security == "starttls":
            server.starttls(context=context)
        if receiver.user is not None:
            password = secret(receiver.secret_name("PASSWORD"), environ)
            server.login(receiver.user, password.get_secret_value() if password else "")
        server.send_message(message)
