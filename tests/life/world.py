"""A small world to live a dataset's life in: a root that its user writes to, three tiers, a catalog, a clock."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.catalog.items import IntoPack, NewItem, ToTier
from storaged.catalog.placements import Seen, load
from storaged.catalog.schema import blobs, objects, replicas
from storaged.catalog.schema_attempts import attempts
from storaged.clock import DAY
from storaged.config.settings import Settings, load_settings
from storaged.model import PACK, CodecSpec, JobKind
from storaged.naming import named_by
from storaged.stores.base import Stat, Store
from storaged.testing import FakeClock
from storaged.work import targets
from storaged.work.content import open_current
from storaged.work.context import Context
from storaged.work.release.sweep import Swept, sweep
from storaged.work.rewrite.enqueue import Enqueued, enqueue_batches, enqueue_pack
from storaged.work.rewrite.pointers import Changed, undo_objects
from storaged.work.rewrite.returns import to_root
from storaged.work.rewrite.worker import Report, Worker
from storaged.work.scan.run import Scanned, scan
from tests.life.places import NewPlaces, Prefix, directories

ZSTD = CodecSpec("zstd", 3)
PLAIN = CodecSpec("identity")


class World:
    """One dataset `lake` on a root, tiers hot, warm and cold, in directories of one temporary place or elsewhere."""

    def __init__(
        self,
        place: Path,
        catalog: Catalog,
        clock: FakeClock,
        *,
        more: str = "",
        new_places: NewPlaces = directories,
    ) -> None:
        self.place = place
        self.catalog = catalog
        self.clock = clock
        self.root = place / "lake"  # where it is a directory
        self.places = new_places(place)
        urls = {name: found.url for name, found in self.places.by_name.items()}
        for name in ("state", "policies"):
            (place / name).mkdir(exist_ok=True)
        buckets = {
            name: {"endpoint": how.endpoint, "region": how.region, "path_style": how.path_style}
            for name, how in self.places.buckets.items()
        }
        config = place / "storaged.yaml"
        config.write_text(
            f"""\
catalog: sqlite:///{place}/catalog.db
state_dir: {place}/state
grace: 7d
tiers:
  hot: {{rank: 0, url: "{urls["hot"]}"}}
  warm: {{rank: 1, url: "{urls["warm"]}"}}
  cold: {{rank: 2, url: "{urls["cold"]}"}}
datasets:
  lake: {{root: "{urls["lake"]}", readers: storaged}}
buckets: {json.dumps(buckets)}
{more}"""
        )
        self.settings: Settings = load_settings(config)
        self.context = self.new_context()
        self._registered: Context | None = None  # a process registers when it begins

    def new_context(
        self,
        *,
        catalog: Catalog | None = None,
        wrap: Callable[[Store], Store] = lambda store: store,
        actor: str = "test",
    ) -> Context:
        return Context(
            self.settings,
            catalog or self.catalog,
            self.clock,
            actor=actor,
            wrap=lambda store: wrap(self._shared(store)),
        )

    def _shared(self, store: Store) -> Store:
        return self.places.clients.setdefault(store.url, store) if store.url.startswith("s3://") else store

    # -- the user --------------------------------------------------------------------------------------------------

    def write(self, name: str, content: bytes) -> None:
        """The user writes a file, or replaces it."""
        self.places.by_name["lake"].write(name, content, self.clock.now_us())

    def write_untold(self, name: str, content: bytes) -> None:
        """So that its store could not prove a copy of it: its bytes go through us."""
        place = self.places.by_name["lake"]
        write = place.write_untold if isinstance(place, Prefix) else place.write
        write(name, content, self.clock.now_us())

    def delete(self, name: str) -> None:
        self.places.by_name["lake"].delete(name)

    def raw(self, name: str) -> bytes | None:
        return self.places.by_name["lake"].read(name)

    # -- storaged ---------------------------------------------------------------------------------------------------

    def scan(self, **options: bool) -> Scanned:
        if self._registered is not self.context:
            self.context.register()
            self._registered = self.context
        return scan(self.context, "lake", **options)

    def seen(self, name: str) -> Seen:
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
        seen = [self.seen(n) for n in names]
        items = [NewItem(h.id, h.version, h.placement.size, ToTier(tier, codec, 7 * DAY, allow_loss)) for h in seen]
        enqueue_batches(context, JobKind.REWRITE, "lake", items, reason="test", result=result)
        return result

    def enqueue_pack(
        self, names: Iterable[str], tier: str = "cold", *, pack: str = "0001", context: Context | None = None
    ) -> Enqueued:
        """Ask for a pack of these."""
        result = Enqueued()
        known = {h.placement.name: h for page in targets.pages(self.context, "lake") for h in page}
        seen = [known[n] for n in names]
        to = IntoPack(tier, CodecSpec(PACK, 3), 7 * DAY)
        items = [NewItem(h.id, h.version, h.placement.size, to, name=h.placement.name) for h in seen]
        enqueue_pack(context or self.context, "lake", items, pack=pack, reason="test", result=result)
        return result

    def pack(self, *names: str, tier: str = "cold", pack: str = "0001") -> Report:
        self.enqueue_pack(names, tier, pack=pack)
        return self.work()

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
            seen = load(conn, [found]).get(found) if found is not None else None
        if seen is None or not seen.placement.exists:
            return None
        with open_current(self.context, seen) as content:
            return b"".join(content.chunks())

    # -- what must always hold ---------------------------------------------------------------------------------------

    def stored(self, tier: str) -> dict[str, bytes]:
        """Every blob in a tier by key."""
        keys = [entry.key for entry in self.context.tier(tier).list() if isinstance(entry, Stat)]
        found = {key: self.places.by_name[tier].read(key) for key in keys}
        return {key: content for key, content in found.items() if content is not None}

    def unknown_blobs(self) -> list[str]:
        """Keys in tiers that no row of the catalog speaks of, by key or (known by its parts only) by attempt."""
        with self.catalog.read() as conn:
            rows = [row for t in (attempts, blobs) for row in conn.execute(sa.select(t.c.key, t.c.id))]
        keys = {row.key for row in rows}
        stored = [k for tier in ("hot", "warm", "cold") for k in self.stored(tier)]
        return [k for k in stored if k not in keys and not any(named_by(row.id, k) for row in rows)]

    def packs_add_up(self) -> bool:
        """Whether each pack's row tells how much of it is somebody's."""
        lengths = sa.select(sa.func.sum(replicas.c.length)).where(replicas.c.blob_id == blobs.c.id).scalar_subquery()
        wrong = sa.and_(blobs.c.packed_bytes > 0, blobs.c.live_bytes != sa.func.coalesce(lengths, 0))
        with self.catalog.read() as conn:
            return conn.execute(sa.select(blobs.c.id).where(wrong)).first() is None

    def leftovers(self) -> list[str]:
        """Temporary parts of uploads and files set aside, anywhere."""
        return [left for place in self.places.by_name.values() for left in place.leftovers()]


def text(seed: str, size: int = 20_000) -> bytes:
    """Compressible content that differs by its seed."""
    line = hashlib.sha256(seed.encode()).hexdigest().encode() + b",the same words in every line of this file\n"
    return (line * (size // len(line) + 1))[:size]


def noise(seed: str, size: int = 20_000) -> bytes:
    """Content that does not shrink."""
    return hashlib.shake_256(seed.encode()).digest(size)
