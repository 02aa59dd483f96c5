#!/usr/bin/env bash
# pyarrow 26.0.1: its CSV writer, and cast to string, write doubles from 1e10 on in exponent form, fractions and whole
# numbers alike, though their digits would fit: 12345678901.5 becomes 1.23456789015e+10, and 9999999999.5 stays as it is.
# The other way round it writes 0.00001 where Python writes 1e-05. Expected: Python's and pandas' border of 1e16, which
# DuckDB 2.0.0 keeps too. No value changes, but a column's texts have two forms with a border in the middle of what
# amounts and counters are, so that comparing texts, or a reader that takes plain decimals only, fails above it.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 duckdb==2.0.0 2>/dev/null
"$place/venv/bin/python" - "$place" <<'P'
import pathlib
import sys

import duckdb
import pyarrow as pa
from pyarrow import csv

place = pathlib.Path(sys.argv[1])
values = [9999999999.5, 12345678901.5, 10000000000.0, 123456789012345.0, 0.00001]
csv.write_csv(pa.table({"amount": values}), place / "a.csv")
written = (place / "a.csv").read_text().split()[1:]
cast = pa.array(values).cast(pa.string()).to_pylist()
duck = [duckdb.sql(f"SELECT ({value!r}::DOUBLE)::VARCHAR").fetchall()[0][0] for value in values]
print(f"pyarrow {pa.__version__}, duckdb {duckdb.__version__}")
for row in zip((repr(value) for value in values), written, duck, strict=True):
    print("Python {}, pyarrow {}, DuckDB {}".format(*row))
seen = ["9999999999.5", "1.23456789015e+10", "1e+10", "1.23456789012345e+14", "0.00001"]
same = [repr(value) for value in values]
raise SystemExit(written != seen or cast != seen or duck != same)
P
