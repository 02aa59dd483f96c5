"""A lake that a person works on with storagectl: real files, real tiers, a real catalog."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

from storaged.catalog import facts
from storaged.catalog.engine import create_catalog, open_catalog
from storaged.cli.app import run
from storaged.cli.context import make_state_dir
from storaged.clock import new_id
from storaged.config.settings import load_settings
from tests import memory

PROGRAM = (sys.executable, "-c", "from storaged.cli import main; main()")
OLD = 1_700_000_000  # seconds since 1970: quiet for long enough
NAMES = ("2026/01.csv", "2026/02.csv", "b c.csv", "emoji 😀.csv", "line\nfeed.csv", "esc\x1b[31m.csv")
POLICY = """\
name: shrink
target: {dataset: lake}
when: {size_over: 1KiB}
where: "format = 'csv'"
to: {tier: cold, codec: zstd}
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command line came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Stdout as the one JSON document that it must be."""
        return json.loads(self.out)


class Lake:
    """A dataset `lake` with a policy that compresses it, three tiers, and no catalog yet."""

    def __init__(self, place: Path, *, catalog: str = "") -> None:
        self.place = place
        self.root = place / "lake"
        self.config = place / "storaged.yaml"
        for name in ("lake", "hot", "warm", "cold", "policies"):
            (place / name).mkdir()
        self.configure(catalog=catalog)
        self.policy(POLICY)

    def configure(self, *, catalog: str = "", grace: str = "7d", more: str = "") -> None:
        """Write storaged.yaml anew."""
        self.config.write_text(
            f"""\
catalog: {json.dumps(catalog or "sqlite:///catalog.db")}
grace: {grace}
tiers:
  hot: {{rank: 0, url: "file://{self.place}/hot"}}
  warm: {{rank: 1, url: "file://{self.place}/warm"}}
  cold: {{rank: 2, url: "file://{self.place}/cold"}}
datasets:
  lake: {{root: "file://{self.root}", readers: storaged}}
{more}"""
        )

    def policy(self, text: str) -> None:
        """The only policy there is."""
        (self.place / "policies/policy.yaml").write_text(text)

    def write(self, *names: str, rows: int = 2_000) -> None:
        """A user writes these files, some time ago."""
        for name in names:
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{name!r},the same words\n" * rows)
            os.utime(path, (OLD, OLD))

    def fill(self, *names: str) -> Lake:
        """Files in the lake, a catalog, and a scan."""
        self.write(*(names or NAMES))
        self.make_catalog()
        self.good("scan")
        return self

    def make_catalog(self) -> None:
        """As `catalog create` makes it, whose migrations run once a process; the first scan registers and claims."""
        settings = load_settings(self.config)
        path = self.place / "catalog.db"
        if settings.catalog != f"sqlite:///{path}":
            self.good("catalog", "create")
            return
        make_state_dir(settings)
        path.write_bytes(_migrated())
        with open_catalog(settings.catalog) as catalog, catalog.begin() as conn:
            facts.put(conn, "catalog_id", new_id())

    def moved(self, *names: str) -> Lake:
        """As `fill`, and everything is compressed in the cold tier."""
        self.fill(*names)
        self.good("plan")
        self.good("apply", "1", "--yes")
        return self

    def released(self, *names: str) -> Lake:
        """As `moved`, and the originals are deleted."""
        self.configure(grace="0s")
        self.moved(*names)
        self.good("sweep", "--yes")
        assert not list(self.root.rglob("*.csv"))
        self.configure()
        return self

    def ctl(self, *arguments: str) -> Answer:
        """Run a command line in this process."""
        return typed(self.config, *arguments)

    def good(self, *arguments: str) -> Answer:
        """Run a command line that must succeed."""
        answer = self.ctl(*arguments)
        assert answer.code == 0, answer
        return answer

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """Run a command line in a process of its own."""
        command = [*PROGRAM, "--config", str(self.config), *arguments]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, **{**pipes, **options})

    def state(self) -> dict[str, str]:
        """Everything there is, by place: files with their bytes, and the catalog's rows."""
        answer = {str(p.relative_to(self.place)): repr(p.read_bytes()) for p in self.place.rglob("*") if p.is_file()}
        answer.pop("catalog.db", None)
        for table in (
            "objects",
            "replicas",
            "blobs",
            "attempts",
            "jobs",
            "job_items",
            "outbox",
            "audit",
            "meta",
            "plans",
        ):
            answer[f"table {table}"] = self.good("sql", f"SELECT * FROM {table}", "--format", "csv").out
        return answer


def typed(config: Path, *arguments: str) -> Answer:
    """Run a command line in this process, with that configuration."""
    stored = BytesIO(), BytesIO()
    out, err = (TextIOWrapper(each, "utf-8", newline="\n", write_through=True) for each in stored)
    with redirect_stdout(out), redirect_stderr(err):
        code = run(["--config", str(config), *arguments])
    return Answer(code, *(each.getvalue().decode() for each in stored))


@functools.cache
def _migrated() -> bytes:
    """A file of SQLite that is a catalog with nothing in it."""
    with memory.directory() as place:
        create_catalog(f"sqlite:///{place}/catalog.db").close()
        return (place / "catalog.db").read_bytes()


def stable(text: str, place: Path) -> str:
    """Output without what differs from run to run: paths, times, ids, identities, sizes of disks."""
    text = text.replace(str(place), "/place")
    text = re.sub(r"\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\dZ| \d\d:\d\dZ)", "<time>", text)
    text = re.sub(r"(?<=\s)\d{4}-\d\d-\d\d(?=\s)", "<date>", text)
    text = re.sub(r"(?<=charged to )\d{4}-\d\d", "<month>", text)
    text = re.sub(r"[0-9a-f]+(:[0-9a-f]+){3}", "<identity>", text)
    text = re.sub(r"[0-9a-f]{16,}", "<id>", text)
    text = re.sub(r"[\d.]+ [MGTPE]iB", "<free>", text)
    text = re.sub(r"\b\d{1,3} B\b|\b\d\.\d KiB\b", "<size>", text)  # of blobs, which hold identities and ids
    text = re.sub(r"(?m)^(worker|after_bytes) .*", r"\1  <varies>", text)
    text = re.sub(r"SQLite .*", "<durability>", text)
    text = re.sub(r"[\d,.]+ MB/s", "<speed>", text)
    return re.sub(r"(?<=\S) {2,}", "  ", text)  # columns are as wide as what stood in them
