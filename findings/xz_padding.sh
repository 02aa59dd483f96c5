#!/usr/bin/env bash
# Python 3.11's lzma, and so pandas 3.1.1, fsspec 2026.9.0 and numcodecs 0.16.6, on xz files of two streams with stream
# padding (zero bytes, a multiple of four; the xz format, 2.2). Expected: all, as xz 5.4 gives, and as Python gives of two
# streams without padding. Seen: padding between them, and all that is behind it is left out, without an error; padding
# behind the last one, where nothing can be lost, is an error: "ended before the end-of-stream marker". (numcodecs gives
# all where that is 12 bytes or more.) python-xz 0.7.0 and cramjam 2.14.0 give all of all. So whoever lays padded .xz files
# end to end, as the format allows and xz does not mind, loses all rows but the first file's.
# Exits 0 while that is so, 1 if it changed, 2 if it cannot be tried here.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
command -v xz >/dev/null || { echo "xz is not here"; exit 2; }
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check \
  pandas==3.1.1 fsspec==2026.9.0 numcodecs==0.16.6 python-xz==0.7.0 cramjam==2.14.0 2>/dev/null
cd "$place"
"$place/venv/bin/python" - <<'P'
import lzma
import subprocess
import sys

import cramjam
import fsspec
import numcodecs
import pandas
import xz

streams = [lzma.compress(b"n\n" + b"1\n" * 100), lzma.compress(b"2\n" * 100)]
cases = {f"{count} bytes between": bytes(count).join(streams) for count in (0, 4, 8, 12)}
cases |= {f"{count} bytes behind": b"".join(streams) + bytes(count) for count in (4, 8, 12, 512)}


def rows(read):
    try:
        return read().count(b"\n") - 1
    except (EOFError, lzma.LZMAError) as error:
        return type(error).__name__


def read_by_fsspec():
    with fsspec.open("a.csv.xz", compression="xz") as file:
        return file.read()


found = {}
for name, data in cases.items():
    with open("a.csv.xz", "wb") as file:
        file.write(data)
    found[name] = {
        "xz": rows(lambda: subprocess.run(["xz", "-dc", "a.csv.xz"], capture_output=True, check=True).stdout),
        "python-xz": rows(lambda: xz.open("a.csv.xz", "rb").read()),
        "cramjam": rows(lambda: bytes(cramjam.xz.decompress(data))),
        "lzma.open": rows(lambda: lzma.open("a.csv.xz").read()),
        "decompress": rows(lambda: lzma.decompress(data)),
        "numcodecs": rows(lambda: numcodecs.LZMA().decode(data)),
        "fsspec": rows(read_by_fsspec),
        "pandas": rows(lambda: pandas.read_csv("a.csv.xz").to_csv(index=False).encode()),
    }
print(f"Python {sys.version.split()[0]}, liblzma's readers and Python's: rows of 200")
for name, told in found.items():
    print(f"{name:17}", *(f"{reader} {count}" for reader, count in told.items()))
liblzma = {told[reader] for told in found.values() for reader in ("xz", "python-xz", "cramjam")}
python = [{str(told[reader]) for reader in ("lzma.open", "decompress", "fsspec", "pandas")} for told in found.values()]
numcodecs_too = [told["numcodecs"] for told in found.values()]
error = "LZMAError"
seen = [{"200"}, {"100"}, {"100"}, {"100"}, *[{"EOFError", error}] * 4]
raise SystemExit(not (liblzma == {200} and python == seen and numcodecs_too == [200, 100, 100, 100, error, error, 200, 200]))
P
