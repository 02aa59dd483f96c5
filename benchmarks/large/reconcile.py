"""A scan of a dataset that holds what the catalog says: listing and comparing, without a store behind it.

    python -m benchmarks.large.reconcile CONFIG DATASET

The listing is read from a copy of the catalog's own names, so what making it takes is told beside the scan.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from storaged.catalog.engine import open_catalog
from storaged.catalog.schema import datasets, objects
from storaged.cli import collect_less
from storaged.clock import SystemClock
from storaged.config.settings import load_settings
from storaged.stores.base import Skipped, Stat, Store
from storaged.stores.wrappers import StoreWrapper
from storaged.work.context import Context
from storaged.work.scan.run import scan

PAGE = 10_000


class _Listed(StoreWrapper):
    """A store whose root lists the keys of a file."""

    def __init__(self, store: Store, keys: Path) -> None:
        super().__init__(store)
        self._keys = keys

    def list(self, prefix: str = "", after: str = "") -> Iterator[Stat | Skipped]:
        assert not prefix
        with self._keys.open() as lines:
            for line in lines:
                key, size, identity, mtime = line.rstrip("\n").split("\t")
                if key > after:
                    yield Stat(key, int(size), identity, int(mtime))


def main(config: Path, dataset: str) -> None:
    collect_less()  # as `storagectl` does
    settings = load_settings(config)
    keys = config.parent / f"{dataset}.keys"
    root = settings.dataset_values[dataset].root
    with open_catalog(settings.catalog) as catalog:
        with catalog.read() as conn, keys.open("w") as out:
            o = objects.c
            query = sa.select(o.name, o.size, o.raw_identity, o.mtime_us).where(
                o.dataset_id == sa.select(datasets.c.id).where(datasets.c.name == dataset).scalar_subquery(),
                o.raw_state == "current",
            )
            rows = conn.execution_options(yield_per=PAGE).execute(query.order_by(o.name))
            out.writelines("\t".join(map(str, row)) + "\n" for row in rows)

        def listed(store: Store) -> Store:
            return _Listed(store, keys) if store.url == root else store

        context = Context(settings, catalog, SystemClock(), actor="bench", wrap=listed)
        begin = time.process_time()
        number = sum(1 for _ in context.root(dataset).list())
        alone = time.process_time() - begin
        begin = time.process_time()
        found = scan(context, dataset)
        took = time.process_time() - begin
        assert (found.unchanged, found.added, found.vanished) == (number, 0, 0), found
    print(f"{number:,} objects unchanged: listing alone {alone:.2f} s of processor, the scan with it {took:.2f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
