"""Folders of a root on this machine that releases leave empty."""

from __future__ import annotations

import pytest

from tests.life.world import World, text


# MUST What a release leaves of folders
@pytest.mark.parametrize("layout", ["local"])
def test_folders_that_releases_leave_empty_go_where_the_dataset_wants_it(world: World) -> None:
    """Not without the setting, not the root, not one with something in it; and what returns finds its folders made."""
    for name in ("dt=1/a.csv", "dt=1/b.csv", "dt=2/c.csv", "dt=3/d.csv"):
        world.write(name, text(name))
    world.scan()
    world.migrate("dt=1/a.csv")
    world.days(8)
    assert world.sweep().folders == 0
    lake = world.settings.datasets["lake"].model_copy(update={"remove_empty_folders": True})
    world.settings = world.settings.model_copy(update={"datasets": {"lake": lake}})
    world.context = world.new_context()
    world.migrate("dt=1/b.csv", "dt=2/c.csv", "dt=3/d.csv")
    (world.root / "dt=3" / ".nfs").touch()
    world.days(8)
    swept = world.sweep()
    assert (swept.sources, swept.folders) == (3, 2)
    assert sorted(path.name for path in world.root.iterdir()) == [".storaged", "dt=3"]
    assert world.scan().vanished == 0
    assert world.eject().done == 4
    assert world.raw("dt=1/a.csv") == text("dt=1/a.csv")
