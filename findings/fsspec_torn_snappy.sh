#!/usr/bin/env bash
# Files whose end is missing, read by fsspec 2026.9.0 with the compressions that it knows. Expected: an error from each.
# gzip, bz2, xz, lzma, lz4 and zstd (backports.zstd 1.8.0) do raise EOFError, for one missing byte too. Seen of snappy
# (python-snappy 0.7.3): a shorter text without an error, which ends at the last whole chunk of 64 KiB. The framing
# format has no end mark, so that whole chunks may be missing unseen; but here a chunk is cut in its middle, its header
# says how long it is, and StreamDecompressor.flush() has the rest in its hand and gives nothing. cramjam 2.14.0 raises
# on the same bytes. A bit turned within a chunk is noticed by both. Also: `python -m snappy -d` reads no standard input
# (TypeError), it wants names of files.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check backports.zstd==1.8.0 cramjam==2.14.0 fsspec==2026.9.0 \
  lz4==4.4.5 python-snappy==0.7.3 2>/dev/null
environment/bin/python - <<'P'
import bz2
import gzip
import io
import lzma
import pathlib
import subprocess
import sys

import cramjam
import fsspec
import lz4.frame
import snappy
from backports import zstd

ROWS = b"".join(b"row %09d\n" % row for row in range(100_000))
CHUNK = 1 << 16


def framed():
    made = io.BytesIO()
    snappy.stream_compress(io.BytesIO(ROWS), made)
    return made.getvalue()


def told(read, data):
    try:
        return len(read(data))
    except Exception as error:
        return type(error).__name__


def by_fsspec(name):
    def read(data):
        pathlib.Path("file").write_bytes(data)
        with fsspec.open("file", "rb", compression=name) as opened:
            return opened.read()

    return read


files = {
    "gzip": gzip.compress(ROWS),
    "bz2": bz2.compress(ROWS),
    "xz": lzma.compress(ROWS),
    "lzma": lzma.compress(ROWS),
    "lz4": lz4.frame.compress(ROWS),
    "zstd": zstd.compress(ROWS),
    "snappy": framed(),
}
seen = {}
for name, whole in files.items():
    cuts = (whole, whole[:-1], whole[:-1000])
    seen[name] = [told(by_fsspec(name), data) for data in cuts]
    print(f"{name}: {seen[name]} of {len(ROWS):,} bytes, whole, without its last byte, without 1,000")
by_cramjam = told(cramjam.snappy.decompress, files["snappy"][:-1])
turned = bytearray(files["snappy"])
turned[len(turned) // 2] ^= 1
noticed = told(by_fsspec("snappy"), bytes(turned)), told(cramjam.snappy.decompress, bytes(turned))
print(f"without its last byte by cramjam: {by_cramjam}; a bit turned: {noticed}")
tool = subprocess.run([sys.executable, "-m", "snappy", "-d"], input=files["snappy"], capture_output=True, check=False)
print(f"python -m snappy -d: {tool.returncode} {tool.stderr.decode().splitlines()[-1]}")
whole_chunks = (len(ROWS) - 1) // CHUNK * CHUNK
snappy_seen = seen.pop("snappy")
others = all(each == [len(ROWS), "EOFError", "EOFError"] for each in seen.values())
same = snappy_seen == [len(ROWS), whole_chunks, whole_chunks] and by_cramjam == "DecompressionError"
raise SystemExit(not (others and same and all(isinstance(n, str) for n in noticed) and tool.returncode == 1))
P
