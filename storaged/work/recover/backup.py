"""Copies of the catalog in a tier, as notes below `.storaged/backup/<catalog id>/<when it was made>/`.

A copy's parts come first and its manifest last: without a manifest there is no backup, whatever lies there. Each part
is read back before the manifest names it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import zstandard

from storaged.catalog.copies import SIDES, copy_out
from storaged.clock import DAY, SECOND, from_datetime, iso, to_datetime
from storaged.digest import Digest, digest_of
from storaged.errors import CatalogError, CatalogLocked, StoragedError, StoreError, VerificationFailed
from storaged.private import make_file, opener
from storaged.stores.notes import Notes
from storaged.version import __version__
from storaged.work.context import Context

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
PART: Final = 16 << 20  # bytes of a part as it is stored; one is held in memory
LEVEL: Final = 3  # of zstd
DEAD: Final = DAY  # microseconds; no backup takes as long as this
_NAME: Final = "%Y%m%dT%H%M%SZ"
_READ: Final = 1 << 20
_SLICE: Final = 64 << 10  # bytes decompressed at a time, which may become many more

Progress = Callable[[int, int], None]  # bytes of the copy that are done, and of all of it


@dataclass(frozen=True, slots=True)
class BackupPart:
    """One note of a backup. Sizes in bytes."""

    name: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Backup:
    """One copy of a catalog, as its manifest tells. Everything up to `made_us` is in it; `size` and `digest` are of the
    copy, `parts` of what is stored: the copy in one zstd frame, cut into pieces."""

    tier: str
    name: str
    catalog: str
    epoch: int
    journal_number: int
    dialect: str
    revision: str
    made_us: int
    version: str  # of the storaged that made it
    size: int
    digest: str
    parts: tuple[BackupPart, ...]

    @property
    def stored_bytes(self) -> int:
        return sum(part.size for part in self.parts)


@dataclass(slots=True)
class Made:
    """A backup that was made, and what became of older ones."""

    backup: Backup
    removed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)  # why one that should go is still there

    def __str__(self) -> str:
        made = f"backup {self.backup.name} in {self.backup.tier}, {self.backup.stored_bytes:,} bytes"
        removed = [f"removed {', '.join(self.removed)}"] if self.removed else []
        return "; ".join([made, *removed, *self.problems])


@dataclass(slots=True)
class Found:
    """The backups in some tiers, the newest first, and what could not be read there."""

    backups: list[Backup] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def backup(context: Context, tier: str, keep: int | None, *, progress: Progress = lambda _done, _all: None) -> Made:
    """Copy the catalog into a tier while others work. Of this catalog's backups there, in this epoch, the newest
    `keep` stay (None: all); what backups that died left behind goes when it is a day old.

    Raises as `ready` does; CatalogLocked while another backup or restore is under way on this machine, CatalogError,
    StoreError, VerificationFailed where the copy or what was stored of it is damaged.
    """
    context.ready()  # an old copy of the catalog must not pass for its newest backup
    context.journal.flush()  # or the copy holds what no journal may ever have, and a restore takes it back
    store = context.tier(tier)
    context.confirm_tier(tier)
    folder = f"{prefix(context.identity.catalog)}{_next_name(context, store)}/"
    made_us = context.now_us()
    state = context.settings.state_dir
    with alone(state):
        path = state / "catalog.backup"
        with temporary(path):
            make_file(path)
            told = copy_out(context.catalog, path, context.clock)
            digest = Digest()
            parts = _write(store, folder, _stored(path, digest, progress))
            size = path.stat().st_size
        manifest = {
            "format": FORMAT,
            **dataclasses.asdict(told),
            "made_us": made_us,
            "made": iso(made_us),
            "version": __version__,
            "size": size,
            "digest": digest.hexdigest(),
            "parts": [dataclasses.asdict(part) for part in parts],
        }
        store.write_note(folder + MANIFEST, json.dumps(manifest, indent=1).encode() + b"\n", create_only=True)
        made = Made(_read(store, tier, folder))
        _remove_old(context, store, made, keep)
    return made


def prefix(catalog: str) -> str:
    return f"backup/{catalog}/"


def find(tiers: Mapping[str, Notes], catalog: str | None) -> Found:
    """The backups in these tiers, of this catalog (None: of any). What cannot be read is told, not raised."""
    found = Found()
    for tier, store in tiers.items():
        try:
            folders = _folders(store, prefix(catalog) if catalog else "backup/")
        except StoreError as error:
            found.problems.append(f"{tier}: {error.message}")
            continue
        for folder, names in folders.items():
            if folder + MANIFEST not in names:
                continue
            try:
                found.backups.append(_read(store, tier, folder))
            except (StoreError, CatalogError) as error:
                found.problems.append(f"{tier}: {error.message}")
    found.backups.sort(key=lambda b: (b.epoch, b.name), reverse=True)
    return found


def fetch(store: Notes, which: Backup, path: Path, *, progress: Progress = lambda _done, _all: None) -> None:
    """Write the copy that a backup is of to a file, durably. Raises VerificationFailed for a part that is missing or
    damaged."""
    folder = f"{prefix(which.catalog)}{which.name}/"
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    digest = Digest()
    with open(path, "wb", opener=opener) as file:
        for part in which.parts:
            data = store.read_note(folder + part.name)
            if data is None or (len(data), digest_of([data])) != (part.size, part.digest):
                raise VerificationFailed(
                    f"{part.name} of backup {which.name} in {which.tier} is {'missing' if data is None else 'damaged'}",
                    hint="restore an older one: `storagectl catalog backups` shows them",
                )
            for at in range(0, len(data), _SLICE):
                content = decompressor.decompress(data[at : at + _SLICE])
                digest.update(content)
                file.write(content)
            progress(file.tell(), which.size)
        if (file.tell(), digest.hexdigest()) != (which.size, which.digest):
            raise VerificationFailed(f"backup {which.name} in {which.tier} is not what was copied")
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def alone(state: Path) -> Iterator[None]:
    """One backup or restore at a time on this machine; the lock goes with the process. Raises CatalogLocked, and
    StoragedError for what the machine's own disk refuses meanwhile."""
    try:
        with open(state / "backup.lock", "ab", opener=opener) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError as error:
        raise CatalogLocked(
            "another backup or restore of the catalog is under way", hint="wait until it has come to its end"
        ) from error
    except OSError as error:
        raise StoragedError(f"{error.filename or state}: {(error.strerror or str(error)).lower()}") from error


