"""Drawings in files, by matplotlib: an extra, loaded only by who asks for a drawing."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from storaged.errors import StoragedError, UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS: Final = (".svg", ".png")
_WIDTH, _BAR, _REST = 9.0, 0.35, 1.8  # inches: of all, of a bar, of title and axis


def require_drawable(file: Path) -> None:
    """Before the work begins: whether this can be drawn at all. Raises UsageError for an ending that is no drawing's,
    StoragedError without matplotlib."""
    if file.suffix not in FORMATS:
        raise UsageError(f"{file} is no file that can be drawn to", hint=f"it ends in {' or '.join(FORMATS)}")
    try:
        import matplotlib  # noqa: F401  is it there?
    except ImportError as error:
        raise StoragedError("drawing needs matplotlib", hint="pip install 'storaged[plot]'") from error


def stacked_bars(
    file: Path, title: str, unit: str, names: Sequence[str], parts: Sequence[tuple[str, Sequence[Decimal]]]
) -> None:
    """A bar for each name, one below the other, of the parts that it consists of; each part has a value for each name.
    Raises StoragedError where the file cannot be written."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, _REST + _BAR * max(len(names), 2)), layout="constrained")
    axes = figure.subplots()
    left = [0.0] * len(names)
    for label, values in parts:
        widths = [float(v) for v in values]
        axes.barh(range(len(names)), widths, left=left, label=label)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(names)), names, parse_math=False)  # a $ in a name begins no formula
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel(unit, parse_math=False)
    axes.set_title(title, parse_math=False)
    figure.legend(loc="outside right upper")
    save(figure, file)


def calibration(file: Path, title: str, ways: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> None:
    """What was forecast and what came, on logarithmic axes (what is 0 stands at their begin): one line a way, and the
    line on which both are the same. Raises StoragedError where the file cannot be written."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, _WIDTH * 0.6), layout="constrained")
    axes = figure.subplots()
    every = [value for _, points in ways for point in points for value in point if value > 0] or [1.0]
    least, most = min(every), max(every)
    for name, points in ways:
        axes.plot(*zip(*((max(a, least), max(b, least)) for a, b in points), strict=True), marker="o", label=name)
    axes.plot((least, most), (least, most), color="grey", linestyle="dotted", label="as forecast")
    axes.set(xscale="log", yscale="log", xlabel="forecast", ylabel="read")
    axes.set_title(title, parse_math=False)
    figure.legend(loc="outside right upper")
    save(figure, file)


def bands(file: Path, title: str, panels: Sequence[tuple[str, Sequence[Sequence[float]]]]) -> None:
    """Of each month ahead the low end, what is expected and the high end: a panel for each unit. Raises StoragedError
    where the file cannot be written."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, _WIDTH * 0.35 * len(panels)), layout="constrained")
    for axes, (unit, months) in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True):
        low, mean, high = zip(*months, strict=True)
        axes.fill_between(range(len(mean)), low, high, alpha=0.25, linewidth=0, label="four of five ways on")
        axes.plot(range(len(mean)), mean, label="expected")
        axes.set(xlabel="months from now", xlim=(0, len(mean) - 1), ylim=(0, None))
        axes.set_ylabel(unit, parse_math=False)
        axes.legend(loc="upper left")
    figure.suptitle(title, parse_math=False)
    save(figure, file)


def save(figure: Figure, file: Path) -> None:
    """The same figure is the same bytes. Raises StoragedError where the file cannot be written."""
    import matplotlib

    with warnings.catch_warnings(), matplotlib.rc_context({"svg.hashsalt": "storaged", "svg.fonttype": "none"}):
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a name in a script it cannot draw
        try:
            figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
        except OSError as error:
            raise StoragedError(f"{file} cannot be written: {error.strerror}") from error
