"""Edits of configuration files are told, however they are made and wherever the files really are."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storaged.daemon.watch import Watch

QUIET_S, LOOK_S = 0.05, 0.3
NEVER_S = 3_600.0  # so that only the system's notices tell of a change
PATIENCE_S = 30.0


class Heard:
    """Counts what a watch tells."""

    def __init__(self) -> None:
        self.calls = 0
        self._changed = threading.Condition()

    def __call__(self) -> None:
        with self._changed:
            self.calls += 1
            self._changed.notify_all()

    def within(self, act: Callable[[], object]) -> None:
        """Do something and wait until it is told."""
        with self._changed:
            before = self.calls
            act()
            assert self._changed.wait_for(lambda: self.calls > before, PATIENCE_S), "nobody told of it"

    def listens(self, place: Path) -> int:
        """Wait until the system's notices come through: a change is made until one does. How often it was told so far,
        once all of these were."""
        before, until = self.calls, time.monotonic() + PATIENCE_S
        while self.calls == before:
            assert time.monotonic() < until, "nobody listens"
            os.utime(place / "storaged.yaml")
            (place / "notice").write_text("something to be told of, should that be elsewhere")
            time.sleep(2 * QUIET_S)
        return self.settled()

    def settled(self) -> int:
        """How often it was told, once a while passed without more."""
        seen = -1
        while seen != self.calls:
            seen = self.calls
            time.sleep(4 * LOOK_S)
        return seen


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies/a.yaml").write_text("a")
    (tmp_path / "storaged.yaml").write_text("s")
    return tmp_path


@pytest.fixture
def new_watch() -> Iterator[Callable[..., Heard]]:
    """Starts watches of a place's configuration, and stops them."""
    made: list[Watch] = []

    def watch(place: Path, look_s: float = LOOK_S) -> Heard:
        heard = Heard()
        paths = (place / "storaged.yaml", place / "policies")
        made.append(Watch(paths, heard, quiet_s=QUIET_S, look_s=look_s))
        made[-1].start()
        return heard

    yield watch
    for one in made:
        one.stop()


def replaced(path: Path, text: str) -> None:
    """As editors save: a new file of another name, then moved over the old one."""
    new = path.with_name(f".{path.name}.swp")
    new.write_text(text)
    new.replace(path)


