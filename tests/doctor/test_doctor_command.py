"""The command, and its page in the documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from storaged.catalog.engine import open_catalog
from storaged.cli.app import build
from storaged.cli.doctor import SHOWN
from storaged.work.doctor import KINDS, FindingKind
from storaged.work.doctor.examination import KEPT, newest
from tests.cli.lake import Lake
from tests.doctor.findings import commands

PAGE = Path(__file__).resolve().parents[2] / "docs" / "doctor.md"


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake whose objects were moved to the cold tier."""
    for name in ("STORAGED_CONFIG", "STORAGED_CATALOG_PASSWORD", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    place = tmp_path / "place"
    place.mkdir()
    return Lake(place).moved("a.csv", "esc\x1b[31m.csv")


def blob(lake: Lake, name: str) -> Path:
    [found] = (lake.place / "cold/lake").glob(name)
    return found


def test_a_lake_that_is_well_exits_with_0(lake: Lake) -> None:
    answer = lake.good("doctor", "--deep")
    assert answer.out.startswith("info no-backup: ")
    told = lake.good("doctor", "--json").json
    assert told["to_mend"] == 0
    assert told["counts"] == {"no-backup": 1}
    lake.configure(more="daemon: {backup: {tier: warm}}\n")
    lake.good("catalog", "backup")
    assert lake.good("doctor").out == "all is well\n"


def test_what_is_to_be_mended_is_told_with_its_command_and_exits_with_4(lake: Lake) -> None:
    blob(lake, "esc*").unlink()
    (lake.place / "cold/z").write_text("somebody's")
    answer = lake.ctl("doctor")
    assert answer.code == 4
    assert "2 findings to be mended" in answer.err
    lines = answer.out.splitlines()
    assert lines[0].startswith("error lost-blob: A blob is gone")
    assert lines[1].startswith("  cold:lake/esc%1B")
    assert lines[2].startswith("    mend: `storagectl undo 'lake/esc\\x1b[31m.csv'`")
    assert lines[4].startswith("warning foreign-object: ")
    assert "\x1b" not in answer.out
    told = lake.ctl("doctor", "--json")
    assert told.code == 4
    lost = told.json["findings"][0]
    assert (lost["check"], lost["severity"], lost["fixable"]) == ("lost-blob", "error", False)
    assert commands(lost["mend"]) == ["undo 'lake/esc\x1b[31m.csv'"]
    lake.good("undo", "lake/esc\x1b[31m.csv")
    (lake.place / "cold/z").unlink()
    lake.good("doctor")


def test_fix_mends_and_says_what(lake: Lake) -> None:
    stray = lake.place / "cold/.storaged/tmp" / ("0" * 32 + ".0")
    stray.write_bytes(b"left by a process that was killed")
    assert lake.ctl("doctor").code == 4
    assert stray.exists()
    answer = lake.good("doctor", "--fix")
    assert answer.out.startswith("mended: 1 stray\n")
    assert lake.good("doctor", "--fix").out.startswith("mended: nothing\n")
    assert lake.good("doctor", "--fix", "--json").json["mended"]["strays"] == 0
    assert stray.exists()
    lake.good("sweep", "--yes")
    assert not stray.exists()


def test_of_very_many_findings_the_first_are_shown_and_all_are_counted(lake: Lake) -> None:
    for n in range(SHOWN + 7):
        (lake.place / f"cold/{n:04}").write_text("somebody's")
    answer = lake.ctl("doctor")
    assert "  and 7 more" in answer.out.splitlines()
    assert answer.out.count("somebody") == 0
    told = lake.ctl("doctor", "--json").json
    assert (told["counts"]["foreign-object"], told["to_mend"]) == (SHOWN + 7, SHOWN + 7)
    assert len(told["findings"]) == SHOWN + 1


def test_without_fix_the_catalog_is_not_written(lake: Lake) -> None:
    blob(lake, "a.*.csv*").unlink()
    before = lake.state()
    catalog = (lake.place / "catalog.db").read_bytes()
    assert lake.ctl("doctor").code == 4
    assert (lake.place / "catalog.db").read_bytes() == catalog
    assert lake.state() == before


@pytest.mark.parametrize("option", ["--keep", "--fix"])
def test_what_is_found_is_kept_for_the_pages_where_it_is_wished(lake: Lake, option: str) -> None:
    blob(lake, "a.*.csv*").unlink()
    for n in range(KEPT + 7):
        (lake.place / f"cold/{n:04}").write_text("somebody's")
    assert lake.ctl("doctor", option).code == 4
    with open_catalog(f"sqlite:///{lake.place}/catalog.db") as catalog, catalog.read() as conn:
        found = newest(conn)
    assert found is not None
    assert found.numbers == {"lost-blob": 1, "foreign-object": KEPT + 7, "no-backup": 1}
    assert [f.check for f in found.findings].count("foreign-object") == KEPT


def test_without_a_catalog_it_says_so(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    assert Lake(place).ctl("doctor").code == 10


# -- the registry and its page ---------------------------------------------------------------------------------------


def row(kind: FindingKind) -> str:
    """A kind as the page's table has it."""
    mend = re.sub(r"{(\w+)}", lambda name: name[1].upper(), kind.mend)
    fixed = " · `--fix`" if kind.fixable else ""
    return f"| `{kind.check}` | {kind.severity}{fixed} | {kind.means} | {mend} |"


def test_the_page_has_every_finding_as_the_code_tells_it() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert rows == [row(kind) for kind in KINDS.values()]


def test_every_finding_is_made_by_some_test() -> None:
    here = Path(__file__).parent
    files = [*here.glob("test_*.py"), here.parent / "cli/test_mistakes.py"]
    texts = "".join(path.read_text() for path in files)
    assert [name for name in KINDS if f'"{name}' not in texts and f"{name} " not in texts] == []


def every_command(command: object = None, path: str = "") -> Iterator[str]:
    command = command or typer.main.get_command(build())
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from every_command(inner, f"{path} {name}".strip())


def test_every_command_that_a_finding_names_exists() -> None:
    known = set(every_command())
    named = [c for kind in KINDS.values() for c in commands(kind.mend)]
    assert len(named) > 20
    for command in named:
        words = re.sub(r"[{-].*", "", command).split()
        assert " ".join(words) in known, command
