"""A file as large as only a hole can be stops nothing: not the scan, and not the plan for the others."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from xxhash import xxh3_128

from storaged.clock import new_id
from storaged.work.scan.suspects import LARGEST
from tests.cli.lake import OLD, POLICY, Lake


@pytest.fixture
def large() -> Iterator[Path]:
    """A directory of a filesystem that keeps files of any size."""
    place = Path("/dev/shm") / f"storaged-{new_id()}"
    place.mkdir()
    try:
        try:
            os.truncate(os.open(place / "probe", os.O_CREAT | os.O_WRONLY), 2**62)
        except OSError as error:
            pytest.skip(f"this needs a filesystem that keeps files of any size: {error}")
        (place / "probe").unlink()
        yield place
    finally:
        shutil.rmtree(place)


def grow(path: Path, size: int) -> None:
    with path.open("ab") as file:
        file.truncate(size)
    os.utime(path, (OLD, OLD))


def test_files_of_exbibytes_are_skipped_with_the_reason_and_the_others_are_planned(lake: Lake, large: Path) -> None:
    lake.config.write_text(lake.config.read_text().replace(f"file://{lake.root}", f"file://{large}"))
    for name in "abc":
        grow(large / f"{name}.csv", 7 << 60)
    (large / "d.csv").write_text("the same words\n" * 2_000)
    os.utime(large / "d.csv", (OLD, OLD))
    grow(large / "e.csv", LARGEST)
    lake.good("catalog", "create")
    (told,) = lake.good("scan", "--json").json["scans"]
    assert (told["added"], told["skipped"]) == (2, 3)
    assert "larger than 8 PiB" in str(told)
    planned = lake.good("plan")
    assert "d.csv" in planned.out
    grow(large / "d.csv", 7 << 60)  # one that is known already
    (told,) = lake.good("scan", "--json").json["scans"]
    assert told["skipped"] >= 4
    for words in (("plan",), ("status",), ("cost",), ("ls", "-r", "lake")):
        assert lake.ctl(*words).code != 70, words


def told(lake: Lake, name: str) -> tuple[int, int]:
    """Content and stored bytes of an object."""
    (row,) = lake.good("sql", "--json", f"SELECT size, stored_bytes FROM v_objects WHERE object = '{name}'").json
    return row["size"], row["stored_bytes"]


def test_what_a_directory_holds_is_counted_by_its_blocks(lake: Lake, large: Path) -> None:
    """A hole takes nothing, the names of one file share it; a move is reckoned by what it takes, and an undo brings
    that back. A catalog that was told sizes only learns it by the next scan."""
    lake.config.write_text(lake.config.read_text().replace(f"file://{lake.root}", f"file://{large}"))
    hollow, noise = large / "hollow.csv", b"".join(xxh3_128(str(n).encode()).digest() for n in range(1 << 13))
    hollow.write_bytes(noise)
    grow(hollow, 1 << 40)
    (large / "full.csv").write_bytes(noise)
    os.link(large / "full.csv", large / "linked.csv")
    os.utime(large / "full.csv", (OLD, OLD))
    lake.good("catalog", "create")
    lake.good("scan")
    expected = {"hollow.csv": (1 << 40, len(noise)), "full.csv": (len(noise), len(noise) // 2)}
    assert {name: told(lake, name) for name in expected} == expected
    with sqlite3.connect(lake.place / "catalog.db") as catalog:
        assert catalog.execute("UPDATE objects SET raw_allocated = NULL, stored_bytes = size").rowcount == 3
    catalog.close()
    assert told(lake, "hollow.csv") == (1 << 40, 1 << 40)
    (again,) = lake.good("scan", "--json").json["scans"]
    assert again["unchanged"] == 3
    assert {name: told(lake, name) for name in expected} == expected
    lake.good("scan")  # finds the page as it is known
    lake.policy(POLICY.replace("format = 'csv'", "name = 'hollow.csv'"))
    planned = lake.good("plan", "--json").json
    assert planned["bytes_now"] == len(noise)
    assert 0 < planned["bytes_after"] <= len(noise)  # by a sample, which weighs what it takes
    assert lake.good("status", "--json").json["saved_bytes"] == 0
