#!/usr/bin/env bash
# HDF5 1.14.6 (h5py 3.14.0), filter scaleoffset=2 of doubles, which keeps two decimals. Expected: a NaN stays one, and a
# number of 1e17 is kept as far as a double can. Seen: the NaN is read back as a plain number, without a word (as 1.25,
# the chunk's first value, on x86_64); a chunk with 1e17 or an infinity in it is written without an error, and reading it
# fails with all that is in it. Whoever repacks measured values with this filter must look for both before.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check h5py==3.14.0 2>/dev/null
"$place/venv/bin/python" - "$place/a.h5" <<'P'
import sys

import h5py
import numpy as np

seen = {}
for name, odd in (("nan", np.nan), ("inf", np.inf), ("big", 1e17)):
    with h5py.File(sys.argv[1], "w") as file:
        file.create_dataset("x", data=np.array([1.25, odd, 3.5, 0.0]), scaleoffset=2, chunks=(4,))
    with h5py.File(sys.argv[1]) as file:
        try:
            seen[name] = file["x"][:].tolist()
        except OSError:
            seen[name] = "cannot be read"
print("HDF5", h5py.version.hdf5_version, seen)
nan, *others = seen.values()
raise SystemExit(not (len(nan) == 4 and np.isfinite(nan[1]) and others == ["cannot be read", "cannot be read"]))
P
