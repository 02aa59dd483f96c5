#!/usr/bin/env bash
# pyarrow 26.0.1 writes dictionary columns with the encodings of texts that Parquet has had since 2013, and cannot read
# what it wrote: "Not yet implemented: DecodeArrow of DictAccumulator". Expected: what write_table took read_table gives.
# The same of any text column with read_dictionary. DuckDB 2.0.0 reads the file, and so does pyarrow where the footer
# does not say that it was a dictionary. So whoever changes the encodings of a file has to look at its ARROW:schema first.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check duckdb==2.0.0 pyarrow==26.0.1 2>/dev/null
said=$(environment/bin/python -W ignore - <<'P'
import duckdb, pyarrow as pa, pyarrow.parquet as pq

words = [f"word {n % 50}" for n in range(1000)]
ENCODINGS = ("PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY")


def tried(read):
    try:
        return "right" if read() == words else "WRONG"
    except Exception as error:
        return f"{type(error).__name__} {str(error).partition(' for')[0]}"


for encoding in ENCODINGS:
    for kind, column in (("dictionary", pa.array(words).dictionary_encode()), ("text", pa.array(words))):
        pq.write_table(pa.table({"c": column}), "a.parquet", use_dictionary=False, column_encoding={"c": encoding})
        print(encoding, kind, "pyarrow", tried(lambda: pq.read_table("a.parquet")["c"].to_pylist()))
        if kind == "text":
            asked = tried(lambda: pq.read_table("a.parquet", read_dictionary=["c"])["c"].to_pylist())
            print(encoding, kind, "pyarrow, read_dictionary", asked)
        print(encoding, kind, "DuckDB", tried(lambda: [c for c, in duckdb.sql("SELECT c FROM 'a.parquet'").fetchall()]))
P
)
echo "$said"
[ "$(grep -c "DuckDB right" <<< "$said")" = 6 ]
[ "$(grep -c "text pyarrow right" <<< "$said")" = 3 ]
[ "$(grep -c "OSError Not yet implemented: DecodeArrow of DictAccumulator" <<< "$said")" = 4 ]
