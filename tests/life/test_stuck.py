"""Originals that cannot be deleted: seen before they are moved, told while they wait, and with a way back."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import pytest

from storaged.errors import PermissionDenied
from storaged.model import RawState
from storaged.stores.base import Deleted, Store
from storaged.stores.local import LocalStore
from storaged.stores.wrappers import StoreWrapper
from storaged.testing.servers import MotoServer
from storaged.work.context import Context
from storaged.work.doctor.datasets import stuck as found_stuck
from storaged.work.release.sweep import sweep
from storaged.work.rewrite.returns import refusals, to_root
from storaged.work.scan import stuck
from storaged.work.scan.run import scan
from tests.life.stage import OLD, Stage
from tests.life.world import World, text

NAME = "sub/a.csv"


class Keeps(StoreWrapper):
    """A root that lets nothing be deleted below a folder. `shows`: one can see that without trying."""

    def __init__(self, store: Store, folder: str = "sub/", *, shows: bool) -> None:
        super().__init__(store)
        self._folder, self._shows = folder, shows
        self.refused = 0

    def undeletable(self, keys: Collection[str], *, ask: bool = False) -> Mapping[str, str]:
        if not (self._shows or ask):
            return {}
        return {key: "nobody deletes here: ask the owner" for key in keys if key.startswith(self._folder)}

    def delete(self, key: str, *, identity: str, versions: bool = False) -> Deleted:
        if not key.startswith(self._folder):
            return self._store.delete(key, identity=identity, versions=versions)
        self.refused += 1
        raise PermissionDenied(f"{key!r}: access denied", key=key, hint="allow deleting there")


def keeping(world: World, made: list[Keeps], *, shows: bool = False) -> Context:
    """A context of this world whose root keeps what is below sub/."""
    root = world.places.by_name["lake"].url

    def wrap(store: Store) -> Store:
        if store.url != root:
            return store
        made.append(Keeps(store, shows=shows))
        return made[-1]

    return world.new_context(wrap=wrap)


def state(world: World) -> RawState:
    return world.seen(NAME).placement.raw.state


def why(world: World) -> list[tuple[bool, str, int]]:
    return [(one.waiting, one.why, one.objects) for one in stuck.told(world.context)]


# -- before anything moves --------------------------------------------------------------------------------------------


def tool(*command: str | Path) -> None:
    subprocess.run(command, check=True)


def mounted(folder: Path) -> Callable[[], None]:
    made = subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=False)
    if made.returncode:
        pytest.skip("this machine lets us mount nothing")
    (folder / "a.csv").write_bytes(OLD)
    return lambda: tool("/bin/umount", folder)


def bound(place: Path, point: Path) -> Callable[[], None]:
    made = subprocess.run(["/bin/mount", "--bind", place, point], check=False)
    if made.returncode:
        pytest.skip("this machine lets us mount nothing")
    return lambda: tool("/bin/umount", point)


def folder_from_beside(folder: Path) -> Callable[[], None]:
    (beside := folder.parents[1] / "beside").mkdir()
    (beside / "a.csv").write_bytes(OLD)
    return bound(beside, folder)


def folder_onto_itself(folder: Path) -> Callable[[], None]:
    (folder / "a.csv").write_bytes(OLD)
    return bound(folder, folder)


def file_from_beside(folder: Path) -> Callable[[], None]:
    (beside := folder.parents[1] / "beside").write_bytes(OLD)
    (folder / "a.csv").touch()
    return bound(beside, folder / "a.csv")


def immutable(folder: Path) -> Callable[[], None]:
    chattr = shutil.which("chattr")
    (folder / "a.csv").write_bytes(OLD)
    if chattr is None or subprocess.run([chattr, "+i", folder / "a.csv"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets us make nothing immutable")
    return lambda: tool(chattr, "-i", folder / "a.csv")


def append_only_folder(folder: Path) -> Callable[[], None]:
    chattr = shutil.which("chattr")
    (folder / "a.csv").write_bytes(OLD)
    if chattr is None or subprocess.run([chattr, "+a", folder], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets us make nothing append-only")
    return lambda: tool(chattr, "-a", folder)


KEPT = [
    (mounted, "on another filesystem"),
    (folder_from_beside, "sub/ is a mount of its own below the root"),
    (folder_onto_itself, "sub/ is a mount of its own below the root"),
    (file_from_beside, "sub/a.csv is a mount of its own"),
    (immutable, "is immutable"),
    (append_only_folder, "is append-only"),
]


# MUST 7
@pytest.mark.parametrize(("kept", "said"), KEPT)
def test_what_can_be_seen_to_stay_is_not_copied_and_held_back_from_then_on(
    kept: Callable[[Path], Callable[[], None]], said: str, world: World
) -> None:
    folder = world.root / "sub"
    folder.mkdir(parents=True)
    let_go = kept(folder)
    with contextlib.ExitStack() as stack:
        stack.callback(let_go)
        world.write("top.csv", text("top"))
        world.scan()
        report = world.migrate(NAME, "top.csv")
        assert (report.done, report.skipped, report.failed) == (1, 1, 0)
        [(_, note)] = report.notes
        assert said in note
        assert "nothing would be freed" in note
        assert world.raw(NAME) == OLD
        [one] = stuck.told(world.context)
        assert (one.waiting, one.example, one.objects) == (False, NAME, 1)
        [finding] = found_stuck(world.context)
        assert (finding.check, finding.severity) == ("cannot-be-deleted", "info")
        world.scan()  # looks again, and finds it as before
        assert len(why(world)) == 1
        if kept in (mounted, folder_from_beside, file_from_beside):  # then it is another file, or none
            return
        stack.close()
        world.scan()
        assert why(world) == []
        assert world.migrate(NAME).done == 1


def test_a_scan_sees_what_is_new_and_stays(world: World) -> None:
    made: list[Keeps] = []
    world.write(NAME, OLD)
    world.write("top.csv", text("top"))
    world.context.register()
    scan(keeping(world, made, shows=True), "lake")
    assert why(world) == [(False, "nobody deletes here: ask the owner", 1)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_folder_that_we_may_not_write_and_a_sticky_one_are_seen(open_place: Path) -> None:
    root = open_place / "root"
    for name, mode in (("closed", 0o755), ("sticky", 0o1777), ("open", 0o777)):
        (root / name).mkdir(parents=True)
        (root / name / "a").write_bytes(b"x")
        (root / name).chmod(mode)
    root.chmod(0o777)
    store = LocalStore(root.as_uri())
    os.seteuid(65_534)
    try:
        found = store.undeletable(["closed/a", "sticky/a", "open/a", "open/none", "none/a"])
    finally:
        os.seteuid(0)
    assert sorted(found) == ["closed/a", "sticky/a"]
    assert found["closed/a"] == ("closed/ may not be written by user 65534: let that user write there (chmod, setfacl)")
    assert "sticky" in found["sticky/a"]
    assert store.undeletable(["closed/a", "sticky/a"]) == {}  # by root


def test_what_left_a_folder_that_got_its_own_disk_stays_with_the_reason_until_that_is_gone(world: World) -> None:
    folder = world.root / "sub"
    world.write(NAME, OLD)
    world.scan()
    assert world.migrate(NAME).done == 1
    world.days(8)
    assert world.sweep().sources == 1
    folder.mkdir(exist_ok=True)
    let_go = mounted(folder)
    with contextlib.ExitStack() as stack:
        stack.callback(let_go)
        (folder / "a.csv").unlink()  # what the mounting put there
        made = to_root(world.context, [[world.seen(NAME)]], reason="eject")
        assert made.jobs == []
        [(_, reason)] = made.left_out
        assert "it cannot be put back: sub/ is on another filesystem than its root" in reason
        assert world.read(NAME) == OLD
    assert world.eject().done == 1
    assert world.raw(NAME) == OLD


# -- what was moved all the same --------------------------------------------------------------------------------------


def test_what_came_to_stay_since_it_was_moved_waits_in_grace_and_is_told(lake: Stage) -> None:
    lake.write(NAME, OLD)
    lake.scan()
    assert lake.migrate(NAME).done == 1
    lake.days(8)
    made: list[Keeps] = []
    swept = sweep(keeping(lake, made, shows=True))
    assert swept.held_back == {"cannot be released: nobody deletes here: ask the owner": 1}
    assert (swept.errors, sum(k.refused for k in made)) == ([], 0)
    assert state(lake) is RawState.SUPERSEDED
    [finding] = found_stuck(lake.context)
    assert (finding.check, finding.severity) == ("cannot-be-released", "warning")
    assert "ask the owner" in finding.says
    assert f"`storagectl undo lake/{NAME}`" in finding.mend
    assert lake.sweep().sources == 1  # it may be deleted again
    assert why(lake) == []


def denied(lake: Stage) -> None:
    """The intent is taken and durable; the delete is refused."""
    lake.write(NAME, OLD)
    lake.scan()
    assert lake.migrate(NAME).done == 1
    lake.days(8)
    made: list[Keeps] = []
    swept = sweep(keeping(lake, made))
    assert sum(k.refused for k in made) == 1
    assert swept.errors == [f"lake/{NAME}: '{NAME}': access denied: allow deleting there"]
    assert state(lake) is RawState.RELEASING
    assert why(lake) == [(True, f"'{NAME}': access denied: allow deleting there", 1)]


# MUST 7
def test_a_release_that_was_denied_is_taken_back_and_nothing_is_left(lake: Stage) -> None:
    denied(lake)
    [why] = refusals(lake.context, [lake.seen(NAME)], None).values()
    assert "undo" in why
    assert lake.undo(f"lake/{NAME}").done == [f"lake/{NAME}"]
    assert lake.seen(NAME).placement.in_doubt
    assert (lake.read(NAME), lake.raw(NAME)) == (OLD, OLD)
    lake.sweep()
    assert lake.stored("cold") != {}  # until no delete can be under way
    lake.days(30)
    lake.sweep()
    assert lake.stored("cold") == {}
    assert not lake.seen(NAME).placement.in_doubt
    lake.delete(NAME)
    lake.rescan()
    assert lake.read(NAME) is None  # a delete by its user, as of any file


def test_after_the_way_back_it_is_not_moved_again_until_it_may_be_deleted(lake: Stage) -> None:
    denied(lake)
    lake.undo(f"lake/{NAME}")
    lake.days(30)
    made: list[Keeps] = []
    context = keeping(lake, made)
    sweep(context)
    scan(context, "lake")  # asks
    assert [waits for waits, *_ in why(lake)] == [False]
    lake.rescan()
    assert why(lake) == []


def test_a_release_that_was_denied_goes_on_when_it_may(lake: Stage) -> None:
    denied(lake)
    assert lake.sweep().sources == 1
    assert why(lake) == []
    assert lake.eject().done == 1
    assert lake.raw(NAME) == OLD


def test_where_the_source_is_gone_there_is_no_way_back_and_a_sweep_leads_on(lake: Stage) -> None:
    denied(lake)
    lake.delete(NAME)
    [(_, reason)] = lake.undo(f"lake/{NAME}").refused
    assert "`storagectl sweep`" in reason
    [why] = refusals(lake.context, [lake.seen(NAME)], None).values()
    assert "sweep" in why
    lake.sweep()
    assert state(lake) is RawState.RELEASED
    assert lake.read(NAME) == OLD
    assert lake.eject().done == 1


def test_where_its_user_wrote_there_is_no_way_back_and_a_scan_leads_on(lake: Stage) -> None:
    denied(lake)
    lake.clock.advance(60)
    lake.write(NAME, text("newer"))
    assert lake.undo(f"lake/{NAME}").done == []
    [why] = refusals(lake.context, [lake.seen(NAME)], None).values()
    assert "scan" in why
    lake.rescan()
    assert lake.read(NAME) == text("newer")


def test_a_delete_that_lands_after_the_way_back_is_ours(lake: Stage) -> None:
    denied(lake)
    seen = lake.seen(NAME)
    lake.undo(f"lake/{NAME}")
    store = lake.context.root("lake")
    assert store.delete(NAME, identity=seen.placement.raw.identity) is Deleted.DELETED
    assert lake.read(NAME) == OLD  # before a scan has seen it
    lake.rescan()
    assert state(lake) is RawState.RELEASED
    assert lake.read(NAME) == OLD
    lake.days(60)
    lake.sweep()
    assert lake.read(NAME) == OLD


def test_in_doubt_nothing_else_moves_it(lake: Stage) -> None:
    lake.write("top.csv", OLD)
    denied(lake)
    lake.undo(f"lake/{NAME}")
    lake.enqueue([NAME], "warm")
    report = lake.work()
    assert (report.done, report.skipped, report.failed) == (0, 1, 0)
    assert lake.seen(NAME).placement.in_doubt


def test_a_rebuilt_catalog_knows_the_way_back(lake: Stage) -> None:
    denied(lake)
    lake.undo(f"lake/{NAME}")
    lake.is_rebuilt()
    placement = lake.seen(NAME).placement
    assert (placement.in_doubt, placement.raw.state) == (True, RawState.CURRENT)
    lake.days(30)
    lake.sweep()
    assert (lake.read(NAME), lake.stored("cold")) == (OLD, {})


# MUST 7
@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize("layout", ["s3"])
def test_a_bucket_that_lets_nothing_be_deleted_below_a_prefix(world: World, moto: MotoServer) -> None:
    world.write(NAME, OLD)
    world.write("top.csv", text("top"))
    world.scan()
    assert world.migrate(NAME, "top.csv").done == 2
    world.days(8)
    moto.faults.add("AccessDenied", operation="DeleteObject", key="/sub/", times=1_000)
    swept = world.sweep()
    assert (swept.sources, len(swept.errors)) == (1, 1)
    [(waits, said, _)] = why(world)
    assert waits
    assert "role or user" in said or "allow" in said
    assert world.undo("lake").done == [f"lake/{NAME}"]
    assert world.read(NAME) == OLD
    world.scan()  # asks again, with the name of nothing
    moto.faults.assert_all_fired()
    [(waits, said, _)] = why(world)
    assert (waits, "s3:DeleteObject" in said) == (False, True)
    moto.faults.clear()
    world.scan()
    assert why(world) == []
    assert sorted(k for k in (world.raw(NAME), world.raw("top.csv")) if k) == [OLD]
