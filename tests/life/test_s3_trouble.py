"""What S3 does to those who rely on it: it goes away in mid-job, answers late or wrongly, is emptied or deleted."""

from __future__ import annotations

import contextlib
import io
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from storaged.catalog import facts
from storaged.catalog.engine import Catalog
from storaged.errors import ForeignClaim, RootEmpty, SourceChanged, StoragedError
from storaged.model import JobState, RawState
from storaged.testing import FakeClock
from storaged.testing.servers import MotoServer, Process, RcloneServer, relay
from tests.conftest import boto3_client
from tests.life.deaths import filled, nothing_is_lost
from tests.life.places import NewPlaces, Places, Prefix, in_layout
from tests.life.scenes import NAMES, SCENES
from tests.life.world import PLAIN, ZSTD, World, noise, text

LONG = bool(os.environ.get("STORAGED_LONG"))
KILLS = 20 if LONG else 8
SEED = 20261123
BIG = 9 << 20  # bytes: more than one part


@pytest.fixture
def layout() -> str:
    return "s3"


@pytest.fixture
def dialect() -> str:
    return "sqlite"


# -- a server that goes away -----------------------------------------------------------------------------------------


@pytest.fixture
def front(moto: MotoServer) -> Iterator[Process]:
    """What storaged sees of moto, and the user does not: killing it cuts connections and loses no data."""
    with relay(moto) as made:
        yield made


def _killed(world: World, server: Process, rounds: int, chance: random.Random, *, forgets: bool = False) -> int:
    """Jobs that meet a kill of their server. How many kills a running job met. `forgets`: the server loses the metadata
    of what it holds when it is killed, so that nobody can tell whose a blob is that no job speaks of: it may stay. And
    it tells another time of what it was writing then, so that we do not take it for what we wrote."""

    def held(name: str) -> bytes | None:
        try:
            return world.read(name)
        except SourceChanged:
            assert forgets
            return next(
                (plain for plain in map(_plain, world.stored("cold").values()) if plain == expected[name]), None
            )

    met = 0
    expected: dict[str, bytes] = {}
    world.scan()
    takes_s = 0.0  # of a job, as the first one shows, which meets no kill
    for n in range(rounds + 1):
        fresh = {f"r{n}/big.bin": noise(f"big {n}", BIG), f"r{n}/a.csv": text(f"a{n}", 300_000)}
        fresh |= {f"r{n}/small{i}.csv": text(f"{n} {i}") for i in range(4)}
        for name, content in fresh.items():
            world.write(name, content)
        expected |= fresh
        world.scan()
        world.enqueue(fresh, "cold", chance.choice([PLAIN, PLAIN, ZSTD]))
        job = threading.Thread(target=_work, args=(world,))
        begun = time.monotonic()
        job.start()
        if n:
            time.sleep(chance.uniform(0, takes_s))
            alive = job.is_alive()
            met += alive
            takes_s *= 1 if alive else 0.5  # the first one was slower than the others are
            server.kill()
            time.sleep(0.1)
            server.restart()
        job.join()
        takes_s = takes_s or time.monotonic() - begun
        for _ in range(4):  # what failed for want of an answer is queued again
            world.days(0.1)
            world.work()
        world.days(8)
        world.sweep()
        for name, content in fresh.items():
            assert held(name) == content, (n, name)
    for _ in range(3):
        world.days(8)
        world.sweep()
        world.scan()
    assert {name: held(name) for name in expected} == expected
    assert forgets or world.unknown_blobs() == []
    assert world.leftovers() == []
    return met


def _plain(stored: bytes) -> bytes:
    """What stock zstd makes of a blob; one that is not compressed is what it is."""
    if not stored.startswith(b"\x28\xb5\x2f\xfd"):
        return stored
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(stored), read_across_frames=True) as content:
        return content.read()


def _work(world: World) -> None:
    with contextlib.suppress(StoragedError):
        world.work()


