"""What a commit runs of a file on both databases, and what it leaves to `make campaign`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
MARKS = "\n".join(("[pytest]", "markers =", *(f"    {name}" for name in ("campaign", "every", "on_both", "on_sqlite"))))
TESTS = """\
import pytest

BOTH = pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
CASES = pytest.mark.parametrize("case", range(4))


@BOTH
@CASES
def test_a(dialect, case): pass


@BOTH
@pytest.mark.on_sqlite
def test_b(dialect): pass


@BOTH
@pytest.mark.on_both
@CASES
def test_c(dialect, case): pass


@BOTH
def test_d(dialect): pass


@BOTH
def test_e(dialect): pass


@BOTH
@CASES
def test_f(dialect, case): pass


@pytest.mark.parametrize("dialect", ["postgres"])
def test_g(dialect): pass


@pytest.mark.every(3)
@CASES
def test_h(case): pass


@pytest.mark.campaign
def test_i(): pass


class Contract:
    def test_k(self): pass

    @pytest.mark.parametrize("case", range(3))
    def test_l(self, case): pass


class TestWhole(Contract): pass


@pytest.mark.every(2)
class TestOne(Contract): pass


@pytest.mark.every(2)
class TestOther(Contract): pass
"""
EACH = [f"{n}-sqlite" for n in range(4)]
COMMIT = {
    "a": [*EACH, "0-postgres"],
    "b": ["sqlite"],
    "c": [*EACH, *(f"{n}-postgres" for n in range(4))],
    "d": ["sqlite"],
    "e": ["sqlite"],
    "f": [*EACH, "1-postgres"],
    "g": ["postgres"],
    "h": ["1"],
}
OF_CLASSES = {
    *("TestWhole::test_k", *(f"TestWhole::test_l[{n}]" for n in range(3))),
    *("TestOne::test_k", "TestOne::test_l[1]", "TestOther::test_l[0]", "TestOther::test_l[2]"),
}


@pytest.mark.parametrize("long", [False, True])
def test_a_commit_leaves_to_the_campaign_what_it_says(long: bool, tmp_path: Path) -> None:
    """The campaign runs everything."""
    (tmp_path / "pytest.ini").write_text(MARKS)
    (tmp_path / "test_some.py").write_text(TESTS)
    environment = {name: value for name, value in os.environ.items() if name != "STORAGED_LONG"}
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--collect-only",
            "-q",
            "-p",
            "tests.thinning",
            "--rootdir",
            tmp_path,
            tmp_path,
        ],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
        env=environment | ({"STORAGED_LONG": "1"} if long else {}),
    )
    found = {line.partition("::")[2] for line in run.stdout.splitlines() if "::" in line}
    if long:
        assert "48 tests collected" in run.stdout, run.stdout + run.stderr
        assert len(found) == 48
    else:
        assert found == {f"test_{name}[{case}]" for name, cases in COMMIT.items() for case in cases} | OF_CLASSES
