#!/usr/bin/env bash
# Files that are opened so that they could be changed, looked at, and closed again with nothing changed: are they as
# they were? Expected: yes, bytes and time, as of zipfile's "a", sqlite3 and NumPy's "r+" maps. Seen: not of HDF5: h5py
# 3.16.0 with "a" or "r+" and PyTables 3.11.1 with "a" write the same bytes again, so that the file is of now, and so
# does pandas 3.1.1's HDFStore(path), whose way to open is "a" unless told: who only reads tables with it makes the file
# young each time (read_hdf does not). astropy 8.0.2's fits.open(mode="update") writes an image anew whose unsigned
# numbers were looked at. tarfile.open(path, "a") writes the end again: with tars that GNU tar wrote in blocks of its
# own (-b) the file grows. So an age by the time of the last write says nothing of such files, and copies by time copy
# them every time.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check \
  astropy==8.0.2 h5py==3.16.0 numpy==2.4.6 pandas==3.1.1 tables==3.11.1 2>/dev/null
environment/bin/python -W ignore - <<'P'
import contextlib
import os
import pathlib
import sqlite3
import subprocess
import tarfile
import zipfile

import h5py
import numpy as np
import pandas as pd
import tables
from astropy.io import fits

with h5py.File("h5", "w") as file:
    file["x"] = np.arange(10)
pd.DataFrame({"x": range(10)}).to_hdf("frame", key="x")
fits.PrimaryHDU(np.arange(10, dtype="u2")).writeto("fits")
pathlib.Path("member").write_bytes(b"m" * 3000)
subprocess.run(["tar", "-cf", "tar", "member"], check=True)
subprocess.run(["tar", "-b", "1", "-cf", "small", "member"], check=True)
with zipfile.ZipFile("zip", "w") as file:
    file.write("member")
with contextlib.closing(sqlite3.connect("sqlite")) as connection, connection:
    connection.execute("CREATE TABLE t AS SELECT 1 AS x")
np.save("array", np.arange(10))


def rows(connection):
    with contextlib.closing(connection):
        connection.execute("SELECT x FROM t").fetchall()


def closed(opened):
    opened.close()


def stored(store):
    with store:
        return store.get("x")


def summed(hdus):
    with hdus:
        return hdus[0].data.sum()


tried = {
    "h5py a": ("h5", lambda path: closed(h5py.File(path, "a"))),
    "h5py r+": ("h5", lambda path: closed(h5py.File(path, "r+"))),
    "h5py r": ("h5", lambda path: closed(h5py.File(path, "r"))),
    "PyTables a": ("h5", lambda path: closed(tables.open_file(path, "a"))),
    "HDFStore": ("frame", lambda path: stored(pd.HDFStore(path))),
    "read_hdf": ("frame", lambda path: pd.read_hdf(path, "x")),
    "fits update": ("fits", lambda path: summed(fits.open(path, mode="update"))),
    "fits readonly": ("fits", lambda path: summed(fits.open(path))),
    "tarfile a": ("tar", lambda path: closed(tarfile.open(path, "a"))),
    "tarfile a, tar -b 1": ("small", lambda path: closed(tarfile.open(path, "a"))),
    "zipfile a": ("zip", lambda path: closed(zipfile.ZipFile(path, "a"))),
    "sqlite3": ("sqlite", lambda path: rows(sqlite3.connect(path))),
    "NumPy r+": ("array.npy", lambda path: np.load(path, mmap_mode="r+").flush()),
}
found = {}
for name, (path, look) in tried.items():
    os.utime(path, (10**9, 10**9))
    before = pathlib.Path(path).read_bytes()
    look(path)
    after = pathlib.Path(path).read_bytes()
    found[name] = "as it was" if os.stat(path).st_mtime == 10**9 else "the bytes of before, of now"
    if before != after:
        found[name] = f"{len(before)} to {len(after)} bytes"
    print(f"{name}: {found[name]}")
touched = ("h5py a", "h5py r+", "PyTables a", "HDFStore", "fits update", "tarfile a")
seen = dict.fromkeys(found, "as it was") | dict.fromkeys(touched, "the bytes of before, of now")
seen["tarfile a, tar -b 1"] = "4608 to 10240 bytes"
raise SystemExit(found != seen)
P
