"""Packs: what is lost is told once, what little is left of them is told where it is much."""

from __future__ import annotations

import pytest

from storaged.work import targets
from storaged.work.rewrite.pointers import remove_objects
from tests.doctor.findings import checks, findings, found, one_catalog
from tests.life.world import World, noise

NAMES = [f"{number}.bin" for number in range(8)]


def packed(world: World) -> None:
    """Two packs of four, their sources released."""
    for name in NAMES:
        world.write(name, noise(name))
    world.scan()
    for number in range(2):
        world.enqueue_pack(NAMES[number::2], pack=f"000{number}")
    assert world.work().done == len(NAMES)
    world.days(8)
    assert world.sweep().sources == len(NAMES)


@one_catalog
@pytest.mark.parametrize("layout", ["local", "mixed"])
def test_packs_have_no_findings(world: World) -> None:
    packed(world)
    world.scan()
    assert findings(world) == []


@one_catalog
def test_a_lost_pack_is_told_once_with_how_many_objects_it_holds(world: World) -> None:
    packed(world)
    world.scan()
    key = min(world.stored("cold"))
    world.places.by_name["cold"].delete(key)
    lost = found(world, "lost-blob")
    assert lost.subject == f"cold:{key}"
    assert "it holds 4 objects, such as lake/" in lost.says


def test_packs_of_which_little_is_left_are_told_where_it_is_much(world: World) -> None:
    packed(world)
    world.scan()

    def remove(*names: str) -> None:
        for name in names:
            remove_objects(world.context, targets.pages(world.context, f"lake/{name}"))
        world.days(8)
        world.sweep()
        world.scan()

    remove(NAMES[0], NAMES[2])
    assert checks(world) == []  # half of it is there
    remove(NAMES[4])
    sparse = found(world, "sparse-packs")
    assert sparse.subject == "tier:cold"
    assert sparse.says.startswith("1 of 2 packs hold less than half")
    remove(NAMES[6])
    assert checks(world) == []  # the pack is gone
