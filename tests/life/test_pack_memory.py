"""The memory that making a pack takes does not grow with its members, beside some tens of bytes for each."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from storaged.catalog.engine import create_catalog
from storaged.catalog.items import IntoPack, NewItem
from storaged.clock import SystemClock
from storaged.config.settings import load_settings
from storaged.model import PACK, CodecSpec
from storaged.work import targets
from storaged.work.context import Context
from storaged.work.rewrite.enqueue import Enqueued, enqueue_pack
from storaged.work.scan.run import scan

PAGE = 200
FEW, MANY = 400, 1_600
A_MEMBER = 3_000  # bytes: one that is held takes more than twice as much, and an allocator is not exact

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
from storaged.config.settings import load_settings
from storaged.testing.memory import peak_bytes
from storaged.work import journal
from storaged.work.context import Context
from storaged.work.rewrite import folded, members, pack, swap
from storaged.work.rewrite.worker import Worker

folded.PAGE = members.PAGE = swap.PAGE = journal.BATCH = {PAGE}
pack.AHEAD = 1 << 20
settings = load_settings(Path(sys.argv[1]))
with open_catalog(settings.catalog) as catalog, Worker(Context(settings, catalog, SystemClock(), actor="test")) as work:
    print(work.run().done, peak_bytes())
"""


def _peak(home: Path, count: int) -> int:
    """Of a worker that makes a pack of so many objects, in bytes."""
    for folder in ("hot", "cold", "state", "policies", "data"):
        (home / folder).mkdir(parents=True)
    for number in range(count):
        (home / "data" / f"{number:05}.txt").write_text(f"{number}")
    config = home / "storaged.yaml"
    config.write_text(_CONFIG.format(home=home))
    with create_catalog(f"sqlite:///{home}/catalog.db") as catalog:
        context = Context(load_settings(config), catalog, SystemClock(), actor="test")
        context.register()
        scan(context, "data")
        to = IntoPack("cold", CodecSpec(PACK), 0)
        held = [h for page in targets.pages(context, "data") for h in page]
        items = [NewItem(h.id, h.version, h.placement.size, to) for h in held]
        enqueue_pack(context, "data", items, pack="0001", reason="test", result=Enqueued())
    ran = subprocess.run([sys.executable, "-c", _WORK, config], capture_output=True, text=True, check=True)
    done, peak = map(int, ran.stdout.split())
    assert done == count
    return peak


def test_a_pack_of_many_takes_little_more_memory_than_one_of_few(tmp_path: Path) -> None:
    few, many = (_peak(tmp_path / str(count), count) for count in (FEW, MANY))
    assert many - few < (MANY - FEW) * A_MEMBER
