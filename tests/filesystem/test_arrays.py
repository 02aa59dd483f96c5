"""Files of tensors, read tensor by tensor through storaged, whatever form they have."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import storaged
from storaged.arrays import Tensors
from storaged.errors import UsageError
from storaged.model import CodecSpec
from tests.codecs.tensor_files import bfloat16, npz, safetensors, torch, weights
from tests.filesystem.lake import Counters, Lake

pytestmark = pytest.mark.parametrize("dialect", ["sqlite"], indirect=True)
W = weights(600_000).reshape(1_000, 600)
STEPS = np.arange(5_000, dtype="<i8")
CONTENTS = {
    "a.safetensors": safetensors(
        {"w": ("F32", W.shape, W.tobytes()), "steps": ("I64", [5_000], STEPS.tobytes()), "b": ("BF16", [9], bytes(18))}
    ),
    "a.npz": npz({"w": np.asfortranarray(W), "steps": STEPS}),
    "a.pt": torch({"w": W, "steps": STEPS}),
}


@pytest.mark.parametrize("codec", ["", "identity", "zstd", "tensor"])
def test_tensors_are_read_by_name_in_any_form(lake: Lake, codec: str) -> None:
    for name, content in CONTENTS.items():
        lake.write(name, content)
    lake.scan()
    if codec:
        assert lake.migrate(*CONTENTS, codec=CodecSpec(codec)).done == 3
        lake.release(*CONTENTS)
    for name in CONTENTS:
        prefix = "model." if name == "a.pt" else ""
        with storaged.tensors(f"lake/{name}", config=lake.config) as found:
            assert set(found) >= {f"{prefix}w", f"{prefix}steps"}
            assert np.array_equal(found[f"{prefix}w"].numpy(), W)
            assert np.array_equal(found[f"{prefix}steps"].numpy(), STEPS)
    assert [lake.read(name) for name in CONTENTS] == list(CONTENTS.values())


def test_one_tensor_costs_its_share_and_counts_as_such(lake: Lake) -> None:
    lake.write("a.safetensors", safetensors({n: ("F32", [600_000], W.tobytes()) for n in "abc"}))
    lake.scan()
    lake.migrate("a.safetensors", codec=CodecSpec("tensor"))
    lake.release("a.safetensors")
    counters = Counters()
    fs = lake.other_fs(counters.wrap)
    with Tensors("lake/a.safetensors", fs.open_object("storaged://lake/a.safetensors")) as found:
        before = counters.bytes
        assert found["b"].read() == W.tobytes()
        assert counters.bytes - before < 1.02 * 0.9 * W.nbytes
        with ThreadPoolExecutor(4) as threads:
            assert set(threads.map(lambda name: found[name].read(), "abcabc")) == {W.tobytes()}
    fs.close()
    [(name, delivered)] = lake.spooled()
    assert name == "lake/a.safetensors"
    assert 7 * W.nbytes < delivered < 7 * W.nbytes + 2_000


def test_what_numpy_lacks_is_said_and_its_bytes_are_there(lake: Lake) -> None:
    data = bfloat16(weights(900))
    lake.write("a.safetensors", safetensors({"w": ("BF16", [30, 30], data)}))
    lake.scan()
    with storaged.tensors("lake/a.safetensors", config=lake.config) as found:
        assert repr(found["w"]) == "Tensor('w', bfloat16, (30, 30))"
        assert found["w"].read() == data
        with pytest.raises(UsageError, match="numpy has no bfloat16") as refused:
            found["w"].numpy()
    assert refused.value.hint == "`read()` gives its bytes"


def test_what_is_no_file_of_tensors_is_said(lake: Lake) -> None:
    lake.write("a.csv", b"a,b\n1,2\n")
    lake.scan()
    with pytest.raises(UsageError, match="has no tensors to tell of: it is no file of tensors"):
        storaged.tensors("lake/a.csv", config=lake.config)
    with pytest.raises(FileNotFoundError):
        storaged.tensors("lake/b.safetensors", config=lake.config)
    with pytest.raises(IsADirectoryError):
        storaged.tensors("lake", config=lake.config)
