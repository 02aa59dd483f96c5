"""Which tests a commit waits for: all but those that `make campaign` (STORAGED_LONG) runs besides.

Postgres: most tests run on SQLite and on Postgres, and meet the same code there. Of each file a commit runs every third
test on Postgres, the first, the fourth and so on, with one of its cases. In the directories `WHOLE`, and where a test
is marked `on_both` as it is about what databases do, it runs all of them. What is marked `on_sqlite` is left to the
campaign before they are counted. What runs on Postgres alone always does.

Cases: of a test marked `every(n)` every nth case, on any database. Of a class that is marked so every nth case of all
its tests together: a contract that several classes keep is whole among them.

Tests marked `campaign` are left to it. What is run by its name only, in files that are not called test_, is run whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest

from tests.laws import LONG

WHOLE: Final = ("catalog", "backup")  # directories of tests that are about the database
NTH: Final = 3  # test of a file that meets Postgres

Cases = list[pytest.Function]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if LONG:
        return
    gone = needless(items)
    config.hook.pytest_deselected(items=[item for item in items if item in gone])
    items[:] = [item for item in items if item not in gone]


def needless(items: Iterable[pytest.Item]) -> set[pytest.Item]:
    """What a commit does not wait for, whatever the order of the tests."""
    files: dict[Path, dict[object, Cases]] = defaultdict(lambda: defaultdict(list))
    gone: set[pytest.Item] = set()
    for item in items:
        if not item.path.name.startswith("test_"):
            continue  # somebody asked for this file
        if item.get_closest_marker("campaign") is not None:
            gone.add(item)
        elif isinstance(item, pytest.Function):
            whole = isinstance(item.parent, pytest.Class) and item.parent.get_closest_marker("every") is not None
            files[item.path][item.parent, "" if whole else item.originalname].append(item)
    for path, tests in files.items():
        in_order = sorted(map(_sorted, tests.values()), key=lambda cases: (_place(cases[0]), cases[0].nodeid))
        for number, cases in enumerate(in_order):
            gone |= _cases(cases, number)
        if path.parent.name not in WHOLE:
            gone |= _on_postgres([[case for case in cases if case not in gone] for cases in in_order])
    return gone


def _cases(cases: Cases, number: int) -> set[pytest.Item]:
    """Those of a test that are left out by its mark. The tests of a file take turns which case is the first."""
    mark = cases[0].get_closest_marker("every")
    if mark is None:
        return set()
    nth = mark.args[0]
    return set(cases) - set(cases[number % min(nth, len(cases)) :: nth])


def _on_postgres(in_order: Iterable[Cases]) -> set[pytest.Item]:
    gone: set[pytest.Item] = set()
    number = 0
    for cases in in_order:
        if not {"sqlite", "postgres"} <= {_database(case) for case in cases} or cases[0].get_closest_marker("on_both"):
            continue
        there = [case for case in cases if _database(case) == "postgres"]
        wanted = [case for case in there if case.get_closest_marker("on_sqlite") is None]
        gone |= set(there)
        if wanted:
            if number % NTH == 0:
                gone.discard(wanted[number // NTH % len(wanted)])
            number += 1
    return gone


def _database(item: pytest.Function) -> str | None:
    return item.callspec.params.get("dialect") if hasattr(item, "callspec") else None


def _sorted(cases: Cases) -> Cases:
    return sorted(cases, key=_place)


def _place(item: pytest.Function) -> tuple[str, int, tuple[int, ...]]:
    code = item.function.__code__
    cases = tuple(item.callspec.indices.values()) if hasattr(item, "callspec") else ()
    return code.co_filename, code.co_firstlineno, cases
