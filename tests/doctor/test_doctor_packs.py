"""Packs: what is lost is told once, what little is left of them is told where it is much."""

from __future__ import annotations

import random

import pytest

from storaged.errors import VerificationFailed
from storaged.reader import CatalogReader
from storaged.work import targets
from storaged.work.doctor.verify import Verified, verify
from storaged.work.rewrite.pointers import remove_objects
from tests.doctor.findings import change, checks, findings, found, one_catalog
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


def damage(world: World) -> None:
    """A byte of a pack is another one, in the frame of the first of its four large objects."""
    for name in NAMES[:4]:
        world.write(name, random.Random(name).randbytes(100_000))
    world.scan()
    assert world.pack(*NAMES[:4]).done == 4
    world.days(8)
    assert world.sweep().sources == 4
    world.scan()
    [key] = world.stored("cold")
    path = world.place / "cold" / key
    data = bytearray(path.read_bytes())
    data[50_000] ^= 0xFF
    path.write_bytes(data)


def verified(world: World) -> Verified:
    return verify(world.context, targets.pages(world.context, "lake"), chance=random.Random(1))


@one_catalog
def test_damage_in_a_pack_is_one_finding_with_how_many_and_which(world: World) -> None:
    """However many of its objects it is."""
    damage(world)
    [(name, why)] = verified(world).damaged
    assert checks(world) == ["changed-pack", "damaged-pack"]
    changed, wrong = findings(world)
    assert wrong.subject == changed.subject == f"cold:{min(world.stored('cold'))}"
    assert wrong.says == f"1 of its 4 objects: {name}; the first: {why}"
    change(world, replicas={"damaged": "rotten"})
    [wrong] = [one for one in findings(world) if one.check == "damaged-pack"]
    assert wrong.says == "4 of its 4 objects: lake/0.bin, lake/1.bin, lake/2.bin, …; the first: rotten"


@one_catalog
def test_what_leads_out_of_a_damaged_pack_is_told_and_does(world: World) -> None:
    """Its readers are told to run verify before it was run, and then what helps the object that they ask for."""
    damage(world)

    def told(name: str) -> str:
        reader = CatalogReader(world.new_context())
        with pytest.raises(VerificationFailed, match="the pack that holds its content") as refused:
            reader.open(f"lake/{name}")
        reader.close()
        return f"{refused.value.message}; {refused.value.hint}"

    assert "storagectl verify lake/0.bin" in told(NAMES[0])
    verified(world)
    assert "verify` found it damaged there: " in told(NAMES[0])
    assert "`storagectl undo lake/0.bin` while its original is kept" in told(NAMES[0])
    assert told(NAMES[1]).endswith("`storagectl restage lake/1.bin --to-root` brings it back, if it is right")
    assert "run" not in told(NAMES[0]) + told(NAMES[1])
    mend = findings(world)[0].mend
    assert all(words in mend for words in ("storagectl verify lake", "--to-root", "storagectl eject lake"))
    report = world.eject()
    assert (report.done, report.failed) == (3, 1)
    assert [world.raw(name) for name in NAMES[1:4]] == [random.Random(n).randbytes(100_000) for n in NAMES[1:4]]
    assert findings(world)[0].says.endswith("it holds lake/0.bin")
