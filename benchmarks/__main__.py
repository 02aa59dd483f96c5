"""Every benchmark after the other: `make bench`. Each prints ratios against a peer measured in the same run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    for program in sorted(Path(__file__).parent.glob("*_bench.py")):
        print(f"\n== {program.stem}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{program.stem}"], check=True)
