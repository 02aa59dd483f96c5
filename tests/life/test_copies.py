"""What a server copies by itself from bucket to bucket: no byte of it passes through us, and nothing is lost by it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import pytest

from storaged.digest import digest_of
from storaged.errors import StoragedError
from storaged.model import RawState
from storaged.stores.base import New, Stat
from storaged.stores.copies import CopySource
from storaged.stores.s3.store import S3Store
from storaged.stores.s3.together import WORTH
from storaged.testing import Fault, Faults, FaultyStore
from storaged.testing.servers import MotoServer
from storaged.work import content as contents
from storaged.work.context import Context
from storaged.work.doctor.verify import Verified, verify
from storaged.work.rewrite import stage as rewrite
from storaged.work.rewrite.worker import Report
from tests.life.places import Prefix
from tests.life.stage import NAME, NEW, OLD, Stage
from tests.life.test_guards import without_intent_row
from tests.life.world import PLAIN, ZSTD, World, noise, text

Take = pytest.MonkeyPatch
COPY = "CopyObject"


@pytest.fixture
def layout() -> str:
    return "s3"


@pytest.fixture
def dialect() -> str:
    """Copies are the stores' matter."""
    return "sqlite"


@pytest.fixture
def moto_log(moto: MotoServer) -> Callable[[], list[str]]:
    """Operations on objects, that we asked for since the log was last cleared."""

    def told() -> list[str]:
        ours = [r for r in moto.log() if r.headers.get("user-agent", "").startswith("storaged/")]
        return [r.operation for r in ours if "/.storaged/" not in r.key and r.key]

    return told


def copied(world: World, *names: str, tier: str = "cold") -> Report:
    return world.migrate(*names, tier=tier, codec=PLAIN)


def checked(world: World, context: Context | None = None) -> Verified:
    return verify(context or world.context, [[world.seen(NAME)]], chance=random.Random(1))


def rotten(world: World, tier: str) -> Context:
    """A process that is given other bytes of a tier than are there."""
    faults = Faults(Fault("read_at", 0, damage=lambda data: data[:-1] + b"?" if data else data))
    return world.new_context(wrap=lambda s: FaultyStore(s, faults) if s.url.endswith(f"/{tier}") else s)


def test_no_byte_passes_through_us_and_the_content_is_known_by_its_servers_checksum(
    world: World, moto: MotoServer, moto_log: Callable[[], list[str]]
) -> None:
    contents = {"a.csv": text("a"), "d/ü b+%.bin": noise("b"), "empty": b"", "big.bin": noise("big", 9 << 20)}
    for name, content in contents.items():
        world.write(name, content)
    world.scan()
    moto.clear_log()
    report = copied(world, *contents)
    assert (report.done, report.failed) == (4, 0)
    assert not {"GetObject", "PutObject", "UploadPart"} & set(moto_log())
    assert moto_log().count(COPY) == 4
    for name, content in contents.items():
        seen = world.seen(name)
        [blob] = seen.blobs.values()
        assert (seen.placement.digest, blob.size) == ("", len(content))
        assert blob.digest == world.context.tier("cold").checksum(blob.key)
        assert blob.digest.startswith("crc32:"), "which its user's client told"
        assert world.read(name) == content
    world.days(8)
    assert world.sweep().sources == 4
    assert world.scan().vanished == 0
    assert world.eject().done == 4
    assert {name: world.raw(name) for name in contents} == contents


def test_what_is_copied_carries_a_condition_on_its_source_and_on_its_key(world: World, moto: MotoServer) -> None:
    world.write(NAME, OLD)
    world.scan()
    moto.clear_log()
    copied(world, NAME)
    [made] = [r for r in moto.log() if r.operation == COPY and "/.storaged/" not in r.key]
    place = world.places.by_name["lake"]
    assert isinstance(place, Prefix)
    etag = place.user.head_object(Bucket=place.bucket, Key=f"{place.prefix}/{NAME}")["ETag"]
    told = {name: made.headers[f"x-amz-{name}"] for name in ("copy-source-if-match", "metadata-directive")}
    assert told == {"copy-source-if-match": etag, "metadata-directive": "REPLACE"}
    assert made.headers["if-none-match"] == "*"


def test_it_moves_on_by_copies_and_then_back(lake: Stage, moto: MotoServer, moto_log: Callable[[], list[str]]) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    copied(lake, NAME, tier="warm")
    lake.days(8)
    lake.sweep()
    moto.clear_log()
    assert copied(lake, NAME).done == 1
    assert moto_log().count(COPY) == 1
    assert "GetObject" not in moto_log()
    lake.days(8)
    assert lake.sweep().blobs == 1
    assert lake.look() == OLD
    lake.undo(f"lake/{NAME}")
    assert lake.eject().done == 1
    assert lake.raw(NAME) == OLD
    assert lake.seen(NAME).placement.digest == digest_of([OLD])


