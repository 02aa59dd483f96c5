"""A plan that waits is told of once, and another one too."""

from __future__ import annotations

import shutil
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from storaged.catalog import notices
from storaged.catalog.engine import open_catalog
from storaged.testing.clock import START_US as NOW
from storaged.work.show.measure import measure
from storaged.work.show.notices import note
from tests.watching.scene import seeded


def test_a_plan_that_waits_is_told_anew_when_it_is_about_something_else(tmp_path: Path, sqlite_template: Path) -> None:
    """Not when it was made again and is about the same."""
    shutil.copyfile(sqlite_template, tmp_path / "catalog.db")
    with open_catalog(f"sqlite:///{tmp_path}/catalog.db") as catalog:
        small = seeded(catalog, tmp_path)
        measured = measure(small)

        def noted(**other: Any) -> int:
            backlog = tuple(replace(b, **other) if b.policy == "tidy" else b for b in measured.backlog)
            return note(small, replace(measured, backlog=backlog))

        assert noted() == 4  # with all else that the scene has
        assert noted(proposed_plan=9, proposed_us=NOW) == 0
        assert noted(proposed_plan=9, proposed=8) == 1
        assert noted(proposed_plan=10, proposed=8, proposed_saving=Decimal(6)) == 1
        with small.catalog.read() as conn:
            assert len([1 for kind, _ in notices.open_ones(conn) if kind == "plan"]) == 1, "the others are over"
