"""Who may look at what we write: blobs, notes, parts, and the folders that are made anew for what returns."""

from __future__ import annotations

import os
import shutil
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from storaged.stores.base import RESERVED, Deleted, New
from storaged.stores.local import LocalStore
from storaged.testing.things import MINE, OTHER, create, origin_of
from tests.stores.conftest import as_nobody

_ACL = "system.posix_acl_"
_NOBODY = 0xFFFFFFFF  # in particular


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o077, 0o277], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_what_is_ours_is_for_nobody_else_whatever_the_umask(root: Path, store: LocalStore) -> None:
    create(store, "d/e/a", b"x")
    store.write_note("journal/1", b"x", create_only=True)
    create(store, "gone", b"x", OTHER)
    assert store.delete("gone", identity=store.head("gone").identity) is Deleted.DELETED
    found = {str(path.relative_to(root)): mode(path) for path in root.rglob("*")}
    assert {f"{RESERVED}/tmp", f"{RESERVED}/aside", f"{RESERVED}/journal/1", "d/e/a"} < set(found)
    folders = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_dir()}
    # a umask that takes from its owner what he needs may narrow what is only an aid, never what is to be read
    assert {name: found[name] for name in folders} == dict.fromkeys(folders, 0o700)
    assert found["d/e/a"] == 0o600
    assert {found[name] & 0o177 for name in set(found) - folders} == {0}


def test_a_setgid_tier_lets_its_group_read_and_nobody_else(root: Path, store: LocalStore) -> None:
    root.chmod(0o2755)
    create(store, "d/a", b"x")
    assert (mode(root / "d"), mode(root / "d/a")) == (0o2750, 0o640)
    assert mode(root / RESERVED / "tmp") == 0o700


def test_a_part_is_for_us_alone_from_its_first_byte(root: Path, store: LocalStore) -> None:
    seen: list[tuple[int, int]] = []

    def look() -> None:
        [part] = (root / RESERVED / "tmp").glob(f"{MINE}.*")
        seen.append((mode(part.parent), mode(part)))

    with store.create("a", New(MINE)) as upload:
        look()
        upload.write(b"x" * (2 << 20))
        look()
        upload.commit(origin_of(MINE), metadata={"mode": "0644"})
    assert seen == [(0o700, 0o600)] * 2
    assert mode(root / "a") == 0o644


