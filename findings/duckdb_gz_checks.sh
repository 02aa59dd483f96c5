#!/usr/bin/env bash
# DuckDB 2.0.0: read_csv of a .gz of which one bit is another one on disk, so that the content is no longer what its
# CRC-32 says. Expected: an error, as of the same damage in a .zst, and as pyarrow 26.0.1, polars 2.1.0, pandas 3.1.1
# and DataFusion 55.0.0 give of both. Seen: the rows with another number among them, without an error: neither the
# CRC-32 nor the length at a gzip member's end is compared; that they are there is. So a .gz on a disk or over a link
# that turns bits is found damaged or not by who reads it; and that DuckDB read it through is no proof of it, as it is
# of a .zst with a checksum.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check \
  datafusion==55.0.0 duckdb==2.0.0 pandas==3.1.1 polars==2.1.0 pyarrow==26.0.1 zstandard==0.25.0 2>/dev/null
environment/bin/python -W ignore - <<'P'
import gzip

import datafusion
import duckdb
import pandas as pd
import polars as pl
import pyarrow.csv as pa_csv
import zstandard


def by_datafusion(path):
    kind = {"gz": "gzip", "zst": "zstd"}[path.rpartition(".")[2]]
    frames = datafusion.SessionContext().read_csv(path, file_extension=path[1:], file_compression_type=kind)
    return sum(sum(batch["n"].to_pylist()) for batch in frames.collect())


readers = {
    "DuckDB": lambda path: int(duckdb.execute(f"SELECT sum(n) FROM '{path}'").fetchall()[0][0]),
    "pandas": lambda path: int(pd.read_csv(path)["n"].sum()),
    "pyarrow": lambda path: sum(pa_csv.read_csv(path)["n"].to_pylist()),
    "polars": lambda path: pl.read_csv(path)["n"].sum(),
    "DataFusion": by_datafusion,
}
text = b"n\n" + b"1000\n" * 1000
whole = {
    "a.csv.gz": gzip.compress(text, compresslevel=0),
    "a.csv.zst": zstandard.ZstdCompressor(write_checksum=True).compress(b"n\n1000\n1000\n"),
}
length = whole["a.csv.gz"][:-4] + bytes([whole["a.csv.gz"][-4] ^ 1]) + whole["a.csv.gz"][-3:]
stored = {name: bytearray(data) for name, data in whole.items()}
for data in stored.values():
    data[data.index(b"1000")] ^= 0b10
stored["length.csv.gz"] = length
found = {}
for name, data in stored.items():
    with open(name, "wb") as file:
        file.write(data)
    for reader, total in readers.items():
        try:
            found[name, reader] = total(name)
        except Exception as error:
            found[name, reader] = "error"
            said = f"{type(error).__name__}: {str(error).splitlines()[0][:60]}"
        print(f"{name}, {reader}: {found[name, reader] if found[name, reader] != 'error' else said}")
seen = dict.fromkeys(found, "error") | {("a.csv.gz", "DuckDB"): 1_002_000, ("length.csv.gz", "DuckDB"): 1_000_000}
raise SystemExit(found != seen)
P
