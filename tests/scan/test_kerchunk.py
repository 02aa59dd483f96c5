"""Which names a file with references holds, whatever form it has and whatever is wrong with it."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from storaged.codecs.base import InMemory
from storaged.work.scan import kerchunk, referring
from storaged.work.scan.kerchunk import JSON, PARQUET, NoReferences, Unfollowed, form_of, may_hold, named
from storaged.work.scan.referring import SIGNS
from tests.scan.manifests import KEY

META = {".zgroup": '{"zarr_format":2}', "t/.zarray": '{"shape":[40]}', "t/.zattrs": "{}"}


def names(data: bytes, key: str = "refs.json") -> list[str | None]:
    content = InMemory(data)
    form = form_of(key, content)
    return list(named(form, content)) if form else []


def version_1(refs: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"version": 1, **more, "refs": META | refs}).encode()


@pytest.mark.parametrize("packed", [lambda data: data, gzip.compress, zstandard.compress])
def test_both_versions_are_read_packed_or_not(packed: Any) -> None:
    refs = {"t/0.0": ["s3://b/a.nc", 8, 80], "t/0.1": ["s3://b/b.nc"], "t/0.2": "base64:AAAA", "u/.zattrs": {"a": 1}}
    for data in (version_1(refs), json.dumps(META | refs).encode(), json.dumps(META | refs, indent=2).encode()):
        assert names(packed(data)) == ["s3://b/a.nc", "s3://b/b.nc"]


def test_escapes_are_read_as_any_reader_of_json_does() -> None:
    assert names(rb'{"version":1,"refs":{".zgroup":"{}","t\/0":["s3:\/\/b\/\u00e4 \"x\".nc",0,1]}}') == [
        's3://b/ä "x".nc'
    ]
    assert names(b"\xef\xbb\xbf" + version_1({"t/0": ["/x", 0, 1]})) == ["/x"]


def test_templates_are_filled_in_wherever_they_stand() -> None:
    templates = {"u": "s3://b/data", "f": "s3://b/{{c}}.nc"}
    refs = {"a": ["{{u}}/x.nc", 0, 1], "b": ["{{ f(c='y') }}", 0, 1]}
    before = version_1(refs, templates=templates)
    after = json.dumps({"version": 1, "refs": META | refs, "templates": templates}).encode()
    assert names(before) == names(after) == ["s3://b/data/x.nc", "s3://b/y.nc"]


def test_generated_references_are_followed() -> None:
    gen = [
        {
            "key": "t/{{i}}",
            "url": "{{u}}_{{i}}.nc",
            "offset": "{{(i + 1) * 1000}}",
            "length": "1000",
            "dimensions": {"i": {"stop": 3}},
        },
        {"key": "s/{{c}}", "url": "{{c}}.nc", "dimensions": {"c": ["x", "y"]}},
    ]
    data = version_1({}, templates={"u": "s3://b/f"}, gen=gen)
    assert names(data) == [f"s3://b/f_{i}.nc" for i in range(3)] + ["x.nc", "y.nc"]


@pytest.mark.parametrize(
    ("refs", "more", "why"),
    [
        ({"a": ["{{u|upper}}", 0, 1]}, {"templates": {"u": "x"}}, "what '{{u|upper}}' stands for is not known"),
        ({"a": ["{{v}}", 0, 1]}, {"templates": {"u": "x"}}, "stands for is not known"),
        ({"a": ["{{v}}", 0, 1]}, {}, "stands for is not known"),
        ({}, {"gen": [{"url": "x", "dimensions": {"i": {"stop": 10**9}}}]}, "more than 1,000,000 references"),
        ({}, {"gen": [{"url": "x"}]}, "malformed"),
        ({}, {"gen": [{"url": 3, "dimensions": {}}]}, "no URL"),
    ],
)
def test_what_cannot_be_followed_is_told(refs: dict[str, Any], more: dict[str, Any], why: str) -> None:
    with pytest.raises(Unfollowed, match=why.replace("{", r"\{").replace("|", r"\|")):
        names(version_1(refs, **more))


def test_a_template_that_stands_for_itself_does_not_end_in_a_circle() -> None:
    with pytest.raises(Unfollowed, match="not known"):
        names(version_1({"a": ["{{f()}}", 0, 1]}, templates={"f": "{{f()}}"}))


def test_what_is_none_is_left_alone() -> None:
    for data in (
        b"",
        b"[]",
        b"null",
        b'{"a": 1}',
        b'{"type": "FeatureCollection", "features": [{"coordinates": [1, 2]}]}',
        b'{"openapi": "3", "paths": {"x": {"refs": {"a": "b"}}}}',
        gzip.compress(b'{"a": 1}')[:12],
        b"\x28\xb5\x2f\xfd broken",
    ):
        assert names(data) == []
    for data in (b'{"a": ["x", 1, 2]}\n{"a": ["y", 1, 2]}\n', b'{"a": ["x", 1, 2], "b": 3}'):
        with pytest.raises(NoReferences):
            names(data)
    assert not any(map(may_hold, ("zarr.json", "a/zarr.json", f"_delta_log/{0:020}.json", "x.csv", "refs.parq")))
    some = ("a.json", "a/b.JSON".lower(), "x.json.zst", "v/refs.0.parq", "v/refs.12.parquet", KEY)
    assert all(map(referring.may_hold, some))
    for key in (*some, *(f"a/b{end}" for end in kerchunk._JSON_NAMES)):
        assert any(sign in key for sign in SIGNS), key


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_what_ends_early_is_damaged(cut: int) -> None:
    data = version_1({f"t/{n}": [f"s3://b/{n}.nc", 0, 1] for n in range(3)})
    content, found = InMemory(data[:-cut]), list[str | None]()
    with pytest.raises(Unfollowed, match="damaged"):
        found.extend(named(JSON, content))
    for packed in (gzip.compress(data), zstandard.compress(data)):
        with pytest.raises(Unfollowed, match="damaged"):
            list(named(JSON, InMemory(packed[:-6])))


def test_bounds_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kerchunk, "MOST_TEXT", 1 << 20)
    with pytest.raises(Unfollowed, match="of text"):
        names(gzip.compress(version_1({"a": "x" * (3 << 20)})))
    monkeypatch.undo()
    monkeypatch.setattr(kerchunk, "LARGEST_VALUE", 1 << 20)
    with pytest.raises(Unfollowed, match="one value"):
        names(version_1({"a": "x" * (4 << 20)}))
    monkeypatch.setattr(kerchunk, "LARGEST_GROUP", 100)
    with pytest.raises(Unfollowed, match="a row group"):
        names(table([f"s3://b/{n}.nc" for n in range(99)]), "t/refs.0.parq")
    with pytest.raises(Unfollowed, match="nested too deeply"):
        list(named(JSON, InMemory(b'{"version":1,"a":' + b"[" * 200_000)))


def table(paths: list[str | None], **how: Any) -> bytes:
    out = io.BytesIO()
    numbers = list(range(len(paths)))
    columns = {"path": paths, "offset": numbers, "size": numbers, "raw": pa.array([None] * len(paths), pa.binary())}
    pq.write_table(pa.table(columns), out, **how)
    return out.getvalue()


def test_tables_are_read_group_by_group() -> None:
    data = table(["s3://b/a.nc", "s3://b/a.nc", None, "s3://b/b.nc", "s3://b/a.nc"], row_group_size=3)
    assert names(data, "t/refs.0.parq") == ["s3://b/a.nc", "s3://b/b.nc", "s3://b/a.nc"]
    for other in (pa.table({"p": ["x"]}), pa.table({"path": [1]})):
        out = io.BytesIO()
        pq.write_table(other, out)
        with pytest.raises(NoReferences):
            names(out.getvalue(), "t/refs.0.parq")


@pytest.mark.parametrize("at", [0, 4, -4, -9, -40])
def test_a_damaged_table_is_told(at: int) -> None:
    data = bytearray(table([f"s3://b/{n}.nc" for n in range(99)]))
    data[at] ^= 0xFF
    try:
        names(bytes(data), "t/refs.0.parq")
    except Unfollowed as error:
        assert "damaged" in error.message  # noqa: PT017 (some bytes say nothing)
    for short in (b"", b"PAR1", bytes(data[:50])):
        with pytest.raises(Unfollowed, match="damaged"):
            names(short, "t/refs.0.parq")


@given(st.binary(max_size=300), st.integers(0, 400), st.integers(0, 300))
def test_whatever_is_written_into_one_it_is_read_or_told(junk: bytes, at: int, over: int) -> None:
    refs = {f"t/{n}": [f"s3://b/{n}.nc", n, 1] for n in range(4)}
    good = version_1(refs, templates={"u": "x"})
    for form, data in ((JSON, good), (PARQUET, table([f"s3://b/{n}.nc" for n in range(4)]))):
        broken = data[:at] + junk + data[at + over :]
        try:
            found = list(named(form, InMemory(broken)))
        except (Unfollowed, NoReferences):
            continue
        assert all(name is None or isinstance(name, str) for name in found)


@given(st.lists(st.text(max_size=40).filter(lambda name: "{{" not in name), max_size=30), st.integers(1, 7))
def test_every_name_comes_back(urls: list[str], piece: int) -> None:
    data = version_1({f"k{n}": [url, n, 1] for n, url in enumerate(urls)})
    assert list(named(JSON, InMemory(data))) == urls
    whole = json.dumps({"version": 1, "refs": {f"k{n}": [url, n, 1] for n, url in enumerate(urls)}}, ensure_ascii=False)
    try:
        text = whole.encode()
    except UnicodeEncodeError:  # half of a pair
        return
    pieces = iter([whole[start : start + piece] for start in range(0, len(whole), piece)])
    assert list(kerchunk._References(lambda: kerchunk._Json(pieces)).urls()) == urls
    assert list(named(JSON, InMemory(text))) == urls


def test_no_more_than_a_piece_of_a_file_is_held() -> None:
    class Long:
        """A file of which no more is held than is asked for."""

        line, number = b'"t/%07d.0":["s3://bucket/%07d.nc",1,1000],', 100_000
        head, tail = b'{"version":1,"refs":{', b'".zgroup":"{}"}}'
        width = len(line % (0, 0))
        size = len(head) + width * number + len(tail)

        def read_at(self, offset: int, length: int) -> bytes:
            out, at = bytearray(), offset
            while at < min(self.size, offset + length):
                inside = at - len(self.head)
                if inside < 0:
                    part, start = self.head, at
                elif inside >= self.width * self.number:
                    part, start = self.tail, inside - self.width * self.number
                else:
                    part, start = self.line % (inside // self.width, inside // self.width), inside % self.width
                out += part[start:]
                at += len(part) - start
            return bytes(out[:length])

    tracemalloc.start()
    try:
        found = sum(1 for _ in named(JSON, Long()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found == 100_000
    assert peak < 12 << 20  # all of it as Python has it: 38 MiB
