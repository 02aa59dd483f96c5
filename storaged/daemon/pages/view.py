"""What pages are made from, and what a page is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from storaged.decide.policy import PolicySet
from storaged.errors import UsageError
from storaged.work.context import Context
from storaged.work.show.measure import Measured

ROWS: Final = 100  # of a list, on one page
LOOKED_AT: Final = 20_000  # rows for one page, of which some may be meant


@dataclass(frozen=True, slots=True)
class View:
    """The world as this daemon sees it. `measured`: as it was last; None: not yet. `approves`: whether somebody may
    approve plans here."""

    context: Context
    policies: PolicySet
    measured: Measured | None
    approves: bool = False


@dataclass(frozen=True, slots=True)
class WebPage:
    """A template with its values."""

    template: str
    title: str
    values: Mapping[str, Any] = field(default_factory=dict)


Query = Mapping[str, str]
Show = Callable[[View, Query], WebPage]  # raises UsageError for what is not there


def number(query: Query, name: str, *, most: int = 2**62) -> int | None:
    """A whole number of a query from 0 on; None: it is not given. Raises UsageError."""
    text = query.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= most):
        raise UsageError(f"{name} is no such number", hint="follow the links of the pages")
    return int(text)
