"""What references name stays where it is, as it is: from the scan that finds them, or from when a job looks again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from storaged.catalog import references
from storaged.catalog.placements import dataset_ids
from storaged.catalog.references import Referrer
from storaged.config.settings import load_settings
from storaged.decide.load import load_policies
from storaged.decide.policy import PolicySet
from storaged.errors import StoreUnavailable
from storaged.testing.faults import Faults, FaultyStore
from storaged.work.plan.explain import explain
from storaged.work.plan.make import Plan, make_plan, plan_rows
from storaged.work.rewrite import returns
from storaged.work.rewrite.apply import apply_plan
from storaged.work.scan.referring import FIXED
from storaged.work.scan.run import scan
from tests.life.stage import Stage
from tests.life.world import text
from tests.scan.manifests import KEY, manifest

POLICY = """
name: cool
target: {dataset: lake, tier: hot}
when: {age_over: 1d}
to: {tier: warm}
mode: active
"""

pytestmark = pytest.mark.usefixtures("layout")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    metafunc.parametrize("layout", ["s3", "local"])


def policies(lake: Stage) -> PolicySet:
    (lake.place / "policies" / "p.yaml").write_text(POLICY)
    return load_policies(lake.place / "policies", lake.settings)


def planned(lake: Stage) -> Plan:
    return make_plan(lake.catalog, lake.context.settings, policies(lake), lake.clock)


def held(lake: Stage) -> dict[str, str | None]:
    return {row.name: row.held for row in plan_rows(lake.catalog, planned(lake).id)}


def url(lake: Stage, name: str) -> str:
    """Where an object is, as kerchunk writes it: a local path has no scheme."""
    root = lake.context.dataset("lake").root
    return f"{root.removeprefix('file://')}/{name}"


def references_to(urls: Iterable[str]) -> bytes:
    """As kerchunk's MultiZarrToZarr writes them."""
    refs: dict[str, object] = {".zgroup": '{"zarr_format":2}', "t/.zarray": '{"shape":[40]}', "t/9": "base64:AAAA"}
    refs |= {f"t/{n}": [one, 8760, 80_000] for n, one in enumerate(urls)}
    return json.dumps({"version": 1, "refs": refs}).encode()


def known(lake: Stage) -> list[Referrer]:
    with lake.catalog.read() as conn:
        return list(references.listed(conn))


def a_scene(lake: Stage, *named: str) -> None:
    for name in ("a.nc", "b.nc", "c.nc"):
        lake.write(name, text(name))
    lake.write("refs/all.json", references_to(url(lake, name) for name in named))
    lake.scan()
    lake.days(30)


# MUST 11
def test_what_references_name_keeps_its_path_and_everybody_says_so(lake: Stage) -> None:
    a_scene(lake, "a.nc", "b.nc", "gone.nc")
    assert held(lake) == {"a.nc": "referred", "b.nc": "referred", "c.nc": None, "refs/all.json": None}
    [one] = known(lake)
    assert (one.key, one.form, one.targets, one.missing, one.moved, one.unread) == (
        "refs/all.json", "kerchunk-json", 3, 1, 0, ""
    )  # fmt: skip
    told = str(explain(lake.catalog, lake.settings, policies(lake), "lake", "a.nc", lake.clock.now_us()))
    assert "named by references in lake/refs/all.json: it keeps its path and its bytes" in told
    assert "held back: lake/refs/all.json names its path, and where in its bytes something is" in told
    made = returns.restage(lake.context, [[lake.seen("a.nc")]], "warm", reason="test")
    assert made.left_out == [("lake/a.nc", "lake/refs/all.json names its path, and where in its bytes something is")]
    plan = planned(lake)
    assert "references name its path" in str(plan.summary)
    apply_plan(lake.context, plan.id, policies(lake))
    assert lake.work().done == 2
    assert lake.raw("a.nc") == text("a.nc")


# MUST 11
@pytest.mark.on_both
def test_a_reference_that_changes_or_goes_lets_go_of_what_it_does_not_name(lake: Stage) -> None:
    a_scene(lake, "a.nc", "b.nc")
    lake.write("refs/all.json", references_to([url(lake, "b.nc"), url(lake, "c.nc")]))
    lake.rescan()
    lake.days(2)
    assert held(lake) == {"a.nc": None, "b.nc": "referred", "c.nc": "referred", "refs/all.json": None}
    lake.write("refs/all.json", b"")
    lake.rescan()
    assert known(lake) == []
    lake.write("refs/all.json", references_to([url(lake, "b.nc")]))
    lake.rescan()
    assert [one.key for one in known(lake)] == ["refs/all.json"]
    lake.delete("refs/all.json")
    lake.rescan()
    assert set(held(lake).values()) == {None}
    assert known(lake) == []


