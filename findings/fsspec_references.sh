#!/usr/bin/env bash
# fsspec 2026.9.0's ReferenceFileSystem, of which kerchunk's and VirtualiZarr's sets are read: cat of several references into
# one file, one of which ends beyond the file, as after the file was written anew and is shorter. Expected: that one short,
# or an error, and the others as they are. Seen: no error, and the others that are fetched with it, by the same request
# (max_gap, 64 KB unless told), are cut short too, by as much as the file lacks, or empty; the one that is at fault is what it
# would be alone. Their ends are counted from the end of what was fetched. Each by itself, or with max_gap=0 and
# max_block=1, is right. So the chunk that a decoder complains of need not be the one whose file changed, and in raw
# arrays more is missing than the file lacks.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check fsspec==2026.9.0 2>/dev/null
"$place/venv/bin/python" - "$place/a.bin" <<'P'
import sys
from typing import Any

import fsspec

path = sys.argv[1]
content = bytes(range(250)) * 4
with open(path, "wb") as file:
    file.write(content)


def sizes(beyond: int, *, together: bool = True, **options: Any) -> list[int]:
    """Of two references within the file, and one that ends so many bytes beyond it."""
    places = {"first": (0, 100), "second": (100, 300), "last": (900 + beyond, 100)}
    refs = {name: [path, *place] for name, place in places.items()}
    files = fsspec.filesystem("reference", fo={"version": 1, "refs": refs}, remote_protocol="file", **options)
    got = files.cat(list(refs)) if together else {name: files.cat_file(name) for name in refs}
    for name, (at, length) in places.items():
        assert content[at : at + length].startswith(got[name]), "other bytes"
    return [len(data) for data in got.values()]


found = {beyond: sizes(beyond) for beyond in (0, 40, 200)}
alone = sizes(40, together=False), sizes(40, max_gap=0, max_block=1)
print(f"fsspec {fsspec.__version__}: bytes of references of 100, 300 and 100, by how much the last one ends beyond the file:")
print(found, "one by one, and not merged:", *alone)
seen = {0: [100, 300, 100], 40: [60, 260, 60], 200: [0, 100, 0]}
raise SystemExit(not (found == seen and alone == ([100, 300, 60],) * 2))
P
