"""The site: which path shows which page, and how a page becomes HTML. The template library escapes every value."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib.resources import files
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode

import humanize
import jinja2

from storaged.clock import iso
from storaged.daemon.pages.money import money
from storaged.daemon.pages.planned import planned
from storaged.daemon.pages.spread import listed, spread
from storaged.daemon.pages.story import story
from storaged.daemon.pages.view import Query, Show, View, WebPage
from storaged.daemon.pages.work import findings, running, tiers
from storaged.errors import RefusedByGuard, StoragedError, UsageError
from storaged.prices.amount import usd
from storaged.printable import printable

HTML: Final = "text/html; charset=utf-8"
AT_ONCE: Final = 3  # pages that are made at a time: the server's other threads are for probes and metrics
PAGES: Final[Mapping[str, Show]] = {
    "/": money,
    "/map": spread,
    "/objects": listed,
    "/tiers": tiers,
    "/plans": planned,
    "/jobs": running,
    "/findings": findings,
    "/object": story,
}
MENU: Final = (
    ("/", "Money"),
    ("/map", "Map"),
    ("/tiers", "Tiers"),
    ("/plans", "Plans"),
    ("/jobs", "Jobs"),
    ("/findings", "Findings"),
    ("/object", "Object"),
)

FILES: Final = {"/style.css": "text/css; charset=utf-8", "/icon.svg": "image/svg+xml"}

Answer = tuple[str, str, bytes]  # status, content type, body


class Site:
    """Answers for the paths of PAGES and the style sheet. Safe for threads. `look` lends a view of the world."""

    def __init__(self, look: Callable[[], AbstractContextManager[View]], faulted: Callable[[Exception], None]) -> None:
        self._look = look
        self._faulted = faulted
        self._making = threading.BoundedSemaphore(AT_ONCE)

    def answer(self, path: str, query: str) -> Answer | None:
        """The page at a path with its query string; None: there is none."""
        show = PAGES.get(path)
        return None if show is None else self.made(path, lambda view: show(view, asked(query)))

    def made(self, path: str, show: Callable[[View], WebPage]) -> Answer:
        """A page, or what is said of why there is none."""
        if not self._making.acquire(blocking=False):
            return told("503 Service Unavailable", "Busy", "others are looking just now; load the page again")
        try:
            with self._look() as view:
                return "200 OK", HTML, render(show(view), path)
        except UsageError as error:
            return told("404 Not Found", "Not found", error.message, error.hint)
        except RefusedByGuard as error:
            return told("409 Conflict", "Refused", error.message, error.hint)
        except StoragedError as error:
            return told("503 Service Unavailable", "Not now", error.message, error.hint)
        except Exception as error:  # noqa: BLE001  a fault of ours in one page must not end the server
            self._faulted(error)
            return told("500 Internal Server Error", "A fault", "a fault in storaged; the daemon's log tells of it")
        finally:
            self._making.release()


@functools.cache
def drawn(name: str) -> bytes:
    """A file that all pages show and that tells nothing: one of FILES."""
    return (files("storaged.daemon.pages") / name).read_bytes()


def asked(query: str) -> Query:
    """A query string as values by name; of several of a name the last. Raises UsageError for what no catalog holds:
    bytes that are no UTF-8, and NULs."""
    try:
        found = dict(parse_qsl(query, keep_blank_values=True, max_num_fields=20, errors="strict"))
        if any("\0" in value for value in found.values()):
            raise ValueError("NUL")
    except ValueError as error:
        raise UsageError("that address cannot be read", hint="follow the links of the pages") from error
    return found


def render(page: WebPage, path: str) -> bytes:
    """A page as HTML in UTF-8."""
    made = _environment().get_template(page.template).render(page.values, title=page.title, path=path, menu=MENU)
    return made.encode("utf-8", "backslashreplace")


def link(path: str, **query: object) -> str:
    """A path with a query."""
    return f"{path}?{urlencode(query, quote_via=quote, errors='surrogatepass')}"


@functools.cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("storaged.daemon.pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"size": _size, "usd": usd, "at": _at, "count": lambda n: f"{n:,}", "px": lambda n: f"{n:.1f}"}
    made.filters["objects"] = lambda n: f"{n:,} object{'' if n == 1 else 's'}"
    made.globals |= {"link": link}
    return made


def told(status: str, title: str, message: str, hint: str | None = None) -> Answer:
    """A page that says one thing."""
    return status, HTML, render(WebPage("told.html", title, {"message": message, "hint": hint}), "")


def _size(n: int | None) -> str:
    return "-" if n is None else humanize.naturalsize(n, binary=True).replace(" Bytes", " B").replace(" Byte", " B")


def _at(us: int | None) -> str:
    """An instant to the minute, UTC."""
    text = iso(us)
    return "-" if text is None else f"{text[:10]} {text[11:16]}Z"
