#!/usr/bin/env bash
# Sparse files in tars of GNU tar 1.34 (tar -S, its own format and the three pax forms), read by what is not tar.
# Expected: the file as it was, as Python's tarfile and fsspec's tar:// give, or an error. Seen, without any: libarchive-c
# 5.3 (libarchive 3.6.2), and so libarchive:// of fsspec 2026.9.0, fill the holes between, and leave out the one at the
# end: a disk image that ends in one is shorter than the size that the same entry tells. npm's tar 7.5.23 and tar-stream
# 3.2.2 give the data without any holes, in the pax forms 0.1 and 1.0 under the name GNUSparseFile.PID/NAME, in 1.0 with the
# map in front of it; of GNU's own format tar leaves the file out.
# Exits 0 while that is so, 1 if it changed, 2 if it cannot be tried here.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
chmod 755 "$place"
tar --version | grep -q "GNU tar" || { echo "the tar here is not GNU tar"; exit 2; }
apt-get download -qq libarchive13=3.6.2-1+deb12u5 >/dev/null 2>&1 || { echo "libarchive13 is not to be had"; exit 2; }
dpkg-deb -x libarchive13_*.deb .
LIBARCHIVE=$(echo "$place"/usr/lib/*-linux-gnu*/libarchive.so.13)
export LIBARCHIVE
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check libarchive-c==5.3 fsspec==2026.9.0 2>/dev/null
echo '{"private": true, "type": "module"}' >package.json
npm install --silent --ignore-scripts --no-audit --no-fund tar@7.5.23 tar-stream@3.2.2
cat >try.mjs <<'J'
import fs from "node:fs";
import * as tar from "tar";
import { extract } from "tar-stream";
const [path] = process.argv.slice(2);
const told = { tar: [], "tar-stream": [] };
const seen = (by, name, entry) => {
  let size = 0;
  entry.on("data", (data) => (size += data.length)).on("end", () => told[by].push([name.replace(/\d{2,}/, "PID"), size]));
};
await tar.list({ file: path, onReadEntry: (entry) => seen("tar", entry.path, entry) });
const entries = extract().on("entry", (header, stream, next) => { seen("tar-stream", header.name, stream); stream.on("end", next); });
await new Promise((end) => fs.createReadStream(path).pipe(entries).on("finish", end));
console.log(JSON.stringify(told));
J
venv/bin/python - <<'P'
import json
import pathlib
import subprocess
import tarfile

import fsspec
import libarchive

KIB = 1024
pathlib.Path("plain").write_bytes(b"plain")
with open("image", "wb") as file:
    file.write(b"a" * 4 * KIB)
    file.seek(1024 * KIB)
    file.write(b"b" * 4 * KIB)
    file.truncate(2048 * KIB)
image = pathlib.Path("image").read_bytes()
end = image.rstrip(b"\0")
forms = {"gnu": ["--format=gnu"]}
forms |= {f"pax {form}": ["--format=pax", f"--sparse-version={form}"] for form in ("0.0", "0.1", "1.0")}
found, node = {}, {}
for form, options in forms.items():
    subprocess.run(["tar", "-S", *options, "-cf", "a.tar", "image", "plain"], check=True)
    with tarfile.open("a.tar") as opened, libarchive.file_reader("a.tar") as entries:
        right = opened.extractfile("image").read() == image == fsspec.filesystem("tar", fo="a.tar").cat("image")
        blocks = [(entry.pathname, entry.size, b"".join(entry.get_blocks())) for entry in entries]
    cat = fsspec.filesystem("libarchive", fo="a.tar").cat("image")
    _, size, data = blocks[0]
    found[form] = (right, size == len(image), data == cat == end)
    node[form] = json.loads(subprocess.run(["node", "try.mjs", "a.tar"], capture_output=True, check=True).stdout)
    print(f"{form}: tarfile right: {right}; libarchive gives {len(data)} of {size} bytes; {node[form]}")
plain, alone = ["plain", 5], 8 * KIB
hidden = "./GNUSparseFile.PID/image"
seen = {
    "gnu": {"tar": [plain], "tar-stream": [["image", alone], plain]},
    "pax 0.0": dict.fromkeys(("tar", "tar-stream"), [["image", alone], plain]),
    "pax 0.1": dict.fromkeys(("tar", "tar-stream"), [[hidden, alone], plain]),
    "pax 1.0": dict.fromkeys(("tar", "tar-stream"), [[hidden, alone + 512], plain]),
}
raise SystemExit(not (set(found.values()) == {(True, True, True)} and node == seen))
P
