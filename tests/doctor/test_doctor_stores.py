"""What a store does not keep to is told by those who may try it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from storaged.testing.servers import MotoServer
from tests.conftest import boto3_client
from tests.doctor.findings import findings
from tests.life.world import World


@pytest.fixture
def moto(rgw: MotoServer) -> MotoServer:
    """Ceph's answers."""
    return rgw


@pytest.fixture
def s3_user(moto: MotoServer) -> Iterator[Any]:
    client = boto3_client(moto)
    yield client
    client.close()


@pytest.mark.parametrize("dialect", ["sqlite"])
@pytest.mark.parametrize("layout", ["s3"])
def test_what_a_root_lacks_is_told_by_trying(world: World) -> None:
    world.scan()
    assert findings(world) == []
    lacks = [f for f in findings(world, deep=True) if f.check == "store-lacks"]
    assert [f.says.partition(" s3://")[0] for f in lacks] == [
        "nothing larger than 8,388,608 bytes is written back to",
        "no original is released from",
    ]
    assert {f.subject for f in lacks} == {"dataset:lake"}
    assert "create_parts" in lacks[0].says
    assert "delete_condition" in lacks[1].says
