"""HTTP/1.1 to one place by libcurl: its connections, proxies, TLS and timeouts.

A HEAD through urllib3 takes 200 µs of the processor without its signature, most of it to read headers as if they were
those of a mail; here it takes 60.
"""

from __future__ import annotations

import io
import math
import os
import ssl
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

import pycurl
from botocore.utils import get_environ_proxies

BESIDE: Final = 8  # requests that one thread has open at most
_CONNECT_S: Final = 10
_BUFFER: Final = 1 << 19  # bytes that are read, or sent, at a time
_WAIT_S: Final = 1.0  # for the network, before an interrupt is seen
_UNASKED: Final = [b"Accept:", b"Expect:", b"Accept-Encoding: identity"]  # a name alone: what curl would say by itself


class Request(NamedTuple):
    """What is asked for: GET, HEAD or PUT. `target`: path and query, quoted; `silent_s`: seconds that nothing may come
    or go, of which whole ones count."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes | memoryview | None
    silent_s: float


class Answer(NamedTuple):
    """What came."""

    status: int
    headers: Mapping[str, str]  # by their names in lower case; what is told several times is joined by commas
    data: bytes


class Broken(Exception):
    """No answer came, or none that is one."""


class Connections:
    """Connections to the place of a URL, kept for many threads. `kept`: how many at most; `authorities`: a file of
    certificates that are trusted instead of the usual ones. Proxies are those of the environment."""

    def __init__(self, url: str, *, kept: int, authorities: str | None) -> None:
        self._url = url
        usual = ssl.get_default_verify_paths()
        self._options: dict[int, object] = {
            pycurl.PROXY: get_environ_proxies(url).get(
                urlsplit(url).scheme, ""
            ),  # empty: none, whatever the environment says
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
            pycurl.PATH_AS_IS: 1,  # `..` is a name like any other
            pycurl.NOSIGNAL: 1,
            pycurl.CONNECTTIMEOUT: _CONNECT_S,
            pycurl.BUFFERSIZE: _BUFFER,
            pycurl.UPLOAD_BUFFERSIZE: _BUFFER,
            pycurl.CAINFO: authorities or usual.cafile,
            pycurl.CAPATH: None if authorities else usual.capath,
            pycurl.PROXY_CAINFO: authorities or usual.cafile,
            pycurl.PROXY_CAPATH: None if authorities else usual.capath,
        }
        self._kept = kept
        self._start()

    def _start(self) -> None:
        self._pid = os.getpid()
        self._lines: deque[_Line] = deque()
        self._loops: deque[_Loop] = deque()
        weakref.finalize(self, _close, self._lines, self._loops, self._pid)

    def ask(self, request: Request, *, most: int | None = None) -> Answer:
        """The answer to one request, at most so many bytes of it. Raises Broken."""
        told = _told(request)
        if threading.current_thread() is threading.main_thread():  # interrupts come to no other
            (found,) = self._beside([request], [told], most)
            if isinstance(found, Broken):
                raise found
            return found
        line = self._lent(self._lines) or _Line(self._options)
        try:
            line.begin(self._url, request, told, most)
            found = line.answer(line.perform())
        except BaseException:
            line.close()
            raise
        self._keep(self._lines, line, self._kept)
        return found

    def ask_all(self, requests: Sequence[Request]) -> list[Answer | Broken]:
        """Some requests side by side, and their answers in this order: half the work of threads that wait for one each.
        Raises Broken where one cannot be asked."""
        told = [_told(request) for request in requests]
        parts = [slice(start, start + BESIDE) for start in range(0, len(requests), BESIDE)]
        return [found for part in parts for found in self._beside(requests[part], told[part], None)]

    def _beside(
        self, requests: Sequence[Request], told: Sequence[list[bytes]], most: int | None
    ) -> list[Answer | Broken]:
        loop = self._lent(self._loops) or _Loop(self._options)
        try:
            found = loop.answers(self._url, requests, told, most)
        except BaseException:
            loop.close()
            raise
        if any(isinstance(one, Broken) for one in found):
            loop.close()
        else:
            self._keep(self._loops, loop, -(-self._kept // BESIDE))
        return found

    def _lent(self, idle: deque[Kept]) -> Kept | None:
        if self._pid != os.getpid():
            self._leave_to_the_parent()
            return None
        try:
            return idle.pop()
        except IndexError:
            return None

    def _keep(self, idle: deque[Kept], one: Kept, most: int) -> None:
        if len(idle) < most:
            idle.append(one)
        else:
            one.close()

    def _leave_to_the_parent(self) -> None:
        """In a forked child: two processes on one connection would read each other's answers, and its end is the
        parent's to say."""
        _of_parents.append((self._lines, self._loops))
        self._start()