def test_a_copy_outlives_the_catalog(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    copied(lake, NAME)
    lake.days(8)
    lake.sweep()
    told = next(iter(lake.seen(NAME).blobs.values())).digest
    lake.is_rebuilt()
    assert next(iter(lake.seen(NAME).blobs.values())).digest == told
    assert lake.look() == OLD
    lake.sweep()
    assert lake.eject().done == 1
    assert lake.raw(NAME) == OLD


def test_one_that_goes_through_us_all_the_same_is_moved_and_proven_as_ever(
    world: World, moto: MotoServer, moto_log: Callable[[], list[str]]
) -> None:
    world.write_untold(NAME, OLD)
    world.scan()
    moto.clear_log()
    assert copied(world, NAME).done == 1
    assert COPY not in moto_log()
    assert world.seen(NAME).placement.digest == digest_of([OLD])


# -- what nobody of ours has read --------------------------------------------------------------------------------------


# MUST 4
def test_verify_compares_it_with_the_checksum_and_then_knows_its_digest(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    copied(lake, NAME)
    found = checked(lake, rotten(lake, "cold"))
    assert [why for _, why in found.damaged if "checksum" in why] == [why for _, why in found.damaged] != []
    lake.days(8)
    assert lake.sweep().sources == 0, "what is damaged keeps its source"
    found = checked(lake)
    assert (found.checked, found.damaged, found.learnt) == (1, [], 1)
    assert lake.seen(NAME).placement.digest == digest_of([OLD])


def without_the_checksum(take: Take) -> None:
    take.setattr(contents.Summed, "_compare", lambda _self: None)


# MUST 4
def what_rotted_since_it_was_copied_is_not_written_anew(lake: Stage, move: Callable[[Context], object]) -> None:
    lake.write(NAME, OLD)
    lake.write("b.csv", text("b"))
    lake.scan()
    copied(lake, NAME, "b.csv", tier="warm")
    lake.days(8)
    lake.sweep()
    move(rotten(lake, "warm"))
    lake.days(8)
    lake.sweep()
    assert lake.look() == OLD
    now = lake.seen(NAME)
    assert now.placement.current is not None
    assert now.blobs[now.placement.current.blob].tier == "warm"


def _to_zstd(lake: Stage, context: Context) -> None:
    lake.enqueue([NAME], "cold", ZSTD)
    lake.work(context)


def _to_pack(lake: Stage, context: Context) -> None:
    lake.enqueue_pack([NAME, "b.csv"])
    lake.work(context)


def _to_root(lake: Stage, context: Context) -> None:
    lake.eject_by(context)


MOVES = {"zstd": _to_zstd, "pack": _to_pack, "root": _to_root}


@pytest.mark.parametrize("how", MOVES)
def test_what_rotted_since_it_was_copied_is_not_written_anew(lake: Stage, how: str) -> None:
    what_rotted_since_it_was_copied_is_not_written_anew(lake, lambda context: MOVES[how](lake, context))


@pytest.mark.parametrize("how", MOVES)
def test_that_scene_fails_without_its_guard(lake: Stage, how: str, monkeypatch: Take) -> None:
    without_the_checksum(monkeypatch)
    with pytest.raises(AssertionError):
        what_rotted_since_it_was_copied_is_not_written_anew(lake, lambda context: MOVES[how](lake, context))


# MUST 16
def test_what_its_user_puts_there_again_during_grace_is_the_same_content(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    copied(lake, NAME)
    lake.days(1)
    lake.write(NAME, OLD)
    lake.rescan()
    p = lake.seen(NAME).placement
    assert (p.generation, p.raw.state) == (1, RawState.SUPERSEDED)
    lake.write(NAME, NEW)
    lake.rescan()
    assert lake.seen(NAME).placement.generation == 2
    assert lake.look() == NEW


# MUST 16
def test_a_tier_that_was_copied_elsewhere_proves_its_blobs_by_their_checksums(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    copied(lake, NAME)
    lake.days(8)
    lake.sweep()
    place = lake.places.by_name["cold"]
    assert isinstance(place, Prefix)
    [blob] = lake.seen(NAME).blobs.values()
    where = {"Bucket": place.bucket, "Key": f"{place.prefix}/{blob.key}"}
    told = place.user.head_object(**where)["Metadata"]

    def put(content: bytes) -> None:
        lake.days(1)
        assert isinstance(place, Prefix)
        place.write("elsewhere", b"", lake.clock.now_us())  # tells the server the time
        place.user.put_object(**where, Body=content, Metadata=told)

    put(OLD)
    assert lake.look() == OLD
    put(NEW)
    assert lake.look() == "SourceChanged"


# MUST 2
def test_a_return_that_was_not_recorded_is_known_by_the_checksum(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    copied(lake, NAME)
    lake.days(8)
    lake.sweep()
    lake.dies(lake.eject_by, "begin", 4)
    assert lake.raw(NAME) == OLD
    lake.days(0.1)
    lake.work()
    assert lake.seen(NAME).placement.raw.state is RawState.CURRENT
    assert lake.look() == OLD


# -- guards -----------------------------------------------------------------------------------------------------------


# MUST 5
def what_a_user_writes_right_before_it_is_copied_is_not_taken_for_what_it_was(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    lake.enqueue([NAME], "cold", PLAIN)
    lake.meets(lake.work, "copy", lambda: lake.write(NAME, NEW))
    assert lake.seen(NAME).placement.generation == 1
    assert lake.look() == "SourceChanged"
    lake.rescan()
    assert lake.look() == NEW


def copies_whatever_is_there(take: Take) -> None:
    honest = S3Store.copy

    def copy(self: S3Store, key: str, new: New, source: CopySource) -> Stat | None:
        lake = S3Store(f"s3://{source.bucket}", self._how)
        with lake.open(source.key) as now:
            return honest(self, key, new, replace(now.copy_source, server=source.server))

    take.setattr(S3Store, "copy", copy)
    take.setattr(rewrite, "recheck", lambda *_: None)


# MUST 5
def of_neighbours_the_one_that_its_user_wrote_meanwhile_is_left(lake: Stage) -> None:
    names = [f"{number:02}.csv" for number in range(WORTH)]
    for name in names:
        lake.write(name, text(name))
    lake.scan()
    lake.enqueue(names, "cold", PLAIN)
    lake.meets(lake.work, "copy", lambda: lake.write(names[0], NEW), WORTH)
    assert [name for name in names if lake.seen(name).placement.current is None] == names[:1]


# MUST 5
def what_a_user_writes_right_after_it_was_copied_counts(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    lake.enqueue([NAME], "cold", PLAIN)
    lake.meets(lake.work, "head", lambda: lake.write(NAME, NEW))
    assert lake.seen(NAME).placement.current is None, "the source was another one before the swap"


def without_recheck(take: Take) -> None:
    take.setattr(rewrite, "recheck", lambda *_: None)


# MUST 1
def a_dead_copy_leaves_nothing_unknown(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    lake.enqueue([NAME], "cold", PLAIN)
    lake.dies(lake.work, "head", 1)  # it is there; the re-check would be next
    assert len(lake.stored("cold")) == 1
    assert lake.unknown_blobs() == []
    lake.days(0.01)
    lake.sweep()
    assert lake.stored("cold") == {}


# MUST 1
def a_copy_that_lands_late_is_cleared_away(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    lake.enqueue([NAME], "cold", PLAIN)
    [late] = lake.dies(lake.work, "copy", in_flight=True).under_way
    lake.days(0.01)
    lake.sweep()
    assert late.land()
    assert lake.unknown_blobs() == []
    lake.sweep()
    assert lake.stored("cold") == {}
    assert lake.work().done == 1
    assert lake.look() == OLD


GUARDS = {
    "if match": (what_a_user_writes_right_before_it_is_copied_is_not_taken_for_what_it_was, copies_whatever_is_there),
    "re-check": (what_a_user_writes_right_after_it_was_copied_counts, without_recheck),
    "re-check of neighbours": (of_neighbours_the_one_that_its_user_wrote_meanwhile_is_left, without_recheck),
    "intent row": (a_dead_copy_leaves_nothing_unknown, without_intent_row),
    "late": (a_copy_that_lands_late_is_cleared_away, without_intent_row),
}


@pytest.mark.parametrize("guard", GUARDS)
def test_the_scene_of_a_copy_holds_with_its_guard(lake: Stage, guard: str) -> None:
    GUARDS[guard][0](lake)


@pytest.mark.parametrize("guard", GUARDS)
def test_the_scene_of_a_copy_fails_without_its_guard(lake: Stage, guard: str, monkeypatch: Take) -> None:
    scene, taken = GUARDS[guard]
    taken(monkeypatch)
    with pytest.raises((AssertionError, StoragedError)):
        scene(lake)
