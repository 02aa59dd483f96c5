"""Where the demo's tiers are: three directories, or a directory and two buckets on an S3 server of the demo's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import humanize

NAMES: Final = ("hot", "warm", "cold")

Ask = Callable[[str], list[dict[str, Any]]]


class Tiers(Protocol):
    """What the story needs to know of them."""

    @property
    def environment(self) -> Mapping[str, str]:
        """Of the programs that work on them."""
        ...

    @property
    def about(self) -> str:
        """What they are, for the reader."""
        ...

    def config(self) -> str:
        """Their part of storaged.yaml."""
        ...

    def snapshot(self) -> dict[str, tuple[int, int]]:
        """Size and time of every stored thing, storaged's own records included."""
        ...

    def in_cold(self, start: str) -> list[str]:
        """The names in the cold tier that begin so."""
        ...

    def copying(self, ask: Ask) -> bool:
        """Whether a copy to the cold tier is under way. `ask` puts a question to the catalog."""
        ...

    def left_behind(self, ask: Ask) -> str:
        """What a copy that did not end left, in words; empty for nothing."""
        ...


class Directories:
    """All three on this machine's disk."""

    environment: Mapping[str, str] = {}
    about = "three directories"

    def __init__(self, place: Path) -> None:
        self._place = place
        self._seen: dict[str, int] = {}
        for name in NAMES:
            (place / name).mkdir(parents=True, mode=0o700)

    def config(self) -> str:
        """One line each."""
        return f"""\
tiers:
  # what they would cost if they were buckets of these classes
  hot:  {{rank: 0, url: "file://{self._place}/hot", prices: aws/us-east-1/standard}}
  warm: {{rank: 1, url: "file://{self._place}/warm", read_latency: 10ms, prices: aws/us-east-1/standard-ia}}
  cold: {{rank: 2, url: "file://{self._place}/cold", read_latency: 50ms, prices: aws/us-east-1/glacier-ir}}
"""

    def snapshot(self) -> dict[str, tuple[int, int]]:
        """By path."""
        files = (p for p in self._place.rglob("*") if p.is_file())
        return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in files}

    def in_cold(self, start: str) -> list[str]:
        """Files."""
        cold = self._place / "cold"
        names = (p.relative_to(cold).as_posix() for p in cold.rglob("*") if p.is_file())
        return [name for name in names if name.startswith(start)]

    def copying(self, ask: Ask) -> bool:
        """A part has more bytes than when it was first seen with any."""
        return any(size > self._seen.setdefault(name, size) for name, size in self._parts().items())

    def left_behind(self, ask: Ask) -> str:
        """The largest part."""
        largest = max(self._parts().values(), default=0)
        return f"a part of {humanize.naturalsize(largest, binary=True, format='%.1f')}" if largest else ""

    def _parts(self) -> dict[str, int]:
        """Unfinished files, which a local tier keeps apart until they are whole, with their sizes."""
        folder = self._place / "cold" / ".storaged" / "tmp"
        sizes = {}
        for path in folder.iterdir() if folder.is_dir() else ():
            try:
                sizes[path.name] = path.stat().st_size
            except FileNotFoundError:  # finished or discarded meanwhile
                continue
        return {name: size for name, size in sizes.items() if size}


class Buckets:
    """Hot on this machine's disk, warm and cold in buckets. Make it with `buckets`."""

    about = "a directory and two buckets"

    def __init__(self, place: Path, environment: Mapping[str, str], endpoint: str, region: str) -> None:
        import s3fs

        self.environment = environment
        self._hot = place / "hot"
        self._hot.mkdir(parents=True, mode=0o700)
        self._endpoint = endpoint
        self._region = region
        self._files = s3fs.S3FileSystem(
            key=environment["AWS_ACCESS_KEY_ID"],
            secret=environment["AWS_SECRET_ACCESS_KEY"],
            endpoint_url=endpoint,
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def config(self) -> str:
        """Tiers, and how the buckets are reached."""
        warm = f"storage_class: STANDARD_IA, read_latency: 50ms, prices: aws/{self._region}/standard-ia"
        cold = f"storage_class: GLACIER_IR, read_latency: 100ms, prices: aws/{self._region}/glacier-ir"
        return f"""\
tiers:
  hot:  {{rank: 0, url: "file://{self._hot}", prices: aws/{self._region}/standard}}   # as if it were a bucket
  warm: {{rank: 1, url: "s3://demo-warm", {warm}}}
  cold: {{rank: 2, url: "s3://demo-cold/lake", {cold}}}

buckets:
  demo-*: {{endpoint: "{self._endpoint}", region: {self._region}, path_style: true}}
"""

    def snapshot(self) -> dict[str, tuple[int, int]]:
        """By path or key."""
        found = {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in self._hot.rglob("*") if p.is_file()}
        for bucket in ("demo-warm", "demo-cold"):
            for key, info in self._files.find(bucket, detail=True).items():
                found[key] = (int(info["size"]), int(info["LastModified"].timestamp()))
        return found

    def in_cold(self, start: str) -> list[str]:
        """Objects."""
        top = "demo-cold/lake/"
        return [key.removeprefix(top) for key in self._files.find(top + start.rpartition("/")[0]) if start in key]

    def copying(self, ask: Ask) -> bool:
        """Its intent stands in the catalog: a bucket shows nothing before it is whole."""
        return bool(self.left_behind(ask))

    def left_behind(self, ask: Ask) -> str:
        """Intents that nothing came of."""
        count = ask("SELECT count(*) AS staged FROM attempts WHERE state = 'staged'")[0]["staged"]
        return f"the intents of {count} copies, and nothing in the bucket" if count else ""


@contextmanager
def directories(place: Path) -> Iterator[Directories]:
    """Tiers below `place`."""
    yield Directories(place)


@contextmanager
def buckets(place: Path) -> Iterator[Buckets]:
    """A hot tier below `place`, and a server for the others, which ends with the `with`."""
    from storaged.testing.servers import REGION, moto_server

    with moto_server() as server:
        for bucket in ("demo-warm", "demo-cold"):
            server.make_bucket(bucket)
        yield Buckets(place, server.environment, server.endpoint, REGION)
