"""What README, tutorial and how-tos show runs as it is shown: every command, on a lake made up for the page."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from demo.lake import Lake
from demo.story import prepare
from demo.tiers import directories
from storaged.config.settings import load_settings
from storaged.testing.servers import ENVIRONMENT, REGION, MotoServer
from tests.pages.blocks import Section, Shown, Written, differs, sections
from tests.pages.lakes import (
    LAKE_CONFIG,
    LAKE_POLICY,
    eight_files,
    file,
    log_buckets,
    nine_days,
    projects,
    share,
    table,
)
from tests.pages.shell import Shell
from tests.pages.trades import clinic, fleet, market

pytestmark = pytest.mark.timeout(600)  # some of them run all that a page shows
ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
HOW_TO = DOCS / "how-to"
OTHERS = ("tutorial.md", "first-day.md", "simulate.md")  # pages whose commands are run too
Make = Callable[..., Shell]
EVERYWHERE = {  # commands that no test runs, and why
    r"make ": "makes environments; `make test` itself and the tests of the demo run them",
    r"pip install": "installs packages",
    r"\. \.venv/bin/activate|cd ": "the test is there already",
    r"systemctl|storagectl systemd install|sudo": "changes the machine",
    r"storaged( --config \S+)? run": "runs until it is stopped: the tests of the daemon run it",
    r"aws ": "needs an account",
    r"dask ": "starts a cluster: the tests of the daemon start one",
}


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A function that makes a shell whose /srv is below the test's directory."""

    def make(**more: Any) -> Shell:
        place = tmp_path / "here"
        place.mkdir(exist_ok=True)
        return Shell(place, monkeypatch, moved={"/srv": tmp_path / "srv"}, skipped=EVERYWHERE, **more)

    return make


@pytest.fixture
def buckets(moto: MotoServer) -> dict[str, Any]:
    """What a shell needs to reach the buckets of a page, which has none of its own."""
    access = f'{{endpoint: "{moto.endpoint}", region: {REGION}, path_style: true}}'
    return {"more_config": f"buckets: {{'acme-*': {access}}}\n", "environment": ENVIRONMENT}


def section(page: Path, title: str) -> Section:
    """One section of a page."""
    [found] = [section for section in sections(page) if section.title == title]
    return found


def test_every_how_to_has_a_test_and_every_exception_is_needed() -> None:
    """A page that nobody runs fails here, and so does a reason for a command that no page shows."""
    tests = Path(__file__).read_text()
    pages = sorted(HOW_TO.glob("*.md"))
    assert {page.name for page in pages} == set(re.findall(r"[\w-]+\.md", tests)) - {*OTHERS, "README.md"}
    assert [part.title for part in sections(README) if f'"{part.title}"' not in tests] == []
    steps = [
        step
        for page in [README, *(DOCS / name for name in OTHERS), *pages]
        for part in sections(page)
        for step in part.steps
    ]
    shown = [step.text for step in steps if isinstance(step, Shown)]
    assert [pattern for pattern in EVERYWHERE if not any(re.match(pattern, text) for text in shown)] == []


@pytest.mark.parametrize(
    ("real", "same"),
    [
        ("plan 12: 100 objects, 9.5 MiB, $0.98 … $1,036", True),
        ("plan 12: 100 objects, 9.9 MiB, $1.05 … $940", True),
        ("plan 12: 101 objects, 9.5 MiB, $0.98 … $1,036", False),
        ("plan 13: 100 objects, 9.5 MiB, $0.98 … $1,036", False),
        ("plan 12: 100 objects, 10.6 MiB, $0.98 … $1,036", False),
        ("plan 12: 100 objects, 9.5 MiB, $0.98 … $900", False),
    ],
)
def test_a_page_may_be_off_by_a_tenth_in_what_varies_with_the_hour_and_by_nothing_in_counts(
    real: str, same: bool
) -> None:
    assert (differs(("plan 12: 100 objects, 9.5 MiB, $0.98 … $1,036",), real) == "") is same


