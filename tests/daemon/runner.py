"""The daemon as a real process whose clock, and whose trouble, a test steers by files. Run as a script:

    runner.py STORAGED.YAML STEERING

STEERING is a directory. `clock` holds "anchor_us base_us scale": at the machine's `anchor_us` it is `base_us`, and time
runs `scale` times as fast. While `full-NAME` is there, no room is left in the tier NAME. If `slow-spool` is there from
the beginning, what was read here is counted all the time, and each time first waits until it is gone.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from random import SystemRandom
from urllib.parse import urlsplit

from storaged.catalog.engine import open_catalog
from storaged.config.settings import Settings, load_settings
from storaged.daemon.alone import alone
from storaged.daemon.core import Core
from storaged.daemon.events import to_all
from storaged.daemon.logs import configure
from storaged.daemon.metrics import Meters
from storaged.daemon.notify import Notifier
from storaged.daemon.service import Service
from storaged.daemon.teller import Teller
from storaged.decide.load import load_policies
from storaged.decide.policy import PolicySet
from storaged.errors import StoreFull
from storaged.stores.base import Store
from storaged.testing.faults import Faults, FaultyStore
from storaged.work.context import Context

BEATS_S = 0.3  # a lease is over sooner when time runs faster


class SteeredClock:
    """A Clock that goes as the file says."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._steps = (0, 0, 1.0)

    def now_us(self) -> int:
        with suppress(OSError, ValueError):  # no descriptor is left, or it is being written: as before
            anchor, base, scale = self._file.read_text().split()
            self._steps = (int(anchor), int(base), float(scale))
        anchor_us, base_us, speed = self._steps
        return base_us + round((time.time_ns() // 1_000 - anchor_us) * speed)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class SteeredCore(Core):
    """A core whose tiers are full while a file says so."""

    steering = Path()

    def _context(self, settings: Settings) -> Context:
        actor = f"daemon:{self.name}"
        return Context(settings, self.catalog, self.clock, actor=actor, tolerant=True, wrap=self._wrap)

    def _wrap(self, store: Store) -> Store:
        flag = self.steering / f"full-{Path(urlsplit(store.url).path).name}"

        def before(method: str, key: str) -> None:
            if method == "write" and flag.exists():
                raise StoreFull("no space left", key=key)

        return FaultyStore(store, Faults(before=before))


class SteeredService(Service):
    """A service that shows its signs of life by the machine's time."""

    def _start(self) -> None:
        super()._start()
        self._every(BEATS_S, self._beat)
        self._every(1, self._look)
        if self._slow.exists():
            self._every(1, self._spool)

    @property
    def _slow(self) -> Path:
        return SteeredCore.steering / "slow-spool"

    def _spool(self) -> None:
        if self._slow.exists():
            self._slow.with_name("waits").touch()
            while self._slow.exists():
                time.sleep(0.05)
        super()._spool()


def main() -> None:
    config, steering = Path(sys.argv[1]), Path(sys.argv[2])

    def load() -> tuple[Settings, PolicySet]:
        settings = load_settings(config)
        return settings, load_policies(settings.policies, settings)

    settings, _ = load()
    clock = SteeredClock(steering / "clock")
    meters = Meters()
    logger = configure("json", sys.stderr, "debug", clock, os.environ)
    SteeredCore.steering = steering
    with alone(settings), open_catalog(settings.catalog, wait_s=10) as catalog:
        tell = to_all(Teller(logger).hear, meters.hear)
        core = SteeredCore(load, catalog, clock, tell=tell, chance=SystemRandom(), compare_clocks=False)
        service = SteeredService(core, meters, Notifier(os.environ), token=None)
        service.run()
    if service.left_behind:
        os._exit(0)


if __name__ == "__main__":
    main()
