"""The daemon's pages about plans and jobs: what is offered, and what became of their objects."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from storaged.catalog import schema
from storaged.work.context import Context
from tests.watching.test_site import shown, site_of, text_of


def test_a_plan_that_a_newer_one_of_its_policy_followed_is_not_offered(scene: Context) -> None:
    """Who would send it is refused."""
    site = site_of(scene, approves=True)
    assert "storagectl apply 2" in shown(site, "/plans")
    with scene.catalog.begin() as conn:
        conn.execute(sa.update(schema.plans).where(schema.plans.c.id == 3).values(policies='["other", "tidy"]'))
    for query in ("", "plan=2"):
        page = shown(site, "/plans", query)
        assert "storagectl apply 2" not in page
        assert "/approve/plan?plan=2" not in page
        assert "Plan 3 followed it" in text_of(page)


def test_the_page_of_a_plan_says_what_became_of_its_objects(scene: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    site = site_of(scene)
    said = "Its jobs: 3 queued, 1 running, 2 failed."
    counts = "11 objects: 2 done (300 B → 30 B), 6 waiting, 3 failed."
    with scene.catalog.begin() as conn:
        done = schema.job_items.c.state == "done"
        conn.execute(sa.update(schema.job_items).where(done).values(before_bytes=150, after_bytes=15))
    text = text_of(shown(site, "/plans", "plan=1"))
    assert f"{said} {counts} The daemon does them, or storagectl work." in text
    assert "Its jobs" not in shown(site, "/plans", "plan=2")
    monkeypatch.setattr("storaged.work.show.done.LOOKED_AT", 10)
    text = text_of(shown(site, "/plans", "plan=1"))
    assert said in text
    assert "objects:" not in text


def test_a_job_that_ended_says_what_became_of_its_objects(scene: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    with scene.catalog.begin() as conn:
        done = schema.job_items.c.state == "done"
        conn.execute(sa.update(schema.job_items).where(done).values(before_bytes=150, after_bytes=15))
    text = text_of(shown(site_of(scene), "/jobs"))
    assert re.search(r" 7 failed events shrink \S+ \S+ 1 0 2 150 B → 15 B no room is left", text)
    assert re.search(r" 9 done events - \S+ \S+ 1 0 0 150 B → 15 B", text)
    monkeypatch.setattr("storaged.work.show.done.LOOKED_AT", 3)
    assert " 8 failed events shrink" in text
    assert re.search(r" 8 failed events shrink \S+ \S+ - - - - no room", text_of(shown(site_of(scene), "/jobs")))
