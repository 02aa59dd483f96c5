#!/usr/bin/env bash
# icechunk 1.1.21: a virtual chunk with a checksum that is a time, as one gives it for files without a useful ETag: when the
# file named was last written. Expected: the file as it was then is read, and one that was written since is an error.
# Seen: the time is kept in whole seconds and compared as "not later", so that a file with its very own time is refused where
# that has a fraction, as nearly all have; the same bytes copied back, with the copy's time, are refused; and other bytes
# of the same length with an older time, as cp -p, rsync or tar bring them, are read without an error. Whoever moves
# what is referred to keeps times rounded down, or makes the references anew.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check icechunk==1.1.21 zarr==3.1.6 2>/dev/null
mkdir "$place/data"
RUST_LOG=error "$place/venv/bin/python" - "$place" <<'P'
import os
import sys
from datetime import UTC, datetime

import icechunk
import numpy as np
import zarr

place = sys.argv[1]
url, path = f"file://{place}/data/", f"{place}/data/a.bin"
config = icechunk.RepositoryConfig.default()
config.set_virtual_chunk_container(icechunk.VirtualChunkContainer(url, icechunk.local_filesystem_store(f"{place}/data/")))
allowed = icechunk.containers_credentials({url: None})
storage = icechunk.local_filesystem_storage(f"{place}/repository")
repository = icechunk.Repository.create(storage, config=config, authorize_virtual_chunk_access=allowed)
store = repository.writable_session("main").store
zarr.create_array(store, name="x", shape=(10,), chunks=(10,), dtype="<i4", compressors=None, filters=None)
old, new = np.arange(10, dtype="<i4"), np.arange(100, 110, dtype="<i4")


def read(values, written, checksum):
    """What comes of these values in a file of that time, referred to with another."""
    values.tofile(path)
    os.utime(path, (written, written))
    told = datetime.fromtimestamp(checksum, UTC)
    store.set_virtual_ref("x/c/0", f"{url}a.bin", offset=0, length=40, checksum=told)
    try:
        found = zarr.open_array(store, path="x", mode="r")[:]
    except icechunk.IcechunkError as error:
        return "refused" if "has changed" in str(error) else str(error)
    return "the old values" if (found == old).all() else "the new values" if (found == new).all() else "others"


AT = 1_790_000_000
found = {
    "as it was, written at a whole second": read(old, AT, AT),
    "as it was, written at half a second": read(old, AT + 0.5, AT + 0.5),
    "as it was, referred to a second later": read(old, AT + 0.5, AT + 1.5),
    "the same bytes copied a minute later": read(old, AT + 60, AT),
    "other bytes a minute older": read(new, AT - 60, AT),
}
print(f"icechunk {icechunk.__version__}")
for what, became in found.items():
    print(f"{what}: {became}")
seen = ["the old values", "refused", "the old values", "refused", "the new values"]
raise SystemExit(list(found.values()) != seen)
P
