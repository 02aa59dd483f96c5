"""The judges of the campaign can say no: each is shown what it must complain of."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.faults import KINDS, changed
from tests.chaos.oracle import Oracle
from tests.chaos.places import DIRECTORY, DISK, MEMORY, Place
from tests.chaos.rounds import planned

A, B = ("alpha", "a.csv"), ("beta", "b.csv")


def test_what_was_written_last_is_all_that_may_be_read() -> None:
    oracle = Oracle()
    oracle.wrote(A, b"one", 0o644)
    oracle.wrote(A, b"two", 0o600)
    assert oracle.under_its_name(A, b"two") == []
    for found in (b"one", b"tw", None):
        assert oracle.under_its_name(A, found) != []
    assert oracle.raw(A, None, None) == [], "it may be elsewhere"
    assert oracle.raw(A, b"two", 0o600) == []
    assert oracle.raw(A, b"one", 0o600) != []
    assert oracle.raw(A, b"two", 0o644) != [], "the mode is the one that it had last"
    assert oracle.returned(A, None, None) != [], "after an eject it is nowhere else"


def test_a_delete_may_meet_a_release_but_shows_nothing_that_was_never_there() -> None:
    oracle = Oracle()
    oracle.wrote(A, b"one", 0o644)
    oracle.deleted(A)
    assert oracle.under_its_name(A, None) == []
    assert oracle.under_its_name(A, b"one") == []
    assert oracle.under_its_name(A, b"other") != []
    assert oracle.returned(A, None, None) == []


def test_what_was_shown_or_deleted_in_quiet_stays_so() -> None:
    oracle = Oracle()
    oracle.wrote(A, b"one", 0o644)
    oracle.deleted(A)
    oracle.showed(A, None)
    assert oracle.under_its_name(A, b"one") != [], "it came back"
    oracle.wrote(B, b"one", 0o644)
    oracle.deleted_in_quiet(B)
    assert oracle.raw(B, b"one", 0o644) != []


def test_a_mode_is_certain_unless_a_release_was_met() -> None:
    oracle = Oracle()
    oracle.wrote(A, b"one", 0o644)
    oracle.changed_mode(A, 0o600, sure=False)
    assert oracle.raw(A, b"one", 0o644) == oracle.raw(A, b"one", 0o600) == []
    oracle.changed_mode(A, 0o640, sure=True)
    assert oracle.raw(A, b"one", 0o644) != []
    assert oracle.raw(A, b"one", 0o640) == []


def test_what_a_delete_brings_back_may_have_the_mode_that_a_scan_saw() -> None:
    oracle = Oracle()
    oracle.wrote(A, b"one", 0o644)
    oracle.changed_mode(A, 0o664, sure=True)
    assert oracle.raw(A, b"one", 0o644) != []
    oracle.wrote(A, b"two", 0o600)
    oracle.deleted(A)
    assert oracle.raw(A, b"one", 0o644) == oracle.raw(A, b"one", 0o664) == oracle.raw(A, b"two", 0o600) == []
    assert oracle.raw(A, b"one", 0o600) != []


def test_names_that_nobody_made_are_told() -> None:
    oracle = Oracle()
    oracle.wrote(A, b"one", 0o644)
    assert oracle.strangers([A]) == []
    assert oracle.strangers([A, B]) == ["beta/b.csv was made by nobody"]


def test_a_bare_mount_point_must_stay_bare(tmp_path: Path) -> None:
    (tmp_path / "spare").mkdir()
    place = Place("hot", tmp_path / "hot", DIRECTORY, tmp_path / "spare")
    (place.path / "kept").write_text("1")
    thing, aside = place.vacate()
    assert list(place.path.iterdir()) == []
    assert place.occupy(thing, aside) == []
    thing, aside = place.vacate()
    (place.path / "stray").mkdir()
    assert place.occupy(thing, aside) == ["somebody wrote into the bare mount point of hot: ['stray']"]
    assert (place.path / "kept").read_text() == "1"


def test_a_place_that_is_copied_has_the_same_content_in_other_files(tmp_path: Path) -> None:
    (tmp_path / "spare").mkdir()
    place = Place("hot", tmp_path / "hot", DIRECTORY, tmp_path / "spare")
    (place.path / "kept").write_text("1")
    before, inode = place.listing(), (place.path / "kept").stat().st_ino
    assert place.copy_in_place() == []
    assert place.listing() == before
    assert (place.path / "kept").stat().st_ino != inode


def test_whatever_is_written_or_removed_somewhere_is_noticed() -> None:
    before = {"a": (1, 1)}
    assert changed("there", before, {"a": (1, 1)}) == []
    for after in ({}, {"a": (1, 2)}, {"a": (2, 1)}, {"a": (1, 1), "b": (0, 0)}):
        assert changed("there", before, after) != []


def test_ten_rounds_have_faults_of_every_kind_at_places_that_can_have_them() -> None:
    seen: set[str] = set()
    for seed in range(7, 17):
        plan = planned(seed, list(KINDS.values()), (DIRECTORY, MEMORY, DISK))
        for kind, names in plan.faults:
            assert len(set(names)) == (kind.count if kind.among else 0)
            assert all(plan.kinds[name] in kind.needs for name in names)
            seen.add(kind.name)
    assert seen == set(KINDS)


def test_a_round_is_planned_by_its_seed_alone() -> None:
    kinds, things = list(KINDS.values()), (DIRECTORY, MEMORY, DISK)
    assert planned(9, kinds, things) == planned(9, kinds, things)
    assert planned(9, kinds, things) != planned(10, kinds, things)
