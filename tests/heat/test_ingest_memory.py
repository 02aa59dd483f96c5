"""A log of any length is ingested in bounded memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import storaged
from tests.heat.logs import NOW_US, event

PROGRAM = """
import sys
from pathlib import Path
from storaged.catalog.engine import create_catalog
from storaged.clock import DAY
from storaged.testing.memory import peak_bytes
from storaged.work.ingest import LogSource, ingest
from tests.heat.logs import seed

directory, now_us = Path(sys.argv[1]), int(sys.argv[2])
with create_catalog(f"sqlite:///{directory}/catalog.db") as catalog:
    seed(catalog)
    report = ingest(
        catalog, LogSource("reads", "jsonl", f"{directory}/a.jsonl"), now_us=now_us, half_life_us=30 * DAY,
        state_dir=directory, block_bytes=256 << 10, batch_lines=50_000,
    )
print(report.counted, peak_bytes())
"""


def peak_mib(directory: Path, lines: int) -> float:
    directory.mkdir()
    with (directory / "a.jsonl").open("w") as file:
        parts = [event(n).replace("}", ', "n": %d}') for n in range(1_000)]
        for n in range(lines // 1_000):
            file.write("".join(parts) % tuple(range(n * 1_000, n * 1_000 + 1_000)))
    root = str(Path(storaged.__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(directory), str(NOW_US)],
        env=os.environ | {"PYTHONPATH": root},
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    counted, peak = done.stdout.split()
    assert int(counted) == lines
    return int(peak) / 2**20


def test_a_million_lines_take_hardly_more_memory_than_some(tmp_path):
    """Not even their text, as it lies in the file. What DuckDB spills and when makes 50 MiB more or less."""
    few, many = 200_000, 1_000_000
    short = peak_mib(tmp_path / "short", few)
    long = peak_mib(tmp_path / "long", many)
    text = (tmp_path / "long" / "a.jsonl").stat().st_size * (many - few) / many
    assert long < short + text * 0.85 / 2**20
