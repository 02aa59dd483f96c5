"""Where a world's root and tiers are, and the back door to each: what a user does behind storaged's back.

Three layouts: `local` (all in directories), `mixed` (root, hot with the journal and warm in directories, cold on S3),
and `s3` (root, tiers and journal on S3).
"""

from __future__ import annotations

import itertools
import os
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import pytest

from storaged.clock import SECOND
from storaged.stores.access import Access
from storaged.stores.base import RESERVED, Store
from storaged.testing.servers import MotoServer, RcloneServer, bucket_name

NAMES = ("lake", "hot", "warm", "cold")
LAYOUTS: Mapping[str, frozenset[str]] = {  # which of them are on S3
    "local": frozenset(),
    "mixed": frozenset({"cold"}),
    "s3": frozenset(NAMES),
}


class Place(Protocol):
    """One place as its owner sees it."""

    @property
    def url(self) -> str: ...

    def write(self, key: str, content: bytes, now_us: int) -> None: ...

    def delete(self, key: str) -> None: ...

    def make_directory(self, key: str) -> None: ...

    def write_into(self, key: str, content: bytes) -> None:
        """As careless users do."""
        ...

    def read(self, key: str) -> bytes | None: ...

    def leftovers(self) -> list[str]:
        """Parts of uploads and files set aside."""
        ...


@dataclass(frozen=True)
class Directory:
    """A place in a filesystem."""

    path: Path

    @property
    def url(self) -> str:
        return f"file://{self.path}"

    def write(self, key: str, content: bytes, now_us: int) -> None:
        """Whole, by another name first, as careful users do."""
        path = self.path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.parent / "user-tmp"
        aside.write_bytes(content)
        os.utime(aside, (now_us / SECOND, now_us / SECOND))
        os.replace(aside, path)

    def delete(self, key: str) -> None:
        (self.path / key).unlink()

    def make_directory(self, key: str) -> None:
        (self.path / key).mkdir()

    def write_into(self, key: str, content: bytes) -> None:
        with open(self.path / key, "r+b") as file:
            file.write(content)

    def read(self, key: str) -> bytes | None:
        path = self.path / key
        return path.read_bytes() if path.is_file() else None

    def leftovers(self) -> list[str]:
        found = []
        for folder in ("tmp", "aside"):
            where = self.path / RESERVED / folder
            found += [str(p) for p in where.rglob("*") if p.is_file() and p.name != "lock"] if where.exists() else []
        return found


@dataclass(frozen=True)
class Prefix:
    """A place in a bucket. `user` is a client of boto3."""

    server: MotoServer | RcloneServer
    user: Any
    bucket: str
    prefix: str
    access: Access  # of storaged; the user is not troubled by what troubles us

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    def write(self, key: str, content: bytes, now_us: int) -> None:
        if isinstance(self.server, MotoServer):
            self.server.set_time(now_us)  # it is the store that tells the time of an object
        self.user.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}", Body=content)

    def write_untold(self, key: str, content: bytes, now_us: int) -> None:
        """In parts, so that the store has a checksum of their checksums and none of all bytes."""
        if isinstance(self.server, MotoServer):
            self.server.set_time(now_us)
        place = {"Bucket": self.bucket, "Key": f"{self.prefix}/{key}"}
        begun = self.user.create_multipart_upload(**place, ChecksumAlgorithm="SHA256")["UploadId"]
        sent = self.user.upload_part(**place, UploadId=begun, PartNumber=1, Body=content, ChecksumAlgorithm="SHA256")
        parts = [{"PartNumber": 1, "ETag": sent["ETag"], "ChecksumSHA256": sent["ChecksumSHA256"]}]
        self.user.complete_multipart_upload(**place, UploadId=begun, MultipartUpload={"Parts": parts})

    def delete(self, key: str) -> None:
        self.user.delete_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}")

    def make_directory(self, key: str) -> None:
        self.user.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}/", Body=b"")

    def write_into(self, key: str, content: bytes) -> None:
        self.user.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}", Body=content)  # S3 knows nothing less

    def read(self, key: str) -> bytes | None:
        try:
            found: bytes = self.user.get_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}")["Body"].read()
        except self.user.exceptions.NoSuchKey:
            return None
        return found

    def leftovers(self) -> list[str]:
        where = {"Bucket": self.bucket, "Prefix": f"{self.prefix}/"}
        try:
            uploads = self.user.list_multipart_uploads(**where).get("Uploads", [])
        except self.user.exceptions.NoSuchUpload:
            uploads = []  # rclone's answer for a bucket that has had none since its start
        notes = f"{self.prefix}/{RESERVED}/uploads/"
        listed = self.user.list_objects_v2(Bucket=self.bucket, Prefix=notes).get("Contents", [])
        # A process that dies while it tries what the store can do leaves its trial to whoever tries an hour later.
        trials = f"{self.prefix}/{RESERVED}/probe/"
        ours = [upload["Key"] for upload in uploads if not upload["Key"].startswith(trials)]
        return ours + [note["Key"] for note in listed]


