"""What files tell of their tensors: names, types, shapes and places."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest

from storaged.codecs.registry import arrays
from storaged.codecs.tensor import pickled
from storaged.errors import NotTaken
from storaged.testing.contents import BytesContent
from tests.codecs import tensor_files as files
from tests.codecs.tensor_files import safetensors, torch
from tests.codecs.test_tensor import FILES, STEPS, W


def read(content: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """As numpy has them."""
    return {
        each.name: np.frombuffer(content, each.numpy, int(np.prod(each.shape)), each.start).reshape(
            each.shape, order=each.order
        )
        for each in arrays(BytesContent(content))
        if each.numpy
    }


GIVEN = {"w": W.reshape(100, 200), "b": STEPS, "half": W.astype("<f2"), "bytes": np.arange(9, dtype="|u1")}


@pytest.mark.parametrize(
    "content",
    [
        safetensors({n: (files.NUMPY[a.dtype.str], a.shape, a.tobytes()) for n, a in GIVEN.items()}),
        files.npz({**GIVEN, "w": np.asfortranarray(GIVEN["w"])}),
    ],
    ids=["safetensors", "npz"],
)
def test_arrays_are_told_by_name(content: bytes) -> None:
    found = read(content)
    assert list(found) == list(GIVEN)
    for name, array in GIVEN.items():
        assert np.array_equal(found[name], array)


def test_the_tensors_of_torch_are_told_by_the_keys_that_lead_to_them() -> None:
    """Those that are no plain part of their storage are left out, and a storage that none is told of is told itself."""
    found = read(torch(GIVEN, tied=True))
    assert list(found) == [f"model.{prefix}{name}" for name in GIVEN for prefix in ("", "tied.")]
    assert np.array_equal(found["model.w"], GIVEN["w"])
    found = read(torch(GIVEN, transposed=["w"]))
    assert sorted(found) == ["data/0", "model.b", "model.bytes", "model.half"]
    assert np.array_equal(found["data/0"], W)


def test_of_each_member_of_an_archive_one_read_tells_where_its_elements_are() -> None:
    source = BytesContent(files.npz({str(n): W for n in range(9)}))
    assert len(arrays(source)) == 9
    assert len(source.reads) <= 1 + 3 + 9  # its first bytes, its directory, and each member


def test_what_numpy_has_no_type_for_is_told_by_its_name() -> None:
    [told_] = arrays(BytesContent(FILES["bf16"]))
    assert (told_.dtype, told_.numpy, told_.shape, told_.size) == ("bfloat16", "", (20_000,), 40_000)


BOMBS: dict[str, bytes] = {
    "memo": b"\x80\x02}r\xff\xff\xff\x7f.",
    "doubling": b"\x80\x02)" + b"".join(b"q" + bytes([n]) + b"h" + bytes([n]) + b"\x86" for n in range(200)) + b".",
    "dicts": b"\x80\x02}q\x00"
    + b"".join(
        b"}q" + bytes([n + 1]) + b"(" + b"".join(b"K" + bytes([k]) + b"h" + bytes([n]) for k in range(200)) + b"u"
        for n in range(200)
    )
    + b".",
    "long": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "a call": b"cos\nsystem\n(X\x04\x00\x00\x00exittR.",
    "marks": b"\x80\x02" + b"(" * 100_000 + b".",
    "nothing": b"",
    "no end": b"\x80\x02}",
    "number": b"\x80\x02I" + b"9" * 10_000 + b"\n.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_pickle_is_followed_and_never_run_nor_unfolded(name: str) -> None:
    with contextlib.suppress(NotTaken):
        found = pickled.told(BOMBS[name])
        assert (found.types, found.views) == ({}, {})
