#!/usr/bin/env bash
# htslib 1.24 (pysam 0.24.1): a BGZF file with a tabix index that is compressed again at another level, as BGZF and with the
# same content, and keeps its index. Expected: an error wherever one asks, as offsets in the index are of the other file.
# Seen: right where the region is in the first block; an error in the middle; and where the new file is smaller, for
# regions whose offsets lie behind its end, no rows, as for a region that has none: no exception, two warnings on the
# standard error (that the index is older than the file, which any copy may be, and that the end-of-file marker is absent,
# which it is not). So the last chromosomes look empty. Whoever makes BGZF smaller indexes it anew.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check pysam==0.24.1 2>/dev/null
cd "$place"
"$place/venv/bin/python" - <<'P' 2>/dev/null
import os
import struct
import zlib

import pysam

BLOCK = 0xFF00
rows = [f"chr{c}\t{n * 10}\t{n * 10 + 5}\tname {n}-{'ACGT' * (n % 9)}\n" for c in (1, 2, 3) for n in range(60_000)]
content = "".join(rows).encode()
REGIONS = {"the first": ("chr1", 0, 100), "in the middle": ("chr2", 400_000, 400_200), "the last": ("chr3", 599_000, 600_000)}


def member(data: bytes, level: int) -> bytes:
    deflate = zlib.compressobj(level, zlib.DEFLATED, -15)
    body = deflate.compress(data) + deflate.flush()
    header = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0" + struct.pack("<H", len(body) + 25)
    return header + body + struct.pack("<II", zlib.crc32(data), len(data))


def written(level: int) -> int:
    """The same content in the same blocks of BGZF, with its empty block at the end."""
    with open("a.bed.gz", "wb") as file:
        file.writelines(member(content[at : at + BLOCK], level) for at in range(0, len(content), BLOCK))
        file.write(member(b"", 6))
    return os.path.getsize("a.bed.gz")


def found() -> dict[str, int | str]:
    told: dict[str, int | str] = {}
    for name, region in REGIONS.items():
        with pysam.TabixFile("a.bed.gz") as file:
            try:
                told[name] = sum(1 for _ in file.fetch(*region))
            except ValueError as error:
                told[name] = str(error)
    return told


sizes = [written(1)]
pysam.tabix_index("a.bed.gz", preset="bed")
before = found()
sizes.append(written(9))
after = found()
pysam.tabix_index("a.bed.gz", preset="bed", force=True)
again = found()
print(f"pysam {pysam.__version__}, htslib {pysam.version.__htslib_version__}; {sizes} bytes; rows of three regions:")
for name, told in (("as indexed", before), ("compressed again", after), ("indexed again", again)):
    print(f"{name}: {told}")
right = dict(zip(REGIONS, (10, 20, 100), strict=True))
first, middle, last = after.values()
raise SystemExit(not (before == again == right and first == 10 and "iteration failed" in str(middle) and last == 0))
P