@contextlib.contextmanager
def temporary(path: Path) -> Iterator[None]:
    """A file for a copy: not there at the beginning, nor in the end."""

    def clear() -> None:
        for side in SIDES:
            Path(f"{path}{side}").unlink(missing_ok=True)

    clear()
    try:
        yield
    finally:
        clear()


def _next_name(context: Context, store: Notes) -> str:
    """The name of a backup that is made now: later than all that are there, so that names tell which is the newest."""
    begun = [_begun_us(folder) for folder in _folders(store, prefix(context.identity.catalog))]
    return named(max([context.now_us(), *(us + SECOND for us in begun if us is not None)]))


def named(us: int) -> str:
    """What a backup that is made at this instant is called."""
    return to_datetime(us).strftime(_NAME)


def _stored(path: Path, digest: Digest, progress: Progress) -> Iterator[bytes]:
    """The file as it is stored, in pieces of PART bytes but the last. `digest` takes in the file itself."""
    size = path.stat().st_size
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compressobj(size=size)
    waiting = bytearray()
    with path.open("rb") as file:
        while data := file.read(_READ):
            digest.update(data)
            waiting += compressor.compress(data)
            while len(waiting) > PART:
                yield bytes(waiting[:PART])
                del waiting[:PART]
            progress(file.tell(), size)
    waiting += compressor.flush()
    for at in range(0, len(waiting), PART):
        yield bytes(waiting[at : at + PART])


def _write(store: Notes, folder: str, pieces: Iterator[bytes]) -> list[BackupPart]:
    parts: list[BackupPart] = []
    try:
        for data in pieces:
            part = BackupPart(f"part-{len(parts):06d}.zst", len(data), digest_of([data]))
            store.write_note(folder + part.name, data, create_only=True)
            parts.append(part)
            if store.read_note(folder + part.name) != data:
                raise VerificationFailed(f"{store.url} does not give back what was written to {folder}{part.name}")
    except StoragedError:
        with contextlib.suppress(StoreError):  # a full tier must not stay so for what is worth nothing
            for part in parts:
                store.delete_note(folder + part.name)
        raise
    return parts


def _folders(store: Notes, under: str) -> dict[str, list[str]]:
    """Names of notes by the folder that they are in."""
    found: dict[str, list[str]] = {}
    for name in store.list_notes(under):
        found.setdefault(name.rpartition("/")[0] + "/", []).append(name)
    return found


def _read(store: Notes, tier: str, folder: str) -> Backup:
    """A backup as its manifest tells. Raises CatalogError where that is damaged, or of a newer storaged."""
    name = folder.split("/")[-2]
    try:
        told: dict[str, Any] = json.loads(store.read_note(folder + MANIFEST) or b"")
        newer = int(told["format"]) > FORMAT
        if not newer:
            parts = tuple(BackupPart(**part) for part in told["parts"])
            names = [f.name for f in dataclasses.fields(Backup) if f.name not in ("tier", "name", "parts")]
            return Backup(tier, name, parts=parts, **{n: told[n] for n in names})
    except (ValueError, KeyError, TypeError) as error:
        raise CatalogError(f"the manifest of backup {name} is damaged") from error
    raise CatalogError(f"backup {name} was made by a newer storaged", hint="update storaged")


def _remove_old(context: Context, store: Notes, made: Made, keep: int | None) -> None:
    """What a crash leaves of a backup on its way out has no manifest any more, and goes as one that died."""
    mine = prefix(context.identity.catalog)
    stale = context.now_us() - DEAD
    going = []
    for folder, names in _folders(store, mine).items():
        begun = _begun_us(folder)
        if folder + MANIFEST not in names and begun is not None and begun < stale:
            going.append(folder)
    if keep is not None:
        complete = find({made.backup.tier: store}, context.identity.catalog).backups
        going += [f"{mine}{b.name}/" for b in [b for b in complete if b.epoch == context.identity.epoch][keep:]]
    for folder in going:
        try:
            _remove(store, folder)
        except StoreError as error:  # a lock of the place: the backup is made all the same
            made.problems.append(f"{folder} could not be removed: {error.message}")
        else:
            made.removed.append(folder.split("/")[-2])


def _begun_us(folder: str) -> int | None:
    """When a backup was begun, by its name; None for a name that is not ours."""
    try:
        return from_datetime(dt.datetime.strptime(folder.split("/")[-2], _NAME).replace(tzinfo=dt.UTC))
    except ValueError:
        return None


def _remove(store: Notes, folder: str) -> None:
    """The manifest first: from then on there is no backup."""
    for name in sorted(store.list_notes(folder), key=lambda n: n != folder + MANIFEST):
        store.delete_note(name)
