"""The units as texts, judged by systemd's own tool."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storaged.cli.errors import EXIT_CODES
from storaged.config.settings import Settings, load_settings
from storaged.daemon.units import DROP_IN, UNIT, Account, drop_in, sealed, unit, untouched, writable
from storaged.errors import CatalogBehind, CatalogError, CatalogLocked, ConfigError, ForeignClaim, UsageError
from tests.systemd.conftest import Analyze
from tests.systemd.sandbox import settings as directives

ACCOUNT = Account("storaged", "readers")
PROGRAM = Path(sys.executable).parent / "storaged"
LOCAL = """\
catalog: sqlite:////etc/storaged/storaged.db
state_dir: /etc/storaged/state
policies: /etc/storaged/policies
tiers:
  hot: {rank: 0, url: "file:///srv/tiers/hot"}
  cold: {rank: 1, url: "file:///mnt/tape 1/cold"}
datasets:
  events: {root: "file:///srv/data/events"}
heat:
  - {name: reads, format: jsonl, path: "/etc/storaged/logs/2026/*/reads.jsonl"}
  - {name: within, format: jsonl, path: "/srv/data/events/logs/*.jsonl"}
"""
REMOTE = """\
catalog: postgresql://storaged@db.example.org/storaged
state_dir: /var/lib/storaged/state
policies: /etc/storaged/policies
tiers:
  hot: {rank: 0, url: "s3://acme-hot/tier"}
  archive: {rank: 1, url: "s3://acme-archive/tier", storage_class: DEEP_ARCHIVE}
datasets:
  events: {root: "s3://acme-lake/events"}
buckets:
  acme-*: {profile: lake}
daemon: {listen: "0.0.0.0:9464", token_file: /etc/storaged/token, drain: 5m}
"""
ENVIRON = {
    "AWS_CONFIG_FILE": "/etc/storaged/aws 100%",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "STORAGED_CATALOG_PASSWORD": "secret",
    "HOME": "/home/ana",
}


def loaded(place: Path, text: str) -> Settings:
    """The settings of a storaged.yaml in `place`."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "storaged.yaml").write_text(text, encoding="utf-8")
    return load_settings(place / "storaged.yaml")


