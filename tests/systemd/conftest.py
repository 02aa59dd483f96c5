"""What the tests of the units share: systemd's own tool, and golden files."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.lake import Lake

GOLDEN = Path(__file__).parent / "golden"
Analyze = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def analyze(tmp_path: Path) -> Analyze:
    """Runs systemd-analyze as nobody's manager. Where it is missing the test is skipped, and says so."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: the units are not checked by systemd itself")
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)

    def run(*arguments: str | Path, debug: bool = False) -> subprocess.CompletedProcess[str]:
        level = {"SYSTEMD_LOG_LEVEL": "debug"} if debug else {}
        env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "XDG_RUNTIME_DIR": str(runtime), **level}
        return subprocess.run(
            ["systemd-analyze", *arguments], env=env, capture_output=True, text=True, timeout=60, check=False
        )

    return run


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake without files and without a catalog."""
    place = tmp_path / "place"
    place.mkdir()
    return Lake(place)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares text with a golden file, or writes it when asked to (--update-golden)."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert path.is_file(), f"{path} is missing: run with --update-golden and read what it wrote"
        assert text == path.read_text()

    return compare
