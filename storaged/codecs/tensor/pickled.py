"""What a pickle of torch.save tells of storages and tensors, without running anything that it names.

Its opcodes are followed with values that only stand for something. What is not known stands for nothing, and what
does not follow the rules ends it.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from storaged.codecs.tensor.layout import MOST, PLAIN, TYPES, Type
from storaged.errors import NotTaken

MOST_BYTES: Final = 4 * 1024 * 1024
LONGEST: Final = 512  # characters of a name

_STORAGES: Final = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
_UNTYPED: Final = Type("untyped", 0, PLAIN)
_TENSORS: Final = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3")
_PUSHED: Final = ("UNICODE", "INT", "BINBYTES", "BYTES", "FLOAT", "LONG", "STRING", "BYTEARRAY")
_ALONE: Final = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}


class _Named(NamedTuple):
    """Something of a module."""

    module: str
    name: str


class _Storage(NamedTuple):
    key: str
    kind: Type


class View(NamedTuple):
    """A tensor: so many elements of a storage from an offset in elements on. `dense`: one behind the other."""

    key: str
    kind: Type
    offset: int
    shape: tuple[int, ...]
    dense: bool


@dataclass(frozen=True, slots=True)
class Told:
    """Of each storage its type, by its record; of each tensor that dicts name, what it views."""

    types: Mapping[str, Type]
    views: Mapping[str, View]


@dataclass(slots=True)
class _Machine:
    stack: list[Any] = field(default_factory=list)
    marks: list[list[Any]] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)
    types: dict[str, Type] = field(default_factory=dict)

    def step(self, name: str, arg: Any) -> None:
        """One opcode. Raises LookupError, TypeError or ValueError for what does not follow the rules."""
        stack = self.stack
        if name in _ALONE:
            stack.append(_ALONE[name])
        elif name == "MARK":
            self.marks.append(stack)
            self.stack = []
        elif name in ("PROTO", "FRAME", "STOP"):
            pass
        elif name == "GLOBAL":
            module, _, called = arg.partition(" ")
            stack.append(_Named(module, called))
        elif name == "STACK_GLOBAL":
            called, module = stack.pop(), stack.pop()
            stack.append(_Named(module, called) if isinstance(module, str) and isinstance(called, str) else None)
        elif "GET" in name:
            stack.append(self.memo[int(arg)])
        elif "PUT" in name or name == "MEMOIZE":
            self.memo[len(self.memo) if arg is None else int(arg)] = stack[-1]
        elif name == "POP":
            stack.pop()
        elif name == "POP_MARK":
            self._since_mark()
        elif name == "DUP":
            stack.append(stack[-1])
        elif name == "BINPERSID":
            stack.append(self._stored(stack.pop()))
        elif name in ("REDUCE", "NEWOBJ"):
            arguments, of = stack.pop(), stack.pop()
            stack.append(_made(of, arguments))
        elif name == "BUILD":
            stack.pop()
        else:
            self._container(name, arg)

    def _container(self, name: str, arg: Any) -> None:
        if name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_SET", "EMPTY_TUPLE"):
            self.stack.append({"EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}.get(name, list)())
        elif name == "TUPLE":
            items = self._since_mark()
            self.stack.append(tuple(items))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            items = self.stack[-count:]
            del self.stack[-count:]
            self.stack.append(tuple(items))
        elif name in ("LIST", "DICT", "FROZENSET"):
            items = self._since_mark()
            self.stack.append(dict(_pairs(items)) if name == "DICT" else items)
        elif name == "SETITEM":
            value, key = self.stack.pop(), self.stack.pop()
            _set(self.stack[-1], [key, value])
        elif name == "SETITEMS":
            items = self._since_mark()
            _set(self.stack[-1], items)
        elif name == "APPEND":
            self.stack.pop()
        elif name in ("APPENDS", "ADDITEMS"):
            self._since_mark()
        elif any(each in name for each in _PUSHED):
            self.stack.append(arg)
        else:
            raise ValueError(name)

    def _since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def _stored(self, told: Any) -> _Storage | None:
        """The storage that a persistent id stands for: its class, record, device and count."""
        match told:
            case ("storage", _Named(_, called), str(key), *_):
                found = _Storage(key, TYPES.get(_STORAGES.get(called, ""), _UNTYPED))
                self.types.setdefault(key, found.kind)
                return found
        return None


def _pairs(items: list[Any]) -> Iterator[tuple[str | int, Any]]:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if isinstance(key, str | int):
            yield key, value


def _set(target: Any, items: list[Any]) -> None:
    if isinstance(target, dict):
        target.update(_pairs(items))


def _made(of: Any, arguments: Any) -> Any:
    """What a call makes, where it makes dicts and tensors."""
    match of, arguments:
        case _Named("collections", "OrderedDict"), _:
            return {}
        case _Named("torch._utils", "_rebuild_parameter"), (View() as view, *_):
            return view
        case _Named("torch._utils", called), (_Storage() as of_, int(offset), tuple(shape), tuple(strides), *rest):
            if called in _TENSORS and all(type(n) is int and n >= 0 for n in (offset, *shape, *strides)):
                kind = of_.kind
                if called == _TENSORS[-1] and len(rest) > 2 and isinstance(rest[2], _Named):
                    kind = TYPES.get(rest[2].name, _UNTYPED)
                return View(of_.key, kind, offset, shape, _dense(shape, strides))
    return None


def _dense(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether elements lie in the order of C, one behind the other."""
    if len(shape) != len(strides):
        return False
    step = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != step:
            return 0 in shape
        step *= size
    return True


def told(raw: bytes) -> Told:
    """Raises NotTaken."""
    machine = _Machine()
    try:
        for opcode, arg, _ in pickletools.genops(raw):
            machine.step(opcode.name, arg)
        views = dict(_named(machine.stack[-1]))
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise NotTaken("its pickle is of an unknown kind") from error
    types = dict(machine.types)
    for view in views.values():  # version 3 tells the type with the tensor
        if types[view.key] is _UNTYPED:
            types[view.key] = view.kind
    return Told(types, views)


def _named(whole: Any) -> Iterator[tuple[str, View]]:
    """The tensors in dicts within dicts, each with the keys that lead to it. A dict in several is told of once."""
    seen: set[int] = set()
    waiting = [("", whole)]
    while waiting:
        prefix, value = waiting.pop()
        if isinstance(value, View):
            yield prefix, value
        elif isinstance(value, dict) and id(value) not in seen:
            seen.add(id(value))
            for key, each in reversed(value.items()):
                name = f"{prefix}.{key}" if prefix else str(key)
                if len(name) <= LONGEST and isinstance(each, View | dict):
                    waiting.append((name, each))
            if len(waiting) > MOST:
                raise ValueError("too many tensors")