@dataclass(frozen=True)
class Places:
    """Root and tiers of one world, by name. `clients`: of the buckets among them, by URL, which every process of that
    world works with: they are dear, and know nothing of processes. `give_back`: when that world is over."""

    by_name: Mapping[str, Place]
    clients: dict[str, Store] = field(default_factory=dict)
    give_back: Callable[[], None] = lambda: None

    @property
    def buckets(self) -> Mapping[str, Access]:
        """How the buckets among them are reached."""
        return {p.bucket: p.access for p in self.by_name.values() if isinstance(p, Prefix)}


NewPlaces = Callable[[Path], Places]


def directories(place: Path) -> Places:
    """All of a world in one directory."""
    return in_layout("local", place, lambda name: Directory(place / name))


def in_layout(layout: str, place: Path, remote: Callable[[str], Place]) -> Places:
    """Those of a layout that are not remote, in this directory."""
    return Places(_by_name(layout, place, remote))


def _by_name(layout: str, place: Path, remote: Callable[[str], Place]) -> Mapping[str, Place]:
    found = {n: remote(n) if n in LAYOUTS[layout] else Directory(place / n) for n in NAMES}
    for one in found.values():
        if isinstance(one, Directory):
            one.path.mkdir(exist_ok=True)
    return found


@dataclass(frozen=True, eq=False)
class Lent:
    """A bucket of `server` that one world after another has, empty each time. What can be done there was found out by
    the first."""

    server: MotoServer
    kind: str  # of worlds: those that give their tiers the same storage classes
    name: str
    clients: dict[str, Store] = field(default_factory=dict)

    def place(self, user: Any) -> Callable[[str], Place]:
        """A place in it, by its name."""
        return lambda name: Prefix(self.server, user, self.name, name, self.server.access)

    def give_back(self) -> None:
        """Once its world is over."""
        self.server.drop_bucket(self.name)
        _idle[self.server.endpoint, self.kind].append(self)


_numbers = itertools.count(1)  # of buckets in this process
_idle: dict[tuple[str, str], deque[Lent]] = defaultdict(deque)  # by the server's URL and kind
_REST: Final = 3  # worlds that are lent others first: a request of the last one may still be on its way


def lend(server: MotoServer, kind: str) -> Lent:
    """A bucket that nobody has."""
    idle = _idle[server.endpoint, kind]
    lent = idle.popleft() if len(idle) > _REST else Lent(server, kind, bucket_name(kind, next(_numbers)))
    server.make_bucket(lent.name)
    return lent


def new_places(layout: str, request: pytest.FixtureRequest) -> NewPlaces:
    """Makes places for one world after another; what is on S3 is in an empty bucket of `moto` each time."""
    if layout == "local":
        return directories
    user = request.getfixturevalue("s3_user")
    return places_in_buckets("world", request, lambda one, place: _by_name(layout, place, one.place(user)))


def places_in_buckets(
    kind: str, request: pytest.FixtureRequest, by_name: Callable[[Lent, Path], Mapping[str, Place]]
) -> NewPlaces:
    """Makes places for one world of this kind after another, each with an empty bucket of `moto`."""
    moto: MotoServer = request.getfixturevalue("moto")
    had: dict[str, Lent] = {}

    def make(place: Path) -> Places:
        one = lend(moto, kind)
        had[one.name] = one

        def give_back() -> None:
            if had.pop(one.name, None) is not None:
                one.give_back()

        return Places(by_name(one, place), one.clients, give_back)

    def all_back() -> None:
        for one in had.values():
            moto.forget(one.name)
            one.give_back()
        moto.set_time(None)  # also where all were given back before

    request.addfinalizer(all_back)
    return make
