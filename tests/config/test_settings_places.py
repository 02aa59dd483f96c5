"""Roots, tiers and our own files lie beside one another, whatever they are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from storaged.config.settings import load_settings
from storaged.errors import ConfigError
from tests.config.lake import problems, write


@pytest.mark.parametrize(
    ("tier", "root", "line", "path", "message"),
    [
        ("file:///srv/lake", "file:///srv/lake/data", 6, "datasets.d.root", "the root of `d` lies inside tier `t`"),
        ("file:///srv/lake/hot", "file:///srv/lake", 3, "tiers.t.url", "tier `t` lies inside the root of `d`"),
        (
            "file:///srv/lake",
            "file:///srv/lake/",
            6,
            "datasets.d.root",
            "the root of `d` is the same place as tier `t`",
        ),
        ("s3://lake/hot", "s3://lake", 3, "tiers.t.url", "tier `t` lies inside the root of `d`"),
        ("s3://lake/hot", "s3://lake/hot/data", 6, "datasets.d.root", "the root of `d` lies inside tier `t`"),
        ("memory://lake", "memory://lake", 6, "datasets.d.root", "the same place"),
        ("file:///srv/lake", "file:///", 3, "tiers.t.url", "tier `t` lies inside the root of `d`"),
    ],
)
def test_roots_and_tiers_must_lie_apart(
    tmp_path: Path, tier: str, root: str, line: int, path: str, message: str
) -> None:
    """One inside the other would be scanned as data; the inner one is blamed."""
    text = f"tiers:\n  t:\n    url: {tier}\n    rank: 0\ndatasets:\n  d: {{root: '{root}'}}\n"
    found = [problem for problem in problems(tmp_path, text) if problem.path == path]
    assert [(problem.line, problem.path) for problem in found] == [(line, path)]
    assert message in found[0].message


def test_names_that_only_begin_alike_are_apart(tmp_path: Path) -> None:
    """Prefixes count on the borders of segments, and stores of other kinds never meet."""
    text = (
        "tiers:\n  a: {rank: 0, url: 's3://lake/hot'}\n  b: {rank: 1, url: 's3://lake/hotter'}\n"
        "datasets:\n  d: {root: 's3://lake2'}\n  e: {root: 'memory://lake/hot'}\n  f: {root: 'file:///lake/hot'}\n"
        "  g: {root: 'file:///lake/hot2'}\n"
    )
    assert len(load_settings(write(tmp_path, text)).datasets) == 4


def test_two_tiers_and_two_roots_must_lie_apart_too(tmp_path: Path) -> None:
    """Nesting among tiers and among roots is as bad."""
    text = (
        "tiers:\n  a: {rank: 0, url: 'memory://t/a'}\n  b: {rank: 1, url: 'memory://t/a/b'}\n"
        "datasets:\n  c: {root: 'memory://d/c/x'}\n  d: {root: 'memory://d/c'}\n"
    )
    assert [(p.line, p.path) for p in problems(tmp_path, text)] == [(3, "tiers.b.url"), (5, "datasets.c.root")]


def test_a_symbolic_link_does_not_hide_nesting(tmp_path: Path) -> None:
    """What counts is where a path leads."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    text = f"tiers:\n  t: {{rank: 0, url: 'file://{tmp_path}/real'}}\ndatasets:\n  d: {{root: 'file://{tmp_path}/link/in'}}\n"
    (problem,) = problems(tmp_path, text)
    assert (problem.line, problem.path) == (4, "datasets.d.root")
    assert f"{tmp_path}/real/in is in {tmp_path}/real" in problem.message


@pytest.mark.parametrize(
    ("text", "line", "path"),
    [
        ("catalog: sqlite:///in/storaged.db\nstate_dir: out\n", 1, "catalog"),
        ("catalog: sqlite:///out.db\nstate_dir: in/state\n", 2, "state_dir"),
        ("catalog: sqlite:///out.db\nstate_dir: in\n", 2, "state_dir"),
        ("catalog: sqlite:///link/a.db\nstate_dir: out\n", 1, "catalog"),
    ],
)
@pytest.mark.parametrize(
    "section",
    [
        "tiers:\n  t: {{rank: 0, url: '{0}'}}\n",
        "tiers:\n  t: {{rank: 0, url: 'memory://t'}}\ndatasets:\n  d: {{root: '{0}'}}\n",
    ],
)
def test_our_own_files_lie_outside_of_roots_and_tiers(
    tmp_path: Path, section: str, text: str, line: int, path: str
) -> None:
    """A scan or a sweep must never meet the catalog or the state directory, by whatever name."""
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    (problem,) = problems(tmp_path, text + section.format(f"file://{tmp_path}/in"))
    assert (problem.line, problem.path) == (line, path)


def test_the_default_catalog_and_state_are_checked_too(tmp_path: Path) -> None:
    """A tier around storaged.yaml would hold the catalog beside it."""
    found = problems(tmp_path, f"tiers:\n  t: {{rank: 0, url: 'file://{tmp_path}'}}\n")
    assert {(problem.line, problem.path) for problem in found} == {(1, "state_dir"), (1, "catalog")}


def test_tiers_may_lie_inside_the_state_directory(tmp_path: Path) -> None:
    """A daemon may keep everything under one directory."""
    text = f"state_dir: .\ntiers:\n  t: {{rank: 0, url: 'file://{tmp_path}/hot'}}\n"
    assert load_settings(write(tmp_path, text)).state_dir == tmp_path


def test_a_claim_as_an_attribute_needs_a_filesystem_that_keeps_them(tmp_path: Path) -> None:
    """/proc keeps none."""
    (tmp_path / "t").mkdir()
    (tmp_path / "storaged.yaml").write_text(
        f"tiers: {{hot: {{rank: 0, url: 'file://{tmp_path}/t'}}}}\n"
        "datasets:\n  lake: {root: 'file:///proc/self', claim: attribute, follow: true}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path / "storaged.yaml", look=True)
    assert [problem.message for problem in caught.value.problems] == [
        "the filesystem of /proc/self keeps no extended attributes (user_xattr)"
    ]
