#!/usr/bin/env bash
# zstd 1.5.7 (zstandard 0.25.0), level 3: the same 15 MB of JSON records, cut into frames that are compressed each by
# itself, take more in frames of 256 KiB than in frames of 128 KiB, and more than in frames of 257 KiB, by 8 to 9 %.
# Expected: the larger a frame, the less in all, or nearly. zstd chooses tables and the shortest match by the size that it
# is told, in steps at 16, 128 and 256 KiB, and level 3's choice between the last two suits short records worse than those
# on either side. At level 5 it is the other way round: frames of 128 KiB are the larger ones, by 6 %. Whoever cuts
# records into frames loses or gains more by that step than by a level.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check zstandard==0.25.0 2>/dev/null
"$place/venv/bin/python" - <<'P'
import json
import random

import zstandard

chance = random.Random(1)
EVENTS = ("view", "click", "buy")


def record(number: int) -> str:
    return json.dumps(
        {
            "ts": 1790000000000 + number * 1000 + chance.randrange(1000),
            "user": chance.randrange(10**6),
            "event": chance.choice(EVENTS),
            "value": round(chance.random() * 100, 2),
            "session": f"{chance.getrandbits(64):016x}",
        }
    )


def stored(text: bytes, level: int) -> dict[int, int]:
    one = zstandard.ZstdCompressor(level=level)
    cut = {size: range(0, len(text), size << 10) for size in (64, 128, 256, 257, 1024)}
    return {size: sum(len(one.compress(text[at : at + (size << 10)])) for at in places) for size, places in cut.items()}


records = "\n".join(map(record, range(150_000))).encode()
print("zstd", zstandard.ZSTD_VERSION)
three, five = stored(records, 3), stored(records, 5)
for level, sizes in ((3, three), (5, five)):
    print(f"level {level}: KiB of a frame, bytes in all: {sizes}")
raise SystemExit(not (three[256] > 1.05 * max(three[128], three[257]) and five[128] > 1.05 * five[256]))
P
