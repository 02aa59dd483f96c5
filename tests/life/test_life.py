"""One dataset's whole life, step by step, on both catalogs."""

from __future__ import annotations

import os
import random
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType

import pytest
import sqlalchemy as sa

from storaged.catalog.schema import access, job_items, objects
from storaged.clock import DAY
from storaged.codecs import registry
from storaged.codecs.registry import CODECS
from storaged.config.settings import load_settings
from storaged.errors import RootEmpty
from storaged.heat import score
from storaged.model import CodecSpec, JobState, RawState
from storaged.work.scan.run import scan
from tests.life.choosy import Choosy, Late
from tests.life.interleave import InterleavedCatalog, InterleavedStore, Process
from tests.life.world import PLAIN, World, noise, text


@pytest.mark.on_both
def test_an_object_is_migrated_read_under_its_old_name_and_its_source_released(world: World) -> None:
    content = text("a", 3_000_000)
    world.write("dt=1/a.csv", content)
    assert world.scan().added == 1
    report = world.migrate("dt=1/a.csv")
    assert (report.done, report.failed, report.skipped) == (1, 0, 0)
    assert report.after_bytes < report.before_bytes / 5
    assert world.read("dt=1/a.csv") == content
    assert world.raw("dt=1/a.csv") == content  # kept through grace
    assert world.sweep().sources == 0
    world.days(8)
    swept = world.sweep()
    assert (swept.sources, swept.errors) == (1, [])
    assert swept.freed_bytes == len(content)
    assert world.raw("dt=1/a.csv") is None
    assert world.read("dt=1/a.csv") == content
    assert world.scan().vanished == 0
    assert world.read("dt=1/a.csv") == content


@pytest.mark.on_sqlite
def test_undo_within_grace_points_back_at_the_source_and_clears_the_blob(world: World) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    world.migrate("a.csv")
    assert world.undo("lake/a.csv").done == ["lake/a.csv"]
    assert world.seen("a.csv").placement.raw.state is RawState.CURRENT
    world.sweep()
    assert world.stored("cold") == {}
    assert world.read("a.csv") == text("a")
    assert world.leftovers() == []


# MUST 7
@pytest.mark.on_sqlite
def test_undo_after_the_release_is_refused_and_says_what_to_do(world: World) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    world.migrate("a.csv")
    world.days(8)
    world.sweep()
    [(name, why)] = world.undo("lake/a.csv").refused
    assert name == "lake/a.csv"
    assert "--to-root" in why


def test_eject_puts_every_object_back_under_its_original_key(world: World) -> None:
    contents = {f"dir {i}/ö{i}.csv": text(str(i)) for i in range(5)}
    for name, content in contents.items():
        world.write(name, content)
    world.scan()
    world.migrate(*contents)
    world.days(8)
    world.sweep()
    assert all(world.raw(n) is None for n in contents)
    report = world.eject()
    assert (report.done, report.failed) == (5, 0)
    assert {n: world.raw(n) for n in contents} == contents
    assert world.scan().changed == 0
    world.days(8)
    world.sweep()
    assert world.stored("cold") == {}
    assert {n: world.read(n) for n in contents} == contents


@pytest.mark.on_sqlite
def test_what_does_not_shrink_moves_as_it_is_and_is_left_alone_in_place(world: World) -> None:
    world.write("a.bin", noise("a"))
    world.scan()
    report = world.migrate("a.bin", tier="hot")
    assert (report.done, report.skipped) == (0, 1)
    assert report.notes[0][1] == "it does not shrink: left alone"
    report = world.migrate("a.bin", tier="cold")
    assert report.done == 1
    assert [why for _, why in report.notes] == ["stored as it is: it does not shrink"]
    [(key, stored)] = world.stored("cold").items()
    assert stored == noise("a")
    assert not key.endswith(".zst")


