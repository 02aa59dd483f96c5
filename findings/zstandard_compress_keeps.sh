#!/usr/bin/env bash
# zstandard 0.25.0 (its C backend): what ZstdCompressor.compress() returns keeps the memory of the largest that it could
# have become, for as long as it lives: 1 KB of 64 KB of like lines keeps 64 KB allocated (by tracemalloc), and
# sys.getsizeof says 1 KB. Whoever keeps compressed pages in order to save memory saves none of it for others.
# bytes(memoryview(it)) is a copy of the right size; bytes(it) is the same object. compressobj(), zlib and pyarrow give
# back what is too much.
# Expected: a bytes object takes about its length.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check zstandard==0.25.0 pyarrow==22.0.0 2>/dev/null
"$place/venv/bin/python" - <<'P'
import sys
import tracemalloc
import zlib
from importlib.metadata import version

import pyarrow
import zstandard

COUNT = 500
page = b"".join(b"%d is the number of this line\n" % (n % 9) for n in range(2_200))


def kept(make) -> dict[str, int]:
    """Per result: its length, what it says it takes, and what is allocated for it, in bytes."""
    tracemalloc.start()
    held = [make(page) for _ in range(COUNT)]
    allocated, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    one = held[0]
    return {"length": len(one), "getsizeof": sys.getsizeof(one), "allocated": allocated // COUNT}


compressor = zstandard.ZstdCompressor(level=1)


def pieces(data: bytes) -> bytes:
    into = compressor.compressobj()
    return into.compress(data) + into.flush()


found = {
    "zstandard compress": kept(compressor.compress),
    "a copy of it": kept(lambda data: bytes(memoryview(compressor.compress(data)))),
    "zstandard compressobj": kept(pieces),
    "zlib": kept(zlib.compress),
    "pyarrow": kept(lambda data: pyarrow.compress(data, codec="zstd", asbytes=True)),
}
print(f"zstandard {version('zstandard')} ({zstandard.backend}), pyarrow {version('pyarrow')}, a page of {len(page)}:")
for name, figures in found.items():
    print(f"{name:24}{figures}")
ours = found.pop("zstandard compress")
excess = ours["length"] < 2_000 and ours["getsizeof"] < 2_000 and ours["allocated"] > len(page)
raise SystemExit(not (excess and all(one["allocated"] < 2_000 for one in found.values())))
P
