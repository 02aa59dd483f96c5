"""`memory://` is for tests: what is there dies with its process, so no configuration may name it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from storaged.stores.memory import MemoryStore
from storaged.stores.registry import open_store

CONFIG = """\
catalog: sqlite:///catalog.db
tiers: {{hot: {{rank: 0, url: "{tier}"}}}}
datasets: {{lake: {{root: "{root}"}}}}
"""


def ran(*command: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, as a user starts it: this one has imported `storaged.testing`."""
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, env={**os.environ})


@pytest.mark.parametrize(
    ("tier", "root", "where"),
    [
        ("memory://hot", "file:///lake", "tiers.hot.url"),
        ("file:///hot", "memory://lake", "datasets.lake.root"),
        ("MEMORY://hot", "file:///lake", "tiers.hot.url"),
    ],
)
def test_a_tier_or_root_in_memory_is_refused(tmp_path: Path, tier: str, root: str, where: str) -> None:
    file = tmp_path / "storaged.yaml"
    file.write_text(CONFIG.format(tier=tier, root=root))
    ended = ran("-c", "from storaged.cli import main; main()", "--config", str(file), "status")
    assert ended.returncode == 2
    assert where in ended.stderr
    assert "would die with its process" in ended.stderr


def test_a_process_without_the_tests_opens_none() -> None:
    said = ran("-c", "from storaged.stores.registry import open_store; open_store('memory://a')").stderr
    assert "UsageError" in said
    assert isinstance(open_store("memory://a"), MemoryStore), "importing storaged.testing is what allows it"
