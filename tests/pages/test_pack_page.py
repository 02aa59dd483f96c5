"""What `docs/reading-without-storaged.md` shows of a pack, typed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.codecs.pack_files import packed, some
from tests.pages.blocks import sections
from tests.pages.shell import Shell

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reading-without-storaged.md"


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
