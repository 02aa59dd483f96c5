"""The same lives, crashes, disasters and guards once more: with the cold tier on S3, and with everything on S3."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import ModuleType

import pytest

from tests.life import test_crashes, test_guards, test_life, test_lost_journal, test_rebuild, test_trouble

LONG = bool(os.environ.get("STORAGED_LONG"))  # `make campaign`


def _taken(module: ModuleType, *, without: Mapping[str, str]) -> dict[str, Callable[..., None]]:
    """The tests of a module, without some that are of directories only, for the reason given."""
    found = {name: test for name, test in vars(module).items() if name.startswith("test_")}
    missing = without.keys() - found.keys()
    assert not missing, f"{module.__name__} has no {missing}"
    return {name: test for name, test in found.items() if name not in without}


globals().update(
    _taken(
        test_life,
        without={
            "test_an_object_comes_back_with_its_mode_mtime_and_attributes": "of files",
            "test_a_file_under_two_names_is_left_where_it_is": "of files",
            "test_a_user_who_touches_or_renames_what_came_back_keeps_it": "of files",
            "test_another_half_life_scores_every_object_anew": "of the catalog alone",
        },
    )
)
globals().update(_taken(test_crashes, without={}))
globals().update(_taken(test_rebuild, without={}))
globals().update(
    _taken(
        test_lost_journal,
        without={
            "test_a_journal_that_is_gone_stops_everything": "it removes directories",
            "test_without_catalog_and_journal_no_blob_is_taken_for_rubbish": "it removes files",
        },
    )
)
globals().update(_taken(test_guards, without={}))
globals().update(
    _taken(
        test_trouble,
        without={
            "test_a_disk_that_lies_is_caught_by_the_proof": "no disk: the store's checksum is the proof",
            "test_a_truncated_blob_is_found_by_verify_and_stops_the_release": "no blob on S3 can be cut in place",
            "test_a_blob_whose_bytes_rot_is_found_even_if_its_identity_stays": "nor can its bytes be changed",
            "test_names_that_are_not_utf8_links_and_pipes_are_reported_and_left_alone": "of files",
            "test_a_sparse_object_of_5_gib_moves_in_under_300_mib_of_memory": "moto keeps all in memory",
        },
    )
)


pytestmark = [pytest.mark.usefixtures("layout"), pytest.mark.every(3)]  # directories have all of them


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Disasters, guards and troubles are about journal and root: where those are directories, the tests with
    directories tell enough."""
    about = [module.__name__ for module in (test_guards, test_rebuild, test_trouble)]
    metafunc.parametrize("layout", ["s3"] if metafunc.function.__module__ in about and not LONG else ["mixed", "s3"])


@pytest.fixture
def dialect() -> str:
    """What differs between the databases is tested with directories."""
    return "sqlite"


@pytest.fixture
def moments(layout: str, request: pytest.FixtureRequest) -> range:
    """Where a job meets both kinds of store every fifth one, as in directories, and elsewhere fewer: time is short."""
    if LONG:
        return range(1, 300)
    return range(1, 300, 5) if layout == "mixed" and "rebuild" not in request.node.name else range(2, 300, 9)
