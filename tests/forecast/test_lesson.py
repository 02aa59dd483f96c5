"""Lessons from a catalog: what is kept and used, what is not, and the way back."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path

import pytest
import sqlalchemy as sa

from storaged.catalog import models
from storaged.catalog.engine import Catalog
from storaged.catalog.schema import access, audit, heat_coverage
from storaged.catalog.schema_models import models as table
from storaged.clock import DAY
from storaged.config.settings import load_settings
from storaged.daemon import ticks
from storaged.decide.forecast.model import FORECAST, MEMORY
from storaged.decide.load import load_policies
from storaged.decide.policy import PolicySet
from storaged.errors import ModelUnreadable, RefusedByGuard, UsageError
from storaged.model import AUTO, Mode
from storaged.testing.clock import FakeClock
from storaged.work.context import Context
from storaged.work.learn import past
from storaged.work.learn.lesson import Lesson, choose, give_lesson, model_in_use
from tests.decide.seeding import NOW, register
from tests.forecast.made import cooling, fill, made, steady

TODAY = NOW // DAY
SETTINGS = """
catalog: sqlite:///catalog.db
half_life: HALF_LIFE
tiers:
  hot: {rank: 0, url: memory://hot, prices: aws/us-east-1/standard}
  cold: {rank: 1, url: memory://cold, prices: aws/us-east-1/glacier-ir}
datasets:
  web: {root: memory://web, readers: storaged}
  app: {root: memory://app, readers: storaged}
"""


def _context(catalog: Catalog, place: Path, half_life: str = "30d") -> Context:
    (place / "storaged.yaml").write_text(SETTINGS.replace("HALF_LIFE", half_life))
    return Context(load_settings(place / "storaged.yaml"), catalog, FakeClock(), actor="test")


@pytest.fixture
def empty(catalog: Catalog, tmp_path: Path) -> Context:
    """A catalog with two datasets and no past."""
    context = _context(catalog, tmp_path)
    register(catalog, context.settings)
    return context


@pytest.fixture
def cooled(empty: Context) -> Context:
    """100 days of `web`, in which all cools for good."""
    with empty.catalog.begin() as conn:
        fill(conn, made(cooling(5), 200, 100), dataset="web", end_day=TODAY)
    return empty


def _names(lesson: Lesson) -> list[str]:
    return [one.name for one in lesson.judgements]


def test_a_better_model_is_kept_used_and_noted(cooled: Context) -> None:
    lesson = give_lesson(cooled)
    assert (lesson.better, lesson.version) == (True, 1)
    assert _names(lesson) == ["learnt", "last-month", "mean-of-age"]
    assert (lesson.model.first_day, lesson.model.cut_day, lesson.end_day) == (TODAY - 100, TODAY - 30, TODAY)
    assert model_in_use(cooled) == (1, lesson.model)
    assert lesson.model.weights_of("web")
    with cooled.catalog.read() as conn:
        noted = conn.execute(sa.select(audit).where(audit.c.kind == "learn")).one()
        report = json.loads(conn.execute(sa.select(table.c.report)).scalar_one())
    assert json.loads(noted.detail) == {"version": 1, "cut_day": TODAY - 30}
    assert report[0]["deviance"] == lesson.judgements[0].deviance


@pytest.mark.on_sqlite
def test_the_same_lesson_again_is_no_better_than_the_version_in_use(cooled: Context) -> None:
    give_lesson(cooled)
    again = give_lesson(cooled)
    assert (again.better, again.version) == (False, None)
    assert "version-1" in _names(again)
    assert "version-1 is as good or better" in again.why
    assert model_in_use(cooled) is not None


@pytest.mark.on_sqlite
def test_a_hole_that_came_later_is_told_to_a_model_that_stays_in_use(empty: Context) -> None:
    """Unknown is not cold, whichever model is the better one."""
    with empty.catalog.begin() as conn:
        fill(conn, made(cooling(5), 200, 160), dataset="web", end_day=TODAY)
    give_lesson(empty)
    with empty.catalog.begin() as conn:
        conn.execute(sa.delete(access).where(access.c.day >= TODAY - 80, access.c.day < TODAY - 40))
    again = give_lesson(empty, keep=False)
    assert (again.better, again.renewed) == (False, None)
    said = ticks.perform(ticks.Beat(empty, PolicySet(()), random.Random(1)), "learn")
    assert said.startswith("not kept: ")
    assert said.endswith("; what was in use is renewed as version 2")
    version, model = model_in_use(empty) or (0, None)
    assert version == 2
    assert model is not None
    assert model.since == {"web": TODAY - 40}
    assert model.weights == again.model.weights
    assert give_lesson(empty).renewed is None, "nothing new is known"


def test_any_version_can_be_used_again_or_none(cooled: Context) -> None:
    give_lesson(cooled)
    choose(cooled, None)
    lesson = give_lesson(cooled, cut_day=TODAY - 35)
    assert lesson.version == 2
    choose(cooled, 1)
    assert (model_in_use(cooled) or (0,))[0] == 1
    choose(cooled, None)
    assert model_in_use(cooled) is None
    choose(cooled, 2)
    assert model_in_use(cooled) == (2, lesson.model)
    with cooled.catalog.read() as conn:
        chosen = conn.execute(
            sa.select(audit.c.detail).where(audit.c.kind == "use-model").order_by(audit.c.id)
        ).scalars()
        assert [json.loads(detail)["version"] for detail in chosen] == [None, 1, None, 2]
    with pytest.raises(UsageError, match="no version 9"):
        choose(cooled, 9)
    assert model_in_use(cooled) is not None


def test_a_try_keeps_nothing(cooled: Context) -> None:
    lesson = give_lesson(cooled, keep=False)
    assert (lesson.better, lesson.version) == (True, None)
    with cooled.catalog.read() as conn:
        assert models.versions(conn) == []
        assert conn.execute(sa.select(sa.func.count()).select_from(audit)).scalar_one() == 0


@pytest.mark.on_sqlite
def test_a_report_compares_half_lives_and_trees(cooled: Context) -> None:
    names = _names(give_lesson(cooled, report=True))
    assert {"half-life-7d", "half-life-30d", "half-life-120d", "trees"} <= set(names)


def test_what_is_no_better_than_the_naive_ones_is_not_kept(empty: Context) -> None:
    """Nobody reads anything in the days that it is judged on, and everybody did before: last month is nearer. What
    other ways to decide have earned is kept all the same, and no way trusts its forecasts."""
    trace = made(steady(3.0, 3.0), 50, 100, old=True)
    with empty.catalog.begin() as conn:
        fill(conn, trace, dataset="web", end_day=TODAY)
        conn.execute(sa.delete(access).where(access.c.day >= TODAY - 31, access.c.object_id > 1))
    lesson = give_lesson(empty)
    assert not lesson.better
    assert (lesson.version, lesson.renewed, lesson.trusted) == (None, 1, False)
    used = model_in_use(empty)
    assert used is not None
    assert not used[1].foretells
    weights = used[1].weights_of("web")
    assert weights[FORECAST] == 0
    assert weights[MEMORY] > 0


@pytest.mark.on_sqlite
def test_without_a_past_it_says_what_is_missing(empty: Context) -> None:
    with pytest.raises(UsageError, match="no heat source"):
        give_lesson(empty)
    with empty.catalog.begin() as conn:
        span = {"from_us": (TODAY - 100) * DAY, "until_us": TODAY * DAY}
        conn.execute(sa.insert(heat_coverage).values(source="log", dataset_id=1, **span))
    with pytest.raises(UsageError, match="no objects"):
        give_lesson(empty)


@pytest.mark.on_sqlite
def test_ten_days_are_too_few(empty: Context) -> None:
    with empty.catalog.begin() as conn:
        fill(conn, made(cooling(5), 20, 10), dataset="web", end_day=TODAY)
    with pytest.raises(UsageError, match="tell of 10 days of reads, and 67 are the least"):
        give_lesson(empty)
    with pytest.raises(UsageError, match="not of 50"):
        give_lesson(empty, days=50)


@pytest.mark.on_sqlite
@pytest.mark.parametrize("back", [29, 0, -5, 100, 100_000])
def test_a_cut_that_leaves_no_days_is_refused(cooled: Context, back: int) -> None:
    with pytest.raises(UsageError, match="the cut leaves no days"):
        give_lesson(cooled, cut_day=TODAY - back)


def test_a_hole_between_two_windows_is_neither_learnt_nor_judged(empty: Context) -> None:
    """Two sources, and forty days of which none tells."""
    with empty.catalog.begin() as conn:
        fill(conn, made(steady(0.4, 1.0), 100, 200, old=True), dataset="web", end_day=TODAY)
        conn.execute(sa.delete(access).where(access.c.day >= TODAY - 110, access.c.day < TODAY - 70))
        conn.execute(sa.update(heat_coverage).values(until_us=(TODAY - 110) * DAY))
        conn.execute(
            sa.insert(heat_coverage).values(
                source="other", dataset_id=1, from_us=(TODAY - 70) * DAY, until_us=TODAY * DAY
            )
        )
    lesson = give_lesson(empty)
    assert lesson.model.since == {"web": TODAY - 70}
    assert lesson.judgements[0].bias == pytest.approx(1, abs=0.2)


@pytest.mark.on_sqlite
def test_a_log_that_lost_days_is_told(empty: Context) -> None:
    with empty.catalog.begin() as conn:
        fill(conn, made(steady(0.4, 1.0), 100, 200, old=True), dataset="web", end_day=TODAY)
        conn.execute(sa.delete(access).where(access.c.day >= TODAY - 110, access.c.day < TODAY - 70))
    lesson = give_lesson(empty)
    assert any("40 days of web" in note and "hole" in note for note in lesson.notes)


@pytest.mark.on_sqlite
def test_days_in_the_future_do_not_count(cooled: Context) -> None:
    before = give_lesson(cooled, keep=False)
    with cooled.catalog.begin() as conn:
        ahead = [{"object_id": n, "day": TODAY + n, "reads": 9**6, "read_bytes": 0, "last_us": 0} for n in (1, 2, 3)]
        conn.execute(sa.insert(access), ahead)
        conn.execute(sa.update(heat_coverage).values(until_us=(TODAY + 50) * DAY))
    lesson = give_lesson(cooled, keep=False)
    assert lesson.model.priors == before.model.priors
    assert any("3 days of reads are in the future" in note for note in lesson.notes)


def test_an_object_read_a_million_times_once_is_told(cooled: Context) -> None:
    with cooled.catalog.begin() as conn:
        row = {"object_id": 1, "day": TODAY - 100, "reads": 10**6, "read_bytes": 0, "last_us": 0}
        conn.execute(sa.delete(access).where(access.c.object_id == 1, access.c.day == TODAY - 100))
        conn.execute(sa.insert(access).values(row))
    lesson = give_lesson(cooled)
    assert any("on 1 day" in note for note in lesson.notes)
    assert lesson.better


def test_a_damaged_model_in_use_is_told_and_followed_by_a_new_one(cooled: Context) -> None:
    give_lesson(cooled)
    with cooled.catalog.begin() as conn:
        conn.execute(sa.update(table).values(text=table.c.text.concat(" and more")))
    with pytest.raises(ModelUnreadable, match="version 1 of the forecast model is damaged"):
        model_in_use(cooled)
    with pytest.raises(ModelUnreadable):
        choose(cooled, 1)
    lesson = give_lesson(cooled)
    assert lesson.version == 2
    assert any("is damaged" in note for note in lesson.notes)


@pytest.mark.on_sqlite
def test_a_model_of_another_half_life_is_not_used(cooled: Context, tmp_path: Path) -> None:
    give_lesson(cooled)
    other = _context(cooled.catalog, tmp_path, half_life="10d")
    assert model_in_use(other) is None
    with pytest.raises(RefusedByGuard, match="another half-life"):
        choose(other, 1)
    lesson = give_lesson(other)
    assert lesson.version == 2
    assert any("another half-life" in note for note in lesson.notes)


@pytest.mark.on_sqlite
def test_old_versions_are_dropped_but_for_the_newest(cooled: Context) -> None:
    with cooled.catalog.begin() as conn:
        for _ in range(models.MOST + 3):
            models.keep(conn, made_us=1, cut_day=2, half_life_us=3, text="{}", report="[]")
        kept = models.versions(conn)
    assert [one.version for one in kept] == list(range(models.MOST + 3, 3, -1))
    assert [one.version for one in kept if one.in_use] == [models.MOST + 3]


def test_of_many_objects_a_sample_is_read_that_is_the_same_each_time(
    cooled: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cooled.catalog.begin() as conn:
        fill(conn, made(cooling(5), 30, 150), dataset="app", end_day=TODAY, first_id=1001)
    whole = past.read_history(cooled.catalog, NOW)
    monkeypatch.setattr(past, "MOST_OBJECTS", 100)
    some, again = (past.read_history(cooled.catalog, NOW) for _ in range(2))
    assert (whole.history.trace.objects, some.objects) == (230, 230)
    assert some.history.trace.objects == pytest.approx(100, abs=20)
    assert (some.history.dataset == some.history.names.index("app")).sum() == 30  # the small one is whole
    assert some.history.trace.read_day.tolist() == again.history.trace.read_day.tolist()
    assert any(note.startswith("a sample: ") for note in some.notes)
    monkeypatch.setattr(past, "MOST_ROWS", 100)
    assert len(past.read_history(cooled.catalog, NOW).history.trace.read_day) < 200


@pytest.mark.on_sqlite
def test_a_dataset_that_no_log_tells_of_is_named(cooled: Context) -> None:
    assert "left out, for no log tells of their reads: app" in give_lesson(cooled).notes


def test_the_daemon_learns_and_says_what_came_of_it(empty: Context) -> None:
    beat = ticks.Beat(empty, PolicySet(()), random.Random(1))
    assert ticks.perform(beat, "learn").startswith("nothing learnt: no heat source")
    with empty.catalog.begin() as conn:
        fill(conn, made(cooling(5), 200, 100), dataset="web", end_day=TODAY)
    assert ticks.perform(beat, "learn").startswith("version 1: its deviance is")
    assert ticks.perform(beat, "learn").startswith("not kept: version-1 is as good or better")


def test_the_daemon_learns_only_while_a_policy_chooses_by_forecasts(empty: Context, tmp_path: Path) -> None:
    (tmp_path / "policies").mkdir(exist_ok=True)
    (tmp_path / "policies/p.yaml").write_text(
        "name: p\ntarget: {dataset: web}\nwhen: {age_over: 1d}\nto: {tier: cold}\nschedule: 0 3 * * *\n"
    )
    [plain] = load_policies(empty.settings.policies, empty.settings)
    chooses = plain.policy.to.model_copy(update={"tier": AUTO})
    auto = dataclasses.replace(plain, policy=plain.policy.model_copy(update={"to": chooses}))
    disabled = dataclasses.replace(auto, policy=auto.policy.model_copy(update={"mode": Mode.DISABLED}))
    assert "learn" not in ticks.wanted(empty.settings, [plain, disabled])
    assert ticks.wanted(empty.settings, [plain, auto])["learn"] == empty.settings.daemon.learn