def test_a_server_killed_in_mid_job_again_and_again_loses_nothing(
    tmp_path: Path, catalog: Catalog, clock: FakeClock, moto: MotoServer, front: Process, bucket: str, s3_user: Any
) -> None:
    def places(place: Path) -> Places:
        return in_layout("s3", place, lambda name: Prefix(moto, s3_user, bucket, name, front.access))

    world = World(tmp_path, catalog, clock, new_places=places)
    met = _killed(world, front, KILLS, random.Random(SEED))
    assert met >= KILLS // 2, f"only {met} kills met a job: the test missed its mark"
    assert all(world.raw(name) is None for name in ("r0/a.csv", f"r{KILLS}/big.bin")), "sources are released"


def test_a_second_server_killed_in_mid_job_as_a_cold_tier_loses_nothing(
    tmp_path: Path, catalog: Catalog, clock: FakeClock, rclone: RcloneServer, rclone_bucket: str
) -> None:
    user = boto3_client(rclone)

    def places(place: Path) -> Places:
        return in_layout("mixed", place, lambda name: Prefix(rclone, user, rclone_bucket, name, rclone.access))

    world = World(tmp_path, catalog, clock, new_places=places)
    try:
        assert _killed(world, rclone, 6, random.Random(SEED), forgets=True) >= 3
    finally:
        rclone.restart()
        user.close()


BLIP = 15  # requests that fail in a row: as many as all that try again make of one


