"""Parquet files and blobs whose bytes were changed, by the thousand, and a million in the campaign: whatever they say,
the answer is the right one or a reason, and memory and time are bounded by what is really there."""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from storaged.codecs.parquet.footer import OffsetIndex
from storaged.codecs.parquet.thrift import Malformed
from storaged.errors import VerificationFailed
from storaged.testing.contents import BytesReader
from tests.codecs.parquet_targets import CODEC, TARGETS, WALKED, blobs, walk

LONG = bool(os.environ.get("STORAGED_LONG"))  # `make campaign`
INPUTS = 1_000_000 if LONG else 2_000
SEED = 8
TELLING = (0x00, 0x01, 0x7F, 0x80, 0xFF, 0x15, 0x1C, 0x19, 0xF9, 0x18, 0x0C)  # ends, signs, kinds and long counts


def mutated(chance: random.Random, data: bytes, within: range) -> bytes:
    """Some bytes of a range changed, cut out, doubled or exchanged."""
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.choice(within)
        length = chance.choice((1, 1, 2, 8))
        match chance.randrange(6):
            case 0 | 1 | 2:
                out[at : at + 1] = bytes((chance.choice((*TELLING, chance.randrange(256))),))
            case 3:
                out[at : at + length] = chance.randbytes(len(out[at : at + length]))
            case 4:
                del out[at : at + length]
            case _:
                out[at:at] = out[at : at + length]
    return bytes(out)


def inputs(data: bytes, within: range | None = None) -> Iterator[bytes]:
    chance = random.Random(SEED)
    for _ in range(INPUTS):
        yield mutated(chance, data, within or range(len(data)))


@pytest.mark.timeout(0 if LONG else 120)
@pytest.mark.parametrize("what", WALKED)
def test_whatever_is_walked_ends_or_is_malformed(what: str) -> None:
    data, _ = WALKED[what]
    walk(what, data)
    refused = 0
    for changed in inputs(data):
        try:
            walk(what, changed)
        except Malformed:
            refused += 1
    assert 0 < refused < INPUTS


@pytest.mark.parametrize("number", [b"\xff" * 9 + b"\x7f", b"\x80" * 9 + b"\x02", b"\xff" * 10 + b"\x01"])
def test_a_number_that_64_bits_do_not_hold_is_malformed(number: bytes) -> None:
    """In an offset index: one page, its place, its size and its first row."""
    for place, size in ((number, b"\x02"), (b"\x02", number)):
        with pytest.raises(Malformed, match="a number has more than"):
            OffsetIndex(b"\x19\x1c\x16" + place + b"\x15" + size + b"\x16\x00\x00\x00")
    largest = OffsetIndex(b"\x19\x1c\x16" + b"\xff" * 9 + b"\x01\x15\x02\x16\x00\x00\x00")
    assert largest.starts.tolist() == [-(1 << 63)]


@pytest.mark.timeout(0 if LONG else 120)
@pytest.mark.parametrize("which", range(3), ids=["pyarrow", "version 2", "DuckDB"])
@pytest.mark.parametrize("where", ["anywhere", "at its end"])
def test_a_changed_blob_gives_the_file_or_a_reason(which: int, where: str) -> None:
    """Whole and in a range."""
    content, whole = blobs(3_000)[which]
    within = range(len(whole)) if where == "anywhere" else range(len(whole) - 1_500, len(whole))
    chance = random.Random(SEED)
    refused = 0
    for changed in inputs(whole, within):
        reader = BytesReader(changed)
        at, length = chance.randrange(len(content)), chance.randrange(len(content))
        try:
            opened = CODEC.open(reader)
            part, all_of_it = opened.read_at(at, length), opened.read_at(0, len(content))
        except VerificationFailed:
            refused += 1
            continue
        assert (opened.size, part, all_of_it) == (len(content), content[at : at + length], content)
    assert refused > INPUTS // 2


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="there is no atheris for this system")
@pytest.mark.campaign
@pytest.mark.timeout(0 if LONG else 240)
@pytest.mark.parametrize("target", TARGETS)
def test_what_a_fuzzer_finds_is_answered_or_refused(target: str, tmp_path: Path) -> None:
    """By the lines of ours that an input reaches, within 20 seconds and 1.5 GB each."""
    bounds = [f"-runs={INPUTS}", f"-seed={SEED}", "-timeout=20", "-rss_limit_mb=1500"]
    # libFuzzer reads ru_maxrss, which outlives exec: without a shell between it would begin with what pytest had.
    words = [
        "sh",
        "-c",
        '"$@"; exit $?',
        "sh",
        sys.executable,
        "-m",
        "tests.codecs.parquet_fuzz",
        target,
        str(tmp_path / "reached"),
        *bounds,
    ]
    place = Path(__file__).parents[2]
    done = subprocess.run(
        words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(place)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4_000:]
    assert f"Done {INPUTS} runs" in done.stderr
