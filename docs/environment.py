"""What of the environment storaged reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ENVIRONMENT: Final[Mapping[str, str]] = {
    "STORAGED_CONFIG": "Path of storaged.yaml, where `--config` does not give one.",
    "STORAGED_CATALOG_PASSWORD": "Password of a Postgres catalog. Without it libpq's own ways apply (`~/.pgpass`).",
    "STORAGED_CATALOG_PASSWORD_FILE": "A file that holds it. Or: the systemd credential `storaged.catalog_password`.",
    "STORAGED_DAEMON_TOKEN": "Instead of `daemon.token_file`. Or: the systemd credential `storaged.daemon_token`.",
    "STORAGED_APPROVER_NAME_TOKEN": "The approver NAME's token. As a file or credential too, as all that follow.",
    "STORAGED_NOTIFY_NAME_SECRET": "Signs what the receiver NAME is sent.",
    "STORAGED_NOTIFY_NAME_URL": "Its URL, where that is a secret itself.",
    "STORAGED_NOTIFY_NAME_PASSWORD": "The password of its mail user.",
    "STORAGED_DEBUG": "When set, a fault in storaged itself (exit code 70) shows its traceback.",
    "NO_COLOR": "When set, no colours, as with `--no-color`.",
}
