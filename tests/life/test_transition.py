"""Storage classes changed in place: on condition, by intent, found again after a crash, and taken back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from storaged.catalog.engine import Catalog
from storaged.catalog.items import InPlace, NewItem
from storaged.catalog.schema import audit, jobs, objects
from storaged.catalog.schema_attempts import attempts
from storaged.config.settings import load_settings
from storaged.decide.load import load_policies
from storaged.decide.policy import PolicySet
from storaged.model import JobKind, JobState
from storaged.stores.base import Store
from storaged.stores.wrappers import StoreWrapper
from storaged.testing import FakeClock
from storaged.testing.faults import Faults, FaultyStore
from storaged.testing.servers import MotoServer
from storaged.work.plan.make import make_plan, plan_rows
from storaged.work.recover.rebuild import lost_catalog, reconcile
from storaged.work.rewrite.apply import apply_plan
from storaged.work.rewrite.enqueue import Enqueued, enqueue_batches
from storaged.work.rewrite.pointers import hold_objects, undo_job
from tests.life.crashes import Crash, CrashingCatalog, CrashingStore, Effects
from tests.life.databases import databases
from tests.life.places import Directory, Lent, NewPlaces, Place, Prefix, places_in_buckets
from tests.life.world import World, text

NAME = "2026/a b+c.csv"
OLD, NEW = text("old"), text("new")
POLICY = """
name: rare
target: {dataset: lake, tier: hot}
when: {age_over: 30d}
to: {tier: warm, in_place: true}
mode: active
"""


class Bucket(World):
    """The root in a bucket whose programs read its keys; tier warm is of another storage class."""

    user: Any
    bucket: str

    def __init__(self, place: Path, catalog: Catalog, clock: FakeClock, new_places: NewPlaces) -> None:
        super().__init__(place, catalog, clock, new_places=new_places)
        lake = self.places.by_name["lake"]
        assert isinstance(lake, Prefix)
        self.user, self.bucket, self.server = lake.user, lake.bucket, lake.server
        config = place / "storaged.yaml"
        config.write_text(
            config.read_text()
            .replace("{rank: 0,", "{rank: 0, storage_class: STANDARD,")
            .replace("{rank: 1,", "{rank: 1, storage_class: STANDARD_IA,")
            .replace("readers: storaged", "readers: raw")
        )
        self.settings = load_settings(config)
        self.context = self.new_context()

    def head(self, name: str = NAME) -> dict[str, Any]:
        return dict(self.user.head_object(Bucket=self.bucket, Key=f"lake/{name}", ChecksumMode="ENABLED"))

    def storage_class(self, name: str = NAME) -> str:
        return str(self.head(name).get("StorageClass", "STANDARD"))

    def put(self, content: bytes, name: str = NAME, **more: str) -> None:
        """As its user does, with a class or a checksum."""
        assert isinstance(self.server, MotoServer)
        self.server.set_time(self.clock.now_us())
        self.user.put_object(Bucket=self.bucket, Key=f"lake/{name}", Body=content, **more)

    def days(self, n: float) -> None:
        """For the server too: what is copied now is not of the second in which it was written."""
        super().days(n)
        self.server.set_time(self.clock.now_us())

    def policies(self) -> PolicySet:
        (self.place / "policies" / "p.yaml").write_text(POLICY)
        return load_policies(self.place / "policies", self.settings)

    def queue_in_place(self, *names: str, storage_class: str = "STANDARD_IA") -> list[int]:
        items = [NewItem(h.id, h.version, h.placement.size, InPlace(storage_class)) for h in map(self.seen, names)]
        result = Enqueued()
        enqueue_batches(self.context, JobKind.REWRITE, "lake", items, reason="test", result=result)
        return result.jobs

    def kinds(self) -> list[str]:
        with self.catalog.read() as conn:
            return list(conn.execute(sa.select(audit.c.kind).order_by(audit.c.id)).scalars())

    def intents(self) -> list[str]:
        with self.catalog.read() as conn:
            return list(conn.execute(sa.select(attempts.c.state)).scalars())

    def row(self, name: str = NAME) -> Any:
        with self.catalog.read() as conn:
            return conn.execute(sa.select(objects).where(objects.c.name == name)).one()


def remote_root(kind: str, user: Any, request: pytest.FixtureRequest) -> NewPlaces:
    """Root, warm and cold in a bucket; the journal in a directory."""

    def by_name(one: Lent, place: Path) -> Mapping[str, Place]:
        (place / "hot").mkdir()
        return {name: one.place(user)(name) for name in ("lake", "warm", "cold")} | {"hot": Directory(place / "hot")}

    return places_in_buckets(kind, request, by_name)


@pytest.fixture
def new_places(s3_user: Any, request: pytest.FixtureRequest) -> NewPlaces:
    return remote_root("transition", s3_user, request)


@pytest.fixture
def lake(tmp_path: Path, catalog: Catalog, clock: FakeClock, new_places: NewPlaces) -> Bucket:
    (place := tmp_path / "world").mkdir()
    return Bucket(place, catalog, clock, new_places)


def old_enough(lake: Bucket, content: bytes = OLD) -> None:
    """An object that the policy takes, with a checksum by the store."""
    beside: dict[str, Any] = {"ContentType": "text/csv", "Metadata": {"who": "ann"}, "Tagging": "team=growth"}
    lake.put(content, ChecksumAlgorithm="CRC32C", **beside)
    lake.days(40)
    lake.scan()


def test_a_policy_changes_the_class_where_readers_keep_their_paths_and_nothing_else(lake: Bucket) -> None:
    old_enough(lake)
    before, head = lake.seen(NAME).placement, lake.head()
    loaded = lake.policies()
    plan = make_plan(lake.catalog, lake.settings, loaded, lake.clock)
    [row] = plan_rows(lake.catalog, plan.id)
    assert (row.in_place, row.held) == (True, None)
    assert "undo: one COPY request into STANDARD, a retrieval fee per byte read from STANDARD_IA" in row.reason
    apply_plan(lake.context, plan.id, loaded)
    report = lake.work()
    assert (report.done, report.failed, report.skipped) == (1, 0, 0)
    after, now = lake.seen(NAME).placement, lake.head()
    assert now["StorageClass"] == "STANDARD_IA"
    for kept in ("ContentType", "Metadata", "ContentLength", "ChecksumCRC32C"):
        assert now[kept] == head[kept]
    tags = lake.user.get_object_tagging(Bucket=lake.bucket, Key=f"lake/{NAME}")["TagSet"]
    assert tags == [{"Key": "team", "Value": "growth"}]
    assert (after.generation, after.created_us, after.mtime_us) == (1, before.created_us, before.mtime_us)
    assert after.raw.storage_class == "STANDARD_IA"
    assert after.raw.identity != before.raw.identity
    assert lake.intents() == []
    assert lake.read(NAME) == OLD
    with lake.catalog.read() as conn:
        told = conn.execute(sa.text("SELECT tier, storage_class, state FROM v_objects")).one()
    assert tuple(told) == ("warm", "STANDARD_IA", "raw")
    scanned = lake.scan()
    assert (scanned.unchanged, scanned.changed, scanned.reclassed) == (1, 0, 0)
    again = make_plan(lake.catalog, lake.settings, loaded, lake.clock)
    assert again.summary.actions == 0


def test_the_journal_tells_a_transition_so_that_age_survives_the_loss_of_the_catalog(
    lake: Bucket, dialect: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    old_enough(lake)
    created = lake.row().created_us
    lake.queue_in_place(NAME)
    lake.work()
    (tmp_path / "heirs").mkdir()
    with databases(dialect, tmp_path / "heirs", request) as made:
        lake.catalog = made.heir(lost_catalog(lake.context.tier("hot")))
        lake.context = lake.new_context()
        reconcile(lake.context)
        lake.scan()
        row = lake.row()
        assert (row.created_us, row.generation, row.raw_class) == (created, 1, "STANDARD_IA")


class Silent(StoreWrapper):
    """A store that says nothing of the bytes it holds."""

    def checksum(self, key: str) -> str:
        return ""


def dies_after_the_copy(lake: Bucket, wrap: Callable[[Store], Store] = lambda store: store) -> None:
    """A worker that has changed the class and told nobody."""

    def die(method: str, _key: str) -> None:
        if method == "transition":
            raise Crash

    faults = Faults(after=die)
    with pytest.raises(Crash):
        lake.work(lake.new_context(wrap=lambda store: FaultyStore(wrap(store), faults)))
    assert lake.storage_class() == "STANDARD_IA"


# MUST 2
def test_a_crash_after_every_effect_leaves_one_object_in_one_class_and_no_new_generation(
    memory_place: Path, clock: FakeClock, new_catalog: Callable[[], Catalog], new_places: NewPlaces
) -> None:
    crashes = 0
    for n in range(1, 20):
        place = memory_place / f"world{n}"
        place.mkdir()
        lake = Bucket(place, new_catalog(), clock, new_places)
        old_enough(lake)
        created = lake.row().created_us
        lake.queue_in_place(NAME)
        effects = Effects(stop_after=n)
        dying = lake.new_context(
            catalog=CrashingCatalog(lake.catalog, effects), wrap=lambda s, e=effects: CrashingStore(s, e)
        )
        try:
            lake.work(dying)
        except Crash:
            crashes += 1
        lake.context = lake.new_context(actor="another worker")
        lake.days(0.01)
        if n % 2:  # whoever comes first: the scan, the sweep or the next worker
            lake.scan()
        elif n % 3:
            lake.sweep()
        lake.work()
        lake.scan()
        row = lake.row()
        assert lake.storage_class() == "STANDARD_IA"
        assert (row.raw_class, row.generation, row.created_us) == ("STANDARD_IA", 1, created), effects.log
        assert lake.kinds().count("transition") == 1
        assert lake.read(NAME) == OLD
        lake.days(8)
        lake.sweep()
        assert lake.intents() == []
        assert lake.storage_class() == "STANDARD_IA"
        lake.places.give_back()
        if not effects.dead:
            break
    else:
        pytest.fail("it has no end")
    assert crashes >= 5, effects.log


# MUST 2
@pytest.mark.parametrize("content", [NEW, text("longer", 30_000)])
def test_a_user_who_writes_between_the_look_and_the_copy_keeps_what_was_written(lake: Bucket, content: bytes) -> None:
    old_enough(lake)
    lake.queue_in_place(NAME)
    faults = Faults(before=lambda method, _key: lake.put(content) if method == "transition" else None)
    report = lake.work(lake.new_context(wrap=lambda s: FaultyStore(s, faults)))
    assert report.done == 0
    assert lake.raw(NAME) == content
    assert lake.storage_class() == "STANDARD"
    lake.scan()
    row = lake.row()
    assert (row.generation, row.raw_class) == (2, "STANDARD")
    assert lake.read(NAME) == content


# MUST 2
@pytest.mark.on_sqlite
@pytest.mark.parametrize("storage_class", ["STANDARD", "STANDARD_IA"])
def test_a_user_who_writes_right_after_the_copy_of_a_dead_worker_keeps_what_was_written(
    lake: Bucket, storage_class: str
) -> None:
    old_enough(lake)
    lake.queue_in_place(NAME)
    dies_after_the_copy(lake)
    lake.put(NEW, StorageClass=storage_class, ChecksumAlgorithm="CRC32C")
    lake.days(0.01)
    lake.work()
    lake.scan()
    assert lake.read(NAME) == NEW
    row = lake.row()
    assert (row.generation, row.raw_class) == (2, storage_class)
    assert lake.kinds().count("transition") == 0


def test_without_a_checksum_by_the_store_a_crash_after_the_copy_counts_as_a_users_write(lake: Bucket) -> None:
    old_enough(lake)
    lake.queue_in_place(NAME)
    dies_after_the_copy(lake, lambda store: Silent(store))
    lake.days(0.01)
    lake.context = lake.new_context(wrap=lambda store: Silent(store))
    assert lake.work().done == 0
    row = lake.row()
    assert (row.generation, row.raw_class) == (2, "STANDARD_IA")
    assert lake.read(NAME) == OLD


def test_an_answer_that_was_lost_is_found_done_by_the_next_try(lake: Bucket, moto: MotoServer) -> None:
    old_enough(lake)
    [job] = lake.queue_in_place(NAME)
    moto.faults.add("Reset", operation="CopyObject", key="lake/", late=True, times=9)
    first = lake.work()
    assert (first.done, first.failed, list(first.jobs.values())) == (0, 1, [JobState.QUEUED]), first.notes
    moto.faults.assert_all_fired()
    moto.faults.clear()
    lake.days(0.01)
    assert lake.work().done == 1
    assert lake.row().generation == 1
    assert lake.storage_class() == "STANDARD_IA"
    with lake.catalog.read() as conn:
        assert conn.execute(sa.select(jobs.c.state).where(jobs.c.id == job)).scalar() == JobState.DONE.value


def test_undo_gives_the_class_back_by_a_job_and_says_what_that_is_billed_for(lake: Bucket) -> None:
    old_enough(lake)
    [job] = lake.queue_in_place(NAME)
    lake.work()
    changed = undo_job(lake.context, [job])
    assert (changed.done, changed.refused) == ([f"lake/{NAME}"], [])
    assert list(changed.prices) == [
        "one COPY request into STANDARD, a retrieval fee per byte read from STANDARD_IA and "
        "the rest of the 30 days that STANDARD_IA bills at least"
    ]
    assert lake.storage_class() == "STANDARD_IA", "nothing is changed before the job runs"
    lake.work()
    assert lake.storage_class() == "STANDARD"
    assert lake.row().raw_class == "STANDARD"
    [(_, why)] = lake.undo(f"lake/{NAME}").refused
    assert "nothing to undo" in why
    lake.queue_in_place(NAME)
    lake.work()
    [(_, why)] = undo_job(lake.context, [job]).refused or [("", "")]
    assert not why, "the class that this job gave it is there again, by another job"


def test_undo_of_an_object_changed_since_is_refused(lake: Bucket) -> None:
    old_enough(lake)
    [job] = lake.queue_in_place(NAME)
    lake.work()
    lake.put(NEW)
    lake.scan()
    [(_, why)] = undo_job(lake.context, [job]).refused
    assert "changed again" in why
    assert lake.raw(NAME) == NEW


def test_what_the_bucket_moves_by_its_own_rules_is_no_new_generation(lake: Bucket) -> None:
    old_enough(lake)
    lake.user.copy_object(  # moto has no lifecycle rules that run; identity is ETag and time, which these keep
        Bucket=lake.bucket, Key=f"lake/{NAME}", CopySource={"Bucket": lake.bucket, "Key": f"lake/{NAME}"},
        StorageClass="GLACIER_IR",
    )  # fmt: skip
    with lake.catalog.begin() as conn:
        identity = lake.context.root("lake").head(NAME).identity
        conn.execute(sa.update(objects).values(raw_identity=identity))
    scanned = lake.scan()
    assert (scanned.changed, scanned.reclassed) == (0, 1)
    row = lake.row()
    assert (row.generation, row.raw_class, row.created_us) == (1, "GLACIER_IR", row.mtime_us)
    assert lake.scan().unchanged == 1


def test_where_versions_are_kept_nothing_is_changed_in_place(lake: Bucket, moto: MotoServer) -> None:
    old_enough(lake)
    lake.queue_in_place(NAME)
    moto.set_versioning(lake.bucket, "Enabled")
    report = lake.work()
    assert (report.done, report.skipped) == (0, 1)
    assert "keeps versions" in report.notes[0][1]
    assert lake.storage_class() == "STANDARD"
    lake.scan()
    plan = make_plan(lake.catalog, lake.settings, lake.policies(), lake.clock)
    assert [row.held for row in plan_rows(lake.catalog, plan.id)] == ["versions"]


def test_an_object_with_an_acl_stays_as_it_is(lake: Bucket) -> None:
    old_enough(lake)
    lake.user.put_object_acl(Bucket=lake.bucket, Key=f"lake/{NAME}", ACL="public-read")
    lake.queue_in_place(NAME)
    report = lake.work()
    assert (report.done, report.failed) == (0, 1)
    assert "its ACL would be lost" in report.notes[0][1]
    assert lake.storage_class() == "STANDARD"


def test_a_hold_keeps_a_planned_transition_from_being_made(lake: Bucket) -> None:
    old_enough(lake)
    lake.queue_in_place(NAME)
    hold_objects(lake.context, [[lake.seen(NAME)]], "court")
    report = lake.work()
    assert (report.done, report.skipped) == (0, 1)
    assert lake.storage_class() == "STANDARD"


def test_what_its_user_deleted_meanwhile_is_left_to_the_scan(lake: Bucket) -> None:
    old_enough(lake)
    lake.queue_in_place(NAME)
    lake.delete(NAME)
    report = lake.work()
    assert (report.done, report.failed) == (0, 1)  # all of the root is gone: is it mounted?
    lake.scan(confirm_empty=True)
    assert lake.row().raw_state == "absent"