def test_the_final_mode_is_there_before_the_name(
    root: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[int] = []
    real = os.link

    def link(source: str, *args: object, **options: int) -> None:
        shown.append(stat.S_IMODE(os.stat(source, dir_fd=options["src_dir_fd"]).st_mode))
        real(source, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", link)
    with store.create("a", New(MINE)) as upload:
        upload.commit(origin_of(MINE), metadata={"mode": "0604"})
    create(store, "b", b"x", OTHER)
    assert shown == [0o604, 0o600]


def test_folders_that_an_earlier_version_left_open_are_closed(root: Path, store: LocalStore) -> None:
    for name in ("tmp", "aside"):
        (root / RESERVED / name).mkdir(parents=True)
        (root / RESERVED / name).chmod(0o775)
    create(store, "a", b"x")
    store.delete("a", identity=store.head("a").identity)
    assert {mode(root / RESERVED / name) for name in ("tmp", "aside")} == {0o700}


# -- setuid and setgid -------------------------------------------------------------------------------------------------


def returned(store: LocalStore, root: Path, **told: str) -> int:
    """The mode of a file that comes back with this metadata."""
    with store.create("a", New(MINE)) as upload:
        upload.commit(origin_of(MINE), metadata=told)
    return mode(root / "a")


# MUST 12
@pytest.mark.parametrize("bits", [0o4755, 0o2755, 0o6711, 0o7777])
def test_setuid_and_setgid_go_where_the_owner_was_not_given_back(nobodys_root: Path, bits: int) -> None:
    nobodys_root.chmod(0o777)
    store = LocalStore(nobodys_root.as_uri())
    told = {"mode": f"{bits:04o}", "uid": "0", "gid": "0"}
    if os.geteuid() != 0:
        told |= {"uid": str(os.geteuid() + 1)}
    with as_nobody():
        lost = store.not_restorable(told)
        assert set(lost) == {"owner"}
        assert "setuid" in lost["owner"]
        assert returned(store, nobodys_root, **told) == bits & ~0o6000


@pytest.mark.parametrize("told", [{}, {"uid": "0"}, {"gid": "0"}])
def test_an_owner_that_nobody_recorded_was_not_given_back(root: Path, store: LocalStore, told: dict[str, str]) -> None:
    assert returned(store, root, mode="6755", **told) == 0o755


def test_our_own_setuid_file_comes_back_as_it_was(root: Path, store: LocalStore) -> None:
    (root / "b").write_bytes(b"x")
    (root / "b").chmod(0o6750)
    told = store.open("b").metadata()
    assert store.not_restorable(told) == {}
    assert returned(store, root, **told) == 0o6750


def test_a_system_that_gives_no_files_away_drops_them_too(
    root: Path, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "as a server does that trusts no root")

    monkeypatch.setattr(os, "fchown", refused)
    assert returned(store, root, mode="6755", uid="12345", gid=str(os.getegid())) == 0o755


# -- folders -----------------------------------------------------------------------------------------------------------


# MUST 12
def test_folders_come_back_with_the_modes_that_they_had(root: Path, store: LocalStore) -> None:
    (root / "open" / "private" / "c").mkdir(parents=True)
    for name, bits in (("open", 0o1777), ("open/private", 0o700), ("open/private/c", 0o2751)):
        (root / name).chmod(bits)
    (root / "open/private/c/a").write_bytes(b"x")
    (root / "open/private/c/a").chmod(0o644)
    told = store.open("open/private/c/a").metadata()
    for path in ("open/private/c/a", "open/private/c", "open/private", "open"):
        (root / path).unlink() if (root / path).is_file() else (root / path).rmdir()
    with store.create("open/private/c/a", New(MINE)) as upload:
        upload.commit(origin_of(MINE), metadata=told)
    assert [mode(root / name) for name in ("open", "open/private", "open/private/c")] == [0o1777, 0o700, 0o2751]


def acl(*, group: int) -> bytes:
    """An access control list (acl(5), as Linux stores it): its owner and user 1000 may do all, the group `group`."""
    entries = [(0x01, 7, _NOBODY), (0x02, 7, 1000), (0x04, group, _NOBODY), (0x10, 7, _NOBODY), (0x20, 0, _NOBODY)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def lists(path: Path) -> dict[str, bytes]:
    """The access control lists of a file or folder, by name."""
    names = [name for name in os.listxattr(path) if name.startswith(_ACL)]
    return {name.removeprefix(_ACL): os.getxattr(path, name) for name in names}


# MUST 12
def test_folders_come_back_with_the_access_control_lists_that_they_had_and_no_others(
    root: Path, store: LocalStore
) -> None:
    """With a list the group's bits are the most that anybody in it may do: no group may enter this folder of 0770."""
    (root / "listed").mkdir(mode=0o700)
    os.setxattr(root / "listed", f"{_ACL}access", acl(group=0))
    os.setxattr(root / "listed", f"{_ACL}default", acl(group=5))
    (root / "listed/plain").mkdir()
    for name in ("access", "default"):
        os.removexattr(root / "listed/plain", _ACL + name)
    (root / "listed/plain").chmod(0o750)
    (root / "listed/plain/a").write_bytes(b"x")
    (root / "listed/plain/a").chmod(0o640)
    folders = [root / "listed", root / "listed/plain"]
    was = [(mode(path), lists(path)) for path in folders]
    assert [bits for bits, _ in was] == [0o770, 0o750]
    assert [sorted(found) for _, found in was] == [["access", "default"], []]
    told = store.open("listed/plain/a").metadata()
    os.setxattr(root, f"{_ACL}default", acl(group=7))  # what is made anew would inherit it
    shutil.rmtree(root / RESERVED, ignore_errors=True)
    shutil.rmtree(root / "listed")
    with store.create("listed/plain/a", New(MINE)) as upload:
        upload.commit(origin_of(MINE), metadata=told)
    assert [(mode(path), lists(path)) for path in folders] == was
    assert (mode(folders[1] / "a"), lists(folders[1] / "a")) == (0o640, {})


# MUST 12
def test_where_a_list_cannot_come_back_the_group_gets_no_more_than_everybody(root: Path, store: LocalStore) -> None:
    with store.create("d/a", New(MINE)) as upload:
        folders = f"0771:{os.geteuid()}:{os.getegid()}:access=00"  # as a filesystem that keeps none refuses any
        upload.commit(origin_of(MINE), metadata={"mode": "0640", "folders": folders})
    assert (mode(root / "d"), lists(root / "d")) == (0o711, {})


def test_folders_that_are_there_stay_as_they_are(root: Path, store: LocalStore) -> None:
    (root / "d").mkdir(mode=0o700)
    (root / "d" / "a").write_bytes(b"x")
    told = store.open("d/a").metadata()
    (root / "d" / "a").unlink()
    (root / "d").chmod(0o755)
    with store.create("d/a", New(MINE)) as upload:
        upload.commit(origin_of(MINE), metadata=told)
    assert mode(root / "d") == 0o755


@pytest.mark.parametrize(
    ("bits", "folder"),
    [("0600", 0o700), ("0640", 0o750), ("0644", 0o755), ("0604", 0o705), ("0777", 0o755), ("", 0o700)],
)
def test_without_a_record_a_folder_is_no_more_open_than_its_file(
    root: Path, store: LocalStore, bits: str, folder: int
) -> None:
    told = {"mode": bits} if bits else {"mtime_ns": "1"}
    with store.create("d/e/a", New(MINE)) as upload:
        upload.commit(origin_of(MINE), metadata=told)
    assert (mode(root / "d"), mode(root / "d/e")) == (folder, folder)


@pytest.mark.parametrize("record", ["", "junk", "0700:0:0", "0700:0:0/0700:0:0/0700:0:0", "9:9/x:y:z"])
def test_a_record_that_does_not_fit_is_none(root: Path, store: LocalStore, record: str) -> None:
    with store.create("d/e/a", New(MINE)) as upload:
        upload.commit(origin_of(MINE), metadata={"mode": "0640", "folders": record})
    assert (mode(root / "d"), mode(root / "d/e")) == (0o750, 0o750)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files and folders away")
def test_folders_belong_to_whom_they_belonged(root: Path, store: LocalStore) -> None:
    told = {"mode": "0640", "uid": "1234", "gid": "2345"}
    with store.create("d/a", New(MINE)) as upload:
        upload.commit(origin_of(MINE), metadata=told)
    with store.create("e/a", New(OTHER)) as upload:
        upload.commit(origin_of(OTHER), metadata={**told, "folders": "0711:1111:2222"})
    found = [(path.stat().st_uid, path.stat().st_gid, mode(path)) for path in (root / "d", root / "e")]
    assert found == [(1234, 2345, 0o750), (1111, 2222, 0o711)]


def test_a_folder_whose_owner_cannot_come_back_is_open_to_no_group_but_everybody(nobodys_root: Path) -> None:
    nobodys_root.chmod(0o777)
    store = LocalStore(nobodys_root.as_uri())
    stranger = f"{os.geteuid() + 1}:{os.getegid() + 1}" if os.geteuid() else "0:0"
    with as_nobody(), store.create("d/e/a", New(MINE)) as upload:
        told = {"mode": "0644", "folders": f"2775:{stranger}/0770:{stranger}"}
        upload.commit(origin_of(MINE), metadata=told)
        assert (mode(nobodys_root / "d"), mode(nobodys_root / "d/e")) == (0o755, 0o700)
