"""Faults that the S3 server of the tests injects as commanded: refusals, lost answers, cut and slow streams.

A fault waits for requests that match it (operation, key), lets the first `nth - 1` of them pass, befalls `times` of
them and is then over. `late` means that the request took effect and its answer was lost.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

RESET: Final = "Reset"  # the connection is reset, before or (late) after the effect
CUT: Final = "Cut"  # the answer ends in the middle of its body
STALL: Final = "Stall"  # nothing happens for `seconds`, then the request goes on
ERROR_IN_200: Final = (
    "ErrorIn200"  # status 200 and an <Error> as the body, as CompleteMultipartUpload and CopyObject do
)

# Codes of https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, and what full disks of others say.
STATUS: Final = {
    "AccessDenied": 403,
    "BadDigest": 400,
    "ConditionalRequestConflict": 409,
    "ExpiredToken": 400,
    "InsufficientStorage": 507,
    "InternalError": 500,
    "InvalidObjectState": 403,
    "NoSuchUpload": 404,
    "OperationAborted": 409,
    "PreconditionFailed": 412,
    "QuotaExceeded": 403,
    "RequestTimeTooSkewed": 403,
    "RequestTimeout": 400,
    "RestoreAlreadyInProgress": 409,
    "ServiceUnavailable": 503,
    "SlowDown": 503,
}
ANSWERS: Final = frozenset({RESET, CUT, STALL, ERROR_IN_200, *STATUS})


@dataclass
class ServerFault:
    """What befalls which requests. `operation` is S3's name of it, `key` is searched for as a regular expression in
    `bucket/key`; each matches all where it is empty. Raises ValueError for an answer that is unknown."""

    answer: str
    operation: str = ""
    key: str = ""
    nth: int = 1
    times: int = 1
    late: bool = False
    seconds: float = 0.0
    seen: int = field(default=0, kw_only=True)  # requests that matched
    fired: int = field(default=0, kw_only=True)  # requests that it befell

    def __post_init__(self) -> None:
        if self.answer not in ANSWERS:
            raise ValueError(f"no such answer: {self.answer!r}; there are {', '.join(sorted(ANSWERS))}")
        re.compile(self.key)

    def due(self, operation: str, name: str) -> bool:
        """Whether it befalls this request, which is counted."""
        if self.operation not in ("", operation) or not re.search(self.key, name, re.DOTALL):
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times


class FaultPlan:
    """The faults of one server, in order; the first that is due befalls a request. Not thread-safe."""

    def __init__(self) -> None:
        self.faults: list[ServerFault] = []

    def add(self, spec: dict[str, Any]) -> int:
        """Its number. Raises TypeError, ValueError, re.error for a spec that makes no sense."""
        self.faults.append(ServerFault(**spec))
        return len(self.faults) - 1

    def due(self, operation: str, name: str) -> ServerFault | None:
        """What befalls this request, if anything."""
        due = [fault for fault in self.faults if fault.due(operation, name)]  # each counts it
        if not due:
            return None
        due[0].fired += 1
        return due[0]


def error_xml(code: str, message: str, resource: str) -> bytes:
    """S3's body of an error."""
    from xml.sax.saxutils import escape

    text = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{escape(message)}</Message>'
        f"<Resource>{escape(resource)}</Resource><RequestId>4442587FB7D0A2F9</RequestId></Error>"
    )
    return text.encode("utf-8", "replace")
