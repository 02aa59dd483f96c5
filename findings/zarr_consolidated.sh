#!/usr/bin/env bash
# zarr 3.1.6, a group with consolidated metadata that is opened again and changed. Expected: either each change is in the
# consolidated metadata, or none until it is consolidated anew. Seen: an array that is deleted is gone from it; one that is
# added is not in it, and one that grew keeps its old shape there. So who opens the group afterwards, as xarray does, sees
# half of the changes: four of eight values, no array that is new, and no error. Whoever tells from such metadata what a
# store holds is told less. Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check zarr==3.1.6 2>/dev/null
"$place/venv/bin/python" -W ignore - "$place" <<'P'
import sys

import zarr

path = f"{sys.argv[1]}/c.zarr"
group = zarr.open_group(path, mode="w")
for name in ("gone", "grown"):
    group.create_array(name, shape=(4,), dtype="i4")[:] = 1
zarr.consolidate_metadata(path)
group = zarr.open_group(path, mode="r+")
del group["gone"]
group.create_array("new", shape=(4,), dtype="i4")[:] = 2
group["grown"].resize((8,))


def told(**how: bool) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in sorted(zarr.open_group(path, mode="r", **how).arrays())}


found, true = told(), told(use_consolidated=False)
print(f"zarr {zarr.__version__}: opened again {found}; without consolidated metadata {true}")
raise SystemExit((found, true) != ({"grown": (4,)}, {"grown": (8,), "new": (4,)}))
P
