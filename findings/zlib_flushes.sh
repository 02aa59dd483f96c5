#!/usr/bin/env bash
# zlib 1.2.13 and zlib-ng 2.2.5: whether deflating can be taken up behind a sync flush with nothing but the 32 KiB of
# content before it, byte for byte as the writer went on, depends on the level: from 4 on (zlib-ng: 3) it can, by a
# deflater that is fed those 32 KiB and flushed, and by one that has them as its dictionary; below it cannot, for either.
# Expected: the same on all levels, since the window is all that deflate may refer to. Lower levels do not enter all of
# what they found into their table, and what they did depends on where matches began before the window. Whoever makes a
# .gz anew from a place in its middle has to know its level. The first is the zlib of the Python that runs this.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check zlib-ng==1.0.0 2>/dev/null
"$place/venv/bin/python" - <<'P'
import random
import zlib

from zlib_ng import zlib_ng

chance = random.Random(1)
words = [bytes(chance.choices(b"abcdefghijklmnopqrstuvwxyz", k=chance.randint(3, 9))) for _ in range(3000)]
text = b" ".join(chance.choice(words) for _ in range(400_000))
half, window = len(text) // 2, 32 * 1024


def goes_on(library, level: int) -> tuple[bool, bool]:
    writer = library.compressobj(level, library.DEFLATED, -15, 8)
    writer.compress(text[:half])
    writer.flush(library.Z_SYNC_FLUSH)
    rest = writer.compress(text[half:]) + writer.flush()
    fed = library.compressobj(level, library.DEFLATED, -15, 8)
    fed.compress(text[half - window : half])
    fed.flush(library.Z_SYNC_FLUSH)
    told = library.compressobj(
        level, library.DEFLATED, -15, 8, library.Z_DEFAULT_STRATEGY, text[half - window : half]
    )
    return fed.compress(text[half:]) + fed.flush() == rest, told.compress(text[half:]) + told.flush() == rest


found = {level: goes_on(zlib, level) for level in range(1, 10)}
other = {level: goes_on(zlib_ng, level) for level in range(1, 10)}
print(f"zlib {zlib.ZLIB_RUNTIME_VERSION}: (fed, dictionary) goes on as the writer did: {found}")
print(f"zlib-ng {zlib_ng.ZLIBNG_VERSION}: {other}")
borders = [{level: (level >= border,) * 2 for level in range(1, 10)} for border in (4, 3)]
raise SystemExit([found, other] != borders)
P
