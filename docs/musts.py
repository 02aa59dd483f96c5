"""Which tests try to break what must hold: a comment above each says so, such as `# MUST 7` or `# MUST Room`.

The number is that of a MUST in docs/design.md, the word a heading there. Several stand in one comment, with commas.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent
TESTS: Final = ("tests", "storaged/testing")
_MARK: Final = re.compile(r"\s*# MUST (.+)")


def titles() -> dict[str, str]:
    """What may stand in such a comment, in the order of design.md, and what it is called there."""
    text = (REPOSITORY / "docs" / "design.md").read_text()
    found = re.findall(r"^(?:\*\*(\d+)\. (.+?)\.?\*\*|## (.+)$)", text, flags=re.M)
    return {number or heading: title or heading for number, title, heading in found}


def tests() -> dict[str, list[str]]:
    """`file::name` of the tests of each, in the order of files and of their lines. Raises ValueError for a comment that
    names nothing, or that no test follows."""
    found: dict[str, list[str]] = {key: [] for key in titles()}
    for path in sorted(p for top in TESTS for p in (REPOSITORY / top).rglob("*.py")):
        text = path.read_text()
        lines = text.splitlines()
        marks = {n: m[1].split(", ") for n, line in enumerate(lines, start=1) if (m := _MARK.fullmatch(line))}
        if not marks:
            continue
        for line, name in _functions(ast.parse(text)):
            for key in marks.pop(line - 1, ()):
                if key not in found:
                    raise ValueError(f"{path}:{line - 1}: docs/design.md has no {key!r}")
                found[key].append(f"{path.relative_to(REPOSITORY)}::{name}")
        if marks:
            raise ValueError(f"{path}:{min(marks)}: no function follows")
    return found


def _functions(tree: ast.Module | ast.ClassDef, owner: str = "") -> Iterator[tuple[int, str]]:
    """The line at which each function begins, its decorators included, and its name."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield min([node.lineno, *(d.lineno for d in node.decorator_list)]), f"{owner}{node.name}"
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{node.name}::")


_PAGE = """\
# Tests of what must hold

Each of these tries to break one thing that [design](../design.md#the-musts) says must hold. Those that attack all of it
at once stand there. Names without `test_` are scenes: each holds with its guard and must break without it."""


def page() -> Iterator[str]:
    """The page."""
    names = titles()
    yield _PAGE
    for key, those in tests().items():
        if those:
            yield from ["", f"## {key}. {names[key]}" if key.isdigit() else f"## {key}", ""]
            yield from (f"- `{one}`" for one in those)
