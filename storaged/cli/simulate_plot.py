"""Drawings of a simulation: bars by kind in a terminal, and in a file these and what each day cost so far."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from storaged.errors import UsageError

if TYPE_CHECKING:
    from storaged.decide.simulate.run import SimulatedOutcome

_SUFFIXES: Final = (".svg", ".png", ".pdf")
_INCHES: Final = (10, 9)
_TICKS: Final = 4


def terminal(found: Sequence[SimulatedOutcome], kinds: Sequence[str], width: int) -> str:
    """One bar a policy, made of the first letters of the kinds; "" where all is free. `width` in columns."""
    import plotext

    used = [kind for kind in kinds if any(getattr(outcome.amount, kind) for outcome in found)]
    if not used:
        return ""
    from_below = found[::-1]
    heights = [[float(getattr(outcome.amount, kind)) for outcome in from_below] for kind in used]
    letters = [_letter(kind) for kind in used]
    figure = plotext.figure
    figure.clear()
    figure.plot_size(width, 2 * len(found) + 3)
    names = [outcome.name for outcome in from_below]
    figure.draw(figure.bar(names, heights, stacked=True, orientation="h", width=0.3, marker=letters))
    most = max(float(outcome.amount.total) for outcome in found)
    ticks = [most * n / _TICKS for n in range(_TICKS + 1)]
    figure.ruler("x").lim(0, most)
    digits = 0 if most >= 100 else max(2, 2 - math.floor(math.log10(most)))  # cents; of small lakes three digits
    figure.ruler("x").ticks(ticks, [f"{tick:,.{digits}f}" for tick in ticks])
    drawn: str = figure.build().string(colorless=True)
    legend = ", ".join(f"{letter} {kind.replace('_', ' ')}" for letter, kind in zip(letters, used, strict=True))
    return "\n".join(line.rstrip() for line in drawn.rstrip().split("\n")) + f"\nUSD: {legend}"


def _letter(kind: str) -> str:
    return {"requests": "q", "retrieval": "r"}.get(kind, kind[0])


def check(path: Path) -> None:
    """That a drawing can be made there. Raises UsageError."""
    if path.suffix not in _SUFFIXES:
        raise UsageError(f"{path} cannot be drawn", hint=f"a name that ends in {', '.join(_SUFFIXES)}")
    try:
        import matplotlib  # noqa: F401  only whether it is there
    except ImportError as error:
        raise UsageError("drawing files needs matplotlib", hint="pip install 'storaged[plot]'") from error


def draw(found: Sequence[SimulatedOutcome], kinds: Sequence[str], path: Path) -> None:
    """Bars of the totals by kind, and lines of what each policy had cost by each day. Raises UsageError."""
    import matplotlib
    from matplotlib.figure import Figure

    names = [outcome.name for outcome in found]
    # With a fixed salt and no date the same figures give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "storaged"}):
        figure = Figure(figsize=_INCHES, layout="constrained")
        bars: Any
        lines: Any
        bars, lines = figure.subplots(2)
        left = [0.0] * len(found)
        for kind in kinds:
            values = [float(getattr(outcome.amount, kind)) for outcome in found]
            if any(values):
                bars.barh(names, values, left=left, label=kind.replace("_", " "))
                left = [before + value for before, value in zip(left, values, strict=True)]
        bars.invert_yaxis()
        bars.set_xlabel("USD in all")
        bars.legend()
        for outcome in found:
            lines.plot(range(1, len(outcome.daily) + 1), outcome.daily.cumsum(), label=outcome.name)
        lines.set_xlabel("day")
        lines.set_ylabel("USD so far")
        lines.legend()
        try:
            figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from error
