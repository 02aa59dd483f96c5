"""README.zh-CN.md says what README.md says: the same headings in their order, the same code, the same places to go."""

from __future__ import annotations

import re
from pathlib import Path

from tests.test_docs import ROOT, prose

ENGLISH, CHINESE = PAGES = (ROOT / "README.md", ROOT / "README.zh-CN.md")


def found(pattern: str, page: Path) -> list[str]:
    """What a pattern finds in a page's prose, in the order of the alphabet: sentences are built differently."""
    return sorted(" ".join(text.split()) for text in re.findall(pattern, prose(page), flags=re.M))


def code(page: Path) -> list[list[str]]:
    """The code blocks of each section."""
    parts = re.split(r"^## ", page.read_text(), flags=re.M)
    return [re.findall(r"^```.*?^```$", part, flags=re.S | re.M) for part in parts]


def test_the_headings_are_as_many_and_of_the_same_levels() -> None:
    levels, translated = (re.findall(r"^#+(?= )", prose(page), flags=re.M) for page in PAGES)
    assert levels == translated
    assert len(levels) > 5


def test_every_code_block_stands_in_the_same_section_letter_by_letter() -> None:
    assert code(ENGLISH) == code(CHINESE)
    assert sum(map(len, code(ENGLISH))) > 5


def test_commands_links_and_figures_in_the_prose_are_the_same() -> None:
    for pattern in (r"`([^`]+)`", r"\]\(((?!README)[^)]+)\)"):
        assert found(pattern, ENGLISH) == found(pattern, CHINESE)
        assert len(found(pattern, ENGLISH)) > 10
    figures, translated = (set(found(r"\d[\d,]*\d|\d", page)) - {"2", "20"} for page in PAGES)
    assert figures == translated, "but 2 billion, which is 20 times a hundred million"


def test_each_leads_to_the_other() -> None:
    assert "](README.zh-CN.md)" in prose(ENGLISH)
    assert "](README.md)" in prose(CHINESE)
