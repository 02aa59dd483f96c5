"""How long each of the daemon's pages takes over a catalog of a million objects, asked over HTTP. The aim is 300 ms.

The peer is `SELECT count(*) FROM objects` on the same catalog, which looks at every object once. A survey and a plan of
a quarter of the objects are made before, and told with the time that they took. Once it is applied its page and that of
the jobs are asked again. Beside the time that went by stands that of the processor, whoever asked included: where the
worst of the one is far from the median and of the other is not, the machine had something else to do.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import sqlalchemy as sa
from prometheus_client import CollectorRegistry

from benchmarks.large.catalog import make
from storaged.catalog.engine import open_catalog
from storaged.catalog.schema import audit, objects
from storaged.clock import SystemClock
from storaged.config.settings import load_settings
from storaged.daemon.pages.site import Site
from storaged.daemon.pages.view import View
from storaged.daemon.web import Web
from storaged.decide.load import load_policies
from storaged.work.context import Context
from storaged.work.plan.make import make_plan
from storaged.work.rewrite.apply import apply_plan
from storaged.work.show.make_survey import make_survey
from storaged.work.show.measure import measure
from storaged.work.show.survey import keep

AIM_MS = 300
T = TypeVar("T")
POLICY = """\
name: cool-logs
target: {dataset: logs, tier: hot}
when: {age_over: 30d, size_over: 1}
to: {tier: warm}
mode: dry-run
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--url", help="of a new catalog; left out: SQLite")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="storaged-bench-") as folder:
        place = Path(folder)
        _measure(place, args.url or f"sqlite:///{place}/catalog.db", args.objects, args.rounds)


def _measure(place: Path, url: str, number: int, rounds: int) -> None:
    config = make(place, url, number)
    (place / "policies/cool.yaml").write_text(POLICY)
    settings = load_settings(config)
    policies = load_policies(settings.policies, settings)
    with open_catalog(settings.catalog) as catalog:
        context = Context(settings, catalog, SystemClock(), actor="bench")
        print(f"{number:,} objects on {catalog.dialect}")
        survey, took = _timed(lambda: make_survey(context))
        keep(catalog, survey)
        print(f"survey: {took:,.0f} ms, {len(survey.cells)} cells")
        plan, took = _timed(lambda: make_plan(catalog, settings, policies, context.clock))
        print(f"plan: {took:,.0f} ms, {plan.summary.actions:,} objects")
        measured = measure(context)

        @contextmanager
        def look() -> Iterator[View]:
            yield View(context, policies, measured)

        def fail(error: Exception) -> None:
            raise error

        site = Site(look, fail)
        web = Web("127.0.0.1:0", None, healthy=_well, ready=_well, registry=CollectorRegistry(), site=site)
        web.start()
        try:
            with catalog.begin() as conn:
                name = conn.execute(
                    sa.select(objects.c.name).order_by(objects.c.id).limit(1).offset(number // 3)
                ).scalar()
                row = {"at_us": 0, "kind": "swap", "dataset": "logs", "object": name, "actor": "bench"}
                conn.execute(sa.insert(audit), [{**row, "detail": json.dumps({"n": n})} for n in range(1_000)])
            peer = statistics.median(_timed(lambda: _count(context))[1] for _ in range(5))
            print(f"count(*): {peer:,.0f} ms")
            _told(web.port, _paths(context, plan.id, str(name)), rounds)
            made, took = _timed(lambda: apply_plan(context, plan.id, policies))
            print(f"apply: {took:,.0f} ms, {len(made.jobs):,} jobs")
            _told(web.port, (f"/plans?plan={plan.id}", "/jobs"), rounds)
        finally:
            web.stop()


def _told(port: int, paths: Iterable[str], rounds: int) -> None:
    for path in paths:
        times, spent = zip(*(_asked(port, path) for _ in range(rounds)), strict=True)
        worst = max(times)
        told = "" if worst <= AIM_MS else "  over the aim"
        of_it = f"processor {statistics.median(spent):5.1f}, worst {max(spent):5.1f} ms"
        print(f"{path[:60]:<60} median {statistics.median(times):6.1f}  worst {worst:6.1f} ms  {of_it}{told}")


def _paths(context: Context, plan: int, name: str) -> Iterator[str]:
    yield from ("/", "/map", "/tiers", "/plans", "/jobs", "/findings", f"/object?name={quote('logs/' + name)}")
    for dataset in sorted(context.datasets):
        for age, heat in ((0, 1), (3, 1), (2, 4)):
            yield f"/objects?dataset={dataset}&age={age}&heat={heat}"
    yield f"/objects?dataset=logs&age=3&heat=1&after={quote(name)}"
    yield from (f"/plans?plan={plan}", f"/plans?plan={plan}&after=200000", f"/plans?plan={plan}&held=1")


def _asked(port: int, path: str) -> tuple[float, float]:
    """Milliseconds that went by, and those of the processor, which are of all threads of this process."""

    def ask() -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    before = time.process_time()
    status, took = _timed(ask)
    assert status == 200, (path, status)
    return took, (time.process_time() - before) * 1_000


def _timed(what: Callable[[], T]) -> tuple[T, float]:
    begun = time.perf_counter()
    found = what()
    return found, (time.perf_counter() - begun) * 1_000


def _count(context: Context) -> int:
    with context.catalog.read() as conn:
        return conn.execute(sa.select(sa.func.count()).select_from(objects)).scalar_one()


def _well() -> tuple[bool, str]:
    return True, "ok"


if __name__ == "__main__":
    main()
