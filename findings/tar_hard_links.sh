#!/usr/bin/env bash
# A folder in which two files of one content are one file with two names, as jdupes, rdfind and hardlink leave them to
# save room, packed by GNU tar and read by what reads data sets from tars. tar writes the second name as a link to the
# first. Expected: both names, as Python's tarfile and fsspec's tar:// give. Seen, without an error: webdataset 1.0.2 passes
# links over, so that the second sample is there without its image, or is not there at all; libarchive:// of fsspec
# 2026.9.0 does not list the name; tar-stream of npm, 3.2.2, gives an entry of no bytes. With tar --hard-dereference all of
# them have both. So whoever links duplicates before packing loses the samples that had one.
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
venv/bin/pip install --quiet --disable-pip-version-check libarchive-c==5.3 fsspec==2026.9.0 webdataset==1.0.2 2>/dev/null
echo '{"private": true, "type": "module"}' >package.json
npm install --silent --ignore-scripts --no-audit --no-fund tar-stream@3.2.2
cat >try.mjs <<'J'
import fs from "node:fs";
import { extract } from "tar-stream";
const sizes = {};
const entries = extract().on("entry", (header, stream, next) => {
  let size = 0;
  stream.on("data", (data) => (size += data.length)).on("end", () => { sizes[header.name] = size; next(); });
});
await new Promise((end) => fs.createReadStream(process.argv[2]).pipe(entries).on("finish", end));
console.log(JSON.stringify(sizes));
J
mkdir data
for sample in 0 1 2; do echo "label $sample" >data/$sample.txt; done
echo "a picture" >data/0.png
ln data/0.png data/1.png
echo "another" >data/2.png
cp data/0.png data/4.png
ln data/4.png data/3.png
(cd data && tar --format=posix -cf ../linked.tar 0.png 0.txt 1.png 1.txt 2.png 2.txt 4.png 3.png)
(cd data && tar --format=posix --hard-dereference -cf ../plain.tar 0.png 0.txt 1.png 1.txt 2.png 2.txt 4.png 3.png)
venv/bin/python -W ignore - <<'P'
import json
import subprocess
import tarfile

import fsspec
import webdataset

found = {}
for name in ("linked.tar", "plain.tar"):
    with tarfile.open(name) as tar:
        by_tarfile = sorted(member.name for member in tar if tar.extractfile(member).read())
    trees = {kind: fsspec.filesystem(kind, fo=name) for kind in ("tar", "libarchive")}
    listed = {kind: sorted(path for path in tree.find("") if tree.cat(path)) for kind, tree in trees.items()}
    samples = webdataset.WebDataset(name, shardshuffle=False)
    kept = {sample["__key__"]: [part for part in ("png", "txt") if part in sample] for sample in samples}
    told = subprocess.run(["node", "try.mjs", name], capture_output=True, check=True).stdout
    empty = sorted(path for path, size in json.loads(told).items() if not size)
    print(f"{name}: tarfile {len(by_tarfile)} files, tar:// {len(listed['tar'])}, libarchive:// {len(listed['libarchive'])};")
    print(f"  webdataset {kept}; empty to tar-stream: {empty}")
    found[name] = (len(by_tarfile), len(listed["tar"]), len(listed["libarchive"]), kept, empty)
both = ["png", "txt"]
seen = {
    "linked.tar": (8, 8, 6, {"0": both, "1": ["txt"], "2": both, "4": ["png"]}, ["1.png", "3.png"]),
    "plain.tar": (8, 8, 8, {"0": both, "1": both, "2": both, "4": ["png"], "3": ["png"]}, []),
}
raise SystemExit(found != seen)
P
