"""Packs in the hands of GNU tar and bsdtar: names, modes, times and contents come back, and they warn of nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from storaged.codecs.pack import HELD, PACK, Member, Packer
from storaged.codecs.pack.header import TORN
from storaged.codecs.pack.packer import FRAME
from storaged.testing.contents import ORIGIN, BytesContent, BytesReader, content_of
from tests.codecs.pack_files import FILE, US, Given, anything, member, packed, some
from tests.laws import tries

ODD = (
    "a\nb",
    "-rf",
    "A",
    "a",
    "...",
    " a ",
    "a\\b",
    "a*?[b]",
    "host:file",
    "@LongLink",
    "%s",
    "\x01\x1b[31m",
    "e\u0301",
    "\U0001f6f7/\U0001f6f7",
    "\udcff\udcfe",
    "p" * 100,
    "p" * 101,
    "q" * 255,
    "/".join(["r" * 99] * 3),
    "/".join(["s" * 199] * 20),
    "\u00e9/" + "\u00e9" * 120,
    "t/" + "\udcff" * 150,
    "u/\n" + "\udcfe/" * 700 + "u",
)
TOOLS = {"tar": ("tar", "--zstd"), "bsdtar": ("bsdtar",)}
# As root bsdtar gives attributes back unasked, and ends with an error where the filesystem has none.
PLAIN = {"tar": (), "bsdtar": ("--no-xattrs",)}


def tool(name: str) -> Sequence[str]:
    """The beginning of its commands; skips the test where it is not there."""
    if shutil.which(name) is None or shutil.which("zstd") is None:
        pytest.skip(f"no {name} or no zstd on this machine; Python's tarfile is tried beside this")
    if name == "tar" and "GNU" not in subprocess.run(["tar", "--version"], capture_output=True, text=True).stdout:
        pytest.skip("the tar of this machine is not GNU tar")
    return TOOLS[name]


def restored(name: str, blob: bytes, place: Path, *, language: str = "C.UTF-8") -> None:
    """Have a tool unpack a pack into a new directory, without a word."""
    place.mkdir()
    (place.parent / "pack.tar.zst").write_bytes(blob)
    command = [*tool(name), *PLAIN[name], "-xpf", place.parent / "pack.tar.zst", "-C", place]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"LC_ALL": language}, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def found(place: Path) -> dict[str, Path]:
    """Every file below a directory by its name there."""
    return {str((Path(top) / f).relative_to(place)): Path(top) / f for top, _, files in os.walk(place) for f in files}


def same(members: Sequence[Given], place: Path) -> None:
    """What was packed is what is there."""
    files = found(place)
    assert set(files) == {told.name for told, _ in members}
    for told, data in members:
        path = files[told.name]
        is_now = path.stat()
        assert path.read_bytes() == data
        fraction = int(told.metadata["mtime_ns"][-3:]) if told.metadata == FILE else 0
        assert is_now.st_mtime_ns == told.mtime_us * 1000 + fraction
        assert oct(is_now.st_mode & 0o777) == oct(0o640 if told.metadata == FILE else 0o644)
        if os.geteuid() == 0 and told.metadata == FILE:
            assert (is_now.st_uid, is_now.st_gid) == (1000, 1001)


@pytest.mark.parametrize("language", ["C.UTF-8", "C"])
@pytest.mark.parametrize("name", TOOLS)
def test_odd_names_come_back(name: str, language: str, tmp_path: Path) -> None:
    """In either language: a name is bytes."""
    members = [member(each, content_of(number * 100, seed=number)) for number, each in enumerate(ODD)]
    _, blob, _ = packed(members)
    restored(name, blob, tmp_path / "there", language=language)
    same(members, tmp_path / "there")


def test_the_command_that_is_told_writes_a_member_out(tmp_path: Path) -> None:
    """Whatever its name: tar takes backslashes in names that it is asked for as escapes."""
    tool("tar")
    names = (*ODD, "n\\\\x", "c\\101", "z\\")
    members = [member(each, content_of(900, seed=number)) for number, each in enumerate(names)]
    _, blob, _ = packed(members)
    (tmp_path / "a pack.tar.zst").write_bytes(blob)
    for told, data in members:
        line = PACK.command(str(tmp_path / "a pack.tar.zst"), told.name)
        assert subprocess.run(["sh", "-c", line], capture_output=True, check=True).stdout == data


@pytest.mark.parametrize("name", TOOLS)
def test_contents_of_all_sizes_come_back(name: str, tmp_path: Path) -> None:
    """Of one frame and of several, held and streamed, of a file and of an object."""
    sizes = (0, 1, 512, FRAME - 1536, FRAME, 3 * FRAME + 1, HELD + 1)
    members = [*some(300), *(member(f"large/{size}", content_of(size, seed=size), metadata={}) for size in sizes)]
    _, blob, _ = packed(members)
    restored(name, blob, tmp_path / "there")
    same(members, tmp_path / "there")


@tries(8, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(members=st.lists(anything, min_size=1, max_size=12))
@pytest.mark.parametrize("name", TOOLS)
def test_whatever_was_packed_comes_back(
    name: str, members: list[Given], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each in a folder of its own: of two of which one's name is a folder of the other's there can be one file only."""
    apart = [(m._replace(name=f"{number}/{m.name}", mtime_us=US), data) for number, (m, data) in enumerate(members)]
    _, blob, _ = packed(apart)
    place = tmp_path_factory.mktemp("pack") / "there"
    restored(name, blob, place)
    files = found(place)
    assert {each: path.read_bytes() for each, path in files.items()} == {m.name: data for m, data in apart}
    assert all(path.stat().st_mtime_ns // 1000 == US for path in files.values())


@pytest.mark.parametrize("name", TOOLS)
def test_what_was_torn_is_no_file_that_could_be_taken_for_it(name: str, tmp_path: Path) -> None:
    data = content_of(HELD + 1)
    blob = bytearray()
    with Packer(blob.extend, level=3, origin=ORIGIN) as packer:
        packer.add(Member("a/large", len(data), US), BytesContent(data), still=lambda _digest: False)
        packer.put(*member("b", b"of the others"))
        packer.finish()
    restored(name, bytes(blob), tmp_path / "there")
    assert os.readlink(tmp_path / "there/a/large") == TORN.decode()
    with pytest.raises(FileNotFoundError):
        (tmp_path / "there/a/large").read_bytes()
    assert (tmp_path / "there/b").read_bytes() == b"of the others"


@pytest.mark.parametrize("name", TOOLS)
def test_a_listing_warns_of_nothing(name: str, tmp_path: Path) -> None:
    """Of names of attributes that only storaged asks for neither."""
    members = some(50)
    _, blob, _ = packed(members)
    (tmp_path / "pack.tar.zst").write_bytes(blob)
    done = subprocess.run([*tool(name), "-tvf", tmp_path / "pack.tar.zst"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split()[-1] for line in done.stdout.splitlines()] == [m.name for m, _ in members]


@pytest.mark.parametrize("name", TOOLS)
def test_attributes_come_back_where_they_are_asked_for(name: str, tmp_path: Path) -> None:
    """The object's own, and what only storaged asks for."""
    try:
        os.setxattr(tmp_path, "user.tried", b"")
    except OSError:
        pytest.skip("no extended attributes on this filesystem")
    one = member("a", b"content", metadata=FILE | {"xattr:user.k": "dgAK/w==", "xattr:user.storaged.digest": "AA=="})
    _, blob, [at] = packed([one])
    place = tmp_path / "there"
    place.mkdir()
    (tmp_path / "pack.tar.zst").write_bytes(blob)
    command = [*tool(name), "--xattrs", "-xpf", "../pack.tar.zst"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    told = {each: os.getxattr(place / "a", each) for each in os.listxattr(place / "a") if each.startswith("user.")}
    assert told.pop("user.k") == b"v\0\n\xff"
    assert told.pop("user.storaged.digest") == at.digest.encode()
    assert told.pop("user.storaged.generation") == b"3"
    assert re.match(rb'\{"links":"1",', told.pop("user.storaged.metadata"))
    assert told == {}
    assert next(PACK.contents(BytesReader(blob))).member.metadata == one[0].metadata
