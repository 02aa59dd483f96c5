#!/usr/bin/env bash
# fastparquet 2026.9.0 on files of pyarrow 26.0.1 whose columns have the encodings that the format recommends for new files:
# which are read, and what becomes of the others. Expected: all are read; they have been in the format since 2013 and 2018.
# Seen: plain texts and DELTA_BINARY_PACKED numbers are; DELTA_LENGTH_BYTE_ARRAY, DELTA_BYTE_ARRAY and BYTE_STREAM_SPLIT end
# in "NotImplementedError Encoding 6", 7 and 9, numbers alone. So a writer that wants every common reader stays with PLAIN,
# RLE_DICTIONARY and DELTA_BINARY_PACKED.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check fastparquet==2026.9.0 pyarrow==26.0.1
said=$(environment/bin/python -W ignore - <<'P'
import fastparquet, pyarrow as pa, pyarrow.parquet as pq
texts, numbers, floats = [f"t{n % 50}" for n in range(1000)], list(range(1000)), [n / 7 for n in range(1000)]
for encoding, values in (("PLAIN", texts), ("DELTA_BINARY_PACKED", numbers), ("DELTA_LENGTH_BYTE_ARRAY", texts),
                         ("DELTA_BYTE_ARRAY", texts), ("BYTE_STREAM_SPLIT", floats)):
    pq.write_table(pa.table({"c": values}), "a.parquet", use_dictionary=False, column_encoding={"c": encoding})
    try:
        read = fastparquet.ParquetFile("a.parquet").to_pandas()["c"].tolist()
        print(encoding, "right" if read == values else "WRONG")
    except Exception as error:
        print(encoding, type(error).__name__, error)
P
)
echo "$said"
EXPECTED="PLAIN right
DELTA_BINARY_PACKED right
DELTA_LENGTH_BYTE_ARRAY NotImplementedError Encoding 6
DELTA_BYTE_ARRAY NotImplementedError Encoding 7
BYTE_STREAM_SPLIT NotImplementedError Encoding 9"
[ "$said" = "$EXPECTED" ]
