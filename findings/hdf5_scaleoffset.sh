#!/usr/bin/env bash
# HDF5 1.14.6 (h5py 3.14.0), filter scaleoffset=2 of doubles: a NaN is written and read back as a plain number, without a
# word; a chunk with an infinity or 1e17 is written without an error and cannot be read. Expected: NaN stays NaN, and the
# others come back within 0.005 or are refused when written. Exits 0 while that is so, 1 if it changed.
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
raise SystemExit(seen != {"nan": [1.25, 1.25, 3.5, 0.0], "inf": "cannot be read", "big": "cannot be read"})
P
