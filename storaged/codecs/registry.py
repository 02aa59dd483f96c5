"""Every codec by its name, and every form that blobs are read in. A new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Final, Generic, TypeVar

from storaged.codecs.base import (
    Array,
    Codec,
    Content,
    Derives,
    Form,
    KnowsArrays,
    Sample,
    Unwraps,
    check_level,
    worth_it,
)
from storaged.codecs.identity import Identity
from storaged.codecs.sample import ENCRYPTED
from storaged.codecs.zstd import Zstd
from storaged.errors import UsageError
from storaged.model import IDENTITY, PACK, CodecSpec, Fidelity
from storaged.naming import blob_key


def _parquet() -> Codec:
    from storaged.codecs.parquet.codec import Parquet  # its libraries are slow to import, and many never need it

    return Parquet()


def _inflated() -> Codec:
    from storaged.codecs.inflated.codec import Inflated  # as above

    return Inflated()


def _tensor() -> Codec:
    from storaged.codecs.tensor.codec import Tensor  # as above

    return Tensor()


def _pack() -> Form:
    from storaged.codecs.pack import PACK  # as above

    return PACK


REENCODE: Final = "reencode"  # the option of codecs that make other files of a table

_Kind = TypeVar("_Kind", bound=Form, covariant=True)


class _Named(Mapping[str, _Kind], Generic[_Kind]):
    """By name. Each is made when it is first asked for."""

    def __init__(self, makers: Mapping[str, Callable[[], _Kind]]) -> None:
        self._makers = makers
        self._made: dict[str, _Kind] = {}

    def __getitem__(self, name: str) -> _Kind:
        found = self._made.get(name)
        return found if found is not None else self._made.setdefault(name, self._makers[name]())

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


CODECS: Final[Mapping[str, Codec]] = _Named(
    {"identity": Identity, "zstd": Zstd, "parquet": _parquet, "inflated": _inflated, "tensor": _tensor}
)
COMPRESSING: Final = tuple(name for name in CODECS if name != IDENTITY.name)
"""The codecs that are there to make things smaller. Who plans asks it, and then loads the libraries of none."""
FORMS: Final[Mapping[str, Form]] = _Named(  # and what holds many objects, so that nothing encodes one in it
    {**{name: partial(CODECS.__getitem__, name) for name in CODECS}, PACK: _pack}
)


class PackLevels:
    """The levels of packs, without the libraries of what writes them."""

    name = PACK
    levels = Zstd.levels


def codec(name: str) -> Codec:
    """The codec of this name. Raises UsageError."""
    try:
        return CODECS[name]
    except KeyError:
        raise UsageError(f"there is no codec {name!r}", hint=f"one of: {', '.join(CODECS)}") from None


def form(name: str) -> Form:
    """The form of blobs of this name, for reading: a codec, or `pack`. Raises UsageError."""
    try:
        return FORMS[name]
    except KeyError:
        raise UsageError(f"no blob has the form {name!r}", hint=f"one of: {', '.join(FORMS)}") from None


def compresses(spec: CodecSpec) -> bool:
    """Whether this codec is there to make things smaller, so that a sample tells whether it pays. Raises UsageError."""
    return spec.name in COMPRESSING or codec(spec.name).name in COMPRESSING


@dataclass(frozen=True, slots=True)
class Sampled:
    """What encoding would come to: `sample`, and the codec `spec` that it is told of. That is another one than the one
    `asked` where this does not take such content and names what does; `passed` says why, in words; else it is empty.
    """

    asked: CodecSpec
    spec: CodecSpec
    sample: Sample
    passed: str = ""

    @property
    def why(self) -> str:
        """Why the codec that was asked does not take the content, in words; empty: it takes it."""
        if self.sample.taken:
            return self.passed
        return f"{self.passed}; with {self.spec.name} {self.sample.why_not}" if self.passed else self.sample.why_not

    @property
    def encrypted(self) -> bool:
        """Whether the content is encrypted, so that no codec takes it."""
        return self.sample.reason.startswith(ENCRYPTED)

    @property
    def not_taken(self) -> str:
        """The same in words that name the codec."""
        return not_taken_words(self.asked, self.why) if self.why else ""


def not_taken_words(asked: CodecSpec, why: str) -> str:
    """That a codec does not take a content, and why: zstd does not take it: it does not shrink."""
    return f"{asked.name} does not take it: {why}"


def sampled(spec: CodecSpec, source: Content) -> Sampled:
    """What encoding would come to, of another codec where this one does not take such content and names what does,
    which may name yet another one. The first one's reason is told."""
    asked, seen, passed = spec, {spec.name}, ""
    if spec.fidelity is Fidelity.TABLE and not derives(spec, source):
        spec = replace(spec, fidelity=Fidelity.BYTES, reencode=False)
    of = codec(spec.name)
    if spec.fidelity is Fidelity.TABLE and isinstance(of, Derives):
        return Sampled(asked, spec, of.sample_derived(source, spec=spec))
    found = of.sample(source, level=spec.level)
    while found.instead is not None and found.instead.name not in seen:
        passed = passed or found.reason
        spec = found.instead
        seen.add(spec.name)
        found = codec(spec.name).sample(source, level=spec.level)
    return Sampled(asked, spec, found, passed)


