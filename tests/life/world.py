"""A small world to live a dataset's life in: a root that its user writes to, three tiers, a catalog, a clock."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.catalog.placements import Held, load
from storaged.catalog.queue import NewItem
from storaged.catalog.schema import blobs, objects
from storaged.clock import DAY, SECOND
from storaged.config.settings import Settings, load_settings
from storaged.model import CodecSpec, JobKind
from storaged.naming import SHORT_ATTEMPT
from storaged.stores.base import Stat, Store
from storaged.testing import FakeClock
from storaged.work import targets
from storaged.work.content import open_current
from storaged.work.context import Context
from storaged.work.returns import Enqueued, enqueue_batches, to_root
from storaged.work.scan import Scanned, scan
from storaged.work.sweep import Swept, sweep
from storaged.work.undo import Changed, undo_objects
from storaged.work.worker import Report, Worker

ZSTD = CodecSpec("zstd", 3)
PLAIN = CodecSpec("identity")


class World:
    """One dataset `lake` on a root, tiers hot, warm and cold, all in directories of one temporary place."""

    def __init__(self, place: Path, catalog: Catalog, clock: FakeClock, *, more: str = "") -> None:
        self.place = place
        self.catalog = catalog
        self.clock = clock
        self.root = place / "lake"
        for name in ("lake", "hot", "warm", "cold", "state", "policies"):
            (place / name).mkdir(exist_ok=True)
        config = place / "storaged.yaml"
        config.write_text(
            f"""\
catalog: sqlite:///{place}/catalog.db
state_dir: {place}/state
grace: 7d
tiers:
  hot: {{rank: 0, url: "file://{place}/hot"}}
  warm: {{rank: 1, url: "file://{place}/warm"}}
  cold: {{rank: 2, url: "file://{place}/cold"}}
datasets:
  lake: {{root: "file://{self.root}", readers: storaged}}
{more}"""
        )
        self.settings: Settings = load_settings(config)
        self.context = self.new_context()

    def new_context(
        self,
        *,
        catalog: Catalog | None = None,
        wrap: Callable[[Store], Store] = lambda store: store,
        actor: str = "test",
    ) -> Context:
        return Context(self.settings, catalog or self.catalog, self.clock, actor=actor, wrap=wrap)

    # -- the user --------------------------------------------------------------------------------------------------

    def write(self, name: str, content: bytes) -> None:
        """The user writes a file: whole, by another name first, as careful users do."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.root.parent / "user-tmp"
        aside.write_bytes(content)
        seconds = self.clock.now_us() / SECOND
        os.utime(aside, (seconds, seconds))
        os.replace(aside, path)

    def delete(self, name: str) -> None:
        (self.root / name).unlink()

    def raw(self, name: str) -> bytes | None:
        path = self.root / name
        return path.read_bytes() if path.exists() else None

    # -- storaged ---------------------------------------------------------------------------------------------------

    def scan(self, **options: bool) -> Scanned:
        self.context.register()
        return scan(self.context, "lake", **options)

    def held(self, name: str) -> Held:
        return targets.one(self.context, f"lake/{name}")

    def enqueue(
        self,
        names: Iterable[str],
        tier: str,
        codec: CodecSpec = ZSTD,
        *,
        context: Context | None = None,
        allow_loss: frozenset[str] = frozenset(),
    ) -> Enqueued:
        context = context or self.context
        result = Enqueued()
        held = [self.held(n) for n in names]
        items = [NewItem(h.id, h.version, h.placement.size, tier, codec, 7 * DAY, allow_loss) for h in held]
        enqueue_batches(context, JobKind.REWRITE, "lake", items, reason="test", result=result)
        return result

    def work(self, context: Context | None = None) -> Report:
        with Worker(context or self.context, name="worker") as worker:
            return worker.run()

    def migrate(self, *names: str, tier: str = "cold", codec: CodecSpec = ZSTD) -> Report:
        self.enqueue(names, tier, codec)
        return self.work()

    def undo(self, target: str, context: Context | None = None) -> Changed:
        context = context or self.context
        return undo_objects(context, targets.pages(context, target))

    def eject(self, target: str = "lake", context: Context | None = None) -> Report:
        context = context or self.context
        to_root(context, targets.pages(context, target), reason="eject")
        return self.work(context)

    def sweep(self, context: Context | None = None) -> Swept:
        return sweep(context or self.context)

    def days(self, n: float) -> None:
        self.clock.advance(n * 86_400)

    def read(self, name: str) -> bytes | None:
        """The object's content as the catalog resolves it; None where the object is gone or unknown."""
        with self.catalog.read() as conn:
            found = conn.execute(sa.select(objects.c.id).where(objects.c.name == name)).scalar()
            held = load(conn, [found]).get(found) if found is not None else None
        if held is None or not held.placement.exists:
            return None
        with open_current(self.context, held) as content:
            return b"".join(content.chunks())

    # -- what must always hold ---------------------------------------------------------------------------------------

    def stored(self, tier: str) -> dict[str, bytes]:
        """Every blob in a tier by key."""
        store = self.context.tier(tier)
        return {e.key: (self.place / tier / e.key).read_bytes() for e in store.list() if isinstance(e, Stat)}

    def unknown_blobs(self) -> list[str]:
        """Keys in tiers that no row of the catalog speaks of, by key or (known by its parts only) by attempt."""
        with self.catalog.read() as conn:
            rows = conn.execute(sa.select(blobs.c.key, blobs.c.id)).all()
        keys, attempts = {row.key for row in rows}, {row.id[:SHORT_ATTEMPT] for row in rows}
        stored = [k for tier in ("hot", "warm", "cold") for k in self.stored(tier)]
        return [k for k in stored if k not in keys and k.removesuffix(".zst").rpartition(".")[2] not in attempts]

    def leftovers(self) -> list[str]:
        """Temporary parts of uploads and files set aside, anywhere."""
        found = []
        for place in ("lake", "hot", "warm", "cold"):
            for folder in ("tmp", "aside"):
                where = self.place / place / ".storaged" / folder
                found += (
                    [str(p) for p in where.rglob("*") if p.is_file() and p.name != "lock"] if where.exists() else []
                )
        return found


def text(seed: str, size: int = 20_000) -> bytes:
    """Compressible content that differs by its seed."""
    line = hashlib.sha256(seed.encode()).hexdigest().encode() + b",the same words in every line of this file\n"
    return (line * (size // len(line) + 1))[:size]


def noise(seed: str, size: int = 20_000) -> bytes:
    """Content that does not shrink."""
    out = b""
    while len(out) < size:
        out += hashlib.sha256(f"{seed}{len(out)}".encode()).digest()
    return out[:size]
