"""Files of tensors whose blobs are in a bucket, from a directory and from another bucket: byte by byte, one tensor of
several, and by safetensors' own reader over a local copy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from safetensors import safe_open

import storaged
from storaged.filesystem import StoragedFileSystem
from storaged.model import CodecSpec
from storaged.testing.servers import ENVIRONMENT, MotoServer
from tests.codecs.tensor_files import npz, safetensors, torch, weights
from tests.life.world import World

TENSOR = CodecSpec("tensor")
NAME = "run/step-900.safetensors"
W = weights(2_000_000).reshape(2_000, 1_000)  # 8 MB: many blocks
CONTENTS = {
    NAME: safetensors(
        {name: ("F32", W.shape, (W * scale).tobytes()) for name, scale in (("a", 1), ("b", 2), ("c", 3))}
    ),
    "run/w.npz": npz({"w": W}),
    "run/w.pt": torch({"w": W}),
}

pytestmark = pytest.mark.usefixtures("layout")


@pytest.fixture(params=["mixed", "s3"])
def layout(request: pytest.FixtureRequest) -> str:
    """From a directory to a bucket, and within one server."""
    return str(request.param)


@pytest.fixture
def dialect() -> str:
    """What differs between the databases is tested where their statements are."""
    return "sqlite"


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def lake(world: World, catalog_url: str) -> World:
    """All of it in the cold tier, in a bucket, and released."""
    _, rest = world.settings.file.read_text().split("\n", 1)
    world.settings.file.write_text(f"catalog: {json.dumps(catalog_url)}\n{rest}")
    for name, content in CONTENTS.items():
        world.write(name, content)
    world.scan()
    report = world.migrate(*CONTENTS, codec=TENSOR)
    assert (report.done, report.notes) == (len(CONTENTS), [])
    world.days(8)
    assert world.sweep().sources == len(CONTENTS)
    assert all(world.raw(name) is None for name in CONTENTS)
    return world


@pytest.fixture
def fs(lake: World) -> Iterator[StoragedFileSystem]:
    made = StoragedFileSystem(str(lake.settings.file), skip_instance_cache=True)
    yield made
    made.close()


def test_each_comes_back_byte_by_byte_from_a_smaller_blob(lake: World) -> None:
    assert {name: lake.read(name) for name in CONTENTS} == CONTENTS
    blobs = lake.stored("cold")
    assert all(key.endswith(".planes.zst") for key in blobs)
    assert sum(map(len, blobs.values())) < 0.85 * sum(map(len, CONTENTS.values()))
    lake.eject()
    assert {name: lake.raw(name) for name in CONTENTS} == CONTENTS


def test_one_tensor_of_three_asks_the_bucket_for_its_share(lake: World, moto: MotoServer) -> None:
    with storaged.tensors(f"lake/{NAME}", config=lake.settings.file) as found:
        assert sorted(found) == ["a", "b", "c"]
        moto.clear_log()
        assert np.array_equal(found["b"].numpy(), W * 2)
        asked = [request for request in moto.log() if request.operation == "GetObject"]
    ranges = [re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", "")) for request in asked]
    assert ranges
    assert all(ranges)
    [blob] = [content for key, content in lake.stored("cold").items() if ".safetensors." in key]
    assert sum(int(one[2]) - int(one[1]) + 1 for one in ranges if one) < len(blob) / 3 * 1.2


def test_safetensors_opens_it_by_a_local_copy(lake: World, fs: StoragedFileSystem, tmp_path: Path) -> None:
    cached = fsspec.filesystem("simplecache", fs=fs, cache_storage=str(tmp_path / "cache"))
    with cached.open(f"lake/{NAME}") as file:
        path = file.name
    with safe_open(path, framework="numpy") as weights_of:
        assert sorted(weights_of.keys()) == ["a", "b", "c"]
        assert np.array_equal(weights_of.get_tensor("c"), W * 3)
