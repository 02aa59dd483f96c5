"""What tests of memory measure is the program's own."""

from __future__ import annotations

import subprocess
import sys

from storaged.testing import memory

_LARGE = """
import subprocess, sys
ballast = b"x" * (300 << 20)
subprocess.run([sys.executable, "-c", sys.argv[1]], check=True)
"""
_SMALL = f"import {memory.__name__} as memory; print(memory.peak_bytes())"
_GROWN = f"import {memory.__name__} as memory; b'x' * (100 << 20); print(memory.peak_bytes())"


def peak(program: str) -> int:
    return int(subprocess.run([sys.executable, "-c", _LARGE, program], stdout=subprocess.PIPE, check=True).stdout)


def test_the_peak_of_a_program_is_not_that_of_what_started_it() -> None:
    small = peak(_SMALL)
    assert 0 < small < 300 << 20
    assert peak(_GROWN) > small + (50 << 20)
