"""What a page shows: its files, its commands in their order, and the output that it says they have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

_MEASURED = r"(?<=\$)\d[\d,]*(?:\.\d+)?|\d[\d,]*\.\d+"  # money, and what has a fraction; a whole number is a count


@dataclass(frozen=True, slots=True)
class Shown:
    """A command of a page. `output` is what the page shows under it, or None; `code` is the exit code that it tells."""

    line: int
    text: str
    code: int
    output: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """A file that a page shows; its first line is a comment with its name."""

    line: int
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Section:
    """All of a page below one heading of the second level; the part before the first one has no title."""

    title: str
    steps: tuple[Shown | Written, ...]


def sections(page: Path) -> Iterator[Section]:
    """The sections of a page that show commands or files."""
    title, steps = "", list[Shown | Written]()
    lines = page.read_text().splitlines()
    number = 0
    while number < len(lines):
        if lines[number].startswith("## "):
            if steps:
                yield Section(title, tuple(steps))
            title, steps = lines[number].removeprefix("## "), []
        elif lines[number].startswith("```"):
            language, first = lines[number].removeprefix("```"), number + 1
            number = lines.index("```", first)
            steps += _steps(language, lines[first:number], first + 1)
        number += 1
    if steps:
        yield Section(title, tuple(steps))


def _steps(language: str, body: list[str], first: int) -> Iterator[Shown | Written]:
    if language == "sh":
        for number, text in _joined(body, first):
            yield _command(number, text, None)
    elif language == "console":
        starts = [n for n, text in enumerate(body) if text.startswith("$ ")] + [len(body)]
        for start, end in pairwise(starts):
            typed = start + 1
            while body[typed - 1].endswith("\\"):
                typed += 1
            [(number, text)] = _joined([body[start].removeprefix("$ "), *body[start + 1 : typed]], first + start)
            yield _command(number, text, tuple(body[typed:end]))
    elif language == "yaml" and (name := re.match(r"# ([\w./-]+\.yaml)\b", body[0])):
        yield Written(first, name[1], "\n".join(body) + "\n")


def _joined(body: list[str], first: int) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; one that ends with a backslash goes on in the next. Without comments of their own."""
    number, text = first, ""
    for offset, line in enumerate(body):
        number, text = (number, text + line.lstrip()) if text else (first + offset, line)
        if text.endswith("\\"):
            text = text.removesuffix("\\")
        else:
            if text.strip() and not text.startswith("#"):
                yield number, text
            text = ""


def _command(line: int, text: str, output: tuple[str, ...] | None) -> Shown:
    text, _, comment = re.sub(r"\s+# ", "\0", text, count=1).partition("\0")
    told = re.search(r"exits with (\d+)", comment)
    return Shown(line, text.strip(), int(told[1]) if told else 0, output)


def differs(shown: tuple[str, ...], real: str) -> str:
    """Why the output that a page shows is not what the command really said; empty if it is.

    A shown line `…` stands for any lines, and … in a line for any text. Instants, ids and widths of columns vary, and
    so do money and fractions by a tenth: what is read in a month, and costs, varies with the hour. Counts do not.
    """
    found = [_stable(line) for line in real.splitlines() if line.strip()]
    at, gap = 0, False
    for line in (_stable(line) for line in shown if line.strip()):
        if line == "…":
            gap = True
            continue
        places = [n for n in range(at, len(found) if gap else min(at + 1, len(found))) if _says(found[n], line)]
        if not places:
            return f"{line!r} is not in its place in:\n{real}"
        at, gap = places[0] + 1, False
    return "" if gap or at == len(found) else f"not shown, and no … either: {found[at]!r}"


def _says(real: str, shown: str) -> bool:
    texts, figures = re.split(_MEASURED, shown), re.findall(_MEASURED, shown)
    any_figure = rf"(?<!\d)({_MEASURED})"
    said = re.fullmatch(any_figure.join(".*".join(map(re.escape, text.split("…"))) for text in texts), real)
    return said is not None and all(map(_near, said.groups(), figures))


def _near(said: str, shown: str) -> bool:
    real, expected = (float(figure.replace(",", "")) for figure in (said, shown))
    return abs(real - expected) <= expected / 10


def _stable(line: str) -> str:
    line = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?Z", "<time>", line)
    line = re.sub(r"\b[0-9a-f]{16,}\b", "<id>", line)
    line = re.sub(r"idle (\d+[dhms])+", "idle <duration>", line)
    return re.sub(r"(?<=\S) {2,}", "  ", line).rstrip()
