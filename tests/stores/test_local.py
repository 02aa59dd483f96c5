"""What only a directory can do wrong: rights, full disks, what is in the way, writers that do not stop."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from storaged.errors import (
    AlreadyExists,
    ObjectNotFound,
    PermissionDenied,
    SourceChanged,
    StoreError,
    StoreFull,
    StoreUnavailable,
    UsageError,
)
from storaged.stores.base import Deleted, New, Stat
from storaged.stores.local import LocalStore
from storaged.stores.local_errors import store_error
from storaged.stores.origins import LONG_NAME
from storaged.testing.things import MINE, OTHER, create, keys, origin_of
from tests.stores.conftest import as_nobody, files_below, skipped

# -- rights, errors and room -------------------------------------------------------------------------------------------


def test_what_may_not_be_read_is_reported_and_the_listing_goes_on(nobodys_root: Path) -> None:
    for name, mode in (("closed/x", 0o755), ("searchable-not/x", 0o755), ("secret", 0o600), ("z", 0o644)):
        path = nobodys_root / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        path.chmod(0o000 if name == "secret" else mode)
    (nobodys_root / "closed").chmod(0o000)
    (nobodys_root / "searchable-not").chmod(0o444)
    store = LocalStore(nobodys_root.as_uri())
    with as_nobody():
        assert skipped(store) == dict.fromkeys(("closed", "searchable-not/x", "secret"), "permission denied")
        assert [entry.key for entry in store.list() if isinstance(entry, Stat)] == ["z"]
        for call in (lambda: store.open("secret"), lambda: store.head("closed/x"), lambda: keys(store, "closed/")):
            with pytest.raises(PermissionDenied):
                call()
    (nobodys_root / "closed").chmod(0o755)
    (nobodys_root / "searchable-not").chmod(0o755)


def test_a_root_that_may_not_be_written_to_can_be_read_and_refuses_the_rest(nobodys_root: Path) -> None:
    (nobodys_root / "a").write_bytes(b"x")
    nobodys_root.chmod(0o555)
    store = LocalStore(nobodys_root.as_uri())
    with as_nobody():
        identity = store.head("a").identity
        with store.open("a", identity=identity) as reader:
            assert reader.read_at(0, 1) == b"x"
        for call in (
            lambda: store.create("b", New(MINE)),
            lambda: store.delete("a", identity=identity),
            lambda: store.write_note("claim", b"x", create_only=True),
        ):
            with pytest.raises(PermissionDenied):
                call()
    nobodys_root.chmod(0o755)
    assert files_below(nobodys_root) == ["a"]


@pytest.mark.parametrize("function", ["write", "fsync", "link", "utime"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_nothing_behind_wherever_it_strikes(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch, function: str, number: int
) -> None:
    def full(*_: object, **__: object) -> object:
        raise OSError(number, os.strerror(number))

    upload = store.create("a", New(MINE, mtime_us=1))
    with monkeypatch.context() as patched, pytest.raises(StoreFull):  # noqa: PT012  either may be the one to fail
        patched.setattr(os, function, full)
        upload.write(b"x" * (2 << 20))
        upload.commit(origin_of(MINE))
    assert files_below(root) == []
    with pytest.raises(StoreError, match="ended"):
        upload.write(b"more")


TINY = """
import sys
from storaged.errors import StoreFull
from storaged.stores.local import LocalStore
from storaged.stores.base import Stat
from storaged.testing.things import create
from storaged.testing.things import OTHER
from storaged.testing.things import MINE
store = LocalStore("file://" + sys.argv[1])
create(store, "fits", b"x" * 500_000)
assert 0 < store.free_bytes() < 2 << 20
try:
    create(store, "too-big", b"x" * (4 << 20), OTHER)
except StoreFull:
    print([entry.key for entry in store.list()], store.delete_attempt("too-big", attempt=OTHER))
"""


NO_INODE = """
import sys
from storaged.errors import StoreFull
from storaged.stores.local import LocalStore
from storaged.stores.notes import CLAIM
from storaged.testing.things import MINE, OTHER, create
store = LocalStore("file://" + sys.argv[1])
store.write_note(CLAIM, b"{}", create_only=True)
stat = create(store, "fits", b"x", MINE)
try:
    for number in range(30):
        create(store, str(number), b"x", OTHER)
except StoreFull:
    print(store.delete("fits", identity=stat.identity), create(store, "again", b"x", MINE).size)