def test_why_a_codec_does_not_take_a_content_is_said_wherever_it_stays_as_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In place it is left alone, and no plan picks it again for that; elsewhere it moves as it is."""
    monkeypatch.setattr(registry, "CODECS", MappingProxyType({**CODECS, Choosy.name: Choosy()}))
    secret = b"secret" + text("a")
    world.write("a.csv", secret)
    world.write("b.csv", text("b"))
    world.scan()
    report = world.migrate("a.csv", "b.csv", tier="hot")
    assert (report.done, report.skipped) == (1, 1)
    assert [why for _, why in report.notes] == ["it is encrypted: left alone"]
    assert world.seen("a.csv").no_gain == world.seen("a.csv").placement.generation
    assert world.seen("b.csv").no_gain is None
    with world.catalog.read() as conn:
        told = {row.name: row.not_taken for row in conn.execute(sa.select(objects.c.name, objects.c.not_taken))}
        asked = {row.name: row.no_gain_by for row in conn.execute(sa.select(objects.c.name, objects.c.no_gain_by))}
        view = conn.execute(sa.text("SELECT object, not_taken FROM v_objects"))
        shown = {row.object: row.not_taken for row in view}
    assert asked == {"a.csv": " zstd:3 ", "b.csv": None}
    assert told == shown == {"a.csv": "zstd does not take it: it is encrypted", "b.csv": None}
    assert world.migrate("a.csv", tier="cold").done == 1
    [(key, stored)] = world.stored("cold").items()
    assert stored == secret
    assert not key.endswith(".zst")
    with world.catalog.read() as conn:
        notes = conn.execute(sa.select(job_items.c.note).order_by(job_items.c.job_id, job_items.c.object_id)).scalars()
        assert list(notes) == ["it is encrypted: left alone", None, "stored as it is: it is encrypted"]


@pytest.mark.on_sqlite
@pytest.mark.parametrize(
    ("content", "note"),
    [
        (b"no table\n" * 9_000, "; it is stored with zstd already"),
        (random.Random(7).randbytes(50_000), "; with zstd it does not shrink: left alone"),
    ],
    ids=["with another codec", "as it is"],
)
def test_what_a_codec_does_not_take_is_not_written_again_where_it_lies_so(
    world: World, content: bytes, note: str
) -> None:
    """Catalogs forget why a codec did not take what (an upgrade may know better codecs), and plans pick it again."""
    world.write("a.log", content)
    world.scan()
    assert world.migrate("a.log", codec=CodecSpec("parquet")).done == 1
    before = world.stored("cold")
    report = world.migrate("a.log", codec=CodecSpec("parquet"))
    assert (report.done, report.skipped) == (0, 1)
    assert report.notes[0][1].endswith(note)
    assert world.stored("cold") == before
    assert world.read("a.log") == content


@pytest.mark.parametrize("tier", ["hot", "cold"])
def test_what_a_codec_turns_out_not_to_take_is_stored_with_the_next_one(
    world: World, monkeypatch: pytest.MonkeyPatch, tier: str
) -> None:
    """Elsewhere it would be planned for ever, and be read each time."""
    for known in ("CODECS", "FORMS"):
        monkeypatch.setattr(registry, known, MappingProxyType({**getattr(registry, known), Late.name: Late()}))
    secret, noisy = b"secret" + text("a"), b"secret" + noise("b")
    world.write("a.csv", secret)
    world.write("b.csv", noisy)
    world.write("c.csv", text("c"))
    world.scan()
    report = world.migrate("a.csv", "b.csv", "c.csv", tier=tier, codec=CodecSpec("late"))
    as_it_is = 1 if tier == "cold" else 0
    assert (report.done, report.skipped, report.waiting, report.failed) == (2 + as_it_is, 1 - as_it_is, 0, 0)
    with world.catalog.read() as conn:
        told = {r.name: (r.codec, r.not_taken) for r in conn.execute(sa.select(objects))}
    assert told["a.csv"] == ("zstd", "late does not take it: it is encrypted")
    assert told["b.csv"][0] == "identity"
    assert told["c.csv"] == ("late", None)
    for name, content in {"a.csv": secret, "b.csv": noisy, "c.csv": text("c")}.items():
        assert world.read(name) == content
    world.days(1)
    world.sweep()
    assert len(world.stored(tier)) == 2 + as_it_is, "and nothing of what was tried before is left"


@pytest.mark.on_sqlite
def test_a_second_move_goes_from_blob_to_blob_and_back(world: World) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    world.migrate("a.csv", tier="warm")
    world.days(8)
    world.sweep()
    assert world.migrate("a.csv", tier="cold").done == 1
    assert len(world.stored("warm")) == len(world.stored("cold")) == 1
    assert world.undo("lake/a.csv").done
    world.days(8)
    world.sweep()
    assert len(world.stored("warm")) == 1
    assert world.stored("cold") == {}
    assert world.migrate("a.csv", tier="hot", codec=PLAIN).done == 1
    world.days(8)
    world.sweep()
    assert list(world.stored("hot").values()) == [text("a")]
    assert world.stored("warm") == {}
    assert world.read("a.csv") == text("a")


# MUST 7
@pytest.mark.on_sqlite
def test_new_bytes_of_the_user_live_whenever_they_come(world: World) -> None:
    world.write("a.csv", text("old"))
    world.scan()
    world.migrate("a.csv")
    world.write("a.csv", text("new"))  # in grace
    world.days(8)
    swept = world.sweep()
    assert swept.sources == 0
    assert world.raw("a.csv") == text("new")
    assert world.scan().changed == 1
    assert world.read("a.csv") == text("new")
    world.days(8)
    world.sweep()
    assert world.stored("cold") == {}
    assert world.read("a.csv") == text("new")


# MUST 7
@pytest.mark.on_sqlite
def test_a_delete_in_grace_counts_and_the_blob_is_kept_until_its_end(world: World) -> None:
    world.write("a.csv", text("a"))
    world.write("b.csv", text("b"))
    world.scan()
    world.migrate("a.csv")
    world.delete("a.csv")
    assert world.sweep().sources == 0
    assert world.scan().vanished == 1
    assert world.read("a.csv") is None
    assert len(world.stored("cold")) == 1
    world.days(8)
    world.sweep()
    assert world.stored("cold") == {}


@pytest.mark.on_sqlite
def test_scans_tell_new_changed_vanished_and_reappeared_apart(world: World) -> None:
    for name in "abcd":
        world.write(name, text(name))
    first = world.scan()
    assert (first.added, first.unchanged) == (4, 0)
    world.write("b", text("bb"))
    world.delete("c")
    world.write("e", text("e"))
    second = world.scan()
    assert (second.added, second.changed, second.vanished, second.reappeared, second.unchanged) == (1, 1, 1, 0, 2)
    world.write("c", text("c again"))
    third = world.scan()
    assert (third.added, third.changed, third.vanished, third.reappeared, third.unchanged) == (0, 0, 0, 1, 4)
    assert world.seen("c").placement.generation == 2


def test_a_root_whose_last_originals_are_released_while_a_scan_begins_is_no_empty_root(world: World) -> None:
    """The sweep of a daemon deletes them between the scan's count and its listing."""
    world.write("a.csv", text("a"))
    world.scan()
    world.migrate("a.csv")
    world.days(8)
    process = Process("list", 1, act=world.sweep)
    scan(
        world.new_context(
            catalog=InterleavedCatalog(world.catalog, process), wrap=lambda s: InterleavedStore(s, process)
        ),
        "lake",
    )
    assert process.happened
    assert world.raw("a.csv") is None
    assert world.seen("a.csv").placement.exists


