"""What is full, away, forbidden or failing stops what touches it and nothing else, and comes back by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from storaged.catalog.schema import audit, datasets, job_items, jobs, objects
from storaged.catalog.schema_daemon import policies
from storaged.catalog.turns import MAX_TRIES
from storaged.errors import PermissionDenied, StoreError, StoreFull
from storaged.model import ItemState, JobState
from storaged.stores.base import Store
from storaged.testing.faults import Fault, Faults, FaultyStore
from storaged.work import suspension
from tests.daemon.farm import DAY, HOUR, Daemon, Farm, content

NewFarm = Callable[..., Farm]


class Trouble:
    """Makes the stores of one place fail while it is on: `methods` raise `error`."""

    def __init__(self, folder: str, error: StoreError, *methods: str) -> None:
        self.on = True
        self._folder = folder
        self._error = error
        self._methods = methods
        self.faults = Faults(before=self._before)

    def _before(self, method: str, _key: str) -> None:
        if self.on and method in self._methods:
            raise self._error

    def wrap(self, store: Store) -> Store:
        return FaultyStore(store, self.faults) if store.url.endswith(f"/{self._folder}") else store


def moved(farm: Farm, dataset: str) -> int:
    """How many objects of a dataset are where its policy wants them."""
    mine = sa.select(datasets.c.id).where(datasets.c.name == dataset).scalar_subquery()
    return farm.count(objects, objects.c.dataset_id == mine, objects.c.raw_state.in_(["superseded", "released"]))


def two(new_farm: NewFarm) -> Farm:
    """Datasets lake and pond, whose policies move them to cold and to warm at 2 o'clock."""
    farm = new_farm(datasets=("lake", "pond"))
    for dataset, tier in (("lake", "cold"), ("pond", "warm")):
        farm.write(*(f"{n}.csv" for n in range(6)), dataset=dataset)
        farm.policy(f"move-{dataset}", dataset=dataset, tier=tier)
    return farm


def at_two(farm: Farm, daemon: Daemon) -> Daemon:
    """It is two o'clock, and the daemon has done what is due."""
    daemon.turns()
    farm.clock.advance(2 * HOUR)
    daemon.turns()
    return daemon


def later(farm: Farm, daemon: Daemon, minutes: int) -> None:
    """Time passes as for a daemon that runs."""
    for _ in range(minutes):
        farm.clock.advance(60)
        daemon.turns()


def all_is_well(farm: Farm) -> None:
    assert (moved(farm, "lake"), moved(farm, "pond")) == (6, 6)
    assert farm.suspended() == {}
    assert farm.count(jobs, jobs.c.state != JobState.DONE.value) == 0
    for dataset in ("lake", "pond"):
        for n in range(6):
            assert farm.read(f"{n}.csv", dataset) == content(f"{n}.csv")


PLACES = {
    "full": (StoreFull("no space left", key="k"), ("write", "commit")),
    "forbidden": (PermissionDenied("access denied", key="k"), ("create", "write", "write_note")),
}


@pytest.mark.on_sqlite
@pytest.mark.parametrize("how", PLACES)
def test_a_tier_that_takes_nothing_stops_only_what_goes_there_and_comes_back_by_itself(
    new_farm: NewFarm, how: str
) -> None:
    farm = two(new_farm)
    error, methods = PLACES[how]
    trouble = Trouble("cold", error, *methods)
    farm.daemon().wakes()  # claims the places
    farm.clock.advance(60)
    daemon = at_two(farm, farm.daemon(wrap=trouble.wrap))
    assert list(farm.suspended()) == ["tier:cold"]
    assert (moved(farm, "lake"), moved(farm, "pond")) == (0, 6)
    tries = trouble.faults.calls("create")
    later(farm, daemon, 4)
    assert trouble.faults.calls("create") == tries, "it is left alone until it is tried again"
    trouble.on = False
    later(farm, daemon, 20)
    all_is_well(farm)
    assert daemon.heard.said("resumed tier:cold")
    assert farm.count(audit, audit.c.kind == "suspend") == farm.count(audit, audit.c.kind == "resume") == 1


