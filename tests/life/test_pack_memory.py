"""The memory that enqueuing and making a pack takes grows by no more than some tens of bytes a member; and what moving
a collection whole and its undo take, by little more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow as pa

from storaged.catalog.bulk import NEW_OBJECTS, insert_objects
from storaged.catalog.engine import create_catalog
from storaged.catalog.items import IntoPack, NewItem, ToTier
from storaged.clock import SystemClock
from storaged.config.settings import load_settings
from storaged.decide.load import load_policies
from storaged.model import IDENTITY, PACK, CodecSpec
from storaged.work import targets
from storaged.work.context import Context
from storaged.work.plan.make import make_plan
from storaged.work.rewrite.enqueue import Enqueued, enqueue_pack, enqueue_whole
from storaged.work.scan.run import scan

HELD, LISTED = 2_000, 10_000  # members of a pack that is enqueued: more than a page
A_LISTED = 800  # bytes of each: a list of them takes twice as much
PAGE = 200
FEW, MANY = 400, 1_600
# Bytes: it takes 1,000 to 1,500, and 4,800 or more where its journal entry or its swap is held, 8,700 where all is.
A_MEMBER = 3_000
A_PART = 5_000  # of a collection; its items, held, take 8,000

_CONFIG = """\
catalog: sqlite:///{home}/catalog.db
state_dir: {home}/state
quiet_for: 0s
tiers:
  hot: {{rank: 0, url: "file://{home}/hot"}}
  cold: {{rank: 1, url: "file://{home}/cold"}}
datasets:
  data: {{root: "file://{home}/data", readers: storaged}}
"""

_WORK = f"""
import sys
from pathlib import Path
from storaged.catalog.engine import open_catalog
from storaged.clock import SystemClock
from storaged.codecs.pack import packer
from storaged.config.settings import load_settings
from storaged.testing.memory import peak_bytes
from storaged.work import journal
from storaged.work.context import Context
from storaged.work.rewrite import folded, members, read_ahead, swap
from storaged.work.rewrite.worker import Worker

folded.PAGE = members.PAGE = swap.PAGE = journal.BATCH = {PAGE}
read_ahead.AHEAD = 1 << 18
packer.FRAME = 1 << 14  # of larger ones as many lie in memory as threads lag behind, which is chance
settings = load_settings(Path(sys.argv[1]))
with open_catalog(settings.catalog) as catalog, Worker(Context(settings, catalog, SystemClock(), actor="test")) as work:
    print(work.run().done, peak_bytes())
"""


_WHOLE = f"""
import sys
from pathlib import Path
from storaged.catalog.engine import open_catalog
from storaged.clock import SystemClock
from storaged.config.settings import load_settings
from storaged.testing.memory import peak_bytes
from storaged.work import journal, targets
from storaged.work.context import Context
from storaged.work.rewrite import as_one, collections, folded, members, parts, pointers, swap
from storaged.work.rewrite.worker import Worker

for each in (as_one, collections, folded, members, parts, pointers, swap):
    each.PAGE = {PAGE}
journal.BATCH = {PAGE}
settings = load_settings(Path(sys.argv[1]))
with open_catalog(settings.catalog) as catalog:
    context = Context(settings, catalog, SystemClock(), actor="test")
    if sys.argv[2] == "work":
        with Worker(context) as work:
            done = work.run().done
    else:
        done = len(pointers.undo_objects(context, targets.pages(context, "data/a.zarr")).done)
    print(done, peak_bytes())
"""


_APPLY = """
import sys
from pathlib import Path
from storaged.catalog.engine import open_catalog
from storaged.clock import SystemClock
from storaged.config.settings import load_settings
from storaged.decide.load import load_policies
from storaged.testing.memory import peak_bytes
from storaged.work.context import Context
from storaged.work.rewrite.apply import apply_plan

settings = load_settings(Path(sys.argv[1]))
policies = load_policies(Path(sys.argv[1]).parent / "policies", settings)
with open_catalog(settings.catalog) as catalog:
    print(apply_plan(Context(settings, catalog, SystemClock(), actor="test"), 1, policies).objects, peak_bytes())
