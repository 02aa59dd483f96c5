"""Files of tensors and arrays to encode, written by their formats' rules or by numpy."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from storaged.codecs.tensor.codec import Tensor
from storaged.codecs.tensor.safetensors import TYPES as SAFETENSORS
from storaged.testing.contents import MIB, BytesReader, encoded

NUMPY: Final = {each.numpy: name for name, each in SAFETENSORS.items() if each.numpy}
One = tuple[str, Sequence[int], bytes]  # dtype, shape, data


def safetensors(tensors: Mapping[str, One], *, metadata: Mapping[str, str] | None = None) -> bytes:
    """As its writer does: a header padded to eight bytes, the data without gaps."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": dict(metadata)}
    at = 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(data)]}
        at += len(data)
    return with_header(header, b"".join(data for _, _, data in tensors.values()))


def with_header(header: object, data: bytes) -> bytes:
    raw = json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    return struct.pack("<Q", len(raw)) + raw + data


def of(data: bytes) -> bytes:
    """A file that holds this data: as float32, and what is left over as bytes."""
    whole = len(data) - len(data) % 4
    return safetensors({"w": ("F32", [whole // 4], data[:whole]), "rest": ("U8", [len(data) - whole], data[whole:])})


def weights(count: int, *, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """As trained ones are distributed, nearly."""
    return np.random.default_rng(seed).normal(0, 0.05, count).astype("<f4")


def bfloat16(values: np.ndarray[Any, np.dtype[np.float32]]) -> bytes:
    return (values.view("<u4") >> np.uint32(16)).astype("<u2").tobytes()


def npy(array: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def npz(arrays: Mapping[str, np.ndarray[Any, Any] | None], *, deflated: bool = False) -> bytes:
    """As np.savez writes it; of None a text."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(name if array is None else f"{name}.npy", "w", force_zip64=True) as file:
                file.write(b"words" if array is None else npy(array))
    return out.getvalue()


class _Kind:
    """Stands for a class of torch in a pickle."""

    def __init__(self, module: str, name: str) -> None:
        self.__module__, self.__qualname__, self.__name__ = module, name, name


class _Storage:
    def __init__(self, kind: str, key: str, count: int) -> None:
        self.id = ("storage", _Kind("torch", kind), key, "cpu", count)


class _Tensor:
    def __init__(self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.arguments = (storage, offset, shape, strides, False, {})


class _Pickler(pickle._Pickler):  # the one in Python, which can be told how to write what is not there
    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, _Kind):
            self.write(b"c" + f"{obj.__module__}\n{obj.__name__}\n".encode())
        elif isinstance(obj, _Tensor):
            self.save(_Kind("torch._utils", "_rebuild_tensor_v2"))
            self.save(obj.arguments)
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)

    def persistent_id(self, obj: Any) -> Any:
        return obj.id if isinstance(obj, _Storage) else None


TORCH_KINDS: Final = {"<f4": "FloatStorage", "<f2": "HalfStorage", "<i8": "LongStorage", "|u1": "ByteStorage"}


def torch(arrays: Mapping[str, np.ndarray[Any, Any]], *, transposed: Sequence[str] = (), tied: bool = False) -> bytes:
    """As torch.save writes a state dict: a zip whose members are stored and begin at multiples of 64."""
    state: dict[str, Any] = {}
    for number, (name, array) in enumerate(arrays.items()):
        storage = _Storage(TORCH_KINDS[array.dtype.str], str(number), array.size)
        strides = tuple(s // array.itemsize for s in array.strides)
        shape = array.shape
        if name in transposed:
            strides, shape = strides[::-1], shape[::-1]
        state[name] = _Tensor(storage, 0, shape, strides)
        if tied:
            state[f"tied.{name}"] = _Tensor(storage, 0, shape, strides)
    told = io.BytesIO()
    _Pickler(told, 2).dump({"model": state, "epoch": 3, "lr": 0.1, "names": ["a", ("b", None)]})
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        _aligned(archive, out, "run/data.pkl", told.getvalue())
        for number, array in enumerate(arrays.values()):
            _aligned(archive, out, f"run/data/{number}", array.tobytes())
        _aligned(archive, out, "run/version", b"3\n")
    return out.getvalue()


def _aligned(archive: zipfile.ZipFile, out: io.BytesIO, name: str, data: bytes) -> None:
    info = zipfile.ZipInfo(name)
    room = -(out.tell() + 30 + len(name) + 4) % 64
    info.extra = struct.pack("<2H", 0x4246, room) + b"Z" * room
    archive.writestr(info, data)


def gguf(tensors: Mapping[str, tuple[int, Sequence[int], bytes]], *, words: int = 100, alignment: int = 32) -> bytes:
    """Version 3: number of the type, shape and data of each tensor; a vocabulary as models have it."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    out = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 4)
    out += text("general.alignment") + struct.pack("<II", 4, alignment)
    out += text("general.name") + struct.pack("<I", 8) + text("small")
    out += text("tokens") + struct.pack("<IIQ", 9, 8, words) + b"".join(text(f"word {n}") for n in range(words))
    out += text("scores") + struct.pack("<IIQ", 9, 6, words) + bytes(4 * words)
    at, data = 0, b""
    for name, (kind, shape, raw) in tensors.items():
        out += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape)) + struct.pack("<IQ", kind, at)
        data += raw + bytes(-len(raw) % alignment)
        at = len(data)
    return out + bytes(-len(out) % alignment) + data


def back(content: bytes, *, level: int | None = None) -> bytes:
    """The blob of a file, which comes back from it in odd ranges."""
    _, blob = encoded(Tensor(), content, level=level)
    opened = Tensor().open(BytesReader(blob))
    assert opened.size == len(content)
    assert b"".join(opened.read_at(at, 100_003) for at in range(0, len(content), 100_003)) == content
    return blob


class Large:
    """A file of one tensor of any size: the same mebibyte again and again."""

    def __init__(self, size: int) -> None:
        data = size // MIB * MIB
        header = {"w": {"dtype": "F32", "shape": [data // 4], "data_offsets": [0, data]}}
        self._head = with_header(header, b"")
        self._piece = weights(MIB // 4).tobytes()
        self.size = len(self._head) + data

    def read_at(self, offset: int, length: int) -> bytes:
        """A new object each time."""
        parts = [self._head[offset : offset + length]]
        offset, length = offset + len(parts[0]), min(length, self.size - offset) - len(parts[0])
        while length > 0:
            within = (offset - len(self._head)) % MIB
            parts.append(self._piece[within : within + length])
            offset, length = offset + len(parts[-1]), length - len(parts[-1])
        return b"".join(parts)
