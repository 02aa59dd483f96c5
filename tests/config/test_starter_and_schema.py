"""The starter that `init` writes, the JSON Schema for editors, and where the file is looked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from storaged.config.settings import find_config, load_settings, settings_schema
from storaged.config.starter import starter_text
from storaged.errors import UsageError
from tests.config.lake import write


def test_the_starter_loads_as_it_is(tmp_path: Path) -> None:
    """Three local tiers, one dataset, and limits."""
    loaded = load_settings(write(tmp_path, starter_text()))
    assert sorted(loaded.tiers, key=lambda name: loaded.tiers[name].rank) == ["hot", "warm", "cold"]
    assert loaded.hottest == "hot"
    assert list(loaded.datasets) == ["example"]
    assert loaded.limits.max_percent == 0.2


def test_what_the_starter_has_in_comments_loads_too(tmp_path: Path) -> None:
    """Uncommenting an example never breaks the file."""
    options = re.sub(
        r"(?m)^( *)# (?=(capacity|partitions|pin|hold|heat|  - name|    (format|path|since)):)", r"\1", starter_text()
    )
    loaded = load_settings(write(tmp_path, options))
    assert loaded.tiers["cold"].capacity is not None
    assert loaded.datasets["example"].pin == "hot"
    assert loaded.datasets["example"].hold == "case 2026-17"
    assert loaded.datasets["example"].partitions == "dt={dt}/hour={hour}"
    assert [source.name for source in loaded.heat] == ["reads"]


def _properties(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, section in {"Settings": schema, **schema["$defs"]}.items():
        for key, value in section.get("properties", {}).items():
            yield f"{name}.{key}", value


def test_every_field_of_the_schema_has_a_description() -> None:
    """Editors show it while one types."""
    undescribed = [name for name, value in _properties(settings_schema()) if not value.get("description")]
    assert undescribed == []
    assert len(list(_properties(settings_schema()))) > 35
    json.dumps(settings_schema())


def test_defaults_in_the_schema_are_as_people_write_them() -> None:
    """A default that an editor fills in must be read as the same value."""
    defaults = {name: value["default"] for name, value in _properties(settings_schema()) if "default" in value}
    assert defaults["Settings.grace"] == "7d"
    assert defaults["WorkerSettings.batch_bytes"] == "256MiB"
    assert defaults["WorkerSettings.lease"] == "60s"
    assert "DatasetSettings.tier" not in defaults


def test_the_configuration_is_found_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As named, then the environment, then here, then the home directory."""
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "home/.config/storaged/storaged.yaml"
    home.parent.mkdir(parents=True)
    for file in (home, tmp_path / "named.yaml", tmp_path / "env.yaml", tmp_path / "storaged.yaml"):
        file.touch()
    environ = {"STORAGED_CONFIG": str(tmp_path / "env.yaml"), "HOME": str(tmp_path / "home")}
    assert find_config(tmp_path / "named.yaml", environ) == tmp_path / "named.yaml"
    assert find_config(None, environ) == tmp_path / "env.yaml"
    del environ["STORAGED_CONFIG"]
    assert find_config(None, environ) == Path("storaged.yaml")
    (tmp_path / "storaged.yaml").unlink()
    assert find_config(None, environ) == home


def test_a_configuration_that_is_nowhere_is_told_with_every_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it looked, and the command that writes one; what was named is not replaced by something else."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=re.escape(f"{tmp_path}/.config/storaged/storaged.yaml")) as caught:
        find_config(None, {"HOME": str(tmp_path)})
    assert "/etc/storaged/storaged.yaml" in caught.value.message
    assert "storagectl init" in str(caught.value.hint)
    (tmp_path / "storaged.yaml").touch()
    with pytest.raises(UsageError, match=re.escape("env.yaml")):
        find_config(None, {"STORAGED_CONFIG": "env.yaml"})
    with pytest.raises(UsageError, match=re.escape("named.yaml")):
        find_config(Path("named.yaml"), {})
