"""What somebody puts where a dataset's marker belongs stops that dataset, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from storaged.config.settings import load_settings
from storaged.errors import PermissionDenied, StoragedError
from storaged.stores.base import RESERVED
from storaged.stores.local import LocalStore
from storaged.stores.notes import CLAIM
from storaged.work import targets
from storaged.work.claims import marker as marker_of
from storaged.work.scan.run import scan
from tests.doctor.findings import one_catalog
from tests.life.world import World, text


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(10 << 30)


ODD: dict[str, Callable[[Path], object]] = {
    "named pipe": os.mkfifo,
    "link": lambda path: path.symlink_to("/dev/zero"),
    "directory": Path.mkdir,
    "huge": huge,
    "empty": Path.touch,
    "no text": lambda path: path.write_bytes(b"\xff\xfe"),
    "a list": lambda path: path.write_text("[]"),
    "deep": lambda path: path.write_text("[" * 60_000),
    "endless epoch": lambda path: path.write_text('{"catalog": "x", "epoch": 1e999}'),
    "another catalog": lambda path: path.write_text('{"catalog": "x", "epoch": 1}'),
    "long numbers": lambda path: path.write_text('{"catalog": "x", "epoch": ' + "9" * 6_000 + "}"),
}


# MUST 13
@one_catalog
@pytest.mark.parametrize("layout", ["local"])
@pytest.mark.parametrize("kind", ODD)
def test_an_odd_marker_at_a_root_stops_that_dataset_alone(
    world: World, tmp_path_factory: pytest.TempPathFactory, kind: str
) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "b.csv").write_bytes(text("b"))
    config = world.place / "storaged.yaml"
    config.write_text(config.read_text().replace("datasets:\n", f'datasets:\n  other: {{root: "file://{other}"}}\n'))
    world.settings = load_settings(config)
    world.context = world.new_context()
    world.write("a.csv", text("a"))
    world.scan()
    marker = world.root / RESERVED / CLAIM
    marker.unlink()
    ODD[kind](marker)
    context = world.new_context()
    context.ready()
    context.register()
    scan(context, "other")
    assert targets.one(context, "other/b.csv").placement.current is None
    with pytest.raises(StoragedError):
        context.confirm_root("lake")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_marker_that_may_not_be_read_is_told_with_its_place(open_place: Path) -> None:
    root = open_place / "root"
    (root / RESERVED).mkdir(parents=True)
    (root / RESERVED / CLAIM).write_text("{}")
    (root / RESERVED).chmod(0o700)
    store = LocalStore(root.as_uri())
    os.seteuid(65_534)
    try:
        with pytest.raises(PermissionDenied) as refused:
            marker_of(store)
    finally:
        os.seteuid(0)
    assert refused.value.message.startswith(f"the marker of {root.as_uri()}: ")