"""

_POLICY = """\
name: packs
mode: active
target: {dataset: data}
when: {age_over: 1d}
to: {tier: cold, codec: {pack: {target: 1GiB}}}
"""


def _peak(home: Path, count: int) -> int:
    """Of a worker that makes a pack of so many objects, in bytes."""
    config = _home(home)
    for number in range(count):
        (home / "data" / f"{number:05}.txt").write_text(f"{number}")
    with create_catalog(f"sqlite:///{home}/catalog.db") as catalog:
        context = Context(load_settings(config), catalog, SystemClock(), actor="test")
        context.register()
        scan(context, "data")
        to = IntoPack("cold", CodecSpec(PACK), 0)
        held = [h for page in targets.pages(context, "data") for h in page]
        items = [NewItem(h.id, h.version, h.placement.size, to) for h in held]
        enqueue_pack(context, "data", items, pack="0001", reason="test", result=Enqueued())
    return _ran(_WORK, config, count)


def _peaks_of_whole(home: Path, count: int) -> tuple[int, int]:
    """Of a worker that moves a collection of so many parts, and of whoever undoes that, in bytes."""
    config = _home(home)
    (home / "data" / "a.zarr").mkdir()
    (home / "data" / "a.zarr" / "zarr.json").write_text("{}")
    for number in range(1, count):
        (home / "data" / "a.zarr" / f"{number:05}").write_text(f"{number}")
    with create_catalog(f"sqlite:///{home}/catalog.db") as catalog:
        context = Context(load_settings(config), catalog, SystemClock(), actor="test")
        context.register()
        scan(context, "data")
        held = [h for page in targets.pages(context, "data") for h in page]
        items = [NewItem(h.id, h.version, h.placement.size, ToTier("cold", IDENTITY, 1 << 50)) for h in held]
        enqueue_whole(context, "data", items, whole="a.zarr/", reason="test", result=Enqueued())
    return _ran(_WHOLE, config, count, "work"), _ran(_WHOLE, config, count, "undo")


def _home(home: Path) -> Path:
    for folder in ("hot", "cold", "state", "policies", "data"):
        (home / folder).mkdir(parents=True)
    config = home / "storaged.yaml"
    config.write_text(_CONFIG.format(home=home))
    return config


def _ran(program: str, config: Path, count: int, *words: str) -> int:
    ran = subprocess.run([sys.executable, "-c", program, config, *words], capture_output=True, text=True, check=True)
    done, peak = map(int, ran.stdout.split())
    assert done == count
    return peak


def _peak_of_apply(home: Path, count: int) -> int:
    """Of whoever enqueues a pack of so many objects, in bytes."""
    config = _home(home)
    (home / "policies" / "packs.yaml").write_text(_POLICY)
    settings = load_settings(config)
    with create_catalog(settings.catalog) as catalog:
        Context(settings, catalog, SystemClock(), actor="test").register()
        names = [f"{number:09}.json" for number in range(count)]
        same = {"size": 2_000, "mtime_us": 0, "created_us": 0, "format": "json", "partition": None}
        same |= {"raw_identity": "1:2:3:4", "raw_class": "STANDARD", "tier_id": 1}
        same |= {"locked_until_us": None, "raw_allocated": None}
        rows = pa.table({"name": names, **{name: [value] * count for name, value in same.items()}}, NEW_OBJECTS)
        insert_objects(catalog, 1, rows, staging=home / "state")
        policies = load_policies(home / "policies", settings).policies
        assert make_plan(catalog, settings, policies, SystemClock()).summary.actions == count
    return _ran(_APPLY, config, count)


def test_a_pack_of_many_takes_little_more_memory_than_one_of_few(tmp_path: Path) -> None:
    few, many = (_peak(tmp_path / str(count), count) for count in (FEW, MANY))
    assert many - few < (MANY - FEW) * A_MEMBER, (few, many)


def test_to_enqueue_a_pack_of_many_takes_little_more_memory_than_one_of_few(tmp_path: Path) -> None:
    few, many = (_peak_of_apply(tmp_path / str(count), count) for count in (HELD, LISTED))
    assert many - few < (LISTED - HELD) * A_LISTED, (few, many)


def test_to_move_a_collection_of_many_whole_and_back_takes_little_more_memory_than_one_of_few(tmp_path: Path) -> None:
    few, many = (_peaks_of_whole(tmp_path / str(count), count) for count in (FEW, MANY))
    assert all(m - f < (MANY - FEW) * A_PART for f, m in zip(few, many, strict=True)), (few, many)
