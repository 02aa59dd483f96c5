"""Secrets taken out of what is said: in URLs, in what clients of stores and databases tell, and those that we know.

It errs on the side of hiding: a message that lost a harmless word can still be read.
"""

from __future__ import annotations

import os
import re
from typing import Final
from urllib.parse import quote, unquote

MASK: Final = "***"

_SHORTEST: Final = 6  # characters: hiding every "a" of a message because a password is "a" would tell it
_ENVIRONMENT: Final = (
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "PGPASSWORD",
    "STORAGED_CATALOG_PASSWORD",
)
_known: Final[set[str]] = set()

# What the rules below go by. A known secret that is a part of one is hidden only after they have looked.
_WORDS: Final = tuple(
    name.replace("_", between)
    for name in (
        *(
            "password",
            "passwort",
            "passwd",
            "passphrase",
            "secret_access_key",
            "client_secret",
            "api_key",
            "account_key",
        ),
        *("session_token", "security_token", "access_token", "refresh_token", "auth_token", "shared_key"),
        *("signatureprovided", "x_amz_credential", "x_goog_credential", "awsaccesskeyid", "googleaccessid"),
        *("authorization", "bearer", "basic", "-----begin private key-----"),
    )
    for between in ("_", "-", "")
)
_NAME: Final = (
    r"[\w.-]*(?:passwor[dt]|passwd|passphrase|secret[_-]?access[_-]?key|(?:session|security|access|refresh|id|auth)"
    r"[_-]?token|client[_-]?secret|api[_-]?key|account[_-]?key|shared[_-]?key|signature|signatureprovided|x-amz-credential)"
)
_QUERY: Final = rf"{_NAME}|sig|pwd|secret|token|awsaccesskeyid|googleaccessid|x-goog-credential"
# a quoted value keeps its quotes, so that JSON stays JSON
_VALUE: Final = r"""(?P<q>\\*["'])(?:\\.|(?!(?P=q)).)*?(?P=q)|\*\*\*|[^\s,;&'"<>\\]+"""
_RULES: Final = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), becomes)
    for pattern, becomes in (
        # user:password@ (the password may hold a slash, what is only a port is none), and a lone token for web servers
        (r"(//[^\s/'\"<>@:]*:)(?!\d+(?:[/\s'\"),]|$))[^\s'\"<>]*@", rf"\1{MASK}@"),
        (r"((?:https?|s3|gs)://)[^\s/'\"<>@:]+@", rf"\1{MASK}@"),
        (rf"([?&;](?:{_QUERY})=)[^&\s'\"<>#\\]*", rf"\1{MASK}"),
        (rf"(\b(?:{_NAME})\\*[\"']?\s*(?:=|:\s|:(?=[\\\"']))\s*)(?:{_VALUE})", rf"\1\g<q>{MASK}\g<q>"),
        (rf"(<({_NAME})>)[^<]*", rf"\1{MASK}"),
        (r"(\bauthorization[\"']?\s*[:=]\s*[\"']?)[^\r\n\"']+", rf"\1{MASK}"),
        (r"(\b(?:bearer|basic)\s+)[\w+/=.~-]{8,}", rf"\1{MASK}"),
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", MASK),
    )
)
_SUSPECT: Final = re.compile(r"[@=<:]|bearer|basic|-----", re.IGNORECASE)  # without one of these no rule finds anything


def remember(secret: str) -> None:
    """Hide this text from now on, wherever it turns up."""
    if len(secret) >= _SHORTEST:
        _known.update((secret, quote(secret, safe=""), repr(secret)[1:-1]))


def masked(text: str) -> str:
    """The text without the secrets in it. Twice is once."""
    for name in _ENVIRONMENT:
        remember(os.environ.get(name, ""))
    known = sorted(_known, key=len, reverse=True)
    words = [secret for secret in known if any(secret.lower() in word for word in _WORDS)]
    for secret in known:
        if secret not in words:
            text = text.replace(secret, MASK)
    if _SUSPECT.search(text):
        for rule, becomes in _RULES:
            text = rule.sub(becomes, text)
    for secret in words:
        text = text.replace(secret, MASK)
    return text


def carries_secret(url: str) -> bool:
    """Whether a URL, or what was meant as one, names a user, a password or a signature; percent-encoded ones too."""
    for text in (url, unquote(url)):
        start, found, rest = text.partition("//")
        authority = rest.partition("/")[0] if found else text.partition("/")[0]
        if "@" in authority and (found or ":" in start):
            return True
        if masked(text) != text:
            return True
    return False
