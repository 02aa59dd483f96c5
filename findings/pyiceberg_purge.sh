#!/usr/bin/env bash
# pyiceberg 0.12.0, a table whose property gc.enabled is false, which by Iceberg's documentation keeps files from being
# deleted where tables share them; Java refuses to purge such a one. Expected: purge_table refuses as well, or leaves the
# files. Seen: it deletes data, manifests and metadata of it, among them a file that add_files gave to a second table, which
# cannot be read any more. Whoever keeps several tables over the same files may not count on that property there.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check "pyiceberg[sql-sqlite,pyarrow]==0.12.0" 2>/dev/null
"$place/venv/bin/python" -W ignore - "$place" <<'P'
import pathlib
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pyiceberg
from pyiceberg.catalog.sql import SqlCatalog

place = pathlib.Path(sys.argv[1])
catalog = SqlCatalog("c", uri=f"sqlite:///{place}/catalog.db", warehouse=f"file://{place}/lake")
catalog.create_namespace("n")
rows = pa.table({"a": [1, 2, 3]})
shared = place / "shared.parquet"
pq.write_table(rows, shared)
for name in ("first", "second"):
    table = catalog.create_table(f"n.{name}", schema=rows.schema, properties={"gc.enabled": "false"})
    table.add_files([f"file://{shared}"])
before = table.scan().to_arrow().num_rows
catalog.purge_table("n.first")
left = sorted(p.name for p in (place / "lake/n/first").rglob("*") if p.is_file())
try:
    after = str(table.scan().to_arrow().num_rows)
except FileNotFoundError as error:
    after = type(error).__name__
print(f"pyiceberg {pyiceberg.__version__}: the second table has {before} rows; the first purged, its folder has {left},")
print(f"the shared file is there: {shared.exists()}, the second table reads: {after}")
raise SystemExit((before, left, shared.exists(), after) != (3, [], False, "FileNotFoundError"))
P
