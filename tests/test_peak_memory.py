"""What tests of memory measure is the program's own."""

from __future__ import annotations

import subprocess
import sys

_LARGE = """
import subprocess, sys
ballast = b"x" * (300 << 20)
subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
"""
_SMALL = "from storaged.testing.memory import peak_bytes; print(peak_bytes())"
_GROWN = "from storaged.testing.memory import peak_bytes; b'x' * (100 << 20); print(peak_bytes())"


def peak(program: str) -> int:
    return int(subprocess.run([sys.executable, "-c", _LARGE, program], stdout=subprocess.PIPE, check=True).stdout)


def test_the_peak_of_a_program_is_not_that_of_what_started_it() -> None:
    small = peak(_SMALL)
    assert 0 < small < 300 << 20
    assert peak(_GROWN) > small + (50 << 20)