def test_a_full_tier_does_not_use_up_the_tries_of_its_jobs(new_farm: NewFarm) -> None:
    farm = two(new_farm)
    trouble = Trouble("cold", *[PLACES["full"][0]], *PLACES["full"][1])
    farm.daemon().wakes()
    farm.clock.advance(60)
    daemon = at_two(farm, farm.daemon(wrap=trouble.wrap))
    for _ in range(4 * MAX_TRIES):
        farm.clock.advance(HOUR)
        daemon.turns()
    assert farm.count(job_items, job_items.c.state == ItemState.FAILED.value) == 0
    trouble.on = False
    later(farm, daemon, 90)
    all_is_well(farm)


@pytest.mark.on_sqlite
def test_a_tier_that_is_not_mounted_stops_only_what_touches_it(new_farm: NewFarm) -> None:
    farm = two(new_farm)
    daemon = farm.daemon()
    daemon.turns()
    (farm.place / "cold").rename(farm.place / "unmounted")
    (farm.place / "cold").mkdir()
    at_two(farm, daemon)
    assert list(farm.suspended()) == ["tier:cold"]
    assert (moved(farm, "lake"), moved(farm, "pond")) == (0, 6)
    assert daemon.problem is None
    assert list((farm.place / "cold").iterdir()) == [], "nothing is written under the mount point"
    (farm.place / "cold").rmdir()
    (farm.place / "unmounted").rename(farm.place / "cold")
    later(farm, daemon, 20)
    all_is_well(farm)


def test_a_tier_that_goes_away_between_two_looks_is_not_written_to(new_farm: NewFarm) -> None:
    farm = two(new_farm)
    daemon = farm.daemon()
    daemon.turns()
    farm.clock.advance(2 * HOUR)
    daemon.wakes()
    daemon.does_tasks()
    (farm.place / "cold").rename(farm.place / "unmounted")
    (farm.place / "cold").mkdir()
    daemon.does_jobs()
    assert list((farm.place / "cold").iterdir()) == []
    assert (moved(farm, "lake"), moved(farm, "pond")) == (0, 6)
    (farm.place / "cold").rmdir()
    (farm.place / "unmounted").rename(farm.place / "cold")
    later(farm, daemon, 20)
    all_is_well(farm)


def test_a_root_that_vanished_stops_only_its_dataset_and_forgets_nothing(new_farm: NewFarm) -> None:
    farm = two(new_farm)
    daemon = farm.daemon()
    daemon.turns()
    (farm.place / "lake").rename(farm.place / "gone")
    at_two(farm, daemon)
    assert list(farm.suspended()) == ["dataset:lake"]
    assert (moved(farm, "lake"), moved(farm, "pond")) == (0, 6)
    assert farm.count(objects, objects.c.removed_us.is_not(None)) == 0
    (farm.place / "gone").rename(farm.place / "lake")
    later(farm, daemon, 120)
    all_is_well(farm)


@pytest.mark.on_sqlite
def test_without_the_tier_of_the_journal_nothing_is_done_until_it_is_back(new_farm: NewFarm) -> None:
    farm = two(new_farm)
    daemon = farm.daemon()
    daemon.turns()
    (farm.place / "hot").rename(farm.place / "unmounted")
    at_two(farm, daemon)
    assert daemon.problem
    assert (moved(farm, "lake"), moved(farm, "pond")) == (0, 0)
    assert daemon.take() is None
    assert not daemon.step()
    (farm.place / "unmounted").rename(farm.place / "hot")
    later(farm, daemon, 20)
    assert daemon.problem is None
    all_is_well(farm)


def broken(farm: Farm, *, more: str) -> Daemon:
    """A daemon whose cold tier lies, so that no object passes the proof."""
    farm.write(*(f"{n}.csv" for n in range(10)))
    farm.policy("move", more=more)
    trouble = Faults(Fault("write", 0, damage=lambda data: bytes([data[0] ^ 1]) + data[1:]))
    farm.daemon().wakes()
    farm.clock.advance(60)
    return farm.daemon(wrap=lambda s: FaultyStore(s, trouble) if s.url.endswith("/cold") else s)


def test_a_policy_beyond_its_error_budget_is_suspended_until_a_person_resumes_it(farm: Farm) -> None:
    daemon = at_two(farm, broken(farm, more="limits: {stop_on_error_rate: 20%}\n"))
    assert list(farm.suspended()) == ["policy:move"]
    assert "stop_on_error_rate of 20%" in farm.suspended()["policy:move"].reason
    for _ in range(2):
        farm.clock.advance(DAY)
        daemon.turns()
    assert list(farm.suspended()) == ["policy:move"], "it does not come back by itself"
    assert farm.runs("plan:move")[-1].message.startswith("suspended:")
    assert farm.count(objects, objects.c.raw_state == "superseded") == 0
    heir = farm.daemon()
    farm.clock.advance(60)
    assert suspension.resume(farm.context(), "policy", "move")
    farm.clock.advance(DAY)
    heir.turns()
    assert farm.suspended() == {}
    assert moved(farm, "lake") == 10


