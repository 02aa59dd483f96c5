"""What `docs/reading-without-storaged.md` shows of a pack, typed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.codecs.pack_files import member, packed, some
from tests.pages.blocks import sections
from tests.pages.shell import Shell

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "reading-without-storaged.md"
PACKS = DOCS / "packs.md"


def test_a_pack_is_read_without_storaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of its section, in a directory with one pack; bsdtar's where it is installed."""
    for command in ("tar", "zstd", "strings"):
        if shutil.which(command) is None:
            pytest.skip(f"no {command} on this machine")
    (tmp_path / "events.0123456789abcdef.tar.zst").write_bytes(packed(some(3))[1])
    lacking = {} if shutil.which("bsdtar") else {r".*bsdtar|diff": "not installed here"}
    [section] = [part for part in sections(PAGE) if part.title == "A pack"]
    shell = Shell(tmp_path, monkeypatch, skipped=lacking)
    shell.go(section)
    assert shell.ran >= 7


def test_a_name_that_is_a_folder_of_another_is_unpacked_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("tar") is None or shutil.which("zstd") is None:
        pytest.skip("no tar or zstd on this machine")
    names = {"a/tr": b"first", "a/tr/in.json": b"{}", "b.json": b"1"}
    given = [member(name, data) for name, data in names.items()]
    (tmp_path / "events.0123456789abcdef.tar.zst").write_bytes(packed(given)[1])
    [section] = [part for part in sections(PACKS) if part.title == "Unpacking one where a name is a folder of another"]
    shell = Shell(tmp_path, monkeypatch)
    shell.go(section)
    assert shell.ran == 5
    assert {name: (tmp_path / "all" / name).read_bytes() for name in ("a/tr", "b.json")} == {
        "a/tr": b"first",
        "b.json": b"1",
    }
    assert (tmp_path / "all/a/tr.below/in.json").read_bytes() == b"{}"