class _Line:
    """One connection, which libcurl makes, and makes anew where it has ended. What is set of it stays set: options that
    are set for each request cost as much as the request."""

    def __init__(self, options: Mapping[int, object]) -> None:
        self.curl = pycurl.Curl()
        self._headers = list[bytes]()  # lines of the last answer
        self._taken = _Taken(None)
        for option, value in options.items():
            if value is not None:
                self.curl.setopt(option, value)
        self.curl.setopt(pycurl.LOW_SPEED_LIMIT, 1)
        self.curl.setopt(pycurl.HEADERFUNCTION, self._headers.append)

    def begin(self, url: str, request: Request, told: list[bytes], most: int | None) -> None:
        """`told`: the headers as they are sent; `most`: bytes of the answer that are read."""
        self._taken = _Taken(most)
        self._headers.clear()
        curl = self.curl
        curl.setopt(pycurl.URL, url + request.target)
        curl.setopt(pycurl.LOW_SPEED_TIME, math.ceil(request.silent_s))
        curl.setopt(pycurl.WRITEFUNCTION, self._taken.write)
        curl.setopt(pycurl.HTTPHEADER, told)
        _of_method(curl, request.method, request.body)

    def perform(self) -> str | None:
        """What went wrong."""
        try:
            self.curl.perform()
        except pycurl.error as error:
            return _words(*error.args)
        return None

    def answer(self, problem: str | None) -> Answer:
        """Raises Broken where it is none, or a `problem` is in its way."""
        taken, self._taken = self._taken, _Taken(None)
        self.curl.setopt(pycurl.READFUNCTION, _nothing)  # else what was sent would be held
        self.curl.setopt(pycurl.SEEKFUNCTION, None)
        self.curl.setopt(pycurl.WRITEFUNCTION, self._taken.write)
        told_all, found = _headers(self._headers)
        if (problem is not None and not taken.full) or not told_all:
            raise Broken(problem or "the connection ended within the headers")  # libcurl takes those for all
        return Answer(self.curl.getinfo(pycurl.RESPONSE_CODE), found, taken.data.getvalue())

    def close(self) -> None:
        self.curl.close()


class _Loop:
    """Some connections of one thread, and libcurl's loop over them, which is here so that an interrupt ends it."""

    def __init__(self, options: Mapping[int, object]) -> None:
        self._options = options
        self._lines = list[_Line]()
        self._multi = pycurl.CurlMulti()

    def answers(
        self, url: str, requests: Sequence[Request], told: Sequence[list[bytes]], most: int | None
    ) -> list[Answer | Broken]:
        """To at most BESIDE requests."""
        while len(self._lines) < len(requests):
            self._lines.append(_Line(self._options))
        lines, problems = self._lines[: len(requests)], dict[pycurl.Curl, str]()
        for line, request, headers in zip(lines, requests, told, strict=True):
            line.begin(url, request, headers, most)
            self._multi.add_handle(line.curl)
        try:
            while self._multi.perform()[1]:
                self._multi.select(_WAIT_S)
            left = 1
            while left:
                left, _, failed = self._multi.info_read()
                problems |= {curl: _words(code, said) for curl, code, said in failed}
        finally:
            for line in lines:
                self._multi.remove_handle(line.curl)
        found: list[Answer | Broken] = []
        for line in lines:
            try:
                found.append(line.answer(problems.get(line.curl)))
            except Broken as broken:
                found.append(broken)
        return found

    def close(self) -> None:
        self._multi.close()
        for line in self._lines:
            line.close()


Kept = TypeVar("Kept", _Line, _Loop)
_of_parents: Final[list[object]] = []  # kept: to be forgotten is to be closed


class _Taken:
    """What of an answer is read."""

    def __init__(self, most: int | None) -> None:
        self.data = io.BytesIO()
        self.full = False
        self._most = most
        # libcurl prints what a function of ours raises, an interrupt too; one of C raises none
        self.write: Callable[[bytes], int | None] = self.data.write if most is None else self._first

    def _first(self, piece: bytes) -> int | None:
        left = (self._most or 0) - self.data.tell()
        self.data.write(piece[:left])
        self.full = len(piece) >= left
        return 0 if self.full else None  # which ends it


def _words(code: int, said: str) -> str:
    return said or f"libcurl's error {code}"


def _nothing(_most: int) -> bytes:
    return b""


def _told(request: Request) -> list[bytes]:
    """Its headers as they are sent. Raises Broken."""
    told = [f"{name}: {value}" for name, value in request.headers.items()]
    if any("\r" in line or "\n" in line for line in told):
        raise Broken("a header of several lines")
    return [line.encode("latin-1") for line in told] + _UNASKED


def _of_method(curl: pycurl.Curl, method: str, body: bytes | memoryview | None) -> None:
    """Each of them takes back what another one set."""
    if method == "HEAD":
        curl.setopt(pycurl.NOBODY, 1)
    elif method == "GET":
        curl.setopt(pycurl.HTTPGET, 1)
    else:
        curl.setopt(pycurl.UPLOAD, 1)  # which is a PUT
        curl.setopt(pycurl.INFILESIZE_LARGE, len(body or b""))
        if not body:
            curl.setopt(pycurl.READFUNCTION, _nothing)
            return
        sent = io.BytesIO(body)
        curl.setopt(pycurl.READFUNCTION, sent.read)

        def again(offset: int, whence: int) -> int:
            sent.seek(offset, whence)
            return pycurl.SEEKFUNC_OK

        curl.setopt(pycurl.SEEKFUNCTION, again)


def _headers(lines: list[bytes]) -> tuple[bool, dict[str, str]]:
    """Those of the last answer, as what is said before it begins like one; and whether they came to their end."""
    found: dict[str, str] = {}
    name, ended = "", False
    for line in lines:
        text = line.decode("latin-1")
        if text.startswith("HTTP/"):
            found, name, ended = {}, "", False
        elif not text.strip():
            ended = True
        elif text[0] in " \t":  # goes on
            found[name] = f"{found.get(name, '')} {text.strip()}"
        else:
            name, _, value = text.partition(":")
            name, value = name.strip().lower(), value.strip()
            found[name] = f"{found[name]}, {value}" if name in found else value
    return ended, found


def _close(lines: deque[_Line], loops: deque[_Loop], pid: int) -> None:
    if pid != os.getpid():
        _of_parents.append((lines, loops))
        return
    for idle in (lines, loops):
        while idle:
            idle.pop().close()
