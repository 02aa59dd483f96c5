"""docs/images/*.svg, made from real runs: `python -m docs.screens`. Run it again when what they show has changed."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import tempfile
import termios
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from demo import trace
from demo.lake import Lake
from demo.story import prepare
from demo.tiers import directories

REPOSITORY: Final = Path(__file__).resolve().parent.parent
IMAGES: Final = REPOSITORY / "docs" / "images"
COLUMNS: Final = 112
_DAYS: Final = 365
_PROGRAM: Final = str(Path(sys.executable).parent / "storagectl")
_TIERS: Final = "aws/us-east-1/standard,aws/us-east-1/standard-ia,aws/us-east-1/glacier-ir"


def plan(place: Path) -> None:
    """The terminal that `storagectl plan` fills, on the demo's lake."""
    with directories(place / "tiers") as tiers:
        prepare(Lake(place, tiers), days=_DAYS)
    for words in (("catalog", "create"), ("scan",), ("ingest",)):
        _run(place, *words)
    console = Console(record=True, width=COLUMNS, file=Path(os.devnull).open("w"), force_terminal=True)  # noqa: SIM115  ends with us
    console.print(Text("$ storagectl plan", style="bold"))
    console.print(Text.from_ansi(_typed(place, "plan")))
    svg = console.export_svg(title="storagectl plan")
    # The viewer's own monospace will do: rich would have it fetch a font from somebody's server.
    (IMAGES / "plan.svg").write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.S))


def simulation(place: Path) -> None:
    """The plot of `storagectl simulate`, on the demo's trace and policy."""
    trace.write(place / "reads.parquet")
    policy = str(REPOSITORY / "demo" / "cool.yaml")
    words = ("--trace", "reads.parquet", "--policy", policy, "--tiers", _TIERS)
    _run(place, "simulate", *words, "--plot", str(IMAGES / "simulate.svg"))


def _run(place: Path, *words: str) -> None:
    subprocess.run([_PROGRAM, *words], cwd=place, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  our own words


def _typed(place: Path, *words: str) -> str:
    """What a command writes to a terminal of COLUMNS columns, colours included."""
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (100, COLUMNS))
    environment = {**os.environ, "TERM": "xterm-256color"}
    with subprocess.Popen([_PROGRAM, *words], cwd=place, env=environment, stdout=its, stderr=subprocess.DEVNULL) as run:  # noqa: S603  our own words
        os.close(its)
        found = bytearray()
        while True:
            try:
                found += os.read(ours, 65_536)
            except OSError:  # it has ended, and the terminal with it
                break
    os.close(ours)
    if run.returncode:
        raise RuntimeError(f"`storagectl {' '.join(words)}` ended with {run.returncode}")
    return found.decode().replace("\r\n", "\n")


def main() -> None:
    """Make every image anew."""
    IMAGES.mkdir(exist_ok=True)
    for make in (plan, simulation):
        with tempfile.TemporaryDirectory() as place:
            make(Path(place))


if __name__ == "__main__":
    main()
