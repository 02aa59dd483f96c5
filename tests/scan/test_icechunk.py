"""Which files the manifests of an Icechunk repository name, whatever is wrong with them."""

from __future__ import annotations

import contextlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from storaged.codecs.base import InMemory
from storaged.work.scan import containers
from storaged.work.scan.kerchunk import NoReferences, Unfollowed
from storaged.work.scan.referring import form_of, may_hold, named
from tests.scan.manifests import CONFIG, HEAD, KEY, REPOSITORY, VERSION_1, VERSION_2, manifest


def names(data: bytes) -> list[str | None]:
    content = InMemory(data)
    return list(named("icechunk", content)) if form_of(KEY, content) else []


def test_what_its_own_library_wrote_is_read_in_both_versions() -> None:
    assert names(VERSION_1) == ["file:///tmp/w/d/0.bin", "file:///tmp/w/d/1.bin"]
    assert names(VERSION_2) == [f"s3://bucket/{n:02}/data.nc" for n in range(60)]


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1)))
def test_every_location_is_named(locations: list[str]) -> None:
    urls = [f"s3://{location}" for location in locations]
    assert names(manifest(urls)) == names(manifest(urls, version=2, pack=zstandard.compress)) == urls


@given(st.sampled_from([VERSION_1, VERSION_2]), st.data())
def test_a_damaged_one_is_told_as_such_or_names_something(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data) - 1))
    other = draw.draw(st.binary(max_size=9))
    with contextlib.suppress(Unfollowed, NoReferences):
        assert all(isinstance(name, str) for name in names(data[:at] + other + data[at + len(other) :]))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (manifest(["s3://b/a.nc"], version=3), "version 3"),
        (VERSION_1[:30], "ends in its head"),
        (VERSION_1[:-20], "damaged"),
    ],
)
def test_what_cannot_be_followed_is_told(data: bytes, why: str) -> None:
    with pytest.raises(Unfollowed, match=why):
        names(data)


def test_nothing_else_is_taken_for_one() -> None:
    assert may_hold(KEY)
    assert not may_hold("repo/manifests/index.csv")
    assert not may_hold(f"{KEY}.csv")
    assert names(b"other bytes") == []
    with pytest.raises(NoReferences):
        names(HEAD + b"\x01\x01\x01")  # a snapshot


FOUND = {"forecasts": "s3://archive/forecasts/", "notes": "file:///tmp/w/d/"}


def test_containers_are_what_its_own_library_saved() -> None:
    assert containers.read("repo", InMemory(REPOSITORY)) == FOUND
    assert containers.read("config.yaml", InMemory(CONFIG)) == FOUND
    assert containers.located("vcc://forecasts/2026/a.nc", FOUND) == "s3://archive/forecasts/2026/a.nc"
    with pytest.raises(Unfollowed, match="'others', which its repository's saved configuration lacks"):
        containers.located("vcc://others/a.nc", FOUND)


@given(st.data())
def test_damaged_containers_are_told_as_such_or_are_texts(draw: st.DataObject) -> None:
    name, data = draw.draw(st.sampled_from([("repo", REPOSITORY[:38] + b"\0" + _BODY), ("config.yaml", CONFIG)]))
    at = draw.draw(st.integers(0, len(data) - 1))
    other = draw.draw(st.binary(max_size=9))
    with contextlib.suppress(Unfollowed):
        found = containers.read(name, InMemory(data[:at] + other + data[at + len(other) :]))
        assert all(isinstance(each, str) for pair in found.items() for each in pair)


_BODY = zstandard.ZstdDecompressor().stream_reader(REPOSITORY[39:]).read()  # damage of it is no damage of zstd's frame
