"""Whatever form an object has taken, nothing of it is lost: not with the catalog, and not in a crash."""

from __future__ import annotations

import contextlib
import gzip

import pytest

from storaged.model import CodecSpec
from storaged.work.recover.rebuild import lost_catalog
from tests.codecs.test_tensor import FILES
from tests.life.crashes import Crash, CrashingCatalog, CrashingStore, Effects
from tests.life.stage import Stage
from tests.life.test_inflated import GZIP, ZSTD
from tests.life.test_inflated import NAME as GZIPPED
from tests.life.test_parquet import NAME, PARQUET, SNAPPY, TABLE
from tests.life.test_rebuild import _come_back

LINES = b"".join(b'{"n": %d, "of": {"word": "word %d"}}\n' % (n, n % 9) for n in range(4_000))
TENSORS = FILES["several"]
TEXT = b"".join(TABLE.splitlines(keepends=True)[:4_000])
FORMS = {
    "pages": (PARQUET, NAME, SNAPPY),
    "text": (PARQUET, "dt=1/d.csv", TEXT),
    "jsonl": (PARQUET, "dt=1/e.jsonl", LINES),
    "gzip": (ZSTD, GZIPPED, GZIP),
    "tensor": (CodecSpec("tensor"), "dt=1/h.safetensors", TENSORS),
    "gzipped text": (PARQUET, "dt=1/f.csv.gz", gzip.compress(TEXT, mtime=0)),
    "gzipped jsonl": (PARQUET, "dt=1/g.jsonl.gz", gzip.compress(LINES, mtime=0)),
}
each = pytest.mark.parametrize(("codec", "name", "content"), FORMS.values(), ids=FORMS)


@each
def test_it_is_found_when_the_catalog_is_lost(lake: Stage, codec: CodecSpec, name: str, content: bytes) -> None:
    lake.write(name, content)
    lake.scan()
    lake.enqueue([name], "cold", codec)
    lake.work()
    lake.days(8)
    assert lake.sweep().sources == 1
    lake.takes_over(lake.databases.heir(lost_catalog(lake.context.tier("hot"))))
    _come_back(lake.new_context())
    lake.context = lake.new_context()
    assert lake.read(name) == content


@each
@pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
def test_a_crash_after_every_effect_loses_nothing(lake: Stage, codec: CodecSpec, name: str, content: bytes) -> None:
    lake.write(name, content)
    lake.scan()
    for n in range(1, 100):
        effects = Effects(stop_after=n)
        lake.enqueue([name], "cold", codec)
        dying = lake.new_context(
            catalog=CrashingCatalog(lake.catalog, effects), wrap=lambda store, e=effects: CrashingStore(store, e)
        )
        with contextlib.suppress(Crash):
            lake.work(dying)
        assert lake.read(name) == lake.raw(name) == content
        if not effects.dead:
            break
        lake.days(0.1)
        lake.work()
        assert lake.read(name) == content
        lake.undo("lake")
    else:
        pytest.fail("the job has no end")
    assert n >= 3
