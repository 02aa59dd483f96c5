"""What is one thing of many files stays together: from the scan that finds it to the scan that finds it gone, and from
the moment that it is there for a job that waited."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from storaged.catalog import collections
from storaged.catalog.schema import job_items
from storaged.decide.guards import words
from storaged.decide.kinds import shown, what_is
from storaged.decide.load import load_policies
from storaged.decide.policy import PolicySet
from storaged.errors import PermissionDenied
from storaged.stores.wrappers import StoreWrapper
from storaged.testing.faults import Faults, FaultyStore
from storaged.work.plan.explain import explain
from storaged.work.plan.make import Plan, make_plan, plan_rows
from storaged.work.plan.sample import sample_kinds
from storaged.work.rewrite import returns
from storaged.work.rewrite.apply import apply_plan
from storaged.work.rewrite.collections import PAGE
from storaged.work.rewrite.worker import Worker
from storaged.work.scan.run import scan
from tests.life.stage import Stage
from tests.life.world import text

POLICY = """
name: cool
target: {dataset: lake, tier: hot}
when: {age_over: 1d}
to: {tier: warm}
mode: active
"""
CHUNKS = ("array.zarr/c/0/0", "array.zarr/c/0/1")


pytestmark = pytest.mark.usefixtures("layout")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    of_links = metafunc.function is test_a_folder_that_no_scan_can_enter_counts_by_its_name  # a bucket has none
    metafunc.parametrize("layout", ["local"] if of_links else ["local", "s3"])


@pytest.fixture
def dialect() -> str:
    """What differs between the databases is tested where their statements are."""
    return "sqlite"


def policies(lake: Stage, more: str = "") -> PolicySet:
    (lake.place / "policies" / "p.yaml").write_text(POLICY + more)
    return load_policies(lake.place / "policies", lake.settings)


def planned(lake: Stage, more: str = "") -> Plan:
    return make_plan(lake.catalog, lake.context.settings, policies(lake, more), lake.clock)


def held(lake: Stage, plan: Plan) -> dict[str, str | None]:
    return {row.name: row.held for row in plan_rows(lake.catalog, plan.id)}


def known(lake: Stage) -> list[tuple[str, str]]:
    with lake.catalog.read() as conn:
        return [(one.prefix, one.kind) for one in collections.listed(conn)]


def an_array(lake: Stage) -> None:
    lake.write("array.zarr/zarr.json", b"{}")
    for name in (*CHUNKS, "plain.csv"):
        lake.write(name, text(name))
    lake.scan()
    lake.days(30)


# MUST 11
def test_what_lies_below_a_marker_is_held_back_and_nothing_else(lake: Stage) -> None:
    an_array(lake)
    assert known(lake) == [("array.zarr/", "zarr")]
    plan = planned(lake)
    kept = dict.fromkeys(("array.zarr/zarr.json", *CHUNKS), "collection:zarr")
    assert held(lake, plan) == {**kept, "plain.csv": None}
    assert f"held back: 3 objects, 39.1 KiB: part of {what_is('zarr')}" in str(plan.summary)
    told = explain(lake.catalog, lake.settings, policies(lake), "lake", CHUNKS[0], lake.clock.now_us())
    assert "held back: part of a Zarr array or group (array.zarr/), which is one thing" in str(told)


# MUST 11
def test_it_is_gone_when_its_marker_goes(lake: Stage) -> None:
    an_array(lake)
    lake.delete("array.zarr/zarr.json")
    lake.rescan()
    assert known(lake) == []
    assert set(held(lake, planned(lake)).values()) == {None}


def test_a_new_kind_or_place_takes_the_place_of_the_old(lake: Stage) -> None:
    an_array(lake)
    lake.write("zarr.json", b"{}")
    lake.rescan()
    assert known(lake) == [("", "zarr")]
    lake.write("_delta_log/00000000000000000000.json", b"{}")
    lake.rescan()
    assert known(lake) == [("", "delta")]
    lake.delete("zarr.json")
    lake.delete("_delta_log/00000000000000000000.json")
    lake.rescan()
    assert known(lake) == [("array.zarr/", "zarr")]


# MUST 11
def test_a_marker_that_was_moved_away_still_counts(lake: Stage) -> None:
    an_array(lake)
    plan = planned(lake, "collections: ignore\n")
    assert set(held(lake, plan).values()) == {None}
    apply_plan(lake.context, plan.id, policies(lake, "collections: ignore\n"))
    assert lake.work().done == 4
    assert lake.sweep().sources == 0
    lake.days(8)
    assert lake.sweep().sources == 4
    assert lake.raw("array.zarr/zarr.json") is None
    lake.write("array.zarr/c/0/2", text("new"))
    lake.rescan()
    assert known(lake) == [("array.zarr/", "zarr")]
    lake.days(30)
    assert held(lake, planned(lake)) == {"array.zarr/c/0/2": "collection:zarr"}


def test_a_policy_that_ignores_collections_is_heard_at_every_door(lake: Stage) -> None:
    an_array(lake)
    more = "collections: ignore\n"
    plan = planned(lake, more)
    told = explain(lake.catalog, lake.settings, policies(lake, more), "lake", CHUNKS[0], lake.clock.now_us())
    assert "would go to warm" in str(told)
    assert "parts of collections: 3" in str(plan.summary)
    made = apply_plan(lake.context, plan.id, policies(lake, more))
    assert made.left_out == []
    assert lake.work().done == 4
    assert len(lake.stored("warm")) == 4


REPOSITORY = ("borg/README", "borg/config", "borg/data/0/1", "borg/data/0/2")  # neither encrypted nor compressed


@pytest.mark.parametrize("codec", ["zstd:9", "auto", "parquet", "pack"])
def test_a_repository_that_is_dense_by_itself_is_never_recompressed(codec: str, lake: Stage) -> None:
    """Whatever a sample of it would say. It may go elsewhere as it is, but for packs."""
    for name in ("plain.csv", *REPOSITORY):
        lake.write(name, text(name) * 500)
    lake.scan()
    lake.days(30)
    for to in (f"codec: {codec}", f"tier: warm, codec: {codec}"):
        (lake.place / "policies" / "p.yaml").write_text(POLICY.replace("tier: warm", to) + "collections: ignore\n")
        loaded = load_policies(lake.place / "policies", lake.settings)
        sampling = sample_kinds(lake.context, loaded)
        how = {"ratios": sampling.ratios, "choices": sampling.choices}
        plan = make_plan(lake.catalog, lake.settings, loaded, lake.clock, **how)
        rows = {row.name: row for row in plan_rows(lake.catalog, plan.id)}
        assert rows["plain.csv"].after_bytes < rows["plain.csv"].size
        told = explain(lake.catalog, lake.settings, loaded, "lake", REPOSITORY[2], lake.clock.now_us())
        mine = [rows.get(name) for name in REPOSITORY]
        if codec == "pack":
            assert {None if row is None else row.held for row in mine} == {"dense"}
            assert "so it goes into no pack and gets no codec" in str(told)
        elif "tier" in to:
            assert {None if row is None else (row.codec, row.level, row.held) for row in mine} == {
                ("identity", None, None)
            }
            assert all("; stays in its form: part of a Borg repository" in str(row and row.reason) for row in mine)
            assert "would go to warm and stay in its form: part of a Borg repository, whose" in str(told)
        else:
            assert mine == [None] * 4
            assert "nothing to do: it stays in its form: part of a Borg repository, whose program" in str(told)


def test_a_repository_that_shows_since_the_plan_is_not_recompressed(lake: Stage) -> None:
    for name in REPOSITORY[1:]:
        lake.write(name, text(name) * 500)
    lake.scan()
    lake.days(30)
    (lake.place / "policies" / "p.yaml").write_text(
        POLICY.replace("tier: warm", "codec: zstd") + "collections: ignore\n"
    )
    loaded = load_policies(lake.place / "policies", lake.settings)
    plan = make_plan(lake.catalog, lake.settings, loaded, lake.clock)
    apply_plan(lake.context, plan.id, loaded)
    lake.write(REPOSITORY[0], b"This is a Borg Backup repository.")
    lake.rescan()
    report = lake.work()
    assert (report.done, report.skipped) == (0, 3)
    with lake.catalog.read() as conn:
        assert set(conn.execute(sa.select(job_items.c.note)).scalars()) == {words("dense")}


def test_a_person_who_names_a_part_is_told(lake: Stage) -> None:
    an_array(lake)
    made = returns.restage(lake.context, [[lake.seen(CHUNKS[0])]], "warm", reason="test")
    assert made.jobs == []
    assert made.left_out == [(f"lake/{CHUNKS[0]}", "part of a Zarr array or group (array.zarr/), which is one thing")]


# MUST 11
@pytest.mark.parametrize(
    ("marker", "kind"),
    [
        ("{}_delta_log/00000000000000000000.json", "delta"),
        ("{}.hoodie/hoodie.properties", "hudi"),
        ("{}metadata/00000-0b5e2c7e-1111-4222-8333-123456789abc.metadata.json", "iceberg"),
        ("{}_versions/1.manifest", "lance"),
        ("{}.zattrs ", None),
        ("{}metadata/run.metadata.json", None),
    ],
)
@pytest.mark.parametrize("where", ["", "a/", "a/b/"])
def test_a_marker_made_after_the_plan_holds_what_waits(marker: str, where: str, kind: str | None, lake: Stage) -> None:
    inside, outside = "a/b/part-1.parquet", "other/x.csv"
    for name in (inside, outside):
        lake.write(name, text(name))
    lake.scan()
    lake.days(30)
    plan = planned(lake)
    lake.write(marker.format(where), b"{}")
    apply_plan(lake.context, plan.id, policies(lake))
    report = lake.work()
    moved = {inside, outside} if kind is None else set() if where == "" else {outside}
    assert report.done == len(moved)
    assert len(lake.stored("warm")) == len(moved)
    assert known(lake) == ([] if kind is None else [(where, kind)])
    if kind:
        why = f"part of {what_is(kind)} ({shown(where)}), which is one thing"
        assert {note for _, note in report.notes} == {why}
        assert set(held(lake, planned(lake)).values()) <= {f"collection:{kind}", "settling"}


def test_a_marker_among_very_many_files_is_seen(lake: Stage) -> None:
    lake.write("many/x.csv", text("x"))
    lake.write("many/index.csv", text("y"))
    lake.scan()
    lake.days(30)
    lake.enqueue(["many/x.csv", "many/index.csv"], "warm")

    class Crowded(StoreWrapper):
        """A folder that tells a page of other names, as a store may."""

        def folder(self, prefix: str, most: int) -> list[str]:
            told = list(super().folder(prefix, most))
            return [f"{n}.csv" for n in range(most)] if prefix == "many/" else told

    lake.write("many/zarr.json", b"{}")
    lake.work(lake.new_context(wrap=Crowded))
    assert known(lake) == [("many/", "zarr")]
    lake.delete("many/zarr.json")
    lake.rescan()
    lake.write("many/_delta_log/00000000000000000000.json", b"{}")
    lake.enqueue(["many/x.csv"], "warm")
    lake.work(lake.new_context(wrap=Crowded))
    assert known(lake) == [("many/", "delta")]
    assert lake.stored("warm") == {}


def test_a_batch_asks_once_for_each_folder(lake: Stage) -> None:
    names = [f"k={k}/{n}.csv" for k in range(4) for n in range(5)]
    for name in names:
        lake.write(name, text(name))
    lake.scan()
    lake.days(30)
    asked: list[str] = []
    faults = Faults(before=lambda method, key: asked.append(key) if method == "folder" else None)
    lake.enqueue(names, "warm")
    assert lake.work(lake.new_context(wrap=lambda store: FaultyStore(store, faults))).done == len(names)
    assert sorted(asked) == ["", "k=0/", "k=1/", "k=2/", "k=3/"]
    assert PAGE <= 1_000  # names that any store tells at once


def test_what_comes_from_a_tier_asks_nothing_of_the_root(lake: Stage) -> None:
    lake.released()
    asked: list[str] = []
    faults = Faults(before=lambda method, key: asked.append(key) if method == "folder" else None)
    lake.enqueue(["a.csv"], "warm")
    assert lake.work(lake.new_context(wrap=lambda store: FaultyStore(store, faults))).done == 1
    assert asked == []


# MUST 11
def test_a_folder_that_cannot_be_looked_at_stops_what_is_in_it(lake: Stage) -> None:
    for name in ("shut/x.csv", "open/x.csv"):
        lake.write(name, text(name))
    lake.scan()
    lake.days(30)

    def shut(method: str, key: str) -> None:
        if (method, key) == ("folder", "shut/"):
            raise PermissionDenied("no entry", key=key)

    faults = Faults(before=shut)
    made = lake.enqueue(["shut/x.csv", "open/x.csv"], "warm")
    report = lake.work(lake.new_context(wrap=lambda store: FaultyStore(store, faults)))
    assert faults.calls("folder") >= 3
    assert (report.done, report.failed) == (1, 1)
    [(_, note)] = report.notes
    assert note == "whether it is a part of a collection cannot be told: no entry"
    with lake.catalog.read() as conn:
        query = sa.select(job_items.c.state).where(job_items.c.job_id.in_(made.jobs)).order_by(job_items.c.state)
        assert list(conn.execute(query).scalars()) == ["done", "pending"]


def test_a_folder_beside_it_that_cannot_be_looked_into_stops_nothing(lake: Stage) -> None:
    for name in ("data/0/x", "plain.csv"):
        lake.write(name, text(name))
    lake.scan()
    lake.days(30)

    def shut(method: str, key: str) -> None:
        if (method, key) == ("folder", "data/"):
            raise PermissionDenied("no entry", key=key)

    faults = Faults(before=shut)
    lake.enqueue(["plain.csv"], "warm")
    assert lake.work(lake.new_context(wrap=lambda store: FaultyStore(store, faults))).done == 1
    assert faults.calls("folder") == 2


def test_a_folder_that_no_scan_can_enter_counts_by_its_name(lake: Stage) -> None:
    lake.write("t/part-1.parquet", text("p"))
    (lake.place / "log").mkdir()
    (lake.root / "t/_delta_log").symlink_to(lake.place / "log")
    assert lake.scan().skipped == 1
    assert known(lake) == [("t/", "delta")]


# MUST 11
def test_a_scan_that_was_cut_short_forgets_no_marker(lake: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storaged.work.scan.run.PAGE", 2)
    for name in ("a/zarr.json", "a/zz", "b/1", "b/2", "c/1", "c/2"):
        lake.write(name, text(name))
    lake.context.register()
    pages = 0

    def cut(*_: object) -> None:
        nonlocal pages
        pages += 1
        if pages == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan(lake.context, "lake", progress=cut)
    assert known(lake) == []
    found = lake.scan()
    assert found.resumed_after >= "a/zz"
    assert (found.collections, [one.prefix for one in found.new_collections]) == (1, ["a/"])
    assert known(lake) == [("a/", "zarr")]
    again = lake.scan()
    assert (again.collections, again.new_collections) == (1, [])


def test_of_a_table_the_rest_of_the_dataset_is_free(lake: Stage) -> None:
    lake.write("metadata/run.metadata.json", b"{}")
    lake.write("t/_delta_log/00000000000000000000.json", b"{}")
    lake.write("t/k=1/part-1.parquet", text("p"))
    lake.write("t2/part-1.parquet", text("q"))
    lake.write("t.csv", text("r"))
    lake.scan()
    lake.days(30)
    free = {name for name, why in held(lake, planned(lake)).items() if why is None}
    assert free == {"metadata/run.metadata.json", "t2/part-1.parquet", "t.csv"}


def test_a_worker_that_looks_while_a_scan_goes_on_loses_nothing(lake: Stage) -> None:
    lake.write("a/x.csv", text("x"))
    lake.scan()
    lake.days(30)
    lake.enqueue(["a/x.csv"], "warm")
    lake.write("a/zarr.json", b"{}")
    with Worker(lake.context, name="worker") as worker:
        claimed = worker.claim()
        assert claimed is not None
        lake.rescan()
        worker.work(claimed)
    assert known(lake) == [("a/", "zarr")]
    assert lake.stored("warm") == {}
