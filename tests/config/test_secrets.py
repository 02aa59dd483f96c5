"""Secrets: where they are looked for, and that none is ever shown."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from storaged.config.secrets import catalog_url, secret
from storaged.config.settings import Settings, load_settings
from storaged.errors import ConfigError, UsageError

ODD = "p@ss/w:rd %41 é"  # every character that URLs mind


def settings_with(path: Path, catalog: str) -> Settings:
    """Settings with this catalog."""
    file = path / "storaged.yaml"
    file.write_text(f"catalog: {catalog}\ntiers: {{hot: {{rank: 0, url: 'memory://x'}}}}\n")
    return load_settings(file)


def test_a_secret_comes_from_the_environment_a_file_or_systemd_in_that_order(tmp_path: Path) -> None:
    """The first place that has it wins; an empty variable has none."""
    (tmp_path / "file").write_text("from file\n")
    (tmp_path / "storaged.catalog_password").write_text("from systemd")
    environ = {
        "STORAGED_CATALOG_PASSWORD": "from environment",
        "STORAGED_CATALOG_PASSWORD_FILE": str(tmp_path / "file"),
        "CREDENTIALS_DIRECTORY": str(tmp_path),
    }
    found = []
    for name in list(environ):
        value = secret("CATALOG_PASSWORD", environ)
        assert value is not None
        found.append(value.get_secret_value())
        environ[name] = ""
    assert found == ["from environment", "from file", "from systemd"]
    assert secret("CATALOG_PASSWORD", environ) is None
    assert secret("OTHER", {"CREDENTIALS_DIRECTORY": str(tmp_path)}) is None


@pytest.mark.parametrize(("content", "value"), [(b"x\n", "x"), (b"x\r\n", "x"), (b"x", "x"), (b" x \n\n", " x \n")])
def test_one_line_break_at_the_end_of_a_file_is_no_part_of_the_secret(
    tmp_path: Path, content: bytes, value: str
) -> None:
    """Editors add one; anything else may be meant."""
    (tmp_path / "file").write_bytes(content)
    found = secret("X", {"STORAGED_X_FILE": str(tmp_path / "file")})
    assert found is not None
    assert found.get_secret_value() == value


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), (b"\n", "is empty"), (b"hunter2\xff", "not UTF-8"), (b"hunter2" * 10_000, "too long")],
)
def test_a_file_without_a_secret_is_refused_without_showing_it(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    """A file that was named must hold one: silence would send an empty password."""
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        secret("X", {"STORAGED_X_FILE": str(tmp_path / "file")})
    assert "STORAGED_X_FILE" in str(caught.value)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_secret_shows_itself_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """Not in str, repr, format, logs, or in something that holds it."""
    value = secret("X", {"STORAGED_X": ODD})
    logging.getLogger("test").warning("%s %r", value, value)
    shown = f"{value} {value!r} {value!s} {[value]} {caplog.text}"
    assert ODD not in shown
    assert ODD not in shown.encode().decode("unicode_escape")


def test_the_catalog_url_gets_its_password_only_on_the_way_to_the_database(tmp_path: Path) -> None:
    """Settings never hold it, whatever characters it has; without one libpq's own ways apply."""
    loaded = settings_with(tmp_path, "postgresql://user@host/lake")
    url = make_url(catalog_url(loaded, {"STORAGED_CATALOG_PASSWORD": ODD}))
    assert (url.password, url.username, url.host, url.database) == (ODD, "user", "host", "lake")
    assert ODD not in repr(loaded)
    assert loaded.catalog == "postgresql://user@host/lake"
    assert catalog_url(loaded, {"PGPASSWORD": "x"}) == "postgresql://user@host/lake"


def test_an_sqlite_catalog_takes_no_password(tmp_path: Path) -> None:
    """A secret meant for another catalog stays out of a file's URL."""
    loaded = settings_with(tmp_path, "sqlite:///a.db")
    assert catalog_url(loaded, {"STORAGED_CATALOG_PASSWORD": ODD}) == f"sqlite:///{tmp_path}/a.db"


@pytest.mark.parametrize(
    "text",
    [
        "catalog: postgresql://u:hunter2@h/d\n",
        "catalog: postgresql://h/d?password=hunter2\n",
        "catalog: 'host=h password=hunter2'\n",
        "catalog: {url: x, password: hunter2}\n",
        "password: hunter2\n",
        "tiers: {t: {rank: 0, url: 's3://key:hunter2@b'}}\n",
        "tiers: {t: {rank: 0, url: ' S3://key:hunter2@b'}}\n",
        "datasets: {d: {root: 'sftp://u:hunter2@h/x', secret: hunter2}}\n",
    ],
)
def test_a_password_in_the_file_is_refused_and_never_repeated(tmp_path: Path, text: str) -> None:
    """Neither the problems nor a traceback show it."""
    file = tmp_path / "storaged.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings(file)
    told = "".join(map(str, caught.value.problems)) + "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in told
