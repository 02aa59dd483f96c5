"""A test that hangs ends no run, even where it lets no other thread of its process run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).parents[1]
TESTS = """\
import ctypes


def test_one_that_hangs_and_keeps_the_gil():
    held = ctypes.create_string_buffer(64)
    for _ in range(2):  # no signal ends the second one
        ctypes.PyDLL(None).pthread_mutex_lock(held)


def test_another():
    pass
"""


def test_one_that_keeps_the_gil_is_told_with_its_stack_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_some.py").write_text(TESTS)
    options = ["-n", "1", "--dist", "worksteal", "--timeout", "1", "-p", "no:randomly", "-p", "tests.watchdog"]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--rootdir", tmp_path, tmp_path],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    assert "1 failed, 1 passed" in run.stdout
    assert "crashed while running" in run.stdout
    assert "test_some.py::test_one_that_hangs_and_keeps_the_gil" in run.stdout
    assert 'test_some.py", line 7 in test_one_that_hangs' in run.stderr
