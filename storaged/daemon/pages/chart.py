"""Charts as shapes: where rectangles go. The templates draw them as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, in the units of its drawing, from the upper left corner."""

    x: float
    y: float
    width: float
    height: float


def treemap(sizes: Sequence[float], within: Box) -> list[Box]:
    """A box for each size, in proportion to it, together filling `within`: squarified (Bruls, Huizing, van Wijk, 2000).
    Sizes come largest first and are above 0."""
    total = sum(sizes)
    boxes: list[Box] = []
    left, rest, at = within, total, 0
    while at < len(sizes):
        area = left.width * left.height
        side = min(left.width, left.height)
        if rest <= 0 or area <= 0:
            return boxes + [Box(left.x, left.y, 0, 0)] * (len(sizes) - at)
        scale, end = area / rest, at + 1
        while end < len(sizes) and _worst(sizes[at : end + 1], side, scale) <= _worst(sizes[at:end], side, scale):
            end += 1
        row = sizes[at:end]
        thick = sum(row) * scale / side
        boxes += _row(row, left, thick)
        if left.width >= left.height:
            left = Box(left.x + thick, left.y, max(0.0, left.width - thick), left.height)
        else:
            left = Box(left.x, left.y + thick, left.width, max(0.0, left.height - thick))
        rest -= sum(row)
        at = end
    return boxes


def _worst(row: Sequence[float], side: float, scale: float) -> float:
    """How far the least square of a row is from a square."""
    thick = sum(row) * scale / side
    return max(max(thick * thick / (size * scale), size * scale / (thick * thick)) for size in row)


def _row(row: Sequence[float], left: Box, thick: float) -> list[Box]:
    """A row along the shorter side."""
    total, along, boxes = sum(row), 0.0, []
    for size in row:
        if left.width >= left.height:
            length = left.height * size / total
            boxes.append(Box(left.x, left.y + along, thick, length))
        else:
            length = left.width * size / total
            boxes.append(Box(left.x + along, left.y, length, thick))
        along += length
    return boxes


@dataclass(frozen=True, slots=True)
class ChartBar:
    """One bar of a group, `of` which series it is, with its words."""

    box: Box
    of: str
    words: str


def bars(groups: Sequence[Sequence[tuple[str, float, str]]], within: Box) -> list[list[ChartBar]]:
    """Bars from the lower edge upwards, group beside group: (series, value, words) of each. Below 0 is none."""
    most = max((value for group in groups for _, value, _ in group), default=0)
    found = []
    for n, group in enumerate(groups):
        wide = within.width / len(groups)
        each = wide * 0.8 / max(1, len(group))
        made = []
        for k, (series, value, words) in enumerate(group):
            height = max(0.0, within.height * value / most) if most > 0 else 0.0
            x = within.x + n * wide + wide * 0.1 + k * each
            made.append(ChartBar(Box(x, within.y + within.height - height, each * 0.9, height), series, words))
        found.append(made)
    return found
