"""What a directory tree may hold besides plain files, and what may happen to it while it is listed."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from storaged.clock import iso, new_id
from storaged.errors import AlreadyExists, ObjectNotFound, StoreError, StoreUnavailable
from storaged.stores import local_walk
from storaged.stores.base import RESERVED, Deleted, New, Skipped, Stat
from storaged.stores.local import LocalStore
from storaged.stores.local_walk import EARLIEST_US, LATEST_US
from storaged.testing.things import MINE, create, keys, origin_of
from tests.laws import tries
from tests.stores.conftest import files_below, skipped


def test_what_is_no_regular_file_is_reported_with_its_reason_and_never_followed(
    store: LocalStore, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(b"x")
    (root / "d").mkdir()
    (root / "d/file").write_bytes(b"x")
    (root / "link-in").symlink_to("d/file")
    (root / "link-dir").symlink_to("d")
    (root / "link-out").symlink_to(tmp_path / "outside")
    (root / "link-dangling").symlink_to("nowhere")
    (root / "link-loop").symlink_to("link-loop")
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        before = Path.cwd()
        os.chdir(root)  # a socket's address is a short path
        listening.bind("socket")
        os.chdir(before)
    (root / os.fsdecode(b"caf\xe9")).write_bytes(b"x")
    os.mkdir(os.fsencode(root) + b"/d\xff")
    assert keys(store) == [
        *("caf\\xe9", "d/file", "d\\xff", "link-dangling", "link-dir", "link-in", "link-loop", "link-out", "pipe"),
        "socket",
    ]
    assert skipped(store) == {
        "caf\\xe9": "name is not UTF-8",
        "d\\xff": "name is not UTF-8",
        "link-dangling": "symbolic link",
        "link-dir": "symbolic link",
        "link-in": "symbolic link",
        "link-loop": "symbolic link",
        "link-out": "symbolic link leading out of the root",
        "pipe": "named pipe",
        "socket": "socket",
    }
    for key in ("link-dir", "link-in", "link-out", "pipe", "socket"):
        for call in (store.head, store.open, store.origin):
            with pytest.raises(StoreError, match="is a ") as caught:
                call(key)
            assert not isinstance(caught.value, ObjectNotFound)
        assert store.delete(key, identity=store.head("d/file").identity) is Deleted.CHANGED
        with store.create(key, New(MINE)) as upload, pytest.raises(AlreadyExists):
            upload.commit(origin_of(MINE))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a device")
def test_a_device_is_reported_and_never_opened(store: LocalStore, root: Path) -> None:
    os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    assert skipped(store) == {"null": "device"}
    with pytest.raises(StoreError, match="is a device"):
        store.open("null")


def test_a_directory_that_is_a_link_is_never_walked_through(store: LocalStore, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"theirs")
    identity = LocalStore(outside.as_uri()).head("file").identity
    (root / "link").symlink_to(outside)
    refused: list[Callable[[], object]] = [
        lambda: store.head("link/file"),
        lambda: store.open("link/file"),
        lambda: store.delete("link/file", identity=identity),
        lambda: store.delete_attempt("link/file", attempt=MINE),
        lambda: create(store, "link/new", b"x"),
        lambda: keys(store, "link/"),
    ]
    for call in refused:
        with pytest.raises(StoreError, match="symbolic link") as caught:
            call()
        assert not isinstance(caught.value, ObjectNotFound)
    (root / RESERVED).rename(root / "moved")
    (root / RESERVED).symlink_to(outside)
    with pytest.raises(StoreError, match="symbolic link"):
        store.write_note("claim", b"x", create_only=True)
    assert files_below(outside) == ["file"]


def test_names_of_ours_are_hidden_at_the_top_only(store: LocalStore, root: Path) -> None:
    store.write_note("claim", b"x", create_only=True)
    (root / "d" / RESERVED).mkdir(parents=True)
    (root / "d" / RESERVED / "theirs").write_bytes(b"x")
    with store.create("a", New(MINE)):
        assert keys(store) == [f"d/{RESERVED}/theirs"]


def test_excluded_files_and_directories_are_never_listed(root: Path) -> None:
    for name in ("a", "catalog.db", "state/x/y", "b/z"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    os.link(root / "catalog.db", root / "b/another-name")
    excluded = {(found.st_dev, found.st_ino) for found in ((root / n).stat() for n in ("catalog.db", "state"))}
    store = LocalStore(root.as_uri(), frozenset(excluded))
    assert keys(store) == ["a", "b/z"]
    assert keys(store, "state/") == keys(store, "state/x/") == keys(store, "st") == []


def test_what_vanishes_during_a_listing_is_passed_over(store: LocalStore, root: Path) -> None:
    for name in ("a/1", "a/2", "a/3", "b/1", "c", "d"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"x")
    listing = store.list()
    assert next(listing).key == "a/1"
    (root / "a/2").unlink()  # was looked at together with its neighbours
    shutil.rmtree(root / "b")
    (root / "c").unlink()
    assert [entry.key for entry in listing] == ["a/2", "a/3", "d"]


def test_files_are_listed_in_order_however_many_are_looked_at_together(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_walk, "RUN", 2)
    made = [f"a/{n}" for n in range(5)] + ["b", "c-/x", "c/1", "c/2", "c/3", "c0", "d", "e"]
    for name in made:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(name.encode())
    (root / "a/3").chmod(0o640)
    os.utime(root / "a/1", ns=(0, 2**62))  # in the year 2116
    os.symlink("b", root / "c/4")
    assert [entry.key for entry in store.list()] == sorted([*made, "c/4"])
    assert [entry for entry in store.list() if isinstance(entry, Stat)] == [store.head(name) for name in sorted(made)]


def test_a_directory_that_becomes_a_link_during_a_listing_is_not_followed(store: LocalStore, root: Path) -> None:
    for name in ("a", "b/1"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"x")
    listing = store.list()
    assert next(listing).key == "a"
    shutil.rmtree(root / "b")
    (root / "b").symlink_to("/")
    assert list(listing) == [Skipped("b", "replaced during the listing")]


def test_a_missing_root_is_an_error_and_not_an_empty_listing(tmp_path: Path) -> None:
    store = LocalStore((tmp_path / "not-mounted").as_uri())
    calls: list[Callable[[], object]] = [
        lambda: keys(store),
        lambda: store.head("a"),
        lambda: create(store, "a", b"x"),
    ]
    for call in calls:
        with pytest.raises(StoreError, match="no directory") as caught:
            call()
        assert not isinstance(caught.value, ObjectNotFound)


def test_a_listing_that_is_left_early_holds_nothing_open(store: LocalStore, root: Path) -> None:
    (root / "a/b/c").mkdir(parents=True)
    (root / "a/b/c/d").write_bytes(b"x")
    before = len(os.listdir("/proc/self/fd"))
    listing = store.list()
    next(listing)
    assert len(os.listdir("/proc/self/fd")) > before
    listing.close()  # type: ignore[attr-defined]  # the port says Iterator, this one is a generator
    assert len(os.listdir("/proc/self/fd")) == before


def test_deep_trees_are_listed(store: LocalStore) -> None:
    key = "/".join("d" * 100) + "/file"
    made = create(store, key, b"x")
    assert list(store.list()) == [made]


def test_a_directory_that_cannot_be_read_on_breaks_the_listing_off(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "a").mkdir()
    (root / "a/b").write_bytes(b"x")
    scandir = os.scandir

    def failing(fd: int) -> object:
        if os.path.samestat(os.fstat(fd), (root / "a").stat()):
            raise OSError(errno.EIO, "input/output error")
        return scandir(fd)

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(StoreUnavailable):
        keys(store)


name = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=4).filter(
    lambda text: text not in (".", "..", RESERVED)
)
tree = st.recursive(st.just(None), lambda inner: st.dictionaries(name, inner, max_size=5), max_leaves=20)


def _plant(place: Path, content: object, prefix: str = "") -> list[str]:
    if content is None:
        place.write_bytes(b"")
        return [prefix[:-1]]
    assert isinstance(content, dict)
    place.mkdir()
    return [key for name, inner in content.items() for key in _plant(place / name, inner, f"{prefix}{name}/")]


@tries(150, suppress_health_check=[HealthCheck.too_slow])
@given(content=tree.filter(lambda content: content is not None), data=st.data())
def test_a_listing_is_the_sorted_keys_after_one_and_under_a_prefix(content: object, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as place:
        planted = sorted(_plant(Path(place) / "root", content), key=str.encode)
        store = LocalStore((Path(place) / "root").as_uri())
        assert keys(store) == planted
        starts = st.sampled_from([""] + [key[:n] for key in planted for n in range(1, len(key) + 1)])
        after = data.draw(starts | name)
        prefix = data.draw(starts)
        if any(part in ("", ".", "..") for part in prefix.split("/")[:-1]):
            prefix = ""
        expected = [key for key in planted if key.startswith(prefix) and key.encode() > after.encode()]
        assert keys(store, prefix, after) == expected


def test_a_time_that_no_calendar_has_is_the_nearest_that_one_has() -> None:
    """As tmpfs keeps any: 64 bits of seconds."""
    place = Path("/dev/shm") / f"storaged-{new_id()}"
    place.mkdir()
    try:
        for name, seconds in (("a", 2**56), ("b", -(2**56)), ("c", 5)):
            (place / name).write_bytes(b"x")
            done = subprocess.run(["touch", "-d", f"@{seconds}", place / name], capture_output=True, check=False)
            if done.returncode or (place / name).stat().st_mtime_ns != seconds * 10**9:
                pytest.skip("this needs a filesystem that keeps any time")
        store = LocalStore(place.as_uri())
        times = [LATEST_US, EARLIEST_US, 5_000_000]
        assert [entry.mtime_us for entry in store.list() if isinstance(entry, Stat)] == times
        assert [store.head(name).mtime_us for name in "abc"] == times
        assert [iso(us) for us in times] == ["9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "1970-01-01T00:00:05Z"]
    finally:
        shutil.rmtree(place)