def installed(place: Path, config: Settings, program: Path = PROGRAM, *, system: bool = True) -> Path:
    """Unit and drop-in as files; the path of the unit."""
    (place / DROP_IN).parent.mkdir(parents=True)
    (place / UNIT).write_text(sealed(unit(system=system)))
    (place / DROP_IN).write_text(sealed(drop_in(config, program, ACCOUNT if system else None, ENVIRON)))
    return place / UNIT


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program that is there: systemd checks that."""
    path = tmp_path / "bin" / "storaged"
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


# -- what the drop-in says -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "text"), [("local", LOCAL), ("remote", REMOTE)])
def test_the_drop_in_is_as_reviewed(name: str, text: str, tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    """Paths, user, credentials and variables of a lake on disks, and of one in buckets with Postgres."""
    config = loaded(tmp_path, text)
    config._file = Path("/etc/storaged/storaged.yaml")
    golden(f"{name}.conf", drop_in(config, Path("/opt/storaged/bin/storaged"), ACCOUNT, ENVIRON))
    golden(f"{name}-user.conf", drop_in(config, Path("/home/ana/.venv/bin/storaged"), None, ENVIRON))


def test_no_secret_reaches_a_unit(tmp_path: Path) -> None:
    """Files that hold secrets are named; variables that hold them are not passed on."""
    passed = {"STORAGED_CATALOG_PASSWORD_FILE": "/run/password 50%", "STORAGED_NOTIFY_OPS_SECRET_FILE": "/run/key"}
    named = {**ENVIRON, **passed, "STORAGED_NOTIFY_OPS_URL": "=secret"}
    told = 'notify: [{name: ops, url: "https://example.org"}]\n'
    text = drop_in(loaded(tmp_path, REMOTE + told), PROGRAM, ACCOUNT, named)
    assert "=secret" not in text
    assert "LoadCredential=storaged.catalog_password:/run/password 50%%\n" in text
    assert "LoadCredential=storaged.notify_ops_secret:/run/key\n" in text
    assert "LoadCredentialEncrypted" not in text


def test_a_stop_waits_longer_than_the_daemon_does(tmp_path: Path) -> None:
    """TimeoutStopSec= of the unit suits the default of `daemon.drain`, that of the drop-in any other."""
    default, long = loaded(tmp_path / "a", LOCAL), loaded(tmp_path / "b", LOCAL + "daemon: {drain: 10m}\n")
    shipped, made = directives(unit(system=True)), directives(drop_in(default, PROGRAM, ACCOUNT, {}))
    assert shipped["TimeoutStopSec"] == made["TimeoutStopSec"] == ["90s"]
    assert directives(drop_in(long, PROGRAM, ACCOUNT, {}))["TimeoutStopSec"] == ["630s"]


def test_a_place_for_temporary_files_is_not_hidden_from_the_service(tmp_path: Path) -> None:
    """PrivateTmp= goes only where something of ours lies in /tmp."""
    here, there = loaded(tmp_path / "a", LOCAL), loaded(tmp_path / "b", LOCAL.replace("/srv/", "/var/tmp/"))
    here._file = there._file = Path("/etc/storaged/storaged.yaml")
    opt = Path("/opt/storaged/bin/storaged")
    found = [directives(drop_in(config, opt, ACCOUNT, {})).get("PrivateTmp") for config in (here, there)]
    assert found == [None, ["no"]]


@pytest.mark.parametrize("name", ["line\nfeed", "escape\x1b", "lone\udcff"])
def test_a_path_that_no_unit_can_name_is_refused(name: str, tmp_path: Path) -> None:
    """An error with a hint instead of a unit that means something else."""
    config = loaded(tmp_path, LOCAL)
    config._file = Path("/etc") / name
    with pytest.raises(UsageError, match="no unit can name"):
        drop_in(config, PROGRAM, ACCOUNT, {})


@pytest.mark.parametrize("name", ["it's", 'a"b', "a\\b"])
def test_a_program_that_systemd_does_not_run_is_refused(name: str, tmp_path: Path) -> None:
    """systemd takes no quotes and backslashes in the path of a program, however they are written."""
    with pytest.raises(UsageError, match="runs no program"):
        drop_in(loaded(tmp_path, LOCAL), Path("/opt") / name / "storaged", ACCOUNT, {})


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_text_is_ours_until_it_is_edited(text: str, more: str) -> None:
    """Sealed texts are known again; with anything added, or without their first line, they are not."""
    assert untouched(sealed(text))
    assert not untouched(sealed(text) + more)
    assert not untouched(text)


# -- what systemd makes of it ----------------------------------------------------------------------------------------

# Of tiers; no URL may have % ? #, which the other paths have.
ODD = ("plain", "a b", "it's", 'say "x"', "back\\slash", "ünï 😀", "$HOME", ";", "a,b:c", "-", "*")


def test_systemd_reads_every_path_as_it_is_meant(tmp_path: Path, program: Path, analyze: Analyze) -> None:
    """Spaces, specifiers, quotes, backslashes, variables, emoji: what systemd understood is what was meant."""
    place = tmp_path / "etc"
    tiers = {f"t{n}": {"rank": n, "url": f"file:///srv/{name}"} for n, name in enumerate(ODD)}
    state = place / "100% %n #x"
    text = json.dumps({"tiers": tiers, "state_dir": str(state)}, ensure_ascii=False)
    odd_program = tmp_path / "b %n $HOME ü;" / "storaged"
    odd_program.parent.mkdir()
    program.rename(odd_program)
    config = loaded(place / "it's $HOME\\é", text)
    path = installed(tmp_path / "units", config, odd_program)
    assert analyze("verify", path).stderr == ""
    told = analyze("verify", path, debug=True).stdout
    required = set(re.findall(r"RequiresMountsFor: (.*) \(origin-file\)", told))
    assert {str(p) for p in writable(config)} == required - {"/var/lib/storaged"}
    assert len(required) > 10
    [paths] = re.findall(r"ReadWritePaths: (.*)", told)
    assert paths == " ".join(map(str, writable(config)))
    quoted = [re.sub(r'([\\"$])', r"\\\1", str(p)) for p in (odd_program, config.file)]
    assert f'"{quoted[0]}" --config "{quoted[1].replace("$", "$" + chr(92) + "$")}" run' in told


@pytest.mark.parametrize("text", [LOCAL, REMOTE], ids=["local", "remote"])
@pytest.mark.parametrize("system", [True, False], ids=["system", "user"])
def test_systemd_has_nothing_to_say_against_the_units(
    text: str, system: bool, tmp_path: Path, program: Path, analyze: Analyze
) -> None:
    """`systemd-analyze verify` is silent: every directive is known and every value can be read."""
    path = installed(tmp_path / "units", loaded(tmp_path / "etc", text), program, system=system)
    done = analyze("verify", *([] if system else ["--user"]), path)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_would_complain_about_a_directive_that_it_does_not_know(
    tmp_path: Path, program: Path, analyze: Analyze
) -> None:
    """The test above can fail."""
    path = installed(tmp_path / "units", loaded(tmp_path / "etc", LOCAL), program)
    path.write_text(path.read_text().replace("ProtectClock=", "ProtectClocks="))
    assert "ProtectClocks" in analyze("verify", path).stderr


@pytest.mark.parametrize("text", [None, LOCAL, REMOTE], ids=["shipped", "local", "remote"])
def test_the_exposure_is_below_two(text: str | None, tmp_path: Path, program: Path, analyze: Analyze) -> None:
    """`systemd-analyze security` rates the unit as it is shipped, and with its drop-in."""
    if text is None:
        path = tmp_path / UNIT
        path.write_text(unit(system=True))
    else:
        path = installed(tmp_path / "units", loaded(tmp_path / "etc", text), program)
    done = analyze("security", "--offline=true", "--threshold=20", "--no-pager", path)
    [level] = re.findall(r"Overall exposure level for storaged.service: ([0-9.]+)", done.stdout)
    assert done.returncode == 0
    assert 0 < float(level) < 2.0


def test_every_directive_of_the_sandbox_has_its_reason_beside_it() -> None:
    """Every paragraph of [Service] but the first begins with a comment."""
    service = unit(system=True).split("[Service]\n")[1].split("\n[Install]")[0]
    first, *rest = service.strip().split("\n\n")
    assert first.startswith("ExecStart=")
    assert len(rest) > 20
    assert [paragraph for paragraph in rest if not paragraph.startswith("# ")] == []


def test_a_users_unit_has_nothing_that_needs_root() -> None:
    """No other user, no mount namespaces, no capabilities; the filters of calls, memory and addresses stay."""
    told = directives(unit(system=False))
    assert [name for name in told if name.startswith(("Protect", "Private", "User", "Group", "Capab", "State"))] == []
    assert {"NoNewPrivileges", "SystemCallFilter", "MemoryDenyWriteExecute", "Type", "WatchdogSec"} <= set(told)
    assert told["WantedBy"] == ["default.target"]
    shipped = directives(unit(system=True))
    assert {name: values for name, values in told.items() if name != "WantedBy"}.items() <= shipped.items()
    assert all(not line.startswith("#") for line in unit(system=False).split("\n\n")[-1].splitlines())


def test_errors_that_only_a_person_can_mend_are_not_tried_again() -> None:
    """Exit codes of RestartPreventExitStatus= are real ones; a catalog that is away or locked is tried again."""
    [listed] = directives(unit(system=True))["RestartPreventExitStatus"]
    codes = {int(code) for code in listed.split()}
    assert codes <= set(EXIT_CODES)
    assert codes == {error.exit_code for error in (ConfigError, CatalogBehind, ForeignClaim)}
    assert not codes & {error.exit_code for error in (CatalogError, CatalogLocked)}


def test_the_repository_shows_the_unit_that_is_shipped() -> None:
    """systemd/storaged.service is a link to the file in the package."""
    link = Path(__file__).resolve().parents[2] / "systemd" / UNIT
    assert link.read_text() == unit(system=True)