@pytest.mark.on_sqlite
def test_a_policy_within_its_error_budget_goes_on(farm: Farm) -> None:
    at_two(farm, broken(farm, more="limits: {stop_on_error_rate: 100%}\n"))
    assert farm.suspended() == {}


def test_other_policies_go_on_beside_a_suspended_one(new_farm: NewFarm) -> None:
    farm = two(new_farm)
    daemon = farm.daemon()
    daemon.turns()
    suspension.suspend(farm.context(), "policy", "move-lake", "a person wants to look")
    at_two(farm, daemon)
    assert (moved(farm, "lake"), moved(farm, "pond")) == (0, 6)
    assert suspension.resume(farm.context(), "policy", "move-lake")
    later(farm, daemon, 24 * 60 // 30)
    farm.clock.advance(DAY)
    daemon.turns()
    all_is_well(farm)


# -- configuration -----------------------------------------------------------------------------------------------------


@pytest.mark.on_sqlite
def test_a_broken_reload_keeps_what_runs_and_says_what_is_wrong(farm: Farm) -> None:
    farm.write("a.csv")
    path = farm.policy()
    good = path.read_text()
    daemon = farm.daemon()
    daemon.turns()
    path.write_text(good.replace("tier: cold", "tier: nowhere").replace("mode: active", "mod: active"))
    assert not daemon.reload()
    assert daemon.broken
    assert "policies/move.yaml:" in daemon.broken
    assert daemon.heard.said("reload failed")
    daemon.beat()
    assert "plan:move" in farm.tasks()
    at_two(farm, daemon)
    assert moved(farm, "lake") == 1, "the policy before it runs on"
    path.write_text(good)
    assert daemon.reload()
    assert daemon.broken is None


@pytest.mark.on_sqlite
def test_a_broken_storaged_yaml_keeps_what_runs(farm: Farm) -> None:
    farm.write("a.csv")
    farm.policy()
    daemon = farm.daemon()
    daemon.turns()
    farm.config.write_text(farm.config.read_text().replace("tiers:", "teirs:"))
    assert not daemon.reload()
    at_two(farm, daemon)
    assert moved(farm, "lake") == 1


def test_every_text_that_a_policy_had_is_remembered(farm: Farm) -> None:
    path = farm.policy()
    daemon = farm.daemon()
    daemon.turns()
    texts = [path.read_text()]
    for tier in ("warm", "warm", "cold"):
        farm.clock.advance(60)
        texts.append(farm.policy(tier=tier).read_text())
        assert daemon.reload()
    path.unlink()
    assert daemon.reload()
    with farm.catalog.read() as conn:
        rows = conn.execute(sa.select(policies).order_by(policies.c.id)).all()
    assert [r.body for r in rows] == [texts[0], texts[1], texts[3], ""], "what did not change is no change"
    assert farm.daemon().reload()
    assert farm.count(policies) == 4, "who does not lead writes nothing down"


def test_a_catalog_cannot_be_exchanged_under_a_daemon(farm: Farm) -> None:
    daemon = farm.daemon()
    daemon.turns()
    farm.config.write_text(farm.config.read_text().replace(farm.catalog.url, "sqlite:///other.db"))
    assert not daemon.reload()
    assert daemon.broken == "`catalog` has changed"


def test_a_job_that_began_under_one_configuration_ends_under_it(farm: Farm) -> None:
    farm.write("a.csv")
    farm.policy()
    changed = []

    def change(method: str, _key: str) -> None:
        if method == "commit" and not changed:
            changed.append(True)
            farm.configure(more="half_life: 20d\n")
            assert daemon.reload()

    farm.daemon().wakes()
    farm.clock.advance(60)
    faults = Faults(before=change)
    daemon = farm.daemon(wrap=lambda s: FaultyStore(s, faults) if s.url.endswith("/cold") else s)
    at_two(farm, daemon)
    assert changed
    assert moved(farm, "lake") == 1
    assert daemon.heard.said("fault") == []
