"""Codecs by name, and as people write them."""

from __future__ import annotations

import pytest

from storaged.codecs.registry import CODECS, codec, parse_spec
from storaged.errors import UsageError
from storaged.model import IDENTITY, CodecSpec


def test_every_codec_is_known_by_its_name() -> None:
    """Names and suffixes are what blobs and catalogs hold."""
    suffixes = {name: each.suffix("a.csv") for name, each in CODECS.items()}
    zstds = {"zstd": ".zst", "inflated": ".zst", "tensor": ".planes.zst"}
    assert suffixes == {"identity": "", "parquet": ".parquet"} | zstds
    assert all(codec(name).name == name for name in CODECS)


def test_an_unknown_codec_is_refused_with_the_list() -> None:
    """The hint names what there is."""
    with pytest.raises(UsageError, match="no codec 'zstandard'") as refused:
        codec("zstandard")
    assert refused.value.hint == "one of: identity, zstd, parquet, inflated, tensor"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("identity", IDENTITY),
        ("zstd", CodecSpec("zstd")),
        ("zstd:9", CodecSpec("zstd", 9)),
        ({"zstd": {"level": 19}}, CodecSpec("zstd", 19)),
        ({"zstd": {"level": None}}, CodecSpec("zstd")),
        ({"zstd": {}}, CodecSpec("zstd")),
        ({"zstd": None}, CodecSpec("zstd")),
        ({"parquet": {"level": 9, "reencode": True}}, CodecSpec("parquet", 9, reencode=True)),
        ({"parquet": {"reencode": False}}, CodecSpec("parquet")),
    ],
)
def test_specs_as_people_write_them(written: object, meant: CodecSpec) -> None:
    """Short, with a level, and as a mapping."""
    assert parse_spec(written) == meant


@pytest.mark.parametrize("spec", [CodecSpec("identity"), CodecSpec("zstd"), CodecSpec("zstd", 3)])
def test_a_spec_reads_what_it_prints(spec: CodecSpec) -> None:
    """str and parse_spec agree."""
    assert parse_spec(str(spec)) == spec


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("gzip", "no codec 'gzip'"),
        ("", "no codec ''"),
        ("zstd:", "whole number"),
        ("zstd:high", "whole number"),
        ("zstd:-3", "whole number"),
        ("zstd:0", "no level 0"),
        ("zstd:20", "no level 20"),
        ("identity:3", "takes no level"),
        ({"zstd": {"level": "9"}}, "whole number"),
        ({"zstd": {"level": True}}, "whole number"),
        ({"zstd": {"levle": 9}}, "only option is `level`"),
        ({"zstd": 9}, "only option is `level`"),
        ({"zstd": {"reencode": True}}, "only option is `level`"),
        ({"parquet": {"reencode": "yes"}}, "is true or false"),
        ({"zstd": {}, "identity": {}}, "is no codec"),
        ({}, "is no codec"),
        (9, "is no codec"),
        (None, "is no codec"),
        (["zstd"], "is no codec"),
    ],
)
def test_what_is_wrong_is_said(written: object, message: str) -> None:
    """Each mistake has its own words."""
    with pytest.raises(UsageError, match=message):
        parse_spec(written)