# MUST 11
def test_a_reference_that_was_moved_away_still_counts(lake: Stage) -> None:
    a_scene(lake, "a.nc")
    apply_plan(lake.context, planned(lake).id, policies(lake))
    assert lake.work().done == 3
    lake.days(8)
    assert lake.sweep().sources == 3
    assert lake.raw("refs/all.json") is None
    lake.rescan()
    assert held(lake) == {"a.nc": "referred"}
    with lake.catalog.begin() as conn:  # as in a catalog that was made anew from the stores
        numbers = [one.id for one in references.listed(conn)]
    references.forget(lake.catalog, numbers)
    assert held(lake) == {"a.nc": None}
    lake.rescan()
    assert held(lake) == {"a.nc": "referred"}


# MUST 11
@pytest.mark.parametrize("where", ["refs/all.json", "new.json", "refs/new.json"])
def test_a_reference_that_was_written_since_the_scan_is_seen_by_the_job(lake: Stage, where: str) -> None:
    a_scene(lake, "b.nc")
    lake.write("refs/x.nc", text("x"))
    lake.scan()
    lake.days(30)
    made = lake.enqueue(["a.nc", "c.nc", "refs/x.nc"], "warm")
    assert len(made.jobs) == 1
    lake.write(where, references_to([url(lake, "a.nc")]))
    report = lake.work()
    assert (report.done, report.skipped) == (2, 1)
    assert [note for _, note in report.notes] == [f"lake/{where} names its path, and where in its bytes something is"]


# MUST 11
def test_a_reference_that_cannot_be_looked_at_holds_all_until_it_can(lake: Stage) -> None:
    a_scene(lake, "b.nc")
    lake.enqueue(["a.nc", "c.nc"], "warm")
    asked: list[str] = []

    def refuse(method: str, key: str) -> None:
        if (method, key) == ("head", "refs/all.json"):
            asked.append(key)
            raise StoreUnavailable("no answer", key=key)

    faults = Faults(before=refuse)
    report = lake.work(lake.new_context(wrap=lambda s: FaultyStore(s, faults) if s.url.endswith("lake") else s))
    assert asked
    assert report.done == 0
    assert report.notes[0][1] == "whether references name it cannot be told: no answer"
    assert lake.raw("a.nc") == text("a.nc")


def damaged() -> bytes:
    return references_to(["s3://elsewhere/x"])[:-30]


# MUST 11
def test_what_a_damaged_reference_names_is_not_known_so_all_of_its_dataset_is_held(lake: Stage) -> None:
    a_scene(lake)
    lake.write("refs/all.json", damaged())
    lake.scan()
    lake.days(2)
    assert set(held(lake).values()) == {"unread"}
    [one] = known(lake)
    assert "it is damaged" in one.unread
    told = str(explain(lake.catalog, lake.settings, policies(lake), "lake", "c.nc", lake.clock.now_us()))
    assert "held back: lake/refs/all.json holds references, cannot be read, and may name its path" in told
    lake.write("refs/all.json", references_to([]))
    lake.rescan()
    lake.days(2)
    assert set(held(lake).values()) == {None}


def test_what_is_read_through_storaged_may_go_and_what_is_elsewhere_is_counted(lake: Stage) -> None:
    a_scene(lake)
    lake.write("refs/all.json", references_to(["storaged://lake/a.nc", "s3://elsewhere/x.nc", "gs://b/y.nc"]))
    lake.scan()
    lake.days(2)
    assert set(held(lake).values()) == {None}
    [one] = known(lake)
    assert (one.targets, one.through, one.elsewhere) == (0, 1, 2)


def test_a_relative_path_is_looked_for_beside_the_file_and_below_the_root(lake: Stage) -> None:
    a_scene(lake)
    lake.write("refs/near.nc", text("near"))
    lake.write("refs/all.json", references_to(["near.nc", "a.nc", "../b.nc", "nowhere.nc"]))
    lake.scan()
    lake.days(2)
    assert {name for name, why in held(lake).items() if why == "referred"} == {"refs/near.nc", "a.nc", "b.nc"}
    [one] = known(lake)
    assert (one.targets, one.missing) == (3, 0)


def with_notes(lake: Stage, place: Path) -> None:
    """Another dataset, whose files name what is in the lake."""
    config = lake.place / "storaged.yaml"
    config.write_text(config.read_text().replace("  lake:", f'  notes: {{root: "file://{place}"}}\n  lake:'))
    lake.settings = load_settings(config)
    lake.context = lake.new_context()
    lake.scan()


