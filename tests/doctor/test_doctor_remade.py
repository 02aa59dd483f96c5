"""Blobs that come back by encoders of other libraries: one that makes other bytes here is told before a reader asks."""

from __future__ import annotations

import pytest

from storaged.codecs.parquet import encoders
from storaged.codecs.parquet.codec import Parquet
from storaged.codecs.registry import CODECS
from storaged.errors import VerificationFailed
from storaged.stores.read_only import ReadOnly
from storaged.work.doctor import Finding, remade
from tests.codecs.test_inflated import LATER
from tests.doctor.findings import commands, findings, names, one_catalog
from tests.life.test_inflated import GZIP
from tests.life.test_parquet import NAME, PARQUET, SNAPPY
from tests.life.world import World


def later(recipe: str, raw: bytes) -> bytes:
    """As of a version of pyarrow whose snappy makes other bytes."""
    return b"\0" + encoders.made(recipe, raw) if recipe == "snappy:arrow" else encoders.made(recipe, raw)


def with_it(world: World) -> list[Finding]:
    """What doctor finds where that version is installed."""
    return list(remade.encoders(world.context, {**CODECS, "parquet": Parquet(make=later)}))


@one_catalog
@pytest.mark.parametrize("layout", ["local", "s3"])
def test_an_encoder_that_makes_other_bytes_is_told_with_the_version_and_the_datasets(world: World) -> None:
    world.write(NAME, SNAPPY)
    world.write("b.csv", b"a,b\n" * 9_000)
    world.scan()
    assert with_it(world) == []
    world.migrate("b.csv")
    assert with_it(world) == []
    world.migrate(NAME, codec=PARQUET)
    assert findings(world) == []
    found = with_it(world)
    assert names(found) == ["encoder-unlike installation", "encoder-changed dataset:lake"]
    unlike, changed = found
    version = encoders.versions()["pyarrow"]
    assert (unlike.severity, changed.severity) == ("info", "error")
    assert unlike.says == f"pyarrow {version}, which codec parquet uses"
    assert f"1 of 1 blobs that were asked, of 1 in cold, need pyarrow {version} " in changed.says
    assert commands(changed.mend) == [f"restage lake/{NAME} --tier cold"]
    assert world.read(NAME) == SNAPPY


@one_catalog
def test_blobs_that_cannot_be_asked_are_left_to_other_checks(world: World) -> None:
    for name in ("a.parquet", "b.parquet"):
        world.write(name, SNAPPY)
    world.scan()
    world.migrate("a.parquet", "b.parquet", codec=PARQUET)
    gone, torn = sorted(world.stored("cold"))
    world.places.by_name["cold"].delete(gone)
    world.places.by_name["cold"].write(torn, SNAPPY, world.clock.now_us())
    with pytest.raises(VerificationFailed), world.context.tier("cold").open(torn) as reader:
        Parquet().lacks(reader)
    assert names(with_it(world)) == ["encoder-unlike installation"]
    assert {f.check for f in findings(world)} == {"lost-blob", "changed-blob"}


@one_catalog
def test_what_it_asks_writes_nothing(world: World) -> None:
    """Its stores refuse every change."""
    world.write(NAME, SNAPPY)
    world.scan()
    world.migrate(NAME, codec=PARQUET)
    world.context = world.new_context(wrap=lambda store: ReadOnly(store))
    assert len(with_it(world)) == 2


@one_catalog
def test_a_zlib_that_makes_other_bytes_is_told(world: World) -> None:
    world.write("a.csv.gz", GZIP)
    world.scan()
    world.migrate("a.csv.gz")
    assert findings(world) == []
    found = list(remade.encoders(world.context, {**CODECS, "inflated": LATER}))
    assert names(found) == ["encoder-unlike installation", "encoder-changed dataset:lake"]
    version = encoders.versions()["zlib"]
    assert found[0].says == f"zlib {version}, which codec inflated uses"
    assert f"need zlib {version} " in found[1].says
