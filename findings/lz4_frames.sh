#!/usr/bin/env bash
# lz4 4.4.5 for Python: lz4.frame.decompress of what the LZ4 frame format calls one content, frames one after another, with
# skippable frames anywhere. Expected: all, as lz4.frame.open of the same module gives, and lz4 1.9.4, pyarrow 26.0.1 and
# cramjam 2.14.0. Seen: of two frames the first; of a skippable frame and then one nothing at all, b"", both without an
# error. With return_bytes_read it tells where it stopped, behind the first frame or the skippable one. A note in front
# of a file, or files that were laid end to end, are lost to this one call.
# Exits 0 while that is so, 1 if it changed, 2 if it cannot be tried here.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
command -v lz4 >/dev/null || { echo "lz4 is not here"; exit 2; }
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check lz4==4.4.5 pyarrow==26.0.1 cramjam==2.14.0 2>/dev/null
cd "$place"
"$place/venv/bin/python" - <<'P'
import struct
import subprocess

import cramjam
import lz4.frame
import pyarrow as pa

one, two = (lz4.frame.compress(word * 100) for word in (b"first ", b"second "))
note = struct.pack("<II", 0x184D2A50, 4) + b"note"
cases = {"two frames": one + two, "a note in front": note + one + two, "a note behind": one + note}
found = {}
for name, data in cases.items():
    with open("a.lz4", "wb") as file:
        file.write(data)
    with lz4.frame.open("a.lz4") as opened, pa.input_stream("a.lz4", compression="lz4") as stream:
        told = {"open": len(opened.read()), "pyarrow": len(stream.read())}
    told["cramjam"] = len(bytes(cramjam.lz4.decompress(data)))
    told["lz4"] = len(subprocess.run(["lz4", "-dc", "a.lz4"], capture_output=True, check=True).stdout)
    told["decompress"] = len(lz4.frame.decompress(data))
    _, told["bytes read"] = lz4.frame.decompress(data, return_bytes_read=True)
    found[name] = told
print(f"lz4 {lz4.VERSION}, library {lz4.library_version_string()}; bytes of content that each gives:")
for name, told in found.items():
    print(f"{name:16}", told, "of", len(cases[name]))
whole = [600 + 700, 600 + 700, 600]
right = all([told[reader] for told in found.values()] == whole for reader in ("open", "pyarrow", "cramjam", "lz4"))
calls = [(told["decompress"], told["bytes read"]) for told in found.values()]
raise SystemExit(not (right and calls == [(600, len(one)), (0, len(note)), (600, len(one))]))
P
