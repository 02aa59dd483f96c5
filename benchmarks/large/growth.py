"""A plot of how commands grow with the catalog, from what runs of `make bench-large` of several sizes printed.

python -m benchmarks.large.growth PLOT.svg RUN.txt ...
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

import matplotlib as mpl
import matplotlib.pyplot as plt

SHOWN: Final = ("plan, many", "plan, few", "sql: count v_objects", "explain", "status")
NUMBER: Final = re.compile(r"^([\d,]+) objects, made in", re.MULTILINE)
TOOK: Final = re.compile(r"^(.+?) +[\d.]+ s  cpu +([\d.]+) s +(\d+) MiB", re.MULTILINE)


def main(plot: Path, runs: list[Path]) -> None:
    """Seconds of the processor and MiB at most, each over the number of objects."""
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "storaged"  # the same figures make the same file
    grown: dict[str, list[tuple[int, float, int]]] = {name: [] for name in SHOWN}
    for run in runs:
        text = run.read_text()
        found = NUMBER.search(text)
        if found is None:
            raise SystemExit(f"{run} is no output of `make bench-large`")
        for name, cpu, memory in TOOK.findall(text):
            if name in grown:
                grown[name].append((int(found[1].replace(",", "")), float(cpu), int(memory)))
    figure, (seconds, mib) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for name, points in grown.items():
        points.sort()
        number, cpu, memory = zip(*points, strict=True)
        seconds.loglog(number, cpu, marker="o", label=name)
        mib.semilogx(number, memory, marker="o", label=name)
    seconds.set(title="processor", xlabel="objects", ylabel="seconds")
    mib.set(title="memory at most", xlabel="objects", ylabel="MiB", ylim=(0, None))
    seconds.legend()
    for axes in (seconds, mib):
        axes.grid(visible=True, alpha=0.3)
    figure.savefig(plot, metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(each) for each in sys.argv[2:]])
