#!/usr/bin/env bash
# fastavro 1.13.1 on an Avro file with the codec snappy, each block of which ends with the CRC-32 of its content, as the
# format has it (Avro 1.12, "snappy"): one bit of a text in it turned. Expected: an error, as polars 2.1.0 gives. Seen:
# the record with another text, without an error: the checksum is read and dropped. A file that fastavro read through
# need not be whole. Also not as one would guess: codec_compression_level is taken and left aside with bzip2 and xz;
# levels 1 and 9 give the same bytes, and those of deflate do not.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check cramjam==2.14.0 fastavro==1.13.1 polars==2.1.0 2>/dev/null
environment/bin/python -W ignore - <<'P'
import io
import pathlib
import random

import fastavro
import polars as pl

SCHEMA = {"type": "record", "name": "r", "fields": [{"name": "text", "type": "string"}]}
SYNC = b"sixteen bytes ok"
chance = random.Random(1)
texts = ["".join(chance.choices("abcdefghijklmnop", k=20)) for _ in range(20_000)]


def written(codec, **options):
    file = io.BytesIO()
    records = [{"text": text} for text in texts]
    fastavro.writer(file, SCHEMA, records, codec=codec, sync_marker=SYNC, sync_interval=10**6, **options)
    return bytearray(file.getvalue())


def told(read):
    try:
        return read()
    except Exception as error:
        return f"{type(error).__name__} {error}"


data = written("snappy")
assert told(lambda: [row["text"] for row in fastavro.reader(io.BytesIO(data))]) == texts
data[data.index(texts[0].encode())] ^= 0b1000
pathlib.Path("damaged.avro").write_bytes(data)
by_fastavro = told(lambda: [row["text"] for row in fastavro.reader(io.BytesIO(data))])
by_polars = told(lambda: len(pl.read_avro("damaged.avro")))
print(f"{texts[0]} is read as {by_fastavro[0]} by fastavro, {len(by_fastavro)} rows; polars: {by_polars}")
same = {
    codec: written(codec, codec_compression_level=1) == written(codec, codec_compression_level=9)
    for codec in ("bzip2", "xz", "deflate")
}
print(f"levels 1 and 9 give the same bytes: {same}")
unnoticed = len(by_fastavro) == len(texts) and by_fastavro[0] != texts[0] and by_fastavro[1:] == texts[1:]
ignored = same == {"bzip2": True, "xz": True, "deflate": False}
raise SystemExit(not (unnoticed and isinstance(by_polars, str) and ignored))
P
