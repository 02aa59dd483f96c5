"""storaged works under the kernel's filters that the unit asks for, on directories and on buckets."""

from __future__ import annotations

import ctypes.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from storaged.daemon.units import unit
from storaged.testing.servers import MotoServer
from tests.cli.lake import Lake

ROOT = Path(__file__).resolve().parents[2]
# All three are refused by the unit. Run inside, they tell that the filters are there.
FORBIDDEN = """\
import mmap, os, socket
for forbidden in (
    lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC),
    lambda: os.setgroups([1]),
    lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
):
    try:
        forbidden()
    except OSError as error:
        print(error.errno)
    else:
        print("not refused")
"""


@pytest.fixture
def confined(tmp_path: Path) -> list[str]:
    """The words before a command that shall run as the unit says."""
    for needed in (shutil.which("systemd-analyze"), ctypes.util.find_library("seccomp")):
        if needed is None:
            pytest.skip("systemd-analyze or libseccomp is not installed: the unit's filters are not tried")
    (tmp_path / "storaged.service").write_text(unit(system=True))
    return [sys.executable, "-m", "tests.systemd.sandbox", str(tmp_path / "storaged.service")]


def run(confined: list[str], *command: str) -> str:
    """What a confined command printed; it must end well."""
    done = subprocess.run([*confined, *command], cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


LIFE = (
    "catalog create", "scan", "ingest", "plan", "apply 1 --yes", "verify", "undo lake/2026/01.csv", "sweep --yes",
    "status", "cat lake/2026/02.csv",
)  # fmt: skip


def live(confined: list[str], lake: Lake) -> None:
    """A life of a lake: everything that the daemon does to bytes, in one process as there."""
    commands = [["--config", str(lake.config), *words.split()] for words in LIFE]
    script = f"from storaged.cli.app import run\nfor words in {commands!r}:\n    assert run(words) == 0, words"
    assert "'2026/02.csv',the same words" in run(confined, sys.executable, "-c", script)


def test_the_filters_are_there(confined: list[str]) -> None:
    """Memory that is written and run, other groups, other families of addresses: EPERM, EPERM, EAFNOSUPPORT."""
    assert run(confined, sys.executable, "-c", FORBIDDEN).split() == ["1", "1", "97"]


def test_a_life_on_directories_needs_nothing_that_is_refused(confined: list[str], lake: Lake) -> None:
    """DuckDB, Arrow, zstd, SQLite, threads, extended attributes and fchown."""
    (lake.place / "reads.jsonl").write_text('{"time": "2026-01-01T00:00:00Z", "path": "lake/2026/01.csv"}\n')
    lake.configure(more=f'heat: [{{name: reads, format: jsonl, path: "{lake.place}/*.jsonl"}}]\n')
    lake.write("2026/01.csv", "2026/02.csv")
    live(confined, lake)


def test_a_life_on_a_bucket_needs_nothing_that_is_refused(
    confined: list[str], lake: Lake, moto: MotoServer, bucket: str
) -> None:
    """obstore, botocore, libcurl and awscrt, over a network."""
    lake.write("2026/01.csv", "2026/02.csv")
    text = lake.config.read_text().replace(f"file://{lake.place}/cold", f"s3://{bucket}/cold")
    lake.config.write_text(f'{text}buckets: {{"{bucket}": {{endpoint: "{moto.endpoint}", path_style: true}}}}\n')
    live(confined, lake)
