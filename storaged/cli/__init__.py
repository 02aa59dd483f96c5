"""`storagectl`: one file per noun. Commands parse, call storaged.work and show what it answers; they decide nothing.

Nothing here imports the catalog, DuckDB or Arrow at the top of a file: `storagectl --help` must answer at once.
"""

from __future__ import annotations

import sys


def main() -> None:
    """The entry point of `storagectl` and `storagedctl`."""
    from storaged.cli.app import run

    sys.exit(run(sys.argv[1:]))
