"""Places behind symbolic links: said by `config check` with file and line, and no reason to load nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from storaged.config.settings import load_settings
from storaged.errors import ConfigError
from tests.config.lake import write


def lake(tmp_path: Path, follow: str = "") -> Path:
    for name in ("real/hot", "real/cold", "data"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "way").symlink_to(tmp_path / "real")
    (tmp_path / "root").symlink_to("data")
    return write(
        tmp_path,
        f"""\
tiers:
  hot: {{rank: 0, url: "file://{tmp_path}/way/hot"{follow}}}
  cold: {{rank: 1, url: "file://{tmp_path}/real/cold"}}
datasets:
  d: {{root: "file://{tmp_path}/root/"{follow}}}
  bucket: {{root: "s3://bucket/way"}}
limits: {{max_objects: 0}}
""",
    )


def test_every_link_is_told_with_its_line_beside_all_other_problems(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(lake(tmp_path), look=True)
    told = [(p.line, p.path) for p in caught.value.problems]
    assert told == [(2, "tiers.hot.url"), (5, "datasets.d.root"), (7, "limits.max_objects")]
    way, root, _ = caught.value.problems
    assert f"{tmp_path}/way, which leads to {tmp_path}/real" in way.message
    assert f"{tmp_path}/root, which leads to {tmp_path}/data" in root.message
    assert {p.hint for p in (way, root)} == {way.hint}
    assert "follow: true" in (way.hint or "")


def test_who_says_follow_is_left_alone(tmp_path: Path) -> None:
    file = lake(tmp_path, ", follow: true")
    file.write_text(file.read_text().replace("max_objects: 0", "max_objects: 1"))
    settings = load_settings(file, look=True)
    assert settings.follows(f"file://{tmp_path}/way/hot")
    assert not settings.follows(f"file://{tmp_path}/real/cold")
    assert settings.opening(f"file://{tmp_path}/root").follow


def test_what_runs_does_not_stop_for_a_link_that_one_dataset_has(tmp_path: Path) -> None:
    file = lake(tmp_path)
    file.write_text(file.read_text().replace("max_objects: 0", "max_objects: 1"))
    assert len(load_settings(file).datasets) == 2
