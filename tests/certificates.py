"""Which certificates are trusted is read once in a process of tests, rather than once for each of its thousands of
sessions on S3: 26 ms of CPU each time."""

from __future__ import annotations

import functools
import ssl
from typing import Any


def share() -> None:
    """From here on all of aiobotocore's sessions in this process that trust the same have one TLS context."""
    from aiobotocore.httpsession import AIOHTTPSession  # half a second, for those who need no S3

    build = AIOHTTPSession._build_verify_context
    kept: dict[Any, ssl.SSLContext] = {}

    @functools.wraps(build)
    def shared(session: Any) -> ssl.SSLContext:
        if session._verify not in kept:
            kept[session._verify] = build(session)
        return kept[session._verify]

    AIOHTTPSession._build_verify_context = shared