def test_an_empty_or_missing_root_is_an_error_until_confirmed(world: World) -> None:
    world.write("a", text("a"))
    world.scan()
    world.delete("a")
    with pytest.raises(RootEmpty, match="shows no objects"):
        world.scan()
    assert world.seen("a").placement.exists
    assert world.scan(confirm_empty=True).vanished == 1


# MUST 6
@pytest.mark.on_sqlite
def test_a_job_of_what_changed_since_is_skipped(world: World) -> None:
    world.write("a.csv", text("a"))
    world.write("b.csv", text("b"))
    world.scan()
    world.enqueue(["a.csv", "b.csv"], "cold")
    world.write("a.csv", text("aa"))
    world.scan()
    report = world.work()
    assert (report.done, report.skipped) == (1, 1)
    assert list(report.jobs.values()) == [JobState.DONE]
    assert world.read("a.csv") == text("aa")


# MUST 12
@pytest.mark.on_sqlite
def test_an_object_comes_back_with_its_mode_mtime_and_attributes(world: World) -> None:
    world.write("a.csv", text("a"))
    path = world.root / "a.csv"
    path.chmod(0o604)
    os.setxattr(path, "user.team", b"growth")
    os.utime(path, ns=(0, 1_500_000_000_123_456_789))
    world.scan()
    world.migrate("a.csv")
    world.days(8)
    world.sweep()
    assert not path.exists()
    world.eject()
    found = path.stat()
    assert (found.st_mode & 0o7777, found.st_mtime_ns) == (0o604, 1_500_000_000_123_456_789)
    assert os.getxattr(path, "user.team") == b"growth"
    assert world.scan().changed == 0