def test_trying_a_policy_on_ones_own_past(shell: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is what the generator, the policy and the price books of this version come to."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    typed = shell()
    typed.go(section(DOCS / "simulate.md", "Try your policy on your own past"))
    assert (typed.place / "demo/cool.yaml").read_text() == (ROOT / "demo/cool.yaml").read_text()
    assert (typed.place / "simulate.svg").read_text().startswith("<?xml")


def test_readme_how_much_could_be_saved_and_what_it_looks_like(
    shell: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo's lake of a whole year: as somebody's own by quickstart, which leaves it as it is; then taken through
    the commands of the README."""
    typed, place = shell(), tmp_path / "first"
    with directories(typed.place / "tiers") as tiers:
        prepare(Lake(typed.place, tiers), days=365)
    place.mkdir()
    first = Shell(place, monkeypatch, moved={"/srv/data": typed.place / "data"}, skipped=EVERYWHERE)
    first.go(section(README, "How much could you save?"))
    assert not list((typed.place / "data").rglob(".storaged"))
    monkeypatch.chdir(typed.place)
    for words in ("catalog create", "scan", "ingest"):
        typed.type(Shown(0, f"storagectl {words}", 0))
    typed.go(section(README, "What it looks like"))


def test_readme_how_to_start(shell: Make, tmp_path: Path) -> None:
    """A starter's configuration, edited as little as can be."""
    typed = shell()
    for tier in ("hot", "warm", "cold"):
        (tmp_path / "srv/storaged" / tier).mkdir(parents=True)
    file(tmp_path / "srv/data/example/a.csv", table(1_000), days_old=100)
    typed.go(section(README, "Starting"))


def test_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From its first command to its last, on the lake that it prepares."""
    place = tmp_path / "tutorial"
    place.mkdir()
    with directories(place / "tiers") as tiers:
        prepare(Lake(place, tiers), days=31)
    skipped = EVERYWHERE | {"python -m demo": "what it calls made the lake"}
    shell = Shell(place, monkeypatch, skipped=skipped)
    for part in sections(DOCS / "tutorial.md"):
        shell.go(part)
    assert shell.ran > 25


def test_the_first_day(shell: Make, tmp_path: Path) -> None:
    """From nothing to an undo, on three tables."""
    for year in (2013, 2014, 2015):
        file(tmp_path / f"srv/data/flights/{year}.csv", table(12_000), days_old=100)
    page = shell()
    for part in sections(DOCS / "first-day.md"):
        if part.title != "A bucket":  # which the tests of quickstart read
            page.go(part)


def all_of(page: str, shell: Shell) -> None:
    """Every section of a how-to in its order."""
    for part in sections(HOW_TO / page):
        shell.go(part)


def test_a_bucket_of_raw_logs(shell: Make, buckets: dict[str, Any], moto: MotoServer) -> None:
    """Logs in a bucket, of which the access logs of S3 tell who reads them."""
    with contextmanager(log_buckets)(moto):
        all_of("raw-log-bucket.md", shell(**buckets))


def test_frames_of_a_fleet(shell: Make, buckets: dict[str, Any], moto: MotoServer) -> None:
    """Three drives become a pack each; one comes back within the grace, one after it."""
    with fleet(moto):
        all_of("fleet-frames.md", shell(**buckets))


@pytest.mark.campaign
def test_market_ticks(shell: Make, buckets: dict[str, Any], moto: MotoServer) -> None:
    """Days that are read at their quarter's end: judged on that, stored as Parquet in a colder class, one undone."""
    with market(moto):
        all_of("market-ticks.md", shell(**buckets))


@pytest.mark.campaign
def test_medical_images(shell: Make, buckets: dict[str, Any], moto: MotoServer) -> None:
    """Studies in a class that is read at once, read by pydicom there; one on hold stays, one is undone."""
    with clinic(moto):
        all_of("medical-images.md", shell(**buckets))


def test_a_research_archive(shell: Make, buckets: dict[str, Any], moto: MotoServer, tmp_path: Path) -> None:
    """Projects from a disk to Deep Archive, and one asked for again."""
    projects(tmp_path / "srv")
    moto.make_bucket("acme-archive")
    all_of("research-archive.md", shell(**buckets))
    moto.forget("acme-archive")


def test_an_nfs_share(shell: Make, tmp_path: Path) -> None:
    """A share that is unmounted once: another directory is under its path then."""
    srv = tmp_path / "srv"
    share(srv)

    def unmount() -> None:
        (srv / "nfs").rename(srv / "unmounted")
        (srv / "nfs/work").mkdir(parents=True)

    def mount() -> None:
        shutil.rmtree(srv / "nfs")
        (srv / "unmounted").rename(srv / "nfs")

    all_of("nfs-share.md", shell(stands_for={"sudo umount /srv/nfs": unmount, "sudo mount /srv/nfs": mount}))


def test_a_tier_that_fills_up(shell: Make, tmp_path: Path) -> None:
    """Two of nine objects go, and two folders with them."""
    nine_days(tmp_path / "srv")
    all_of("tier-that-fills-up.md", shell())


def half_swept(shell: Shell, srv: Path) -> None:
    """Of eight files four moved and are released, two moved and are in grace, two stayed."""
    eight_files(srv)
    shell.write(Written(1, "storaged.yaml", LAKE_CONFIG))
    for command in ("catalog create", "scan"):
        shell.type(Shown(0, f"storagectl {command}", 0))
    for plan, start in ((1, "old"), (2, "new")):
        shell.write(Written(1, "policies/shrink.yaml", LAKE_POLICY % start))
        for command in ("plan", f"apply {plan} --yes"):
            shell.type(Shown(0, f"storagectl {command}", 0))
        if start == "old":
            for command in ("sleep 8d", "storagectl sweep --yes"):
                shell.type(Shown(0, command, 0))
    assert not (srv / "lake/old.csv").exists()


def test_appending_by_path(shell: Make, tmp_path: Path) -> None:
    """A line for a file that is released; both put together; the old one let go."""
    appending = shell()
    half_swept(appending, tmp_path / "srv")
    before = table(2_000)
    all_of("append-by-path.md", appending)
    assert (tmp_path / "srv/lake/old.csv").read_bytes() == before + b"one more line\n"


def test_bringing_everything_back(shell: Make, tmp_path: Path) -> None:
    """All of it, after a look at a blob with nothing but zstd."""
    back = shell()
    half_swept(back, tmp_path / "srv")
    page = HOW_TO / "bring-everything-back.md"
    if shutil.which("zstd"):  # where it is not installed the tests of the codec read blobs with its library
        back.go(section(page, "Without storaged"))
        assert (back.place / "old.csv").read_bytes() == table(2_000)
    for part in sections(page):
        if part.title != "Without storaged":
            back.go(part)
    assert sorted(p.name for p in (tmp_path / "srv").rglob("*")) == sorted(
        ["lake", *(f"{name}.csv" for name in ("new", "new-2", "old", "old-2", "old-3", "old-4", "stay", "stay-2"))]
    )


def test_after_a_disaster(shell: Make, tmp_path: Path) -> None:
    """Every accident of the page, one after the other."""
    lost = shell()
    srv = tmp_path / "srv"
    half_swept(lost, srv)
    lost.type(Shown(0, "storagectl catalog backup --tier hot", 0))
    for part in sections(HOW_TO / "after-a-disaster.md"):
        if part.title == "Content does not read":
            [blob] = (srv / "storaged/cold").rglob("new.*.csv*")
            content = bytearray(blob.read_bytes())
            content[20] ^= 1
            blob.write_bytes(content)
        lost.go(part)


def test_many_machines(shell: Make, tmp_path: Path) -> None:
    """Its configuration holds; the cluster and its troubles are run by the tests of the daemon."""
    page = shell()
    all_of("many-machines.md", page)
    assert load_settings(page.place / "storaged.yaml").workers.engine == "dask"
