"""Tensor by tensor: what a file of weights or arrays holds, each read by itself, whatever form the file has.

Known are safetensors, `.npy`, `.npz` and what `torch.save` writes, in so far as members lie in their archives as they
are, and the tensors of GGUF that are not quantised.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from storaged.codecs.base import Array
from storaged.codecs.registry import arrays
from storaged.errors import NotTaken, UsageError
from storaged.filesystem import StoragedFileSystem
from storaged.opened import OpenObject
from storaged.oserrors import os_errors


class Tensor:
    """One tensor of a file that is open: `name`, `dtype` ("float32", "bfloat16", …), `shape`, and `nbytes`."""

    def __init__(self, file: Tensors, told: Array) -> None:
        self._file, self._told = file, told
        self.name, self.dtype, self.shape, self.nbytes = told.name, told.dtype, told.shape, told.size

    def __repr__(self) -> str:
        return f"Tensor({self.name!r}, {self.dtype}, {self.shape})"

    def read(self) -> bytes:
        """Its bytes, in the order in which they lie. Raises OSError where the object cannot be read."""
        return self._file.read_at(self._told.start, self._told.size)

    def numpy(self) -> npt.NDArray[Any]:
        """A read-only array. Raises UsageError where numpy has no such type, and OSError."""
        told = self._told
        if not told.numpy:
            raise UsageError(f"numpy has no {told.dtype}, which {told.name!r} is of", hint="`read()` gives its bytes")
        return np.frombuffer(self.read(), told.numpy).reshape(told.shape, order=told.order)


class Tensors(Mapping[str, Tensor]):
    """The tensors of one object by name, in the order of the file. It is pinned to one generation until it is closed,
    which counts one read of the bytes that were asked for. Safe for threads."""

    def __init__(self, path: str, opened: OpenObject) -> None:
        """Raises UsageError for what is no such file, OSError where it cannot be read."""
        self.path, self._opened = path, opened
        self.size = opened.shown.size
        try:
            with os_errors(path):
                self._tensors = {told.name: Tensor(self, told) for told in arrays(self)}
        except NotTaken as error:
            raise UsageError(
                f"{path!r} has no tensors to tell of: {error.message}",
                hint="safetensors, .npy, .npz, what torch.save writes, and GGUF have them",
            ) from error

    def read_at(self, offset: int, length: int) -> bytes:
        """Some bytes of the file. Raises OSError where the object cannot be read."""
        with os_errors(self.path):
            data = self._opened.read_at(offset, length)
        self._opened.delivered += len(data)
        return data

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def close(self) -> None:
        """Twice is once."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def tensors(path: str, *, config: str | os.PathLike[str] | None = None) -> Tensors:
    """The tensors of an object, to be closed: `with storaged.tensors("run/step-900.safetensors") as weights: …`. What
    the file says of them is read at once, of each tensor its own range when it is asked for.

    `config`: the path of storaged.yaml, as for StoragedFileSystem. Raises UsageError where the object is no such file,
    and what the filesystem raises.
    """
    opened = StoragedFileSystem(config).open_object(path)
    try:
        return Tensors(path, opened)
    except BaseException:
        opened.close()
        raise
