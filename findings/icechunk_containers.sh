#!/usr/bin/env bash
# icechunk 2.3.0 (Python 3.12 or newer; PYTHON=/a/python): virtual chunks whose location is by a named container,
# vcc://NAME/FILE. Expected: a snapshot is what was committed, so that who opens it by its id reads the same for ever.
# Seen: what a name stands for is no part of any snapshot. After save_config() with a container of that name elsewhere, the
# same snapshot, opened by its id and without a configuration, gives the values of the other file, without an error; and a
# program that gives a configuration of its own to Repository.open reads by that, whatever is saved. A checksum that is a time
# refuses the other file where that is younger. Whoever looks for the files behind old snapshots goes by the configuration
# as it is now.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"${PYTHON:-python3}" -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check icechunk==2.3.0 zarr==3.1.6 2>/dev/null
ICECHUNK_LOG=error "$place/venv/bin/python" -W ignore - "$place" <<'P'
import os
import sys
from datetime import UTC, datetime

import icechunk
import numpy as np
import zarr

place = sys.argv[1]
OLD = 1_700_000_000


def configured(folder):
    """A configuration in which `notes` is this folder."""
    config = icechunk.RepositoryConfig.default()
    store = icechunk.local_filesystem_store(f"{place}/{folder}/")
    config.set_virtual_chunk_container(icechunk.VirtualChunkContainer(f"file://{place}/{folder}/", store, name="notes"))
    return config


for number, folder in enumerate(("one", "other")):
    os.makedirs(f"{place}/{folder}")
    np.arange(10 + 100 * number, 20 + 100 * number, dtype="<i4").tofile(f"{place}/{folder}/a.bin")
    os.utime(f"{place}/{folder}/a.bin", (OLD + number * 100, OLD + number * 100))
allowed = icechunk.containers_credentials({f"file://{place}/{folder}/": None for folder in ("one", "other")})
storage = icechunk.local_filesystem_storage(f"{place}/repository")
repository = icechunk.Repository.create(storage, config=configured("one"), authorize_virtual_chunk_access=allowed)
session = repository.writable_session("main")
for name, checksum in (("plain", None), ("checked", datetime.fromtimestamp(OLD + 1, UTC))):
    zarr.create_array(session.store, name=name, shape=(10,), chunks=(10,), dtype="<i4", compressors=None, filters=None)
    session.store.set_virtual_ref(f"{name}/c/0", "vcc://notes/a.bin", offset=0, length=40, checksum=checksum)
snapshot = session.commit("as it was")


def first(name, config=None):
    """The first value of an array in that snapshot."""
    opened = icechunk.Repository.open(storage, config=config, authorize_virtual_chunk_access=allowed)
    try:
        return int(zarr.open_array(opened.readonly_session(snapshot_id=snapshot).store, path=name, mode="r")[0])
    except icechunk.IcechunkError:
        return "refused"


found = {
    "as committed": first("plain"),
    "by a configuration of the reader's own": first("plain", configured("other")),
    "as committed, once more": first("plain"),
}
icechunk.Repository.open(storage, config=configured("other"), authorize_virtual_chunk_access=allowed).save_config()
found["the same snapshot after save_config()"] = first("plain")
found["the same, with a checksum"] = first("checked")
print(f"icechunk {icechunk.__version__}")
for what, became in found.items():
    print(f"{what}: {became}")
raise SystemExit(list(found.values()) != [10, 110, 10, 110, "refused"])
P
