"""What the bytes of a log are as text: marks and NULs lose no line, however many there are and wherever they stand."""

from __future__ import annotations

import codecs
import gzip
import io
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storaged.work.ingest import LogSource
from storaged.work.ingest.text import Text, WithoutHoles
from tests.heat.logs import NOW_US, event, expected, rollups, run, seed, write

MARK = codecs.BOM_UTF8
LINES = [event(n) for n in range(30)]


@pytest.fixture
def dialect():
    """What lines say is the same whatever database counts it; test_ingest_replay.py counts in both."""
    return "sqlite"


@pytest.fixture
def logs(catalog, tmp_path):
    seed(catalog)
    directory = tmp_path / "logs"
    directory.mkdir()
    return directory


def text(data, sizes=(1 << 20,)):
    """All of it, read in parts of these sizes over and over."""
    made, stream, n = b"", Text(io.BytesIO(data)), 0
    while part := stream.read(sizes[n % len(sizes)]):
        assert len(part) <= sizes[n % len(sizes)]
        made += part
        n += 1
    return made


@pytest.mark.parametrize(
    ("data", "means"),
    [
        (b"", b""),
        (b"a\nb\n", b"a\nb\n"),
        (b"a\nb", b"a\nb"),
        (MARK + b"a\n", b"a\n"),
        (MARK, b""),
        (MARK + b"\n", b"\n"),
        (b"a\n" + MARK + b"b\n", b"a\nb\n"),
        (b"a" + MARK + b"b\n", b"a" + MARK + b"b\n"),
        (b"\0" * 1_000 + b"a\n", b"a\n"),
        (b"\0" + MARK + b"a\n", b"a\n"),
        (MARK + b"\0a\n", b"a\n"),
        (b"a\n\0\0\0b\n", b"a\nb\n"),
        (b"a\n\0b\n", b"a\nb\n"),
        (b"to\0\0rn\n", b"to\nrn\n"),
        (b"to" + b"\0" * 5_000 + MARK + b"rn\n", b"to\nrn\n"),
        (b"a\0b\n", b"a\0b\n"),
        (b"a\0\nb\0\0\r\nc\n", b"a\nb\r\nc\n"),
        (b"\0\0\n", b"\0\n"),
        (b"\0\r\n", b"\0\r\n"),
        (b"unfinished\0\0\0\0", b"unfinished"),
        (b"\0" * 100, b""),
        (b"\xff\xfe{\n", b"\xff\xfe{\n"),
        (b"\xef", b"\xef"),
        (b"\xef\xbb\n", b"\xef\xbb\n"),
        (codecs.BOM_UTF16_LE + "aä\n𝄞\n".encode("utf-16-le"), "aä\n𝄞\n".encode()),
        (codecs.BOM_UTF16_BE + "aä\n𝄞\n".encode("utf-16-be"), "aä\n𝄞\n".encode()),
        (codecs.BOM_UTF32_LE + "aä\n𝄞\n".encode("utf-32-le"), "aä\n𝄞\n".encode()),
        (codecs.BOM_UTF32_BE + "aä\n𝄞\n".encode("utf-32-be"), "aä\n𝄞\n".encode()),
        (codecs.BOM_UTF16_LE + "a\n".encode("utf-16-le") + b"\x00", "a\n\ufffd".encode()),
    ],
)
@pytest.mark.parametrize("sizes", [(1,), (2, 3), (1 << 20,)])
def test_marks_and_nuls_are_no_part_of_a_line(data, means, sizes):
    assert text(data, sizes) == means


@given(
    st.lists(st.sampled_from([b"\0", b"\0\0", MARK, b"\r", b"\n", b"x", b"\xef", b"\xbb"]), max_size=9).map(b"".join),
    st.lists(st.integers(1, 9), min_size=1, max_size=5),
)
def test_the_text_does_not_depend_on_how_it_is_read(data, sizes):
    whole = text(data)
    assert text(data, sizes) == whole
    assert whole.translate(None, b"\0\n\xef\xbb\xbf") == data.translate(None, b"\0\n\xef\xbb\xbf")
    assert whole.count(b"\n") >= data.count(b"\n")


