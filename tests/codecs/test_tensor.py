"""Files of tensors as byte planes: what every codec must do, and what only these files have."""

from __future__ import annotations

import contextlib
import random
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from storaged.codecs.registry import arrays, choose, key_of, sampled
from storaged.codecs.tensor import ending, find
from storaged.codecs.tensor.codec import Tensor
from storaged.codecs.tensor.layout import HEADER_BYTES, LIES, PLAIN, TYPES, Kind
from storaged.codecs.tensor.stretches import SMALL, stretches
from storaged.errors import NotTaken, VerificationFailed
from storaged.model import CodecSpec
from storaged.testing.codecs import CheckedCodecContract
from storaged.testing.contents import MIB, BytesContent, BytesReader, content_of, encoded
from tests.codecs import tensor_files as files
from tests.codecs.tensor_files import back, npy, safetensors, torch, weights, with_header
from tests.laws import tries

NOISE = random.Random(1).randbytes(40_000)
W = weights(20_000)
STEPS = (np.cumsum(np.random.default_rng(2).integers(900, 1_100, 20_000)) + 1_700_000_000_000_000).astype("<i8")


class TestTensor(CheckedCodecContract):
    codec = Tensor()
    endless = ("tests.codecs.tensor_files", "Large")
    much = 256 * MIB
    sampled = HEADER_BYTES + MIB

    def taken(self, data: bytes) -> bytes:
        return files.of(data)

    def shrinking(self, size: int) -> bytes:
        return files.of(weights(-(-size // 4)).tobytes())


def one(dtype: str, width: int, data: bytes) -> bytes:
    return safetensors({"w": (dtype, [len(data) // width], data)})


FILES: dict[str, bytes] = {
    "fp32": one("F32", 4, W.tobytes()),
    "fp64": one("F64", 8, W.astype("<f8").tobytes()),
    "fp16": one("F16", 2, W.astype("<f2").tobytes()),
    "bf16": one("BF16", 2, files.bfloat16(W)),
    "fp8": one("F8_E4M3", 1, W.astype("<f2").tobytes()[1::2]),
    "complex": one("C64", 8, W.tobytes()),
    "int64": one("I64", 8, STEPS.tobytes()),
    "uint16": one("U16", 2, np.arange(20_000, dtype="<u2").tobytes()),
    "bool": one("BOOL", 1, bytes(5_000)),
    "four bits": safetensors({"w": ("F4", [80_000], NOISE), "v": ("F32", [20_000], W.tobytes())}),
    "unknown type": one("F999", 4, W.tobytes()),
    "nan payloads": one("F32", 4, (np.arange(20_000, dtype="<u4") | np.uint32(0x7FC00000)).tobytes()),
    "no tensors": with_header({}, b""),
    "metadata alone": with_header({"__metadata__": {"format": "pt"}}, b""),
    "empty tensors": safetensors({"a": ("F32", [0, 7], b""), "b": ("F32", [], b"1234"), "c": ("I64", [0], b"")}),
    "odd tails": safetensors({"a": ("F32", [10_000], W.tobytes()[:40_000]), "b": ("U8", [3], b"abc")}) + b"more",
    "gaps": with_header({"a": {"dtype": "F32", "shape": [1_000], "data_offsets": [77, 4_077]}}, NOISE[:5_000]),
    "many small": safetensors({f"layer.{n}.bias": ("F32", [256], W.tobytes()[:1024]) for n in range(300)}),
    "several": safetensors({"a": ("F32", [20_000], W.tobytes()), "b": ("I64", [20_000], STEPS.tobytes())}),
    "npy": npy(W.reshape(100, 200)),
    "npy, fortran": npy(np.asfortranarray(W.reshape(100, 200))),
    "npy, big endian": npy(W.astype(">f4")),
    "npy, times": npy(STEPS.view("<M8[us]")),
    "npy, text": npy(np.array(["word", "other words"] * 500)),
    "npy, no dimension": npy(np.float64(7.5) * np.ones(())),
    "npz": files.npz({"a": W, "b": STEPS, "tiny": np.arange(3)}),
    "torch": torch({"w": W.reshape(100, 200), "b": STEPS, "half": W.astype("<f2"), "bytes": np.arange(9, dtype="|u1")}),
    "gguf": files.gguf({"w": (0, (200, 100), W.tobytes()), "q": (2, (320,), NOISE[:180]), "b": (30, (9,), bytes(18))}),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_comes_back_whatever_is_in_it(name: str) -> None:
    back(FILES[name])


SMALLER = {  # of raw, at most; what zstd makes of it is more
    "fp32": 0.86,
    "fp16": 0.88,
    "bf16": 0.70,
    "int64": 0.30,
    "npy": 0.86,
    "npy, big endian": 0.86,
    "npz": 0.60,
    "torch": 0.65,
    "gguf": 0.87,
}


@pytest.mark.parametrize("name", SMALLER)
def test_elements_become_planes_wherever_they_lie(name: str) -> None:
    content = FILES[name]
    report, _ = encoded(Tensor(), content)
    zstd = sampled(CodecSpec("zstd"), BytesContent(content)).sample.ratio
    assert report.stored_size / len(content) <= min(SMALLER[name], 0.97 * zstd)
    found = Tensor().sample(BytesContent(content), level=None)
    assert found.taken
    assert found.ratio == pytest.approx(report.stored_size / len(content), rel=0.1)


def test_weights_that_end_in_simpler_tensors_are_for_planes() -> None:
    """What zstd makes of the last ones, and of a vocabulary before the first, says nothing of the others."""
    simple = bytes(300_000)
    content = safetensors(
        {
            "vocabulary": ("U8", [len(simple)], simple),
            "w": ("F32", [4_000_000], weights(4_000_000).tobytes()),
            "z": ("U8", [len(simple)], simple),
        }
    )
    found = choose(BytesContent(content))
    report, _ = encoded(Tensor(), content)
    assert found.spec.name == "tensor"
    assert found.tried["tensor"].sample.ratio == pytest.approx(report.stored_size / len(content), rel=0.1)


def test_an_array_without_line_ends_is_no_text() -> None:
    """Its header ends in one, and may look like a line of fields."""
    content = npy(np.zeros(3 * MIB))
    assert content.count(b"\n") == 1
    assert choose(BytesContent(content)).spec.name in ("zstd", "tensor")


def test_differences_are_told_only_where_they_pay() -> None:
    chance = np.frombuffer(NOISE, "<i8")
    content = safetensors({"a": ("I64", [len(STEPS)], STEPS.tobytes()), "b": ("I64", [len(chance)], chance.tobytes())})
    table = ending.read(BytesReader(back(content)))
    assert list(zip(table.widths, table.differences, strict=True))[:2] == [(1, 0), (8, 1)]
    assert not any(table.differences[2:])


def test_elements_that_come_again_stay_in_one_piece() -> None:
    """Rounded numbers: their planes take twice as much."""
    content = npy(np.round(W.astype("<f8") * 20, 2))
    blob = back(content)
    assert set(ending.read(BytesReader(blob)).widths) == {1}
    assert len(blob) < 0.35 * len(content)


@pytest.mark.parametrize("width", [2, 4, 8])
def test_differences_over_the_whole_range_come_back(width: int) -> None:
    """From the smallest number to the largest and back, which no type of that width tells without going round."""
    most = np.iinfo(f"<i{width}").max
    values = np.array([most, -most - 1, 0, -1, most, 1] * 100, f"<i{width}")
    kind = {2: "I16", 4: "I32", 8: "I64"}[width]
    back(safetensors({"a": (kind, [len(values)], values.tobytes())}))


def test_small_arrays_lie_together_and_large_ones_alone() -> None:
    found = stretches(find.layout(BytesContent(FILES["many small"])).regions, len(FILES["many small"]))
    assert [s.kind for s in found] == [PLAIN] + [Kind(4)] * (len(found) - 1)
    assert len(found) == 1 + -(-300 * 1024 // SMALL)
    found = stretches(find.layout(BytesContent(FILES["several"])).regions, len(FILES["several"]))
    assert [(s.size, s.kind) for s in found[1:]] == [(80_000, Kind(4)), (160_000, Kind(8, True))]


def test_one_tensor_reads_its_own_frames_alone() -> None:
    """Behind those that say where they are."""
    tensors = {name: ("F32", [300_000], weights(300_000, seed=n).tobytes()) for n, name in enumerate("abc")}
    content = safetensors(tensors)
    blob = back(content)
    reader = BytesReader(blob)
    opened = Tensor().open(reader)
    for told in arrays(BytesContent(content)):
        reader.reads.clear()
        assert opened.read_at(told.start, told.size) == tensors[told.name][2]
        assert sum(length for _, length in reader.reads) <= 1.01 * told.size * len(blob) / len(content)


def test_many_small_blocks_are_fetched_together_and_kept() -> None:
    """As many bytes of them as of large ones."""
    tensors = {str(n): (("F32", "F16")[n % 2], [400 * (n % 2 + 1)], W.tobytes()[:1600]) for n in range(6_000)}
    content = safetensors(tensors)
    _, blob = encoded(Tensor(), content)
    reader = BytesReader(blob)
    opened = Tensor().open(reader)
    before = len(reader.reads)
    assert opened.read_at(0, len(content)) == content
    assert len(reader.reads) - before == -(-len(content) // (8 * MIB))
    before = len(reader.reads)
    assert opened.read_at(len(content) - 7 * MIB, 7 * MIB) == content[-7 * MIB :]
    assert len(reader.reads) == before


def test_damage_of_any_frame_is_noticed_and_is_no_other_tensors() -> None:
    content = FILES["several"]
    blob = back(content)
    table = ending.read(BytesReader(blob))
    at = 0
    for number, width in enumerate(table.widths):
        for _ in range(width):
            stored = table.frames[table.first[number] : table.first[number + 1]]
            middle = at + stored[0] // 2
            opened = Tensor().open(BytesReader(blob[:middle] + bytes([blob[middle] ^ 0x10]) + blob[middle + 1 :]))
            for other in range(len(table.widths)):
                begin, size = table.begins(other), table.begins(other + 1) - table.begins(other)
                if other == number:
                    with pytest.raises(VerificationFailed, match=f"frame {number + 1} of 3"):
                        opened.read_at(begin, size)
                else:
                    assert opened.read_at(begin, size) == content[begin : begin + size]
        at = table.starts[number + 1]


# -- what is not taken -----------------------------------------------------------------------------------------------


def told(*tensors: tuple[str, object, object]) -> dict[str, object]:
    return {str(n): {"dtype": d, "shape": s, "data_offsets": o} for n, (d, s, o) in enumerate(tensors)}


LYING: dict[str, tuple[bytes, str]] = {
    "beyond its end": (with_header(told(("F32", [500], [0, 2_000])), bytes(1_999)), LIES),
    "overlapping": (with_header(told(("F32", [500], [0, 2_000]), ("F32", [500], [1_000, 3_000])), bytes(3_000)), LIES),
    "another size": (with_header(told(("F32", [501], [0, 2_000])), bytes(2_000)), LIES),
    "ends before it begins": (with_header(told(("F32", [0], [8, 4])), bytes(2_000)), LIES),
    "negative": (with_header(told(("F32", [1], [-4, 0])), bytes(2_000)), LIES),
    "negative shape": (with_header(told(("F32", [-1, -500], [0, 2_000])), bytes(2_000)), LIES),
    "huge": (with_header(told(("F32", [2**62, 2**62], [0, 2**126])), bytes(2_000)), LIES),
    "too many dimensions": (with_header(told(("F32", [1] * 65, [0, 4])), bytes(2_000)), LIES),
    "no numbers": (with_header(told(("F32", ["a"], [0, 4])), bytes(2_000)), LIES),
    "truths": (with_header(told(("F32", [True], [False, 4])), bytes(2_000)), LIES),
    "no shape": (with_header(told(("F32", 7, [0, 28])), bytes(2_000)), LIES),
    "no tensor": (with_header({"a": [1, 2]}, bytes(2_000)), LIES),
    "three offsets": (with_header(told(("F32", [1], [0, 4, 8])), bytes(2_000)), LIES),
    "no JSON": (struct.pack("<Q", 9) + b"{nothing}" + bytes(2_000), "no JSON"),
    "no text": (struct.pack("<Q", 9) + b'{"\xff\xfe": 1}'[:9] + bytes(2_000), "no JSON"),
    "deep": (struct.pack("<Q", 200_000) + b'{"a":' * 40_000 + bytes(2_000), "no JSON"),
    "digits": (struct.pack("<Q", 5_006) + b'{"a":' + b"9" * 5_000 + b"}" + bytes(9), "no JSON"),
    "npy, too large": (npy(W)[:-1], LIES),
    "npy, objects": (npy(W).replace(b"'<f4'", b"'|O8'"), "records or Python objects"),
    "npy, version": (npy(W).replace(b"NUMPY\x01", b"NUMPY\x09"), "another version"),
    "npy, cut": (npy(W)[:7], LIES),
    "zip of texts": (files.npz({"a.txt": None}), "no array lies as it is"),
    "zip, deflated": (files.npz({"a": W}, deflated=True), "no array lies as it is"),
    "zip, cut": (FILES["npz"][:-30], "does not end as a zip"),
    "gguf, cut": (FILES["gguf"][:4_000], LIES),
    "gguf, version": (FILES["gguf"].replace(b"GGUF\x03", b"GGUF\x01"), "another version"),
    "gguf, many": (b"GGUF" + struct.pack("<IQQ", 3, 2**40, 0) + bytes(100), "too many tensors"),
    "gguf, endless": (b"GGUF" + struct.pack("<IQQ", 3, 1, 2**60) + bytes(10_000), LIES),
    "gguf, alignment": (files.gguf({"w": (0, (1_000,), W.tobytes()[:4_000])}, alignment=32).replace(
        struct.pack("<II", 4, 32), struct.pack("<II", 4, 0)), LIES),
    "nothing": (b"", "no file of tensors"),
    "text": (content_of(5_000), "no file of tensors"),
}  # fmt: skip


@pytest.mark.parametrize("name", LYING)
def test_what_lies_is_not_taken_and_why(name: str) -> None:
    content, why = LYING[name]
    with pytest.raises(NotTaken, match=why):
        encoded(Tensor(), content)
    with pytest.raises(NotTaken, match=why):
        arrays(BytesContent(content))
    found = sampled(CodecSpec("tensor"), BytesContent(content))
    assert found.spec.name != "tensor"
    assert why in found.why


def test_what_is_no_file_of_tensors_is_zstds_with_the_level_that_was_asked_for() -> None:
    found = sampled(CodecSpec("tensor", 7), BytesContent(content_of(50_000)))
    assert (found.spec, found.sample.taken) == (CodecSpec("zstd", 7), True)
    assert found.not_taken == "tensor does not take it: it is no file of tensors or arrays"


def test_a_header_of_ten_megabytes_is_read_and_one_of_seventeen_is_not() -> None:
    content = safetensors({"w": ("F32", [20_000], W.tobytes())}, metadata={"notes": "n" * 10_000_000})
    report, blob = encoded(Tensor(), content)
    assert Tensor().open(BytesReader(blob)).read_at(0, len(content)) == content
    assert report.stored_size < 90_000
    content = safetensors({"w": ("F32", [20_000], W.tobytes())}, metadata={"notes": "n" * (17 << 20)})
    source = BytesContent(content)
    with pytest.raises(NotTaken, match="more than 16,777,216 bytes"):
        encoded(Tensor(), source)
    assert sum(length for _, length in source.reads) < 100


# -- laws ------------------------------------------------------------------------------------------------------------

_laws = tries(60, suppress_health_check=[HealthCheck.too_slow])


def comes_back(content: bytes) -> None:
    """What is taken, to the byte; all else is refused in words."""
    with contextlib.suppress(NotTaken):
        _, blob = encoded(Tensor(), content)
        assert Tensor().open(BytesReader(blob)).read_at(0, len(content)) == content


@_laws
@given(
    header=st.dictionaries(
        st.text(max_size=3),
        st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(["F32", "BF16", "F8_E5M2", "BOOL", "I64", "U16", "F4", "?"]),
                "shape": st.lists(st.integers(-1, 700), max_size=3),
                "data_offsets": st.tuples(st.integers(-2, 5_000), st.integers(-2, 5_000)),
            }
        ),
        max_size=4,
    ),
    data=st.integers(0, 5_000),
)
def test_made_up_headers(header: dict[str, Any], data: int) -> None:
    comes_back(with_header(header, NOISE[:data]))


@_laws
@given(sizes=st.lists(st.tuples(st.sampled_from(sorted(TYPES)), st.integers(0, 900)), max_size=6), tail=st.binary())
def test_tensors_of_any_types_and_sizes(sizes: list[tuple[str, int]], tail: bytes) -> None:
    """With what has been left over behind them."""
    names = {each.name: name for name, each in files.SAFETENSORS.items()}
    tensors = {}
    for number, (name, count) in enumerate(sizes):
        size = count * TYPES[name].size
        tensors[str(number)] = (names.get(name, name), [count], (NOISE * 2)[number : number + size])
    content = safetensors(tensors) + tail
    _, blob = encoded(Tensor(), content)
    assert Tensor().open(BytesReader(blob)).read_at(0, len(content)) == content
    for each in arrays(BytesContent(content)):
        assert content[each.start : each.start + each.size] == tensors[each.name][2]


SEEDS = [
    npy(W[:800]),
    files.npz({"a": W[:800], "b": STEPS[:300]}),
    torch({"w": W[:800].reshape(20, 40), "b": STEPS[:300]}),
    files.gguf({"w": (0, (20, 40), W[:800].tobytes()), "v": (30, (300,), bytes(600))}, words=5),
    one("F32", 4, W[:800].tobytes()),
]


@tries(200, parent=_laws)
@given(seed=st.sampled_from(SEEDS), at=st.data())
def test_anything_may_be_wrong_with_a_file(seed: bytes, at: st.DataObject) -> None:
    """Bytes of what it says of itself changed, taken away or put in, at its beginning and at its end."""
    content = bytearray(seed)
    for _ in range(at.draw(st.integers(1, 3), label="faults")):
        where = at.draw(st.one_of(st.integers(0, 400), st.integers(len(content) - 900, len(content))), label="where")
        where = min(max(where, 0), len(content))
        gone = at.draw(st.sampled_from([0, 1, 1, 1, 4, 8]), label="gone")
        content[where : where + gone] = at.draw(st.binary(max_size=8), label="instead")
    comes_back(bytes(content))


def test_a_blob_is_called_after_the_file_and_what_zstd_makes_of_it() -> None:
    key = key_of("run/a.safetensors", "0123456789abcdef" * 2, dataset="w", codec_name="tensor")
    assert key == "w/run/a.0123456789abcdef.safetensors.planes.zst"


def test_a_later_version_is_told_from_damage() -> None:
    blob = back(FILES["fp32"])
    later = blob.replace(b'{"storaged-tensor":1', b'{"storaged-tensor":2')
    with pytest.raises(VerificationFailed, match="format version is 2") as refused:
        Tensor().open(BytesReader(later))
    assert refused.value.hint == "upgrade storaged"
