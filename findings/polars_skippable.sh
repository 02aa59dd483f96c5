#!/usr/bin/env bash
# polars 2.1.0: a zstd file that begins with a skippable frame (RFC 8878, 3.1.2), read with scan_csv. Expected: the number
# of rows that the content has, as pandas, pyarrow and DuckDB tell, or an error. Seen: select(len()) counts the line ends
# in the compressed bytes, without an error; read_csv of the same file raises.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check polars==2.1.0 zstandard==0.25.0 2>/dev/null
"$place/venv/bin/python" - "$place/a.csv.zst" <<'P'
import struct
import sys

import polars
import zstandard

ROWS = 100_000
content = b"n,square\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(ROWS))
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<II", 0x184D2A50, 4) + b"note" + zstandard.compress(content))
count = polars.scan_csv(sys.argv[1]).select(polars.len()).collect().item()
try:
    said = f"{len(polars.read_csv(sys.argv[1]))} rows"
except polars.exceptions.PolarsError as error:
    said = f"{type(error).__name__}: {error}".splitlines()[0]
print(f"polars {polars.__version__}: scan_csv tells {count} of {ROWS} rows; read_csv says: {said}")
raise SystemExit(not (count != ROWS and "Error" in said))
P
