"""The lake as its users left it: datasets in plain directories, written years ago."""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

import pandas as pd

from demo.sources import CHARTS, FLIGHTS
from demo.tiers import Tiers

DATASETS: Final = ("flights", "weather", "events", "exports", "charts")
EXPORT: Final = "flights-2013.csv"
_MARKER: Final = ".made-by-the-demo"


class LakeError(Exception):
    """The lake cannot be built here."""


@dataclass(frozen=True, slots=True)
class Original:
    """What a file was when its user had written it. `mtime_us`: microseconds since 1970."""

    size: int
    sha256: str
    mtime_us: int


@dataclass(frozen=True, slots=True)
class Lake:
    """A directory with the users' data under `data` and storaged's own beside it, and the tiers."""

    place: Path
    tiers: Tiers

    @property
    def data(self) -> Path:
        """The datasets' roots are its directories."""
        return self.place / "data"

    def root(self, dataset: str) -> Path:
        """Where users see a dataset."""
        return self.data / dataset

    def originals(self) -> dict[str, Original]:
        """Every file of the datasets by DATASET/NAME, as it is on disk now."""
        found = {}
        for path in sorted(self.data.rglob("*")):
            name = path.relative_to(self.data).as_posix()
            if path.is_file() and ".storaged" not in path.parts:
                found[name] = Original(path.stat().st_size, sha256(path), path.stat().st_mtime_ns // 1_000)
        return found

    def snapshot(self) -> dict[str, tuple[int, int]]:
        """Size and mtime of every file in data and tiers: what a dry run must not change."""
        files = (p for p in self.data.rglob("*") if p.is_file())
        return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in files} | self.tiers.snapshot()

    def used(self) -> tuple[int, int]:
        """Files and bytes in data and tiers, storaged's own records (journal, markers) included."""
        sizes = [size for size, _ in self.snapshot().values()]
        return len(sizes), sum(sizes)


def sha256(path: Path) -> str:
    """Digest of a file: not the one that storaged uses, so that it proves something."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def clear(place: Path) -> Path:
    """An empty directory for a lake; one that an earlier demo made is removed. Raises LakeError for any other."""
    if place.exists() and any(place.iterdir()):
        if not (place / _MARKER).is_file():
            raise LakeError(f"{place} is not empty and no demo made it: name another directory with --lake")
        shutil.rmtree(place)
    place.mkdir(parents=True, exist_ok=True)
    (place / _MARKER).touch()
    return place.resolve()


def build(lake: Lake, *, days: int) -> None:
    """Write every dataset, with the last `days` days of 2013; mtimes are those of a nightly job of that time."""
    for name in DATASETS:
        lake.root(name).mkdir(parents=True)
    with zipfile.ZipFile(FLIGHTS.path("flights.csv.zip")) as archive, archive.open("flights.csv") as file:
        flights = file.read()
    _write(lake.root("exports") / EXPORT, flights, dt.date(2014, 1, 15))
    _write(lake.root("exports") / "planes-2013.csv", FLIGHTS.path("planes.csv").read_bytes(), dt.date(2014, 1, 15))
    first = dt.date(2014, 1, 1) - dt.timedelta(days=days)
    for day, lines in _days(flights, ("year", "month", "day")):
        if day >= first:
            _write(lake.root("flights") / f"dt={day}" / "flights.csv", lines, day)
    for day, lines in _days(FLIGHTS.path("weather.csv").read_bytes(), ("year", "month", "day")):
        if day >= first:
            _write(lake.root("weather") / f"dt={day}" / "weather.csv", lines, day)
    _events(lake, first)
    for name in CHARTS.files:
        _write(lake.root("charts") / name, CHARTS.path(name).read_bytes(), dt.date(2019, 3, 1))


def days_of(lake: Lake) -> list[str]:
    """The days that the lake has flights of, oldest first: 2013-12-31."""
    return sorted(p.name.removeprefix("dt=") for p in lake.root("flights").iterdir() if p.name.startswith("dt="))


def _events(lake: Lake, first: dt.date) -> None:
    """Departures as JSON lines, one file a day and airport: what an application would have logged."""
    frame = pd.read_csv(FLIGHTS.path("flights.csv.zip"))
    frame["dt"] = pd.to_datetime(frame[["year", "month", "day"]]).dt.date
    frame = frame[frame["dt"] >= first].drop(columns=["year", "month", "day"])
    for (day, origin), rows in frame.groupby(["dt", "origin"]):
        text = rows.drop(columns="dt").to_json(orient="records", lines=True)
        _write(lake.root("events") / f"dt={day}" / f"{origin}.jsonl", text.encode(), day)


def _days(table: bytes, keys: tuple[str, ...]) -> Iterator[tuple[dt.date, bytes]]:
    """A CSV file cut into days, byte for byte, each with the header. Rows without quotes before the last key."""
    header, *lines = table.splitlines(keepends=True)
    places = [header.decode().strip().split(",").index(key) for key in keys]

    def day(line: bytes) -> dt.date:
        cells = line.split(b",", max(places) + 1)
        year, month, number = (int(cells[place]) for place in places)
        return dt.date(year, month, number)

    for found, rows in groupby(sorted(lines, key=day), key=day):
        yield found, header + b"".join(rows)


def _write(path: Path, content: bytes, day: dt.date) -> None:
    """A file as the nightly job of that day wrote it: at 4 o'clock on the next morning."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    written = dt.datetime.combine(day, dt.time(4), dt.UTC) + dt.timedelta(days=1)
    os.utime(path, (written.timestamp(), written.timestamp()))
