"""Telling receivers: a POST of JSON, signed; text as Slack takes it; a mail. One try each, with a bound in time.

The signature is `Storaged-Signature: t=SECONDS,v1=HEX`: HMAC-SHA256, under the receiver's secret, of the seconds since
1970 in decimal, a dot, and the body. Who checks it refuses what is older than some minutes, or was seen before: the
same `Storaged-Notice` may come twice.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import smtplib
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, Final

import urllib3

from storaged.catalog import notices
from storaged.catalog.notices import Delivery
from storaged.clock import SECOND, iso, to_datetime
from storaged.config.notify import ReceiverSettings
from storaged.config.secrets import secret
from storaged.daemon import events
from storaged.daemon.events import Tell
from storaged.errors import StoragedError, UsageError
from storaged.printable import printable
from storaged.work.context import Context

TIMEOUT_S: Final = 5.0  # for each step on the way
_ANSWER: Final = 200  # bytes of an answer that are told


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
    if passed and not url.startswith(("https://", "http://")):
        raise UsageError(f"the secret URL of receiver {receiver.name} is none of http or https")
    what = {"text": _slack(told)} if receiver.format == "slack" else document(told)
    body = json.dumps(what).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "storaged", "Storaged-Notice": str(told.id)}
    if key := secret(receiver.secret_name("SECRET"), environ):
        headers["Storaged-Signature"] = signature(key.get_secret_value(), body, now_us)
    try:
        with urllib3.PoolManager(timeout=TIMEOUT_S, retries=False) as pool:
            answer = pool.request("POST", url, body=body, headers=headers, redirect=False, preload_content=False)
            said = answer.read(_ANSWER)
            answer.close()
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        return _cause(error)  # without the URL, which may be a secret
    if 200 <= answer.status < 300:
        return None
    return f"{answer.status}: {printable(said.decode('utf-8', 'replace')).strip()}".removesuffix(": ")


def _cause(error: Exception) -> str:
    inner = error.args[-1] if isinstance(error, urllib3.exceptions.HTTPError) and error.args else error
    return (
        f"{type(error).__name__}: {inner.strerror}"
        if isinstance(inner, OSError) and inner.strerror
        else (type(error).__name__)
    )


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
    host, context = host.strip("[]"), ssl.create_default_context()
    try:
        if receiver.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, int(port), timeout=TIMEOUT_S, context=context)
        else:
            server = smtplib.SMTP(host, int(port), timeout=TIMEOUT_S)
        with server:
            if receiver.security == "starttls":
                server.starttls(context=context)
            if receiver.user is not None:
                password = secret(receiver.secret_name("PASSWORD"), environ)
                server.login(receiver.user, password.get_secret_value() if password else "")
            server.send_message(message)
    except (smtplib.SMTPException, OSError, ValueError) as error:
        return f"{type(error).__name__}: {printable(str(error))[:_ANSWER]}"
    return None
