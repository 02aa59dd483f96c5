#!/usr/bin/env bash
# daft 0.7.26: read_csv of a zstd file of several frames, as zstd's seekable format, pzstd and `cat a.zst b.zst` make them
# (RFC 8878, 3.1: frames one after another are one content). Expected: all rows. Seen: those of the first frame, without
# an error where that frame ends at a line's end. Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check daft==0.7.26 zstandard==0.25.0 2>/dev/null
"$place/venv/bin/python" - "$place/a.csv.zst" <<'P'
import sys

import daft
import zstandard

halves = [b"n,square\n", b""]
for half in (0, 1):
    halves[half] += b"".join(b"%d,%d\n" % (n, n * n) for n in range(half * 1_000, half * 1_000 + 1_000))
with open(sys.argv[1], "wb") as file:
    file.writelines(map(zstandard.compress, halves))
rows = daft.read_csv(sys.argv[1]).count_rows()
print(f"daft {daft.__version__}: {rows} of 2000 rows")
raise SystemExit(rows != 1_000)
P
