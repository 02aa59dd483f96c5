#!/usr/bin/env bash
# ratarmountcore 0.11.1, what ratarmount reads tars with: a tar that was made anew, of the same files in another order,
# beside the index that was written of the one before. Expected: the index is made anew, as the tar is newer and is not
# the same. Seen: no error and no warning, and each name that has moved gives the bytes that now lie where its own were:
# another file's. Only the size of the tar is compared; its time is told in the index and is looked at on demand alone.
# Tars are padded to 10 KiB, and the same files in any order give the same size, as tar --sort=name or another file
# system's order do. (Of less than 1,000 files no index is kept unless asked.) Whoever packs anew removes
# *.index.sqlite.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check ratarmountcore==0.11.1 2>/dev/null
environment/bin/python -W ignore - <<'P'
import contextlib
import io
import pathlib
import tarfile

from ratarmountcore.mountsource.factory import open_mount_source

NAMES = [f"{number:04}" for number in range(1500)]


def pack(names, path):
    with tarfile.open(path, "w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 100
            tar.addfile(member, io.BytesIO(name.encode() * 25))


def wrong(**options):
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        source = open_mount_source("a.tar", writeIndex=True, **options)
        given = {name: source.open(source.lookup(f"/{name}")).read() for name in NAMES}
    with tarfile.open("a.tar") as tar:
        assert all(tar.extractfile(name).read() == name.encode() * 25 for name in NAMES)
    return [name for name, data in given.items() if data != name.encode() * 25], given


pack(NAMES, "a.tar")
first, _ = wrong()
pack(NAMES[::-1], "new.tar")
pathlib.Path("new.tar").replace("a.tar")
second, given = wrong()
checked, _ = wrong(verifyModificationTime=True)
print(f"wrong of {len(NAMES)}: {len(first)} with its own index, {len(second)} with the index of the tar before")
print(f"0000 gives {given['0000'][:8]!r}; with verifyModificationTime {len(checked)} are wrong")
raise SystemExit((len(first), len(second), given["0000"][:4], len(checked)) != (0, 1500, b"1499", 0))
P
