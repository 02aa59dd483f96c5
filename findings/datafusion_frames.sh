#!/usr/bin/env bash
# datafusion 55.0.0: read_csv of a zstd file of several frames takes its schema from the first frame alone. A column that
# has no value there, and has some within the first 1,000 rows (its schema_infer_max_records), is of type null and reads
# as null throughout, without an error; of the same content uncompressed it is an int64. Expected: the same table.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check datafusion==55.0.0 zstandard==0.25.0 2>/dev/null
"$place/venv/bin/python" - "$place" <<'P'
import sys

import datafusion
import zstandard

halves = [b"n,late\n" + b"".join(b"%d,\n" % n for n in range(100)), b"".join(b"%d,%d\n" % (n, n) for n in range(100, 200))]
plain, packed = f"{sys.argv[1]}/a.csv", f"{sys.argv[1]}/a.csv.zst"
with open(plain, "wb") as file:
    file.writelines(halves)
with open(packed, "wb") as file:
    file.writelines(map(zstandard.compress, halves))
told = []
for path, how in ((plain, {}), (packed, {"file_extension": ".csv.zst", "file_compression_type": "zstd"})):
    frame = datafusion.SessionContext().read_csv(path, **how)
    values = sum(batch.column(1).null_count for batch in frame.collect())
    told.append((str(frame.schema().field("late").type), 200 - values))
print(f"datafusion {datafusion.__version__}: plain {told[0]}, zstd {told[1]} (type, values of 100)")
raise SystemExit(told != [("int64", 100), ("null", 0)])
P
