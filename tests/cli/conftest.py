"""What the tests of the command line share: a lake to work on, and golden files beside the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.lake import Lake

GOLDEN = Path(__file__).parent / "golden"
Golden = Callable[[str, str], None]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the tester's own settings reaches a command."""
    for name in ("STORAGED_CONFIG", "STORAGED_DEBUG", "STORAGED_CATALOG_PASSWORD", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake without files and without a catalog."""
    place = tmp_path / "place"
    place.mkdir()
    return Lake(place)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compares text with a golden file, or writes it when asked to (--update-golden)."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / f"{name}.txt"
        if request.config.getoption("--update-golden"):
            path.write_text(text)
        assert path.is_file(), f"{path} is missing: run with --update-golden and read what it wrote"
        assert text == path.read_text()

    return compare
