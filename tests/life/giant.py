"""Work through the queue and print resident memory in bytes: before, and at the peak."""

from __future__ import annotations

import sys
from pathlib import Path

from storaged.catalog.engine import open_catalog
from storaged.config.settings import load_settings
from storaged.testing.clock import FakeClock
from storaged.work.context import Context
from storaged.work.rewrite.worker import Worker


def peak() -> int:
    """The peak of resident memory in bytes; getrusage's would begin with that of this process's parent."""
    told = Path("/proc/self/status").read_text()
    return int(next(line for line in told.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def main(config: str, url: str, now_us: int) -> None:
    with open_catalog(url) as catalog:
        context = Context(load_settings(Path(config)), catalog, FakeClock(start_us=now_us), actor="test")
        before = peak()
        with Worker(context) as worker:
            report = worker.run()
    if report.done != 1:
        sys.exit(f"not done: {report}")
    sys.stdout.write(f"{before} {peak()}\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