EDITS: dict[str, Callable[[Path], object]] = {
    "written in place": lambda place: (place / "policies/a.yaml").write_text("another"),
    "replaced by a rename": lambda place: replaced(place / "policies/a.yaml", "b"),
    "new": lambda place: (place / "policies/b.yml").write_text("b"),
    "removed": lambda place: (place / "policies/a.yaml").unlink(),
    "renamed away": lambda place: (place / "policies/a.yaml").rename(place / "policies/a.off"),
    "configuration written": lambda place: (place / "storaged.yaml").write_text("t"),
    "configuration replaced": lambda place: replaced(place / "storaged.yaml", "t"),
    "all policies gone": lambda place: shutil.rmtree(place / "policies"),
    "another directory in its place": lambda place: (
        (place / "policies").rename(place / "old"),
        (place / "policies").mkdir(),
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_every_way_to_edit_is_told_by_the_system_at_once(
    edit: str, place: Path, new_watch: Callable[..., Heard]
) -> None:
    heard = new_watch(place, look_s=NEVER_S)
    heard.listens(place)
    heard.within(lambda: EDITS[edit](place))


@pytest.mark.parametrize("edit", EDITS)
def test_every_way_to_edit_is_told_where_the_system_tells_nothing(
    edit: str, place: Path, new_watch: Callable[..., Heard], tmp_path_factory: pytest.TempPathFactory
) -> None:
    links = tmp_path_factory.mktemp("links")  # no notice of a link tells what becomes of its target
    (links / "storaged.yaml").symlink_to(place / "storaged.yaml")
    (links / "policies").mkdir()
    for name in ("a.yaml", "b.yml"):
        (links / "policies" / name).symlink_to(place / "policies" / name)
    heard = new_watch(links)
    time.sleep(2 * LOOK_S)
    heard.within(lambda: EDITS[edit](place))


def test_a_configmap_that_swaps_its_links_is_told(tmp_path: Path, new_watch: Callable[..., Heard]) -> None:
    def version(name: str) -> None:
        """As a kubelet writes: a new directory, then one link swapped in one step."""
        (tmp_path / f"..{name}/policies").mkdir(parents=True)
        for file in ("storaged.yaml", "policies/a.yaml"):
            (tmp_path / f"..{name}" / file).write_text("of the same size")
        (tmp_path / "..data_tmp").symlink_to(f"..{name}")
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")

    version("2026_1")
    for name in ("storaged.yaml", "policies"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    heard = new_watch(tmp_path, look_s=NEVER_S)
    heard.listens(tmp_path)
    heard.within(lambda: version("2026_2"))
    shutil.rmtree(tmp_path / "..2026_1")
    heard.settled()
    heard.within(lambda: version("2026_3"))


def test_a_directory_that_was_not_there_is_watched_from_when_it_is(
    tmp_path: Path, new_watch: Callable[..., Heard]
) -> None:
    place = tmp_path / "etc/storaged"  # not even the directory it would be in
    heard = new_watch(place)
    place.mkdir(parents=True)
    heard.within(lambda: (place / "storaged.yaml").write_text("s"))
    (place / "policies").mkdir()
    heard.within(lambda: (place / "policies/a.yaml").write_text("a"))
    heard.settled()
    shutil.rmtree(place)
    assert heard.settled() > 2
    place.mkdir()
    heard.within(lambda: (place / "storaged.yaml").write_text("s"))


def test_a_directory_made_again_is_watched_by_the_system_again(place: Path, new_watch: Callable[..., Heard]) -> None:
    heard = new_watch(place, look_s=NEVER_S)
    heard.listens(place)
    for edit in (lambda: shutil.rmtree(place / "policies"), lambda: (place / "policies").mkdir()):
        heard.within(edit)
        heard.settled()
        heard.listens(place)  # again: what falls between, the next look would find
    heard.within(lambda: (place / "policies/a.yaml").write_text("a"))


def test_a_thousand_edits_are_few_calls_and_the_last_is_not_missed(
    place: Path, new_watch: Callable[..., Heard]
) -> None:
    heard = new_watch(place, look_s=NEVER_S)
    before = heard.listens(place)
    begun = time.monotonic()
    for n in range(1_000):
        (place / f"policies/{n % 7}.yaml").write_text(f"{n}")
    took = time.monotonic() - begun
    assert 1 <= heard.settled() - before <= took / QUIET_S + 2
    heard.within(lambda: (place / "policies/0.yaml").write_text("the last"))


def test_what_is_no_configuration_is_not_told(place: Path, new_watch: Callable[..., Heard]) -> None:
    heard = new_watch(place)
    before = heard.listens(place)
    for n in range(20):
        (place / "storaged.db-wal").write_bytes(b"x" * n)  # a catalog lies beside its configuration
        (place / "policies/README.md").write_text(f"{n}")
        (place / "policies/a.yaml~").write_text(f"{n}")
        (place / "other.yaml").write_text(f"{n}")
        (place / "policies/a.yaml").read_text()
    assert heard.settled() == before


def test_a_busy_catalog_beside_it_keeps_no_change_of_a_link_from_being_told(
    place: Path, new_watch: Callable[..., Heard], tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = tmp_path_factory.mktemp("elsewhere") / "policy"
    target.write_text("p")
    (place / "policies/linked.yaml").symlink_to(target)
    heard = new_watch(place)
    over = threading.Event()

    def write() -> None:
        while not over.wait(QUIET_S / 10):
            (place / "storaged.db-wal").write_text("x")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        time.sleep(2 * LOOK_S)
        heard.within(lambda: target.write_text("another"))
    finally:
        over.set()
        writer.join()


def test_nothing_is_told_after_it_was_stopped(place: Path) -> None:
    heard = Heard()
    watch = Watch((place / "storaged.yaml", place / "policies"), heard, quiet_s=QUIET_S, look_s=NEVER_S)
    watch.start()
    running = threading.active_count()
    began = time.monotonic()
    watch.stop()
    assert time.monotonic() - began < PATIENCE_S
    assert threading.active_count() < running
    (place / "policies/a.yaml").write_text("another")
    time.sleep(10 * QUIET_S)
    assert heard.calls == 0


def test_a_watch_of_nothing_that_exists_stops_at_once(tmp_path: Path) -> None:
    watch = Watch((tmp_path / "no/such/place.yaml",), Heard(), look_s=NEVER_S)
    watch.start()
    began = time.monotonic()
    watch.stop()
    assert time.monotonic() - began < PATIENCE_S


def test_a_named_pipe_among_the_policies_stops_nobody(place: Path, new_watch: Callable[..., Heard]) -> None:
    os.mkfifo(place / "policies/pipe.yaml")
    heard = new_watch(place)
    heard.within(lambda: (place / "policies/a.yaml").write_text("another"))