FORMS = {
    "a mark": lambda data: MARK + data,
    "NULs": lambda data: b"\0" * 10_000 + data,
    "more NULs than a line may have bytes": lambda data: b"\0" * (20 << 20) + data,
    "a mark and NULs": lambda data: MARK + b"\0" * 10_000 + data,
    "NULs between": lambda data: data[: data.index(b"\n") + 1] + b"\0" * 9_000 + data[data.index(b"\n") + 1 :],
    "a mark between": lambda data: data.replace(b"\n", b"\n" + MARK, 1),
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "UTF-16 of Windows": lambda data: data.decode().replace("\n", "\r\n").encode("utf-16"),
    "UTF-32": lambda data: data.decode().encode("utf-32"),
}


# MUST 10
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_no_line_is_lost_and_none_counts_twice(catalog, logs, form, packed):
    data = FORMS[form]("".join(LINES).encode())
    (logs / "a.log").write_bytes(gzip.compress(data, 1) if packed else data)
    report = run(catalog, logs)
    assert (report.counted, report.malformed, report.problems) == (len(LINES), 0, [])
    assert rollups(catalog) == expected(LINES)
    if "Windows" not in form:
        write(logs / "plain.log", LINES)
        assert run(catalog, logs).counted == 0, "the same lines without it"


def test_a_torn_line_takes_none_with_it(catalog, logs):
    (logs / "a.log").write_bytes(LINES[0].encode() + LINES[1][:-30].encode() + b"\0" * 4_096 + LINES[2].encode())
    report = run(catalog, logs)
    assert (report.counted, report.malformed) == (2, 1)


# MUST 10
def test_what_is_behind_a_hole_of_any_size_is_read_and_read_on(catalog, logs):
    path = logs / "a.log"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a writer that goes on where it was before `copytruncate`
    assert run(catalog, logs).problems == [], "nothing but a hole"
    with path.open("ab") as file:
        file.write("".join(LINES[:20]).encode())
    assert run(catalog, logs).counted == 20
    with path.open("ab") as file:
        file.write("".join(LINES[20:]).encode())
    source = LogSource("reads", "jsonl", str(path), since_us=NOW_US - 10**12)
    report = run(catalog, logs)
    assert (report.counted, report.problems) == (10, [])
    assert rollups(catalog) == expected(LINES)
    assert run(catalog, logs, source=source).coverage


def test_a_filesystem_that_knows_no_holes_is_read_all_the_same(tmp_path, monkeypatch):
    path = tmp_path / "a.log"
    path.write_bytes(b"\0" * 100_000 + b"a\n")
    asked = []

    def without(file, offset, how):
        asked.append(how)
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "lseek", without)
    with path.open("rb", buffering=0) as file:
        stream = Text(WithoutHoles(file))
        assert stream.read(1_000) == b"a\n"
    assert os.SEEK_DATA in asked


_READ = """
import sys
from storaged.testing.memory import peak_bytes
from storaged.work.ingest.lines import read_blocks
lines = sum(block.lines for block in read_blocks(sys.argv[1]))
print(lines, peak_bytes())
"""


def test_nuls_take_no_memory_though_they_are_no_hole(tmp_path):
    few, many = tmp_path / "few.gz", tmp_path / "many.gz"
    for path, mib in ((few, 1), (many, 400)):
        with gzip.open(path, "wb", compresslevel=1) as file:
            for _ in range(mib):
                file.write(b"\0" * (1 << 20))
            file.write("".join(LINES).encode())
    used = []
    for path in (few, many):
        told = subprocess.run([sys.executable, "-c", _READ, path], capture_output=True, text=True, check=True).stdout
        lines, peak = map(int, told.split())
        assert lines == len(LINES)
        used.append(peak)
    assert used[1] - used[0] < 64 << 20
