#!/usr/bin/env bash
# daft 0.7.26: read_csv of compressed files of several parts that are one content, as `cat a.zst b.zst`, zstd's seekable
# format and pzstd make them (RFC 8878, 3.1), pbzip2, lbzip2, pixz and whoever lays .bz2, .xz or .gz files end to end.
# Expected: all rows. Seen: of zst, bz2 and xz those of the first part, without an error where that ends at a line's end;
# of gz all. Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check daft==0.7.26 zstandard==0.25.0 2>/dev/null
"$place/venv/bin/python" - "$place" <<'P'
import bz2
import gzip
import lzma
import sys

import daft
import zstandard

halves = [b"n,square\n", b""]
for half in (0, 1):
    halves[half] += b"".join(b"%d,%d\n" % (n, n * n) for n in range(half * 1_000, half * 1_000 + 1_000))
found = {}
for name, library in (("zst", zstandard), ("bz2", bz2), ("xz", lzma), ("gz", gzip)):
    path = f"{sys.argv[1]}/a.csv.{name}"
    with open(path, "wb") as file:
        file.writelines(map(library.compress, halves))
    found[name] = daft.read_csv(path).count_rows()
print(f"daft {daft.__version__}: of 2000 rows {found}")
raise SystemExit(found != {"zst": 1_000, "bz2": 1_000, "xz": 1_000, "gz": 2_000})
P