NOTABLE: Final = 0.05  # of the content: what a codec must save beyond one that is read at less cost


def preferred(ratios: Mapping[str, float]) -> str:
    """Of codecs by what they would reach (stored bytes over content bytes) the one to take: the first that comes within
    NOTABLE of the smallest, as CODECS has first what is read at the least cost; empty: none is worth it."""
    worth = {name: ratio for name, ratio in ratios.items() if worth_it(ratio)}
    least = min(worth.values(), default=0.0)
    return next((name for name in CODECS if worth.get(name, 1.0) <= least + NOTABLE), "")


@dataclass(frozen=True, slots=True)
class Choice:
    """The codec to take for a content and why, in words. `tried`: what each that makes things smaller says, by name."""

    spec: CodecSpec
    why: str
    tried: Mapping[str, Sampled]


def choose(source: Content) -> Choice:
    """What to store a content as: from a bounded sample for each codec, the one that is `preferred`; else as it is."""
    tried = {name: sampled(CodecSpec(name), source) for name in COMPRESSING}
    ratios = {name: one.sample.ratio for name, one in tried.items() if one.sample.taken and one.spec.name == name}
    name = preferred(ratios)
    if not name:
        first = next(iter(tried.values())).sample
        known = f"it is {first.recognised}, which is compressed already" if first.recognised else first.why_not
        return Choice(IDENTITY, f"{known}: it stays as it is", tried)
    least = min(ratios, key=lambda other: ratios[other])
    left = f"{name} leaves {ratios[name]:.0%} of it"
    if least == name:
        return Choice(tried[name].spec, f"{left}, the least", tried)
    beyond = f"{least} would leave {ratios[least]:.0%}, too little less for what reading it costs"
    return Choice(tried[name].spec, f"{left}; {beyond}", tried)


def derives(spec: CodecSpec, source: Content) -> bool:
    """Whether the codec makes another file of the same table of such content."""
    of = codec(spec.name)
    return isinstance(of, Derives) and of.derives(source)


def arrays(source: Content) -> tuple[Array, ...]:
    """The arrays that a content tells of, to the codec that knows such contents. Raises NotTaken for any other."""
    knows = next(each for each in CODECS.values() if isinstance(each, KnowsArrays))
    return knows.arrays(source)


def after(spec: CodecSpec) -> CodecSpec:
    """What is tried where a codec turns out not to take a content."""
    return codec(spec.name).after


@cache
def _unwraps(codec_name: str) -> Unwraps | None:
    """The form, where it stores what is inside; asked once: to ask a protocol takes as long as to make three keys."""
    of = form(codec_name)
    return of if isinstance(of, Unwraps) else None


def key_of(name: str, attempt: str, *, dataset: str, codec_name: str) -> str:
    """The key of one attempt's blob of an object of this name."""
    of = form(codec_name)
    unwraps = _unwraps(codec_name)
    inside = name if unwraps is None else unwraps.inside(name)
    return blob_key(dataset, inside, attempt, of.suffix(inside))


def options_of(name: str) -> tuple[str, ...]:
    """What a spec of this codec may say besides its level."""
    return (REENCODE,) if name in CODECS and isinstance(CODECS[name], Derives) else ()


def parse_spec(spec: object) -> CodecSpec:
    """A codec as people write it: `zstd`, `zstd:9`, `{zstd: {level: 9}}` or `{parquet: {reencode: true}}`. Raises
    UsageError."""
    match spec:
        case str():
            name, colon, text = spec.partition(":")
            if not colon:
                return _spec(name, None)
            if not (text.isascii() and text.isdigit()):
                raise UsageError(f"{spec!r}: the level is a whole number", hint=f"such as `{name}:9`")
            return _spec(name, int(text))
        case Mapping() if len(spec) == 1:
            [(name, options)] = spec.items()
            match options:
                case None:
                    return _spec(str(name), None)
                case Mapping() if not options.keys() - {"level", *options_of(str(name))}:
                    level, reencode = options.get("level"), options.get(REENCODE, False)
                    if type(reencode) is not bool:
                        raise UsageError(f"{name}: `{REENCODE}` is true or false, not {reencode!r}")
                    if level is None or type(level) is int:
                        return replace(_spec(str(name), level), reencode=reencode)
                    raise UsageError(f"{name}: the level is a whole number, not {level!r}")
                case _:
                    others = "".join(f" and `{option}`" for option in options_of(str(name)))
                    only = f"the only options are `level`{others}" if others else "the only option is `level`"
                    raise UsageError(f"{name}: {only}", hint=f"write {{{name}: {{level: 9}}}}")
        case _:
            raise UsageError(f"{spec!r} is no codec", hint="write `zstd`, `zstd:9` or {zstd: {level: 9}}")


def _spec(name: str, level: int | None) -> CodecSpec:
    check_level(codec(name), level)
    return CodecSpec(name, level)
