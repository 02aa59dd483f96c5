"""Secrets come from the environment, from files that it names, or from systemd; never from storaged.yaml."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

from pydantic import SecretStr
from sqlalchemy.engine import make_url

from storaged.config.settings import Settings
from storaged.errors import UsageError
from storaged.masking import remember

Secret: TypeAlias = SecretStr  # shows itself nowhere; `get_secret_value()` is the way in

_MAX_BYTES: Final = 64 * 1024


def secret(name: str, environ: Mapping[str, str]) -> Secret | None:
    """$STORAGED_<NAME>, else the file named in $STORAGED_<NAME>_FILE, else the systemd credential `storaged.<name>`.

    One line break at the end of a file is dropped. An empty variable counts as none. Raises UsageError where a file
    that should hold a secret holds none.
    """
    if value := environ.get(f"STORAGED_{name}"):
        remember(value)
        return Secret(value)
    if named := environ.get(f"STORAGED_{name}_FILE"):
        return _from_file(Path(named), f"$STORAGED_{name}_FILE names")
    if directory := environ.get("CREDENTIALS_DIRECTORY"):
        credential = Path(directory) / f"storaged.{name.lower()}"
        if os.path.lexists(credential):
            return _from_file(credential, "systemd passes")
    return None


def _from_file(path: Path, origin: str) -> Secret:
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"the secret that {origin} cannot be read: {path}: {error.strerror}") from error
    if len(raw) > _MAX_BYTES:
        raise UsageError(f"the secret that {origin} is too long: {path}", hint="is this the right file?")
    try:
        value = raw.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:  # not chained: the error holds the bytes
        raise UsageError(f"the secret that {origin} is not UTF-8 text: {path}") from None
    if not value:
        raise UsageError(f"the secret that {origin} is empty: {path}")
    remember(value)
    return Secret(value)


def catalog_url(settings: Settings, environ: Mapping[str, str]) -> str:
    """The catalog's URL with its password, for opening the catalog and nothing else: never show it.

    Without a password of ours libpq's own ways (PGPASSWORD, ~/.pgpass) apply. Raises UsageError as `secret` does.
    """
    url = make_url(settings.catalog)
    password = None if url.drivername == "sqlite" else secret("CATALOG_PASSWORD", environ)
    if password is None:
        return settings.catalog
    return url.set(password=password.get_secret_value()).render_as_string(hide_password=False)
