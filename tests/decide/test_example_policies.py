"""The commented examples in policies/ load, and each of them plans."""

from __future__ import annotations

from pathlib import Path

import pytest

from storaged.config.settings import load_settings
from storaged.decide.conditions import CONDITIONS
from storaged.decide.load import load_policies
from storaged.decide.sentence import sentence
from storaged.model import Mode

EXAMPLES = Path(__file__).parent.parent.parent / "policies"
SETTINGS = """
tiers:
  hot: {rank: 0, url: memory://hot, capacity: {size: 1TiB, high: 85%, low: 70%}}
  warm: {rank: 1, url: memory://warm, prices: aws/us-east-1/standard}
  cold: {rank: 2, url: memory://cold, prices: aws/us-east-1/glacier-ir}
datasets:
  exports: {root: memory://exports}
  events/web: {root: memory://web}
  logs/api: {root: memory://api}
"""


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory):
    """All examples, loaded together as a daemon would."""
    file = tmp_path_factory.mktemp("examples") / "storaged.yaml"
    file.write_text(SETTINGS)
    return load_policies(EXAMPLES, load_settings(file))


def test_the_examples_load_without_a_warning(examples) -> None:
    """Together: no two share a name, and every file is there."""
    assert examples.warnings == ()
    assert {Path(p.file) for p in examples} == set(EXAMPLES.glob("*.yaml"))
    assert all(sentence(p.policy) for p in examples)


def test_no_example_acts_when_it_is_copied(examples) -> None:
    """An active policy must be written by the one who wants it."""
    assert all(p.policy.mode is not Mode.ACTIVE for p in examples)


def test_the_examples_show_every_condition_that_moves_things_down(examples) -> None:
    """A condition that no example shows is one that nobody finds."""
    shown = {key for p in examples for key in p.policy.conditions}
    assert shown >= set(CONDITIONS) - {"size_under"}


def test_every_example_explains_itself() -> None:
    """Each begins with a comment."""
    for path in EXAMPLES.glob("*.yaml"):
        assert path.read_text("utf-8").startswith("# "), path
