#!/usr/bin/env bash
# zarr 3.1.6, an array of doubles whose fill value is NaN, as xarray makes them, of R's NA, which is a NaN with 1954 in its
# low half. Expected: the very bits come back; those of -0.0 under a fill value of 0.0 do. Seen: a chunk of nothing but
# such values is taken for one of the fill value and not written, so they read as plain NaN; in a chunk with one number
# among them they are kept. tensorstore 0.1.86 writes both, and so does zarr with write_empty_chunks. So it depends on where
# chunks end whether NA comes back as NA, and whoever writes an array anew in other chunks changes that.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check zarr==3.1.6 tensorstore==0.1.86 2>/dev/null
"$place/venv/bin/python" - "$place" <<'P'
import sys
from importlib.metadata import version

import numpy as np
import tensorstore
import zarr

place = sys.argv[1]
NA, NAN = 0x7FF80000000007A2, 0x7FF8000000000000
values = np.full(8, NA, "u8").view("f8")
values[5] = 1.0  # the first chunk of four has nothing but NA


def bits(array) -> list[str]:
    """Of an element of the first chunk and one of the second."""
    return [hex(array.view("u8")[at]) for at in (0, 4)]


def by_zarr(name: str, numbers, fill: float, *, empty: bool = False):
    config = {"write_empty_chunks": empty}
    made = zarr.create_array(f"{place}/{name}", shape=(8,), chunks=(4,), dtype="f8", fill_value=fill, config=config)
    made[:] = numbers
    return zarr.open_array(f"{place}/{name}", mode="r")[:]


grid = {"name": "regular", "configuration": {"chunk_shape": [4]}}
metadata = {"data_type": "float64", "shape": [8], "fill_value": "NaN", "chunk_grid": grid}
spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{place}/tensorstore"}}
tensorstore.open(spec | {"metadata": metadata, "create": True}).result().write(values).result()
found = {
    "zarr": bits(by_zarr("a", values, float("nan"))),
    "zarr, empty chunks written": bits(by_zarr("b", values, float("nan"), empty=True)),
    "tensorstore": bits(tensorstore.open(spec).result().read().result()),
}
zeros = bool(np.signbit(by_zarr("c", np.full(8, -0.0), 0.0)).all())
print(f"zarr {zarr.__version__}, tensorstore {version('tensorstore')}: a chunk of NA alone, and one with a number: {found}")
kept = [hex(NA), hex(NA)]
seen = {"zarr": [hex(NAN), hex(NA)], "zarr, empty chunks written": kept, "tensorstore": kept}
raise SystemExit(not (found == seen and zeros))
P
