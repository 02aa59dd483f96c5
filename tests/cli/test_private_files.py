"""What the command line writes for itself is for nobody else, whatever the umask; `config check` names what is not."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.lake import Lake


@pytest.fixture(params=[0o000, 0o022], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def modes(place: Path) -> dict[str, int]:
    return {str(path.relative_to(place)): stat.S_IMODE(path.stat().st_mode) for path in place.rglob("*")}


@pytest.mark.usefixtures("umask")
def test_everything_that_storaged_keeps_is_for_nobody_else(lake: Lake) -> None:
    before = set(modes(lake.place))
    lake.moved("a.csv")
    lake.good("catalog", "backup", "--tier", "warm")
    lake.good("cat", "lake/a.csv")  # into the spool
    lake.good("sql", "SELECT 1", "-o", str(lake.place / "rows.csv"))
    lake.good("cost", "--export", str(lake.place / "bill.csv"))
    lake.good("catalog", "backups")
    (lake.place / "catalog.db").unlink()
    lake.good("catalog", "restore")
    made = {name: mode for name, mode in modes(lake.place).items() if name not in before and name != "lake/a.csv"}
    assert {"catalog.db", "state", "rows.csv", "bill.csv"} < set(made)
    assert [name for name in made if "/journal/" in name]
    assert [name for name in made if "/backup/" in name]
    assert {name: oct(mode) for name, mode in made.items() if mode & 0o077} == {}


def test_a_file_that_is_there_keeps_its_mode(lake: Lake) -> None:
    out = lake.place / "rows.csv"
    out.touch()
    out.chmod(0o644)
    lake.fill("a.csv")
    lake.good("sql", "SELECT 1", "-o", str(out))
    assert stat.S_IMODE(out.stat().st_mode) == 0o644


@pytest.fixture
def open_lake() -> Iterator[Lake]:
    """A lake that every user can come to."""
    place = Path(tempfile.mkdtemp()).resolve()
    place.chmod(0o755)
    yield Lake(place)
    shutil.rmtree(place)


def test_config_check_names_what_everybody_can_get_at(open_lake: Lake) -> None:
    place = open_lake.place
    for name in ("hot", "warm"):
        (place / name).chmod(0o700)
    (place / "cold").chmod(0o755)
    (place / "policies").chmod(0o777)
    told = open_lake.good("config", "check", "--json").json["open_to_all"]
    assert told == [
        f"everybody on this machine can read {place}/cold",
        f"everybody on this machine can write to {place}/policies",
    ]
    said = open_lake.good("config", "check")
    assert "good (" in said.out
    for line in told:
        assert f"warning: {line}" in said.err


def test_config_check_names_links_with_file_and_line(lake: Lake) -> None:
    (lake.place / "cold").rename(lake.place / "moved")
    (lake.place / "cold").symlink_to("moved")
    said = lake.ctl("config", "check")
    assert said.code == 2
    assert f"{lake.config}:6 at tiers.cold.url: {lake.place}/cold is reached through a symbolic link" in said.err
    assert "follow: true" in said.err
    assert lake.ctl("catalog", "create").code != 0
    assert not list((lake.place / "moved").iterdir())
