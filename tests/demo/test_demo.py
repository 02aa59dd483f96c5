"""The demo as `make demo` runs it: a program of its own, with a small lake."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(1_200)  # two of them run all that the program can do
REPO = Path(__file__).parents[2]


def demo(*arguments: str, before: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "demo", *arguments],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=before,
    )


def number(pattern: str, text: str) -> int:
    found = re.search(pattern, text, re.MULTILINE)
    assert found is not None, f"no {pattern!r} in:\n{text[-3000:]}"
    return int(found[1].replace(",", ""))


@pytest.mark.parametrize(
    ("where", "left"),
    [
        pytest.param((), "a part of ", id="directories"),
        pytest.param(("--s3",), "the intents of ", id="buckets", marks=pytest.mark.campaign),
    ],
)
def test_small_demo_runs_to_its_summary_with_every_check_holding(
    tmp_path: Path, where: tuple[str, ...], left: str
) -> None:
    """All steps end well, every digest is compared, and what is not a terminal gets no colours."""
    ran = demo("--small", *where, "--lake", str(tmp_path / "lake"))
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr
    assert "failed" not in ran.stderr.lower()
    assert "\x1b" not in ran.stdout + ran.stderr
    steps = re.findall(r"^== \d+\. (.+)$", ran.stdout, re.MULTILINE)
    assert steps[0] == "A lake"
    assert steps[-1] == "Summary"
    assert len(steps) == 17
    assert f"killed; what it left: {left}" in ran.stdout
    files = number(r"^    ([\d,]+) files, .* digests are noted$", ran.stdout)
    assert files > 100
    assert number(r"^saved +(\d+) %: ", ran.stdout) > 50
    assert number(r"^checked +([\d,]+) SHA-256 digests against the originals, none differs", ran.stdout) > files
    assert number(r"^kept +([\d,]+) of [\d,]+ objects", ran.stdout) == files
    assert number(r"^time +(\d+) s; ", ran.stdout) > 0
    assert number(r"(\d+) checks hold", ran.stdout) == len(re.findall(r"^  ok  ", ran.stdout, re.MULTILINE))


def test_a_prepared_lake_waits_for_the_commands_of_the_tutorial(tmp_path: Path) -> None:
    """Data, configuration, policies and log are there, and no catalog; it cannot be asked for with buckets."""
    assert demo("--small", "--prepare", "--lake", str(tmp_path / "lake")).returncode == 0
    names = {p.name for p in (tmp_path / "lake").iterdir() if not p.name.startswith(".")}
    assert names == {"data", "logs", "policies", "storaged.yaml", "tiers"}
    assert demo("--prepare", "--s3", "--lake", str(tmp_path / "other")).returncode == 2


def test_a_directory_that_no_demo_made_is_left_alone(tmp_path: Path) -> None:
    """Only what a demo made is ever removed."""
    kept = tmp_path / "precious.txt"
    kept.write_text("mine")
    ran = demo("--lake", str(tmp_path))
    assert ran.returncode == 2
    assert "is not empty and no demo made it" in ran.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["precious.txt"]


def test_a_demo_that_cannot_go_on_says_why_and_exits_with_1(tmp_path: Path) -> None:
    """A file that cannot be written ends it with a sentence and a code that make and CI see; a rerun starts clean."""

    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    for _ in range(2):
        ran = demo("--small", "--lake", str(tmp_path / "lake"), before=small_files_only)
        assert ran.returncode == 1
        assert "the demo failed: " in ran.stdout
        assert "File too large" in ran.stdout
        assert "Traceback" not in ran.stderr
