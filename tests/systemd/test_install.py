"""`storagectl systemd`: what is written where, what is left alone, and what comes next."""

from __future__ import annotations

from pathlib import Path

import pytest

from storaged.daemon.units import DROP_IN, UNIT, untouched
from tests.cli.lake import Answer, Lake
from tests.systemd.conftest import Analyze


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the tester's own settings reaches a command, and nothing is written to the tester's home."""
    for name in ("STORAGED_CONFIG", "STORAGED_CATALOG_PASSWORD", "STORAGED_CATALOG_PASSWORD_FILE", "PGPASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home config"))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The root of a machine that is being made."""
    return tmp_path / "image"


def install(lake: Lake, image: Path, *more: str) -> Answer:
    """For the whole machine, below `image`."""
    return lake.ctl("systemd", "install", "--root", str(image), *more)


def tree(place: Path) -> dict[str, str]:
    """Every file below, with its text."""
    return {str(p.relative_to(place)): p.read_text() for p in sorted(place.rglob("*")) if p.is_file()}


def test_unit_and_drop_in_are_written_once(lake: Lake, image: Path) -> None:
    """The second time nothing changes, and no command is told."""
    first = install(lake, image, "--json").json
    written = tree(image)
    directory = "etc/systemd/system/"
    assert set(written) == {directory + UNIT, directory + DROP_IN}
    assert all(untouched(text) for text in written.values())
    assert set(first["files"].values()) == {"created"}
    assert first["next"] == ["systemctl daemon-reload && systemctl enable --now storaged"]
    assert {oct(p.stat().st_mode & 0o777) for p in image.rglob("*") if p.is_file()} == {"0o644"}
    again = install(lake, image)
    assert again.code == 0
    assert again.out.count("unchanged: ") == 2
    assert "next:" not in again.out
    assert tree(image) == written


def test_a_new_tier_changes_the_drop_in_only(lake: Lake, image: Path) -> None:
    """After that a restart is due."""
    install(lake, image)
    lake.config.write_text(lake.config.read_text().replace("/warm", "/warmer"))
    told = install(lake, image, "--json").json
    assert list(told["files"].values()) == ["unchanged", "changed"]
    assert told["next"] == ["systemctl daemon-reload && systemctl restart storaged"]
    assert f"ReadWritePaths={lake.place}/warmer\n" in tree(image)["etc/systemd/system/" + DROP_IN]


def test_a_dry_run_shows_the_difference_and_writes_nothing(lake: Lake, image: Path) -> None:
    """Before there is anything, and when something would change."""
    assert "+ExecStart=/opt/storaged/bin/storaged" in install(lake, image, "--dry-run").out
    assert not image.exists()
    install(lake, image)
    before = tree(image)
    lake.config.write_text(lake.config.read_text().replace("/warm", "/warmer"))
    shown = install(lake, image, "--dry-run")
    assert f"-ReadWritePaths={lake.place}/warm\n+ReadWritePaths={lake.place}/warmer\n" in shown.out
    assert "would be changed: " in shown.out
    assert tree(image) == before


@pytest.mark.parametrize("name", [UNIT, DROP_IN])
def test_what_a_person_edited_is_left_as_it_is(name: str, lake: Lake, image: Path) -> None:
    """Neither file is written then; --force writes both."""
    install(lake, image)
    written = tree(image)
    path = image / "etc/systemd/system" / name
    path.write_text(path.read_text() + "# mine\n")
    (image / "etc/systemd/system" / (DROP_IN if name == UNIT else UNIT)).unlink()
    edited = tree(image)
    refused = install(lake, image)
    assert refused.code == 2
    assert "edited by hand" in refused.err
    assert "--force" in refused.err
    assert tree(image) == edited
    assert install(lake, image, "--dry-run", "--json").json["edited"] == [str(path)]
    assert install(lake, image, "--force").code == 0
    assert tree(image) == written


def test_a_users_own_service_goes_to_the_users_configuration(lake: Lake, tmp_path: Path) -> None:
    """And it runs on without a login only with lingering."""
    done = lake.ctl("systemd", "install", "--user")
    assert set(tree(tmp_path / "home config/systemd/user")) == {UNIT, DROP_IN}
    assert "next: systemctl --user daemon-reload && systemctl --user enable --now storaged\n" in done.out
    assert "loginctl enable-linger" in done.out


def test_show_prints_what_install_would_write(lake: Lake, image: Path) -> None:
    """Text and JSON; nothing is written."""
    shown = lake.ctl("systemd", "show")
    told = lake.ctl("systemd", "show", "--json").json["files"]
    assert not image.exists()
    install(lake, image)
    assert {path.lstrip("/"): text for path, text in told.items()} == tree(image)
    assert all(text in shown.out for text in told.values())


def test_what_the_service_would_miss_is_told(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Directories, and secrets that only this shell has."""
    (lake.place / "warm").rmdir()
    monkeypatch.setenv("PGPASSWORD", "secret")
    told = lake.ctl("systemd", "install", "--user", "--dry-run", "--json").json["missing"]
    assert f"the directory {lake.place}/warm" in told
    assert "$PGPASSWORD, which is set here and not in the service" in told
    assert not [line for line in told if line.startswith("the user")]
    system = lake.ctl("systemd", "install", "--run-as", "nobody-at-all", "--dry-run", "--json").json["missing"]
    assert [line for line in system if line.startswith("the user nobody-at-all; make it: useradd ")]


def test_a_directory_that_the_services_user_cannot_enter_is_told(lake: Lake) -> None:
    """systemd itself would only say 203/EXEC, or that there is no configuration."""
    lake.place.chmod(0o700)
    told = lake.ctl("systemd", "install", "--run-as", "nobody", "--dry-run", "--json").json["missing"]
    assert f"a way for nobody into {lake.place}: program or configuration are below" in told


@pytest.mark.parametrize("who", ["", "a b", "x\nExecStart=/bin/sh", "a:b:c", "%n", "-a"])
def test_a_name_that_is_no_users_is_refused(who: str, lake: Lake, image: Path) -> None:
    """What stands behind User= is a name and nothing else."""
    refused = install(lake, image, f"--run-as={who}")
    assert refused.code == 2
    assert "cannot be a user" in refused.err
    assert not image.exists()


def test_a_file_that_cannot_be_written_is_an_error_and_leaves_nothing(lake: Lake, image: Path) -> None:
    """Even for root: something stands where the new file would be made. The hint says who may write."""
    (image / "etc/systemd/system" / f".{UNIT}.new").mkdir(parents=True)
    refused = install(lake, image)
    assert refused.code == 1
    assert "cannot be written" in refused.err
    assert "--user writes your own" in refused.err
    assert tree(image) == {}


def test_a_file_that_cannot_be_read_is_an_error(lake: Lake, image: Path) -> None:
    """Not taken for one that is missing."""
    image.mkdir()
    (image / "etc").write_text("")
    refused = install(lake, image)
    assert refused.code == 1
    assert "cannot be read" in refused.err


def test_what_is_installed_is_what_systemd_takes(lake: Lake, image: Path, analyze: Analyze) -> None:
    """The files as written, with the program that is running."""
    install(lake, image)
    done = analyze("verify", image / "etc/systemd/system" / UNIT)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
