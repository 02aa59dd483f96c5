"""A command of ours at a large catalog: what it took beside the aim."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks import command
from benchmarks.command import Cost

AIMS: Final = {"plan": 10.0, "explain": 0.3, "status": 0.3}  # seconds at ten million objects


def run(*words: str, config: Path, program: Sequence[str] = (str(command.BIN / "storagectl"),)) -> tuple[Cost, str]:
    """What a command took, and what it prints."""
    with tempfile.TemporaryFile() as out:
        try:
            cost = command.run([*program, *words], out=out, environment=os.environ | {"STORAGED_CONFIG": str(config)})
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"{' '.join(words)} ended with {error.returncode}") from None
        out.seek(0)
        return cost, out.read().decode()


def show(name: str, config: Path, *words: str, about: str = "") -> str:
    """Run a command and print what it took."""
    cost, out = run(*words, config=config)
    aim = f"aim {AIMS[words[0]]} s" if words[0] in AIMS else ""
    print(f"{name:34} {cost.wall:8.2f} s  cpu {cost.cpu:8.2f} s  {cost.memory:7.0f} MiB  {aim} {about}", flush=True)
    return out
