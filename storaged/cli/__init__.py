"""`storagectl`: one file per noun. Commands parse, call storaged.work and show what it answers; they decide nothing.

Nothing here imports the catalog, DuckDB or Arrow at the top of a file: `storagectl --help` must answer at once.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import Final

_OBJECTS: Final = 50_000  # made and not yet freed before the collector looks for cycles among them
_STARTING: Final = 1_000_000  # what is imported stays: looking through it takes a fifth of a start


def main() -> None:
    """The entry point of `storagectl` and `storagedctl`."""
    gc.set_threshold(_STARTING)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # looking for them reads what each package declares
    from storaged.cli.app import run

    code = run(sys.argv[1:])
    if "duckdb" in sys.modules:
        gc.unfreeze()  # it counts what is left of it at the end, and complains
    else:
        gc.freeze()  # spares the last collection, 70 ms of a process that ends anyway
    sys.exit(code)


def started() -> None:
    """What there is by now stays, and is not looked through any more. For a process that `main` began; once."""
    if gc.get_threshold()[0] == _STARTING:
        gc.freeze()
        collect_less()


def collect_less() -> None:
    """Let Python look for cycles less often: a listing makes millions of small values that are in none, and looking
    takes half of its time."""
    gc.set_threshold(_OBJECTS, *gc.get_threshold()[1:])
