"""A process that applies plans until it has tried all of them. Run as a script:

    spender.py STORAGED.YAML CATALOG_URL NOW_US PLAN...

Prints a line for each: the number of the plan if it was charged, and - if it was refused.
"""

from __future__ import annotations

import sys
from pathlib import Path

from storaged.catalog.engine import open_catalog
from storaged.config.settings import load_settings
from storaged.decide.load import load_policies
from storaged.errors import OverSpending
from storaged.testing import FakeClock
from storaged.work.context import Context
from storaged.work.rewrite.apply import apply_plan


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


def main(config: str, url: str, now_us: str, *plans: str) -> None:
    settings = load_settings(Path(config))
    policies = load_policies(settings.policies, settings)
    with open_catalog(url, wait_s=60) as catalog:
        context = Context(settings, catalog, FakeClock(int(now_us)), actor="test")
        say("ready")
        sys.stdin.readline()
        for plan in plans:
            try:
                apply_plan(context, int(plan), policies)
            except OverSpending:
                say("-")
            else:
                say(plan)


if __name__ == "__main__":
    main(*sys.argv[1:])
