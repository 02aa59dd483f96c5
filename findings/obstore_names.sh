#!/usr/bin/env bash
# obstore 0.12.1 (Rust's object_store), LocalStore: files whose names end in # and digits, "part#1", are in no listing, since
# that is how it names what it is about to write; get, head and put of such a name raise. Expected: each file that is there,
# or an error, as for a name with a line end in it (which ends a whole listing). Seen: the listing leaves them out without
# a word; "part#1.csv", "part#" and what is in a folder "day#1" are there. So what copies or counts a folder by a listing
# misses them, and fsspec's local filesystem over the same folder does not.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check obstore==0.12.1 fsspec==2026.9.0 2>/dev/null
mkdir "$place/root"
"$place/venv/bin/python" - "$place/root" <<'P'
import pathlib
import sys
from importlib.metadata import version

import fsspec
import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore

root = pathlib.Path(sys.argv[1])
names = {"part", "part#1", "part#20261130", "part#", "part#a", "part#1.csv", "day#1/part"}
for name in names:
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text(name)
store = LocalStore(root)
listed = {found["path"] for batch in obstore.list(store) for found in batch}
local = {str(pathlib.Path(path).relative_to(root)) for path in fsspec.filesystem("file").find(str(root))}
raised = []
for act in (obstore.get, obstore.head, lambda store, name: obstore.put(store, name, b"")):
    try:
        act(store, "part#1")
    except BaseError as error:
        raised.append(str(error).splitlines()[0])
print(f"obstore {version('obstore')}: not listed: {sorted(names - listed)}; fsspec misses {len(names - local)}")
print(*raised, sep="\n")
missed = {"part#1", "part#20261130"}
raise SystemExit(not (names - listed == missed and local == names and len(raised) == 3))
P
