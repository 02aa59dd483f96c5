"""Damaged Parquet as a fuzzer makes it, led by the lines of ours that it reaches.

    python -m tests.codecs.parquet_fuzz TARGET FOLDER [options of libFuzzer, such as -runs=1000000]

The folder gets what to begin with, and keeps what reached a new line. Ends with an error, and the input in the working
directory, where what comes of an input is neither a right answer nor a reason, takes too long or too much memory.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["storaged"]):
    from tests.codecs.parquet_targets import TARGETS


def main() -> None:
    name, folder, *options = sys.argv[1:]
    run, begin = TARGETS[name]
    Path(folder).mkdir(exist_ok=True)
    for number, data in enumerate(begin()):
        (Path(folder) / f"begin-{number}").write_bytes(data)
    atheris.Setup([sys.argv[0], folder, *options], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
