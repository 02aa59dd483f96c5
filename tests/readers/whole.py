"""Things of many files that were moved, and whether their own programs read them by `storaged://`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tests.cli.lake import OLD, Lake
from tests.readers.table import HERE, ROOT, THINGS_APART, THINGS_LOCKED, Thing

ALL: Final = "name: all\ntarget: {dataset: lake}\nwhen: {age_over: 1d}\nto: {tier: cold}\ncollections: ignore\n"


def said(verb: str, thing: Thing, place: str | Path, *, apart: Path | None = None, config: Path | None = None) -> Any:
    """What a program makes of a place, in a process of its own."""
    given = {"APART": str(apart or ""), "STORAGED_CONFIG": str(config or "")}
    words = [sys.executable, HERE / "things.py", verb, thing.name, place]
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | given, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def read_when_moved(thing: Thing, lake: Lake, *, apart: Path | None = None) -> None:
    """Write one, move all of it, release it, and read it by its new name. Raises AssertionError unless the program gets
    what the table says."""
    written = said("make", thing, lake.root / "thing", apart=apart)
    assert said("read", thing, lake.root / "thing", apart=apart) == written
    files = [path for path in lake.root.rglob("*") if path.is_file()]
    assert len(files) > 1
    for path in files:
        os.utime(path, (OLD, OLD))
    lake.configure(grace="0s")
    lake.policy(ALL)
    lake.good("catalog", "create")
    lake.good("scan")
    assert lake.good("collections", "--json").json["collections"]
    lake.good("apply", str(lake.good("plan", "--json").json["plan"]), "--yes")
    lake.good("work")
    lake.good("sweep", "--yes")
    assert not any(path.exists() for path in files)
    answer = said("read", thing, "storaged://lake/thing", apart=apart, config=lake.config)
    if thing.says:
        assert thing.says in answer["error"], answer
    else:
        assert answer == written


def documented() -> dict[str, str]:
    """The row of each program in the page about collections, by its name."""
    text = (ROOT / "docs" / "collections.md").read_text()
    [section] = re.findall(r"^### Which programs read it\n(.*?)^##", text, flags=re.S | re.M)
    names = [thing.name for thing in (*THINGS_LOCKED, *THINGS_APART)]
    return {name: row for row in section.splitlines() for name in names if f"| {name} " in row}