"""


@pytest.mark.parametrize(
    ("options", "program", "said"),
    [("size=2m", TINY, "['fits'] absent"), ("size=2m,nr_inodes=20", NO_INODE, "deleted 1")],
)
def test_a_real_disk_that_is_full_says_so_keeps_what_it_had_and_lets_it_go(
    tmp_path: Path, options: str, program: str, said: str
) -> None:
    inside = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine lets us mount nothing")
    script = f'mount -t tmpfs -o {options} none "{tmp_path}" && exec "$0" -c "$1" "{tmp_path}"'
    done = subprocess.run(
        [*inside, "sh", "-c", script, sys.executable, program], capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == (said, "")


def test_a_name_too_long_is_no_missing_object(store: LocalStore) -> None:
    calls: list[Callable[[], object]] = [lambda: store.head("n" * 256), lambda: create(store, "n" * 256, b"x")]
    for call in calls:
        with pytest.raises(StoreError) as caught:
            call()
        assert type(caught.value) is StoreError
        assert caught.value.hint is not None
        assert "255" in caught.value.hint


def test_a_filesystem_without_attributes_is_refused_before_anything_is_written(
    store: LocalStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    monkeypatch.setattr(os, "setxattr", unsupported)
    with pytest.raises(StoreError) as caught:
        store.create("a", New(MINE))
    assert "user_xattr" in (caught.value.hint or "")
    assert files_below(root) == []


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOENT, ObjectNotFound),
        (errno.EEXIST, AlreadyExists),
        (errno.EACCES, PermissionDenied),
        (errno.EPERM, PermissionDenied),
        (errno.EROFS, PermissionDenied),
        (errno.ENOSPC, StoreFull),
        (errno.EDQUOT, StoreFull),
        (errno.EIO, StoreUnavailable),
        (errno.ESTALE, StoreUnavailable),
        (errno.EMFILE, StoreUnavailable),
        (errno.EXDEV, StoreError),
        (errno.EFBIG, StoreError),
        (errno.EINVAL, StoreError),
    ],
)
def test_each_error_of_the_system_has_its_store_error(number: int, kind: type[StoreError]) -> None:
    error = store_error(OSError(number, os.strerror(number)), "a/b")
    assert type(error) is kind
    assert error.key == "a/b"
    assert "a/b" in error.message


def test_a_file_where_a_directory_is_needed_is_said_so(store: LocalStore, root: Path) -> None:
    (root / "a").write_bytes(b"x")
    with store.create("a/b", New(MINE)) as upload, pytest.raises(AlreadyExists, match="needs a directory"):
        upload.commit(origin_of(MINE))
    assert files_below(root) == ["a"]


# -- content -----------------------------------------------------------------------------------------------------------


# MUST 4
def test_a_read_back_comes_from_the_medium_and_not_from_the_cache(store: LocalStore, root: Path) -> None:
    create(store, "a", os.urandom(1 << 20))
    fd = os.open(root / "a", os.O_RDONLY)
    try:
        os.preadv(fd, [bytearray(4_096)], 512 * 1_024, os.RWF_NOWAIT)
    except BlockingIOError:
        pass
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        pytest.skip("this filesystem has nothing but its cache")
    else:
        pytest.fail("the pages are still cached")
    finally:
        os.close(fd)


# MUST 5
def test_a_file_written_to_while_it_is_read_is_noticed(store: LocalStore, root: Path) -> None:
    (root / "a").write_bytes(b"one")
    with store.open("a") as reader:
        with open(root / "a", "ab") as file:
            file.write(b"more")
        with pytest.raises(SourceChanged):
            reader.read_at(0, 3)


def test_a_reader_outlives_the_removal_of_its_file(store: LocalStore, root: Path) -> None:
    (root / "a").write_bytes(b"one")
    with store.open("a") as reader:
        assert store.delete("a", identity=reader.stat.identity) is Deleted.DELETED
        assert reader.read_at(0, 3) == b"one"


@pytest.mark.parametrize("change", ["chmod", "link", "rename"])
def test_an_identity_changes_with_mode_links_and_renames(store: LocalStore, root: Path, change: str) -> None:
    (root / "a").write_bytes(b"x")
    before = store.head("a").identity
    while (root / "a").stat().st_ctime_ns == int(before.rpartition(":")[2], 16):  # one tick of the filesystem's clock
        if change == "chmod":
            (root / "a").chmod(0o600)
        elif change == "link":
            os.link(root / "a", root / "b")
            (root / "b").unlink()
        else:
            (root / "a").rename(root / "b")
            (root / "b").rename(root / "a")
    assert store.head("a").identity != before


@pytest.mark.parametrize("length", [5_000, 70_000])
def test_an_objects_name_too_long_for_an_attribute_is_kept_as_its_digest(store: LocalStore, length: int) -> None:
    name = "n" * length
    with store.create("a", New(MINE)) as upload:
        upload.commit(origin_of(MINE, name))
    origin = store.origin("a")
    assert origin is not None
    assert origin.attempt == MINE
    assert origin.object == name or (origin.object.startswith(LONG_NAME) and len(origin.object) == len(LONG_NAME) + 32)
    assert length == 5_000 or origin.object != name


@pytest.mark.parametrize("value", [b"", b"no json", b"[]", b'{"attempt":"x"}', b"\xff"])
def test_an_attribute_that_we_did_not_write_is_no_origin(store: LocalStore, root: Path, value: bytes) -> None:
    (root / "a").write_bytes(b"x")
    os.setxattr(root / "a", "user.storaged.origin", value)
    assert store.origin("a") is None
    assert store.delete_attempt("a", attempt=MINE) is Deleted.CHANGED


@pytest.mark.parametrize("attempt", ["", "../a", "a/b", "a.b", "\u00e9"])
def test_an_attempt_that_could_be_a_path_is_refused(store: LocalStore, attempt: str) -> None:
    with pytest.raises(StoreError):
        store.create("a", New(attempt))
    with pytest.raises(StoreError):
        store.delete_attempt("a", attempt=attempt)


def test_parts_of_attempts_whose_id_begins_alike_are_left(store: LocalStore) -> None:
    with store.create("a", New(MINE)) as upload:
        assert store.delete_attempt("a", attempt=MINE[:-1]) is Deleted.ABSENT
        assert store.delete_attempt("a", attempt=OTHER) is Deleted.ABSENT
        upload.commit(origin_of(MINE))


@pytest.mark.parametrize("name", ["tmp", "tmp/a", "aside/b"])
def test_notes_do_not_reach_our_working_directories(store: LocalStore, name: str) -> None:
    with pytest.raises(StoreError):
        store.write_note(name, b"", create_only=False)


@pytest.mark.parametrize("url", ["file://host/a", "file:a", "/a", "file:///a?b", "file:///a#b", "s3://a/b", "file://"])
def test_a_url_that_is_no_local_place_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="no local place"):
        LocalStore(url)


def test_the_space_left_is_that_of_the_filesystem(store: LocalStore, root: Path) -> None:
    assert store.free_bytes() == pytest.approx(shutil.disk_usage(root).free, rel=0.05)


def test_what_an_attempt_left_and_a_user_wrote_into_is_the_users(tmp_path: Path) -> None:
    store = LocalStore(tmp_path.as_uri())
    with store.create("a", New(MINE, mtime_us=1_600_000_000_000_000)) as upload:
        upload.write(b"ours")
        upload.commit(origin_of(MINE, mtime_us=1_600_000_000_000_000))
    with (tmp_path / "a").open("ab") as file:
        file.write(b" and theirs")
    assert store.delete_attempt("a", attempt=MINE) is Deleted.CHANGED
    assert (tmp_path / "a").read_bytes() == b"ours and theirs"


# MUST 12
def test_mode_mtime_and_attributes_of_an_original_come_back(tmp_path: Path) -> None:
    store = LocalStore(tmp_path.as_uri())
    original = tmp_path / "a"
    original.write_bytes(b"x")
    original.chmod(0o640)
    os.setxattr(original, "user.team", b"growth\x00")
    os.utime(original, ns=(1, 1_600_000_000_123_456_789))
    kept = store.open("a").metadata()
    original.unlink()
    with store.create("a", New(MINE)) as upload:
        upload.write(b"x")
        upload.commit(origin_of(MINE), metadata=kept)
    found = original.stat()
    assert (found.st_mode & 0o7777, found.st_mtime_ns) == (0o640, 1_600_000_000_123_456_789)
    assert os.getxattr(original, "user.team") == b"growth\x00"
    assert store.open("a").metadata() == kept


def test_a_file_under_two_names_is_told_as_what_cannot_come_back(tmp_path: Path) -> None:
    store = LocalStore(tmp_path.as_uri())
    (tmp_path / "a").write_bytes(b"x")
    assert store.not_restorable(store.open("a").metadata()) == {}
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    assert store.not_restorable(store.open("a").metadata()) == {"links": "its being one file under 2 names"}