@pytest.mark.every(2)
@pytest.mark.parametrize(
    ("scene", "late"),
    [("job", False), ("job", True), ("release of sources", True), ("eject", False), ("eject", True)],
    ids=lambda value: {False: "before the effect", True: "after the effect"}.get(value, value),
)
def test_connections_that_break_at_any_request_lose_nothing(
    scene: str,
    late: bool,
    tmp_path: Path,
    clock: FakeClock,
    moto: MotoServer,
    new_places: NewPlaces,
    new_catalog: Callable[[], Catalog],
) -> None:
    before, act = SCENES[scene]
    contents = {**NAMES, "big.bin": noise("big", BIG)}
    nth, turn = 1, 0
    while True:
        place = tmp_path / f"{turn}"
        place.mkdir()
        world = World(place, new_catalog(), clock, new_places=new_places, more="workers: {threads: 1}\n")
        before(filled(world, contents))
        if scene == "job":
            world.enqueue(["big.bin"], "cold", PLAIN)
        moto.clear_log()
        fault = moto.faults.add("Reset", nth=nth, times=BLIP, late=late)
        with contextlib.suppress(StoragedError):
            act(world)
        requests, fired = len(moto.log()), moto.faults.fired(fault)
        moto.faults.clear()
        world.days(0.1)
        world.scan()
        act(world)
        world.work()
        world.scan()
        nothing_is_lost(world, contents)
        world.places.give_back()
        if not fired:
            break
        turn += 1
        nth += 1 if LONG else max(1, requests // 2)
    assert turn >= 3


# -- answers that are wrong or late ----------------------------------------------------------------------------------


def _moves(world: World) -> None:
    """One object of one part and one of two; the small one first. Through us: copies are in test_copies."""
    world.write_untold("a.csv", text("a"))
    world.write_untold("big.bin", noise("big", BIG))
    world.scan()
    world.enqueue(["a.csv", "big.bin"], "cold", PLAIN)


_PART, _COMPLETE, _COLD, _SOURCE = (
    {"operation": "UploadPart"},
    {"operation": "CompleteMultipartUpload"},
    {"key": "/cold/lake/"},
    {"operation": "GetObject", "key": "/lake/big"},
)
_ALWAYS = {"times": 200}
ANSWERS: dict[str, tuple[dict[str, Any], bool]] = {  # the fault, and whether a later try will do
    "slow down": ({"answer": "SlowDown", **_COLD, **_ALWAYS}, True),
    "slow down, once": ({"answer": "SlowDown", **_COLD}, True),
    "500 to a part": ({"answer": "InternalError", **_PART, **_ALWAYS}, True),
    "500 to the completion": ({"answer": "InternalError", **_COMPLETE, **_ALWAYS}, True),
    "500 after the completion": ({"answer": "InternalError", **_COMPLETE, "late": True}, True),
    "200 with an error": ({"answer": "ErrorIn200", **_COMPLETE, **_ALWAYS}, True),
    "200 with an error, once": ({"answer": "ErrorIn200", **_COMPLETE}, True),
    "lost answer to a PUT": ({"answer": "Reset", "operation": "PutObject", **_COLD, "late": True}, True),
    "lost answer to the completion": ({"answer": "Reset", **_COMPLETE, "late": True}, True),
    "cut source": ({"answer": "Cut", **_SOURCE, **_ALWAYS}, True),
    "cut source, once": ({"answer": "Cut", **_SOURCE}, True),
    "slow source": ({"answer": "Stall", **_SOURCE, "seconds": 1.0}, True),
    "clock skew": ({"answer": "RequestTimeTooSkewed", **_COLD, **_ALWAYS}, False),
    "expired credentials": ({"answer": "ExpiredToken", **_COLD, "nth": 3, **_ALWAYS}, False),
    "no right to write": ({"answer": "AccessDenied", "operation": "PutObject", **_COLD}, False),
    "full": ({"answer": "QuotaExceeded", **_PART, **_ALWAYS}, False),
}


@pytest.mark.every(2)
@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_that_is_wrong_late_or_cut_costs_a_try_and_no_data(
    answer: str, world: World, moto: MotoServer
) -> None:
    fault, transient = ANSWERS[answer]
    _moves(world)
    moto.faults.add(**fault)
    report = world.work()
    moto.faults.assert_all_fired()
    moto.faults.clear()
    assert world.raw("a.csv") == text("a")
    assert world.raw("big.bin") == noise("big", BIG)
    if transient:
        assert JobState.FAILED not in report.jobs.values(), report.notes
    elif report.failed:
        assert all(note for _, note in report.notes)
    if report.failed and not transient:  # a person has to see to it, and then asks again
        missing = [n for n in ("a.csv", "big.bin") if world.seen(n).placement.current is None]
        world.enqueue(missing, "cold", PLAIN)
    for _ in range(4):
        world.days(0.1)
        world.work()
    for _ in range(3):
        world.days(8)
        world.sweep()
        world.scan()
    assert (world.read("a.csv"), world.read("big.bin")) == (text("a"), noise("big", BIG))
    assert (world.raw("a.csv"), world.raw("big.bin")) == (None, None)
    assert sorted(world.stored("cold").values(), key=len) == [text("a"), noise("big", BIG)]
    assert world.leftovers() == []
    assert world.unknown_blobs() == []


def test_every_request_that_changes_something_or_reads_the_users_bytes_carries_its_condition(
    world: World, moto: MotoServer
) -> None:
    _moves(world)
    moto.clear_log()
    world.work()
    world.days(8)
    assert world.sweep().sources == 2
    assert world.eject().done == 2
    world.days(8)
    assert world.sweep().blobs == 2
    ours = [e for e in moto.log() if e.headers.get("user-agent", "").startswith("storaged/")]
    kept = [e for e in ours if "/.storaged/probe/" not in e.key]
    made = [e for e in kept if e.operation in ("PutObject", "CompleteMultipartUpload") and "/.storaged/" not in e.key]
    assert len(made) == 4, "two blobs, two objects that came back"
    assert {e.headers.get("if-none-match") for e in made} == {"*"}
    entries = [e for e in kept if e.operation == "PutObject" and "/.storaged/journal/" in e.key]
    assert entries
    assert {e.headers.get("if-none-match") for e in entries} == {"*"}
    gone = [e for e in kept if e.operation == "DeleteObject" and "/.storaged/" not in e.key]
    assert len(gone) == 4, "two sources, two blobs"
    assert all("if-match" in e.headers for e in gone)
    reads = [e for e in kept if e.operation == "GetObject" and e.key.startswith("lake/") and "/.storaged/" not in e.key]
    assert reads
    assert all("if-match" in e.headers for e in reads)
    strangers = {e.headers.get("user-agent", "")[:20] for e in moto.log() if not e.key.startswith("lake/")} - {""}
    assert strangers <= {e.headers["user-agent"][:20] for e in ours} | {"Boto3/1.43.117 md/Bo"}


# -- what others do to a bucket --------------------------------------------------------------------------------------


def test_two_catalogs_live_side_by_side_in_one_bucket_and_never_on_one_place(
    tmp_path: Path, new_catalog: Callable[[], Catalog], clock: FakeClock, moto: MotoServer, bucket: str, s3_user: Any
) -> None:
    def home(prefix: str) -> Callable[[Path], Places]:
        return lambda place: in_layout(
            "s3", place, lambda name: Prefix(moto, s3_user, bucket, f"{prefix}/{name}", moto.access)
        )

    def catalog_of(number: int) -> Catalog:
        made = new_catalog()  # all are copies of one
        with made.begin() as conn:
            facts.put(conn, "catalog_id", f"{number:032x}")
        return made

    worlds = {}
    for number, name in enumerate(("one", "two")):
        (tmp_path / name).mkdir()
        worlds[name] = World(tmp_path / name, catalog_of(number), clock, new_places=home(name))
        worlds[name].write("a.csv", text(name))
        worlds[name].scan()
        worlds[name].migrate("a.csv")
    (tmp_path / "thief").mkdir()
    thief = World(tmp_path / "thief", catalog_of(7), clock, new_places=home("one"))
    for act in (thief.scan, thief.sweep, thief.work):
        with pytest.raises(ForeignClaim, match="belongs to catalog"):
            act()
    for world in worlds.values():
        world.days(8)
        assert world.sweep().sources == 1
        assert world.scan().vanished == 0
    assert {name: world.read("a.csv") for name, world in worlds.items()} == {n: text(n) for n in worlds}
    assert len(worlds["one"].stored("cold")) == len(worlds["two"].stored("cold")) == 1


def _empty(world: World, name: str, *, ours_too: bool) -> None:
    """Somebody deletes everything in a place, or all but what begins with a dot."""
    place = world.places.by_name[name]
    assert isinstance(place, Prefix)
    where = {"Bucket": place.bucket, "Prefix": f"{place.prefix}/"}
    for found in place.user.list_objects_v2(**where).get("Contents", []):
        if ours_too or "/.storaged/" not in found["Key"]:
            place.user.delete_object(Bucket=place.bucket, Key=found["Key"])


@pytest.mark.parametrize("ours_too", [True, False], ids=["with our marker", "but for our marker"])
def test_a_tier_that_was_emptied_releases_no_source(world: World, ours_too: bool) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    world.migrate("a.csv")
    world.days(8)
    _empty(world, "cold", ours_too=ours_too)
    if ours_too:
        with pytest.raises(ForeignClaim, match="lost its marker"):
            world.sweep()
    else:
        assert world.sweep().sources == 0
    assert world.raw("a.csv") == text("a")
    assert world.seen("a.csv").placement.raw.state is RawState.SUPERSEDED


@pytest.mark.parametrize("ours_too", [True, False], ids=["with our marker", "but for our marker"])
def test_a_root_that_was_emptied_removes_nothing_until_it_is_confirmed(world: World, ours_too: bool) -> None:
    for name in ("a.csv", "b.csv"):
        world.write(name, text(name))
    world.scan()
    world.migrate("a.csv")
    _empty(world, "lake", ours_too=ours_too)
    with pytest.raises((RootEmpty, ForeignClaim)) as told:
        world.scan()
    assert told.value.hint
    assert world.seen("b.csv").placement.exists
    assert world.read("a.csv") == text("a.csv")
    assert len(world.stored("cold")) == 1


def test_a_bucket_that_is_gone_is_an_error_and_no_removal(world: World, moto: MotoServer) -> None:
    world.write("a.csv", text("a"))
    world.scan()
    world.migrate("a.csv")
    world.days(8)
    place = world.places.by_name["lake"]
    assert isinstance(place, Prefix)
    moto.drop_bucket(place.bucket)
    world.context = world.new_context()
    for act in (world.scan, world.sweep, world.work):
        with pytest.raises(StoragedError) as told:
            act()
        assert told.value.hint
    assert world.seen("a.csv").placement.exists
    moto.make_bucket(place.bucket)
    world.context = world.new_context()
    for again in (world.sweep, world.work):
        with pytest.raises(StoragedError):
            again()
    assert world.seen("a.csv").placement.exists
