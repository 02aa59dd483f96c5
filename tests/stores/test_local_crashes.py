"""The process dies before or after each system call that changes something; another one finishes what was begun."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from storaged.errors import AlreadyExists, ObjectNotFound
from storaged.stores.base import RESERVED, Deleted, New
from storaged.stores.local import LocalStore
from storaged.stores.local_tree import aside_name
from storaged.testing.things import MINE, create, keys, origin_of
from tests.stores.conftest import files_below

CHANGING = ("rename", "unlink", "link", "mkdir", "fsync", "write", "utime", "setxattr")
KEY = "d/e/file"


class Dies(BaseException):
    """The process ends here."""


class Process:
    """Lets system calls happen until the n-th that changes something, and dies before or after it."""

    def __init__(self, patched: pytest.MonkeyPatch, dies_at: int, after: bool) -> None:
        self.dead = False
        self._left = dies_at
        self._after = after
        for name in CHANGING:
            patched.setattr(os, name, self._wrap(getattr(os, name)))

    def _wrap(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if self.dead:
                raise Dies
            self._left -= 1
            self.dead = self._left == 0
            if self.dead and not self._after:
                raise Dies
            result = call(*args, **kwargs)
            if self.dead:
                raise Dies
            return result

        return wrapped


def each_death(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    prepare: Callable[[Path], Any],
    act: Callable[[LocalStore, Any], object],
) -> list[tuple[Path, Any]]:
    """Roots in which `act` died at each of its changing calls, each with what `prepare` gave."""
    ended = []
    for after in (False, True):
        for n in range(1, 100):
            place = root / f"{n}{after}"
            place.mkdir()
            prepared = prepare(place)
            with monkeypatch.context() as patched:
                process = Process(patched, n, after)
                try:
                    act(LocalStore(place.as_uri()), prepared)
                except Dies:
                    assert process.dead
            ended.append((place, prepared))
            if not process.dead:
                break
    assert len(ended) >= 8, "too few calls were seen to have tried anything"
    return ended


def planted(root: Path, content: bytes = b"theirs") -> str:
    (root / KEY).parent.mkdir(parents=True)
    (root / KEY).write_bytes(content)
    return LocalStore(root.as_uri()).head(KEY).identity


def anywhere(root: Path) -> list[bytes]:
    """The content of every file in the tree, ours too."""
    return [content for name in files_below(root) if (content := (root / name).read_bytes())]


# MUST 7
def test_a_delete_that_died_anywhere_is_finished_by_the_next(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = []
    for place, identity in each_death(
        root, monkeypatch, planted, lambda store, identity: store.delete(KEY, identity=identity)
    ):
        left = anywhere(place)
        assert left in ([b"theirs"], [])
        outcomes.append(LocalStore(place.as_uri()).delete(KEY, identity=identity))
        assert outcomes[-1] is (Deleted.DELETED if left else Deleted.ABSENT)
        assert anywhere(place) == []
        assert LocalStore(place.as_uri()).delete(KEY, identity=identity) is Deleted.ABSENT
    assert set(outcomes) == {Deleted.DELETED, Deleted.ABSENT}


def _changing_before_the_rename(monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """The user acts between our look at the file and our rename of it."""
    rename = os.rename

    def late(*args: Any, **kwargs: Any) -> None:
        monkeypatch.setattr(os, "rename", rename)
        change()
        rename(*args, **kwargs)

    monkeypatch.setattr(os, "rename", late)


# MUST 7
def test_a_file_that_changes_just_before_the_rename_is_put_back_wherever_we_die(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def act(store: LocalStore, identity: str) -> object:
        with pytest.MonkeyPatch.context() as patched:
            place = Path(store.url.removeprefix("file://"))
            _changing_before_the_rename(patched, lambda: (place / KEY).write_bytes(b"newer"))
            return store.delete(KEY, identity=identity)

    for place, identity in each_death(root, monkeypatch, planted, act):
        assert anywhere(place) in ([b"theirs"], [b"newer"], [b"newer", b"newer"])
        if anywhere(place) == [b"theirs"]:
            continue  # died before the user came
        assert LocalStore(place.as_uri()).delete(KEY, identity=identity) is Deleted.CHANGED
        assert (place / KEY).read_bytes() == b"newer"
        assert anywhere(place) == [b"newer"]


def test_a_file_that_is_replaced_just_before_the_rename_is_put_back(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = planted(root)
    (root / "new").write_bytes(b"newer!")
    _changing_before_the_rename(monkeypatch, lambda: (root / "new").replace(root / KEY))
    assert store.delete(KEY, identity=identity) is Deleted.CHANGED
    assert anywhere(root) == [b"newer!"]
    assert (root / KEY).read_bytes() == b"newer!"


def test_a_file_that_vanishes_just_before_the_rename_is_absent(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = planted(root)
    _changing_before_the_rename(monkeypatch, (root / KEY).unlink)
    assert store.delete(KEY, identity=identity) is Deleted.ABSENT


@pytest.mark.parametrize("kind", ["directory", "link"])
def test_what_replaces_the_file_may_be_no_file_and_is_put_back(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    identity = planted(root)

    def replace() -> None:
        (root / KEY).unlink()
        if kind == "directory":
            (root / KEY).mkdir()
            (root / KEY / "inside").write_bytes(b"theirs")
        else:
            (root / KEY).symlink_to("target")

    _changing_before_the_rename(monkeypatch, replace)
    assert store.delete(KEY, identity=identity) is Deleted.CHANGED
    if kind == "directory":
        assert (root / KEY / "inside").read_bytes() == b"theirs"
    else:
        assert (root / KEY).readlink() == Path("target")


@pytest.mark.parametrize("changed_into", ["file", "directory"])
@pytest.mark.parametrize("taken_by", ["file", "directory"])
def test_if_the_name_is_taken_meanwhile_both_are_kept_and_the_error_says_where(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, changed_into: str, taken_by: str
) -> None:
    identity = planted(root)
    stored = os.stat

    def make(kind: str, content: bytes) -> None:
        if kind == "directory":
            (root / KEY).mkdir()
            (root / KEY / "inside").write_bytes(content)
        else:
            (root / KEY).write_bytes(content)

    def replace() -> None:
        (root / KEY).unlink()
        make(changed_into, b"second")

    def stat_and_take(path: Any, *args: Any, **kwargs: Any) -> os.stat_result:
        found = stored(path, *args, **kwargs)
        if path == aside_name(KEY) and not (root / KEY).exists():  # the second look
            monkeypatch.setattr(os, "stat", stored)
            make(taken_by, b"third")
        return found

    _changing_before_the_rename(monkeypatch, replace)
    monkeypatch.setattr(os, "stat", stat_and_take)
    with pytest.raises(AlreadyExists, match="kept as") as caught:
        store.delete(KEY, identity=identity)
    kept = Path(caught.value.message.rpartition("kept as ")[2])
    assert (kept if changed_into == "file" else kept / "inside").read_bytes() == b"second"
    third = root / KEY if taken_by == "file" else root / KEY / "inside"
    assert third.read_bytes() == b"third"
    assert store.delete(KEY, identity=identity) is Deleted.CHANGED
    assert sorted(anywhere(root)) == [b"second", b"third"]


def test_a_file_left_aside_returns_although_its_directory_is_gone(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = planted(root)
    rename = os.rename

    def rename_and_die(*args: Any, **kwargs: Any) -> None:
        (root / KEY).write_bytes(b"newer")
        rename(*args, **kwargs)
        raise Dies

    with monkeypatch.context() as patched, pytest.raises(Dies):  # noqa: PT012  the first line cannot raise it
        patched.setattr(os, "rename", rename_and_die)
        store.delete(KEY, identity=identity)
    assert not (root / KEY).exists()
    (root / "d/e").rmdir()
    assert store.delete(KEY, identity=identity) is Deleted.CHANGED
    assert (root / KEY).read_bytes() == b"newer"


# MUST 1
def test_a_write_that_died_anywhere_shows_nothing_or_all_and_can_be_removed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"x" * (1 << 20) + b"end"

    def act(store: LocalStore, _: object) -> None:
        upload = store.create(KEY, New(MINE, mtime_us=5_000_000))
        upload.write(content)
        upload.commit(origin_of(MINE))

    seen = set()
    for place, _ in each_death(root, monkeypatch, lambda _: None, act):
        store = LocalStore(place.as_uri())
        listed = keys(store)
        seen.add(bool(listed))
        if listed:
            assert listed == [KEY]
            assert (place / KEY).read_bytes() == content
            assert store.origin(KEY) == origin_of(MINE)
            assert store.head(KEY).mtime_us == 5_000_000
        assert store.delete_attempt(KEY, attempt=MINE) in (Deleted.DELETED, Deleted.ABSENT)
        assert anywhere(place) == []
        with pytest.raises(ObjectNotFound):
            store.head(KEY)
        create(store, KEY, b"again", "e" * 32)
    assert seen == {True, False}


def test_a_delete_of_an_attempt_that_died_anywhere_is_finished_by_the_next(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def prepare(place: Path) -> None:
        create(LocalStore(place.as_uri()), KEY, b"ours")

    for place, _ in each_death(root, monkeypatch, prepare, lambda store, _: store.delete_attempt(KEY, attempt=MINE)):
        LocalStore(place.as_uri()).delete_attempt(KEY, attempt=MINE)
        assert anywhere(place) == []


@pytest.mark.parametrize("create_only", [True, False])
def test_a_note_that_died_anywhere_is_the_old_one_or_the_new_one(
    root: Path, monkeypatch: pytest.MonkeyPatch, create_only: bool
) -> None:
    old = None if create_only else b"old"

    def prepare(place: Path) -> None:
        if old is not None:
            LocalStore(place.as_uri()).write_note("journal/1", old, create_only=True)

    def act(store: LocalStore, _: object) -> None:
        store.write_note("journal/1", b"new", create_only=create_only)

    seen = set()
    for place, _ in each_death(root, monkeypatch, prepare, act):
        store = LocalStore(place.as_uri())
        seen.add(store.read_note("journal/1"))
        assert list(store.list_notes("")) in ([], ["journal/1"])
        store.write_note("another", b"", create_only=True)
        assert [path.name for path in (place / RESERVED / "tmp").iterdir()] == ["lock"]
    assert seen == {old, b"new"}


def test_a_second_delete_of_a_key_waits_for_the_first(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = planted(root)
    rename = os.rename
    waited: list[Future[Deleted]] = []

    def meanwhile(*args: Any, **kwargs: Any) -> None:
        monkeypatch.setattr(os, "rename", rename)
        rename(*args, **kwargs)
        second = pool.submit(LocalStore(store.url).delete, KEY, identity=identity)
        waited.append(second)
        with pytest.raises(TimeoutError):
            second.result(timeout=0.3)

    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(os, "rename", meanwhile)
        assert store.delete(KEY, identity=identity) is Deleted.DELETED
        assert waited[0].result(timeout=240) is Deleted.ABSENT


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls that change something, as they come; fsync with what it is for."""
    calls: list[str] = []

    def wrap(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            kind = " directory" if name == "fsync" and stat.S_ISDIR(os.fstat(args[0]).st_mode) else ""
            calls.append(name + kind)
            return call(*args, **kwargs)

        return wrapped

    for name in CHANGING:
        monkeypatch.setattr(os, name, wrap(name, getattr(os, name)))
    return calls


def test_content_is_durable_before_it_is_visible_and_its_name_and_ctime_before_commit_returns(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "d/e").mkdir(parents=True)
    upload = store.create(KEY, New(MINE))
    calls = recorded(monkeypatch)
    upload.write(b"x")
    upload.commit(origin_of(MINE))
    assert calls == ["write", "setxattr", "fsync", "link", "unlink", "fsync directory", "fsync"]


def test_each_new_directory_is_durable_before_what_it_holds(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = store.create(KEY, New(MINE))
    calls = recorded(monkeypatch)
    upload.commit(origin_of(MINE))
    made = ["mkdir", "fsync directory", "mkdir", "fsync directory"]
    assert calls == ["setxattr", "fsync", *made, "link", "unlink", "fsync directory", "fsync"]


def test_a_removal_is_durable_in_both_directories_when_delete_returns(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = planted(root)
    store.delete("other", identity="1")  # makes the directories
    calls = recorded(monkeypatch)
    store.delete(KEY, identity=identity)
    assert calls == ["rename", "unlink", "fsync directory", "fsync directory"]


@pytest.mark.parametrize(("create_only", "call"), [(True, "link"), (False, "rename")])
def test_a_note_is_durable_before_it_is_visible_and_its_name_after(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch, create_only: bool, call: str
) -> None:
    store.write_note("claim-before", b"x", create_only=True)  # makes the directories
    calls = recorded(monkeypatch)
    store.write_note("claim", b"x", create_only=create_only)
    assert [name for name in calls if name != "unlink"] == ["fsync", call, "fsync directory"]


def test_what_nfs_answers_to_a_repeated_link_is_no_conflict(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def answer_lost(*args: Any, **kwargs: Any) -> None:
        link(*args, **kwargs)
        link(*args, **kwargs)

    monkeypatch.setattr(os, "link", answer_lost)
    made = create(store, "a", b"x")
    assert store.head("a") == made
    store.write_note("claim", b"x", create_only=True)
    assert store.read_note("claim") == b"x"
