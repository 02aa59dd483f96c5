"""A return to the original key whose process died once the file was visible: what its user does to it counts."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
import sqlalchemy as sa

from storaged.catalog.schema import blobs, job_items
from storaged.catalog.schema_attempts import attempts
from storaged.clock import SECOND
from storaged.model import RawState
from storaged.stores.base import Traits
from storaged.stores.wrappers import StoreWrapper
from storaged.testing.faults import Fault, Faults, FaultyStore
from storaged.work.context import Context
from storaged.work.rewrite.returns import to_root
from storaged.work.scan.suspects import rescan_key
from tests.life.crashes import Crash
from tests.life.interleave import InterleavedCatalog, InterleavedStore, Process
from tests.life.stage import NAME, NEW, OLD, Stage


def interrupted(lake: Stage) -> None:
    """The worker dies when the file is there and nothing is recorded; its lease runs out."""
    lake.released()
    lake.dies(lake.eject_by, "open", 2)  # the read-back; the first is of the blob
    assert lake.raw(NAME) == OLD
    assert lake.seen(NAME).placement.raw.state is RawState.RELEASED
    lake.days(0.01)


def a_scan(lake: Stage) -> None:
    lake.rescan()


def a_look(lake: Stage) -> None:
    rescan_key(lake.context, "lake", NAME)


def a_sweep(lake: Stage) -> None:
    lake.sweep()


def another_try(lake: Stage) -> None:
    lake.work()


NEXT = [a_scan, a_look, a_sweep, another_try]


def all_of_it(lake: Stage, first: Callable[[Stage], None]) -> None:
    """What comes next, and then everything else, for so long that nothing is left to come."""
    first(lake)
    for _ in range(3):
        lake.work()
        lake.rescan()
        lake.sweep()
        lake.days(8)
    lake.sweep()


# MUST 2
@pytest.mark.parametrize("first", NEXT)
def test_what_is_back_is_recorded_and_not_written_again(first: Callable[[Stage], None], lake: Stage) -> None:
    interrupted(lake)
    path = lake.root / NAME
    inode = path.stat().st_ino
    first(lake)
    assert lake.seen(NAME).placement.raw.state is RawState.CURRENT
    all_of_it(lake, first)
    assert (lake.raw(NAME), path.stat().st_ino) == (OLD, inode)
    p = lake.seen(NAME).placement
    assert (p.raw.state, p.generation, p.replicas) == (RawState.CURRENT, 1, ())
    assert lake.look() == OLD
    assert lake.leftovers() == []
    with lake.catalog.read() as conn:
        assert [row for t in (attempts, blobs) for row in conn.execute(sa.select(t.c.id))] == []


def test_another_try_says_that_it_is_done(lake: Stage) -> None:
    interrupted(lake)
    report = lake.work()
    assert (report.done, report.skipped, report.failed) == (1, 0, 0)
    assert lake.raw(NAME) == OLD


# MUST 2
@pytest.mark.parametrize("first", NEXT)
def test_a_delete_of_what_is_back_is_a_delete(first: Callable[[Stage], None], lake: Stage) -> None:
    interrupted(lake)
    lake.delete(NAME)
    all_of_it(lake, first)
    assert lake.raw(NAME) is None
    assert lake.look() is None
    assert lake.seen(NAME).placement.removed_us is not None


# MUST 2
@pytest.mark.parametrize("first", NEXT)
def test_an_edit_of_the_same_size_and_time_is_kept(first: Callable[[Stage], None], lake: Stage) -> None:
    interrupted(lake)
    path = lake.root / NAME
    was = path.stat()
    with path.open("r+b") as file:
        file.write(NEW)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    all_of_it(lake, first)
    assert lake.raw(NAME) == NEW
    assert lake.look() == NEW


@pytest.mark.parametrize("first", NEXT)
def test_a_delete_counts_though_the_worker_died_before_it_noted_anything(
    first: Callable[[Stage], None], lake: Stage
) -> None:
    lake.released()
    lake.dies(lake.eject_by, "begin", 3)  # enqueued, claimed; what is visible would be noted
    assert lake.raw(NAME) == OLD
    lake.days(0.01)
    lake.delete(NAME)
    all_of_it(lake, first)
    assert lake.raw(NAME) is None
    assert lake.look() is None
    assert lake.leftovers() == []


def test_neighbours_are_noted_together_and_each_counts_by_itself(lake: Stage) -> None:
    others = ["b.csv", "c.csv"]
    for name in others:
        lake.write(name, OLD)
    lake.scan()
    assert lake.migrate(*others).done == 2
    lake.due()
    assert lake.sweep().sources == 3

    def eject(context: Context) -> None:
        to_root(context, [[lake.seen(name) for name in (NAME, *others)]], reason="test")
        lake.work(context)

    lake.dies(eject, "begin", 3)  # enqueued, claimed; what is visible would be noted, all of it
    assert [lake.raw(name) for name in (NAME, *others)] == [OLD] * 3
    lake.days(0.01)
    lake.delete(NAME)
    lake.write(others[0], NEW)
    all_of_it(lake, a_scan)
    assert [lake.raw(name) for name in (NAME, *others)] == [None, NEW, OLD]
    assert lake.look() is None
    assert lake.seen(others[1]).placement.generation == 1
    assert lake.leftovers() == []


class Silent(StoreWrapper):
    """A root that does not tell what attempts made visible, as no bucket does."""

    @property
    def traits(self) -> Traits:
        return replace(super().traits, shows=False)

    def shown(self) -> Mapping[str, str]:
        return {}


def test_where_a_root_does_not_tell_what_is_visible_each_is_noted_before_the_next(lake: Stage) -> None:
    lake.write("b.csv", OLD)
    lake.write("c.csv", OLD)
    lake.released()
    assert lake.migrate("b.csv", "c.csv").done == 2
    lake.days(8)
    assert lake.sweep().sources == 2
    names, process = (NAME, "b.csv", "c.csv"), Process("begin", 4)  # enqueued, claimed, noted; the next is visible
    catalog = InterleavedCatalog(lake.catalog, process)
    context = lake.new_context(catalog=catalog, wrap=lambda store: InterleavedStore(Silent(store), process))
    to_root(context, [[lake.seen(name) for name in names]], reason="test")
    with pytest.raises(Crash):
        lake.work(context)
    assert [lake.raw(name) for name in names] == [OLD, OLD, None]
    with lake.catalog.read() as conn:
        assert len(conn.execute(sa.select(attempts.c.id).where(attempts.c.visible_identity != "")).all()) == 1


@pytest.mark.parametrize("first", NEXT)
def test_an_edit_is_kept_though_the_worker_died_before_it_noted_anything(
    first: Callable[[Stage], None], lake: Stage
) -> None:
    lake.released()
    lake.dies(lake.eject_by, "begin", 3)  # enqueued, claimed; what is visible would be noted
    assert lake.raw(NAME) == OLD
    lake.days(0.01)
    path = lake.root / NAME
    was = path.stat()
    with path.open("r+b") as file:
        file.write(NEW)
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    all_of_it(lake, first)
    assert lake.raw(NAME) == NEW
    assert lake.look() == NEW


# MUST 2
@pytest.mark.parametrize("first", NEXT)
def test_a_changed_mode_stays_changed(first: Callable[[Stage], None], lake: Stage) -> None:
    interrupted(lake)
    path = lake.root / NAME
    path.chmod(0o640 if path.stat().st_mode & 0o777 != 0o640 else 0o600)
    mode = path.stat().st_mode
    all_of_it(lake, first)
    assert (lake.raw(NAME), path.stat().st_mode) == (OLD, mode)
    assert lake.look() == OLD
    assert lake.seen(NAME).placement.generation == 1


@pytest.mark.parametrize("first", NEXT)
def test_a_touched_file_is_its_users(first: Callable[[Stage], None], lake: Stage) -> None:
    interrupted(lake)
    now = lake.clock.now_us() / SECOND
    os.utime(lake.root / NAME, (now, now))
    all_of_it(lake, first)
    assert lake.raw(NAME) == OLD
    assert lake.look() == OLD
    assert lake.seen(NAME).placement.mtime_us == lake.clock.now_us() - 24 * 86_400 * SECOND


@pytest.mark.parametrize("first", NEXT)
def test_a_rename_deletes_the_one_and_makes_the_other(first: Callable[[Stage], None], lake: Stage) -> None:
    interrupted(lake)
    (lake.root / NAME).rename(lake.root / "b.csv")
    all_of_it(lake, first)
    assert (lake.raw(NAME), lake.raw("b.csv")) == (None, OLD)
    assert lake.look() is None
    assert lake.read("b.csv") == OLD


# MUST 2
@pytest.mark.parametrize("first", NEXT)
def test_a_worker_that_died_before_anything_was_visible_deleted_nothing(
    first: Callable[[Stage], None], lake: Stage
) -> None:
    lake.released()
    lake.dies(lake.eject_by, "upload")
    assert lake.raw(NAME) is None
    lake.days(0.01)
    all_of_it(lake, first)
    assert lake.raw(NAME) == OLD
    assert lake.look() == OLD


def test_what_a_worker_that_lives_has_put_back_is_its_to_record(lake: Stage) -> None:
    lake.released()
    lake.meets(lake.eject_by, "open", lake.rescan, 2)
    assert lake.seen(NAME).placement.raw.state is RawState.CURRENT
    with lake.catalog.read() as conn:
        states = conn.execute(sa.select(job_items.c.state).order_by(job_items.c.job_id)).scalars().all()
    assert states == ["done", "done"]


def test_a_delete_while_the_worker_lives_counts_or_its_try_fails(lake: Stage) -> None:
    lake.released()
    lake.meets(lake.eject_by, "open", lambda: (lake.delete(NAME), lake.rescan()), 2)
    lake.days(0.01)
    all_of_it(lake, a_scan)
    assert lake.look() is None
    assert lake.raw(NAME) is None


def test_a_root_that_is_away_deletes_nothing(lake: Stage) -> None:
    interrupted(lake)
    away = lake.root.with_name("away")
    lake.root.rename(away)
    lake.root.mkdir()
    rescan_key(lake.context, "lake", NAME)
    assert lake.look() == OLD
    lake.root.rmdir()
    away.rename(lake.root)
    all_of_it(lake, a_look)
    assert lake.look() == OLD


# MUST 2
def test_what_a_disk_made_of_a_return_is_cleared_away_and_written_again(lake: Stage) -> None:
    lake.released()
    lying = Faults(Fault("write", 1, damage=lambda data: b"?" + data[1:]))

    lake.eject_by(lake.new_context(wrap=lambda s: FaultyStore(s, lying) if s.url.endswith("/lake") else s))
    lying.assert_all_hit()
    assert lake.raw(NAME) not in (OLD, None)
    lake.rescan()
    assert lake.look() == OLD, "what the disk made of it is no generation"
    lake.sweep()
    assert lake.raw(NAME) is None
    lake.rescan()
    assert lake.look() == OLD, "its absence is our doing"
    assert lake.eject().done == 1
    assert lake.raw(NAME) == OLD