def test_another_dataset_may_name_it_and_be_there_before_it(lake: Stage, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    for name in ("a.nc", "b.nc"):
        lake.write(name, text(name))
    (notes / "r.json").write_bytes(references_to([url(lake, "a.nc")]))
    with_notes(lake, notes)
    scan(lake.context, "notes")
    lake.days(30)
    assert held(lake) == {"a.nc": "referred", "b.nc": None}
    [one] = known(lake)
    assert (one.dataset, one.datasets) == ("notes", ("lake",))


def test_a_dataset_that_is_new_is_looked_up_in_the_references_of_the_others(lake: Stage, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "x.nc").write_bytes(b"x")
    lake.write("r.json", references_to([f"{notes}/x.nc"]))
    lake.scan()
    [one] = known(lake)
    assert (one.targets, one.elsewhere) == (0, 1)
    with_notes(lake, notes)
    scan(lake.context, "notes")
    lake.rescan()
    [one] = known(lake)
    assert (one.targets, one.missing, one.elsewhere, one.datasets) == (1, 0, 0, ("notes",))


def test_what_virtual_chunks_of_icechunk_name_is_held_as_long_as_their_manifest_is_there(lake: Stage) -> None:
    """Not asked again by workers: it never changes."""
    for name in ("a.nc", "b.nc"):
        lake.write(name, text(name))
    root = lake.context.dataset("lake").root
    lake.write(KEY, manifest([f"{root}/a.nc"]))
    lake.scan()
    lake.days(30)
    assert [held(lake)[name] for name in ("a.nc", "b.nc")] == ["referred", None]
    assert [(one.key, one.form) for one in known(lake)] == [(KEY, "icechunk")]
    with lake.catalog.read() as conn:
        number = dataset_ids(conn)["lake"]
        assert len(references.watched(conn, number, 9)) == 1
        assert not references.watched(conn, number, 9, FIXED)
    lake.delete(KEY)
    lake.rescan()
    assert held(lake)["a.nc"] is None


def configured(root: str) -> bytes:
    """As a repository of Icechunk's version 1 saves its containers."""
    return f"virtual_chunk_containers:\n  {root}:\n    {{name: forecasts, url_prefix: '{root}'}}\n".encode()


@pytest.mark.on_both
def test_what_a_container_of_icechunk_stands_for_is_followed_and_asked_anew_by_each_scan(lake: Stage) -> None:
    for name in ("a/x.nc", "b/x.nc"):
        lake.write(name, text(name))
    root = lake.context.dataset("lake").root
    lake.write(KEY, manifest(["vcc://forecasts/x.nc"]))
    lake.scan()
    lake.days(30)
    assert [held(lake)[name] for name in ("a/x.nc", "b/x.nc")] == ["unread", "unread"]
    assert "'forecasts', which its repository's saved configuration lacks" in known(lake)[0].unread
    for named, free in (("a/x.nc", "b/x.nc"), ("b/x.nc", "a/x.nc")):
        lake.write("notes/repo/config.yaml", configured(f"{root}/{named[:2]}"))
        lake.rescan()
        assert (held(lake)[named], held(lake)[free]) == ("referred", None)
    one = known(lake)[0].id
    lake.rescan()
    assert known(lake)[0].id == one  # read once for each configuration


def test_a_scan_reads_each_file_once(lake: Stage) -> None:
    a_scene(lake, "a.nc")
    lake.write("plain.json", b'{"name": ["x", 1], "b": 3}')
    lake.write("empty.json", b"")
    lake.rescan()
    with lake.catalog.read() as conn:
        assert set(references.looked(conn, dataset_ids(conn)["lake"], ["empty.json", "plain.json"])) == {"plain.json"}
    faults = Faults()
    lake.context = lake.new_context(wrap=lambda s: FaultyStore(s, faults) if s.url.endswith("lake") else s)
    found = scan(lake.context, "lake")
    assert (found.references, found.unread_references, found.not_looked_into) == (1, 0, 0)
    assert faults.calls("list")
    assert not faults.calls("open")


# MUST 11
def test_what_a_process_died_reading_is_held_until_the_next_scan(lake: Stage) -> None:
    a_scene(lake, "a.nc")
    with lake.catalog.read() as conn:
        number = lake.context.dataset_id(conn, "lake")
    begun = references.begin(lake.catalog, number, "refs/all.json", identity="another", form="kerchunk-json")
    assert references.add(lake.catalog, begun, [references.NamedObject(number, "b.nc")])
    assert held(lake) == {"a.nc": "referred", "b.nc": "referred", "c.nc": None, "refs/all.json": None}
    lake.rescan()
    assert held(lake) == {"a.nc": "referred", "b.nc": None, "c.nc": None, "refs/all.json": None}
    assert not references.add(lake.catalog, begun, [references.NamedObject(number, "c.nc")])
    told = {"unread": "", "through": 0, "elsewhere": 0, "roots": "", "now_us": 1}
    assert not references.finish(lake.catalog, begun, identity="another", form="kerchunk-json", **told)
    assert [one.key for one in known(lake)] == ["refs/all.json"]
