"""What the tests of deciding share: a small configuration, a catalog that holds one of everything, golden files."""

from __future__ import annotations

from pathlib import Path

import pytest

from storaged.catalog.engine import Catalog
from storaged.config.settings import Settings, load_settings
from tests.decide.seeding import SETTINGS, seed

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The configuration that the seeded catalog belongs to."""
    file = tmp_path / "storaged.yaml"
    file.write_text(SETTINGS)
    return load_settings(file)


@pytest.fixture
def seeded(catalog: Catalog, settings: Settings) -> Catalog:
    """A catalog with objects in every state that the planner tells apart."""
    seed(catalog, settings)
    return catalog


class Golden:
    """Compares with a file beside the tests, or writes it when asked to."""

    def __init__(self, update: bool) -> None:
        self.update = update

    def check(self, name: str, text: str) -> None:
        """The text is what the file holds."""
        path = GOLDEN / name
        if self.update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
        assert path.is_file(), f"{path} is missing: run with --update-golden and read what it wrote"
        assert text == path.read_text("utf-8")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """The golden files."""
    return Golden(bool(request.config.getoption("--update-golden")))