# MUST 12
def test_a_file_under_two_names_is_left_where_it_is(world: World) -> None:
    world.write("a.csv", text("a"))
    (world.root / "b.csv").hardlink_to(world.root / "a.csv")
    world.scan()
    report = world.migrate("a.csv")
    assert (report.done, report.skipped, report.failed) == (0, 1, 0)
    assert "one file under 2 names" in report.notes[0][1]
    assert "allow_loss: [links]" in report.notes[0][1]
    world.enqueue(["a.csv"], "cold", allow_loss=frozenset({"links"}))
    assert world.work().done == 1


# MUST 2
def test_a_user_who_touches_or_renames_what_came_back_keeps_it(world: World) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    world.migrate("a.csv")
    world.days(8)
    world.sweep()
    world.eject()
    (world.root / "a.csv").chmod(0o600)
    found = world.scan()
    assert (found.touched, found.changed, world.seen("a.csv").placement.generation) == (1, 0, 1)
    (world.root / "a.csv").rename(world.root / "b.csv")
    world.write("c.csv", text("c"))
    found = world.scan()
    assert (found.added, found.vanished) == (2, 1)
    (world.root / "b.csv").rename(world.root / "a.csv")
    assert world.scan().reappeared == 1
    for _ in range(2):
        world.days(8)
        world.sweep()
        world.scan()
    assert world.read("a.csv") == text("a")
    assert world.raw("a.csv") == text("a")


@pytest.mark.on_both
def test_two_workers_at_once_do_every_job_once(world: World) -> None:
    names = [f"{i}.csv" for i in range(40)]
    for name in names:
        world.write(name, text(name))
    world.scan()
    jobs = [job for i in range(0, 40, 2) for job in world.enqueue(names[i : i + 2], "cold").jobs]
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda n: world.work(world.new_context(actor=f"worker {n}")), range(2)))
    done = [job for report in reports for job in report.jobs]
    assert sorted(done) == sorted(jobs)
    assert sum(report.done for report in reports) == 40
    assert {n: world.read(n) for n in names} == {n: text(n) for n in names}
    assert len(world.stored("cold")) == 40


def test_another_half_life_scores_every_object_anew(world: World) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    seen = world.seen("a.csv")
    days = [(20_500, 3), (20_540, 4)]
    with world.catalog.begin() as conn:
        rows = [{"object_id": seen.id, "day": d, "reads": n, "read_bytes": n * 10, "last_us": d * DAY} for d, n in days]
        conn.execute(sa.insert(access), rows)
    config = world.place / "storaged.yaml"
    config.write_text(config.read_text() + "half_life: 5d\n")
    world.settings = load_settings(config)
    world.context = world.new_context()
    world.context.register()
    with world.catalog.read() as conn:
        row = conn.execute(sa.select(objects.c.heat_reads, objects.c.heat_bytes, objects.c.last_read_us)).one()
    assert row.last_read_us == 20_540 * DAY
    assert row.heat_reads == pytest.approx(score(days, 5 * DAY), abs=1e-9)
    assert row.heat_bytes == pytest.approx(score([(d, n * 10) for d, n in days], 5 * DAY), abs=1e-9)
