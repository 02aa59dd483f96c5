"""A file as large as only a hole can be stops nothing: not the scan, and not the plan for the others."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from storaged.clock import new_id
from storaged.work.scan.suspects import LARGEST
from tests.cli.lake import OLD, Lake


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
