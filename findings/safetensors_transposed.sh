#!/usr/bin/env bash
# safetensors 0.8.0, save_file of numpy arrays whose elements do not lie in C order. Expected: each comes back as it was, as
# a big-endian one does, or is refused, as those of torch that are not contiguous are. Seen: of a transposed array, of one
# in Fortran order and of every second element shape and type come back with other elements: memory is written as it lies,
# without a word. Whoever finds weights that are not those that were saved need not look for damage of the file.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6 2>/dev/null
"$place/venv/bin/python" - "$place" <<'P'
import sys

import numpy as np
import safetensors
from safetensors.numpy import load_file, save_file

path = f"{sys.argv[1]}/x.safetensors"
numbers = np.arange(6, dtype="<i4")
given = {
    "transposed": numbers.reshape(2, 3).T,
    "made in Fortran order": np.asfortranarray(numbers.reshape(2, 3)),
    "every second": np.arange(12, dtype="<i4")[::2],
    "big-endian": numbers.astype(">i4"),
    "of no order": np.arange(24, dtype="<i4").reshape(2, 3, 4).transpose(1, 0, 2),
}
same = {}
for name, array in given.items():
    save_file({"t": array}, path)
    back = load_file(path)["t"]
    same[name] = back.shape == array.shape and back.dtype.kind == array.dtype.kind and bool((back == array).all())
print(f"safetensors {safetensors.__version__}: back as it was: {same}")
wrong = [name for name, right in same.items() if not right]
raise SystemExit(wrong != ["transposed", "made in Fortran order", "every second", "of no order"])
P
