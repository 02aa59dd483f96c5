"""A program that appends by raw path to an object that was moved: what it did not see is kept till somebody says so."""

from __future__ import annotations

import os

import pytest

from storaged.clock import DAY, SECOND
from storaged.errors import UsageError
from storaged.model import RawState
from storaged.work.doctor import examine
from storaged.work.rewrite.overwritten import KeptGeneration, keep, kept, let_go, open_generation
from tests.life.stage import NAME, NEW, OLD, Stage

LINE = b"one more line\n"


def appended(lake: Stage) -> None:
    """`>>` at a released key."""
    lake.released()
    append(lake, LINE)


def append(lake: Stage, line: bytes) -> None:
    path, now = lake.root / NAME, lake.clock.now_us() / SECOND
    with path.open("ab") as file:
        file.write(line)
    os.utime(path, (now, now))
    lake.rescan()


def older(lake: Stage, generation: int = 1) -> bytes:
    with open_generation(lake.context, lake.seen(NAME), generation) as content:
        return b"".join(content.chunks())


def found(lake: Stage) -> list[KeptGeneration]:
    return list(kept(lake.context))


def findings(lake: Stage) -> list[str]:
    return [f.subject for f in examine(lake.context) if f.check == "overwritten"]


# MUST 7
@pytest.mark.on_sqlite
def test_what_was_overwritten_unseen_is_kept_shown_and_read(lake: Stage) -> None:
    appended(lake)
    assert lake.look() == LINE
    for _ in range(3):
        lake.days(30)
        assert lake.sweep().blobs == 0
    [one] = found(lake)
    assert (one.dataset, one.name, one.generation, one.bytes) == ("lake", NAME, 1, len(OLD))
    assert (one.now, one.now_bytes) == (2, len(LINE))
    assert one.until_us > lake.context.now_us() + 200 * DAY
    assert older(lake) == OLD
    assert older(lake, 2) == LINE
    with pytest.raises(UsageError, match="is not kept"):
        older(lake, 3)
    assert findings(lake) == [f"lake/{NAME}"]


# MUST 7
def test_it_goes_when_somebody_confirms_and_the_grace_is_over(lake: Stage) -> None:
    appended(lake)
    assert let_go(lake.context, [[lake.seen(NAME)]]).done == [f"lake/{NAME}"]
    assert findings(lake) == []
    lake.days(6)
    assert lake.sweep().blobs == 0
    assert older(lake) == OLD
    lake.days(2)
    assert lake.sweep().blobs == 1
    assert found(lake) == []
    assert lake.stored("cold") == {}
    assert lake.look() == LINE
    assert let_go(lake.context, [[lake.seen(NAME)]]).refused == [
        (f"lake/{NAME}", "nothing that was overwritten is kept")
    ]


@pytest.mark.on_sqlite
def test_a_confirmation_is_taken_back_within_grace(lake: Stage) -> None:
    appended(lake)
    let_go(lake.context, [[lake.seen(NAME)]], 1)
    assert let_go(lake.context, [[lake.seen(NAME)]], 2).done == []
    assert keep(lake.context, [[lake.seen(NAME)]]).done == [f"lake/{NAME}"]
    lake.days(100)
    assert lake.sweep().blobs == 0
    assert older(lake) == OLD


@pytest.mark.on_sqlite
def test_it_goes_by_itself_after_a_long_time(lake: Stage) -> None:
    appended(lake)
    lake.days(366)
    assert lake.sweep().blobs == 1
    assert found(lake) == []


@pytest.mark.on_sqlite
def test_a_hold_keeps_it_longer(lake: Stage) -> None:
    from storaged.work.rewrite.pointers import hold_objects

    appended(lake)
    hold_objects(lake.context, [[lake.seen(NAME)]], "court")
    let_go(lake.context, [[lake.seen(NAME)]])
    lake.days(400)
    assert lake.sweep().blobs == 0
    assert older(lake) == OLD


@pytest.mark.on_sqlite
def test_how_long_is_set(lake: Stage) -> None:
    lake.context.settings = lake.context.settings.model_copy(update={"keep_overwritten": 20 * DAY})
    appended(lake)
    lake.days(19)
    assert lake.sweep().blobs == 0
    lake.days(2)
    assert lake.sweep().blobs == 1


# MUST 7
def test_it_is_kept_though_the_catalog_is_lost(lake: Stage) -> None:
    appended(lake)
    [before] = found(lake)
    lake.is_rebuilt()
    [after] = found(lake)
    assert (after.until_us, after.generation) == (before.until_us, 1)
    lake.days(100)
    assert lake.sweep().blobs == 0
    assert older(lake) == OLD


def test_what_is_written_over_while_its_source_is_kept_waits_for_its_grace_only(lake: Stage) -> None:
    lake.moved()
    lake.write(NAME, NEW)  # whoever wrote it had the old file at hand
    lake.rescan()
    assert found(lake) == []
    lake.days(8)
    assert lake.sweep().blobs == 1


@pytest.mark.on_sqlite
def test_what_its_user_deletes_afterwards_is_still_kept(lake: Stage) -> None:
    appended(lake)
    lake.delete(NAME)
    lake.rescan()
    lake.days(100)
    lake.sweep()
    [one] = found(lake)
    assert one.now_bytes is None
    assert older(lake) == OLD
    assert lake.look() is None


@pytest.mark.on_sqlite
def test_the_new_generation_is_moved_and_overwritten_in_its_turn(lake: Stage) -> None:
    appended(lake)
    lake.days(1)
    assert lake.migrate(NAME, tier="warm").done == 1
    lake.days(8)
    assert lake.sweep().sources == 1
    assert lake.seen(NAME).placement.raw.state is RawState.RELEASED
    assert older(lake) == OLD
    append(lake, b"third\n")
    assert [(one.generation, one.now) for one in found(lake)] == [(1, 3), (2, 3)]
    assert (older(lake, 1), older(lake, 2), lake.look()) == (OLD, LINE, b"third\n")
    let_go(lake.context, [[lake.seen(NAME)]], 1)
    lake.days(8)
    assert lake.sweep().blobs == 1
    assert [one.generation for one in found(lake)] == [2]


@pytest.mark.on_sqlite
def test_a_plan_may_move_what_is_there_now(lake: Stage) -> None:
    from storaged.work.rewrite import returns

    appended(lake)
    lake.days(1)
    assert returns.refusals(lake.context, [lake.seen(NAME)], "warm") == {}
