"""A bucket whose lifecycle rules delete what lies in a tier gets nothing more, and nothing is released for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from storaged.model import IDENTITY
from storaged.testing.servers import MotoServer
from tests.doctor.findings import checks, found, one_catalog
from tests.life.places import Prefix
from tests.life.world import ZSTD, World, text

pytestmark = [one_catalog, pytest.mark.parametrize("layout", ["s3"])]

Rules = Callable[..., None]


@pytest.fixture
def rules(world: World) -> Iterator[Rules]:
    """Gives the cold tier's bucket these rules, each for the tier's prefix unless it says another."""
    place = world.places.by_name["cold"]
    assert isinstance(place, Prefix)

    def put(**rule: Any) -> None:
        told = {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": f"{place.prefix}/"}} | rule
        place.user.put_bucket_lifecycle_configuration(Bucket=place.bucket, LifecycleConfiguration={"Rules": [told]})
        world.places.clients.clear()  # what a client was answered before counts for some minutes
        world.context = world.new_context()

    yield put
    place.user.delete_bucket_lifecycle(Bucket=place.bucket)


# MUST 7
@pytest.mark.parametrize("how", ["single", "copied by the server", "pack"])
def test_what_would_not_stay_is_neither_made_nor_released_for(world: World, rules: Rules, how: str) -> None:
    move = world.pack if how == "pack" else partial(world.migrate, codec=ZSTD if how == "single" else IDENTITY)
    names = "abcdefghijklmnopqrst"  # some of them are neighbours of one thread
    for name in names:
        world.write(name, text(name))
    world.scan()
    assert move("a", "b").done == 2
    rules(Expiration={"Days": 30})
    assert "'old'" in found(world, "tier-expires").says
    report = move(*names[2:])
    assert (report.done, report.skipped) == (0, len(names) - 2)
    world.days(8)
    swept = world.sweep()
    assert swept.sources == 0
    assert any("30 days old" in why for why in swept.held_back), swept.held_back
    rules(Status="Disabled", Expiration={"Days": 30})
    assert world.sweep().sources == 2
    assert {name: world.read(name) for name in names} == {name: text(name) for name in names}


@pytest.mark.parametrize(
    "rule",
    [
        {"Filter": {"Prefix": "elsewhere/"}, "Expiration": {"Days": 30}},
        {"Expiration": {"ExpiredObjectDeleteMarker": True}},
        {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}},
        {"NoncurrentVersionExpiration": {"NoncurrentDays": 3}},
        {"Filter": {"Tag": {"Key": "scratch", "Value": "yes"}}, "Expiration": {"Days": 30}},
    ],
    ids=lambda rule: "-".join(rule),
)
def test_rules_that_take_no_blob_change_nothing(world: World, rules: Rules, rule: dict[str, Any]) -> None:
    rules(**rule)
    world.write("a", text("a"))
    world.scan()
    assert world.migrate("a").done == 1


def test_where_it_may_not_be_asked_that_is_said_and_the_work_goes_on(world: World, moto: MotoServer) -> None:
    world.write("a", text("a"))
    world.scan()
    number = moto.faults.add("AccessDenied", operation="GetBucketLifecycleConfiguration", times=100)
    try:
        assert world.migrate("a").done == 1
        assert set(checks(world)) == {"expiry-unknown"}
        assert moto.faults.fired(number) > 0
    finally:
        moto.faults.clear()
