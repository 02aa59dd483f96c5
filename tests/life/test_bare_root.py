"""A dataset whose root carries its claim itself lives the same life, and programs that take folders for something see
none of ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from storaged.config.settings import load_settings
from storaged.errors import ConfigError, ForeignClaim, MarkerLost
from storaged.stores.base import RESERVED
from storaged.stores.local_claim import CLAIM_XATTR
from storaged.testing import FakeClock
from storaged.work.claims import Place
from tests.life.world import World, text

NAMES = [f"cats/{n}.jpg" for n in range(4)]
pytestmark = pytest.mark.parametrize("layout", ["local"])


@pytest.fixture
def bare(world: World) -> World:
    lake = world.settings.datasets["lake"].model_copy(update={"claim": "attribute"})
    world.settings = world.settings.model_copy(update={"datasets": {"lake": lake}})
    world.context = world.new_context()
    for name in NAMES:
        world.write(name, text(name))
    return world


def classes(root: Path) -> list[str]:
    """What an image loader takes for classes."""
    return sorted(path.name for path in root.iterdir() if path.is_dir())


def test_a_whole_life_leaves_no_folder_of_ours(bare: World) -> None:
    bare.scan()
    assert classes(bare.root) == ["cats"]
    bare.migrate(*NAMES)
    bare.days(8)
    assert bare.sweep().sources == len(NAMES)
    assert classes(bare.root) == ["cats"]
    assert bare.scan().vanished == 0
    assert bare.eject().done == len(NAMES)
    assert [bare.raw(name) for name in NAMES] == [text(name) for name in NAMES]
    assert classes(bare.root) == ["cats"]


def test_a_mount_point_without_its_disk_carries_no_claim(bare: World) -> None:
    bare.scan()
    bare.migrate(*NAMES)
    bare.days(8)
    os.removexattr(bare.root, CLAIM_XATTR)
    with pytest.raises(MarkerLost, match="is it mounted"):
        bare.context.confirm_root("lake")
    assert bare.sweep().sources == 0
    assert bare.raw(NAMES[0]) == text(NAMES[0])
    bare.context.claim(Place("dataset", "lake"))
    assert bare.sweep().sources == len(NAMES)


def test_a_claim_in_a_file_goes_when_the_place_is_claimed_again(bare: World, world: World) -> None:
    lake = world.settings.datasets["lake"].model_copy(update={"claim": "file"})
    before = world.settings.model_copy(update={"datasets": {"lake": lake}})
    after, world.settings = world.settings, before
    world.context = world.new_context()
    world.scan()
    assert classes(world.root) == [RESERVED, "cats"]
    world.settings = after
    world.context = world.new_context()
    world.scan()
    assert world.migrate(*NAMES[:2]).done == 2  # what is there is good until somebody claims it again
    assert (world.root / RESERVED).exists()
    world.context.claim(Place("dataset", "lake"))
    assert classes(world.root) == ["cats"]
    assert world.migrate(*NAMES[2:]).done == 2


def test_another_catalog_is_refused(bare: World, tmp_path: Path, clock: FakeClock) -> None:
    bare.scan()
    owner = bare.context.identity
    bare.context.identity = type(owner)("another", 1)
    with pytest.raises(ForeignClaim, match="belongs to catalog"):
        bare.context.confirm_root("lake")


def test_a_bucket_has_no_attributes(bare: World) -> None:
    config = bare.place / "storaged.yaml"
    config.write_text(config.read_text().replace(bare.root.as_uri(), "s3://lake/data"))
    config.write_text(config.read_text().replace("readers: storaged", "readers: storaged, claim: attribute"))
    with pytest.raises(ConfigError) as caught:
        load_settings(config)
    assert "claim: attribute is for directories" in str(caught.value.problems[0])
