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
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import pycurl
from botocore.utils import get_environ_proxies

_CONNECT_S: Final = 10
_BUFFER: Final = 1 << 19  # bytes that are read, or sent, at a time
_WAIT_S: Final = 1.0  # for the network, before an interrupt is seen
_UNASKED: Final = [b"Accept:", b"Expect:", b"Accept-Encoding: identity"]  # a name alone: what curl would say by itself


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
        self._pid = os.getpid()
        self._idle: deque[_Line] = deque()
        weakref.finalize(self, _close, self._idle, self._pid)

    def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | memoryview | None = None,
        *,
        silent_s: float,
        most: int | None = None,
    ) -> Answer:
        """One request, and its answer. `silent_s`: seconds that nothing may come or go, of which whole ones count;
        `most`: bytes of the answer that are read. Raises Broken."""
        told = [f"{name}: {value}" for name, value in headers.items()]
        if any("\r" in line or "\n" in line for line in told):
            raise Broken("a header of several lines")
        if self._pid != os.getpid():
            self._leave_to_the_parent()
        try:
            line = self._idle.pop()
        except IndexError:
            line = _Line(self._options)
        taken = _Taken(most)
        curl, lines = line.curl, line.headers
        try:
            curl.setopt(pycurl.URL, self._url + target)
            curl.setopt(pycurl.LOW_SPEED_TIME, math.ceil(silent_s))
            curl.setopt(pycurl.WRITEFUNCTION, taken.write)
            _of_method(curl, method, body)
            curl.setopt(pycurl.HTTPHEADER, [part.encode("latin-1") for part in told] + _UNASKED)
            problem = line.perform()
            status = curl.getinfo(pycurl.RESPONSE_CODE)
            if body:
                curl.setopt(pycurl.READFUNCTION, _nothing)  # else the idle line would hold what was sent
                curl.setopt(pycurl.SEEKFUNCTION, None)
        except BaseException:
            line.close()
            raise
        told_all, found = _headers(lines)
        lines.clear()
        if (problem is not None and not taken.full) or not told_all:
            line.close()
            raise Broken(problem or "the connection ended within the headers")  # libcurl takes those for all
        if len(self._idle) < self._kept:
            self._idle.append(line)
        else:
            line.close()
        return Answer(status, found, taken.data.getvalue())

    def _leave_to_the_parent(self) -> None:
        """In a forked child: two processes on one connection would read each other's answers, and its end is the
        parent's to say."""
        _of_parents.append(self._idle)
        self._pid, self._idle = os.getpid(), deque()
        weakref.finalize(self, _close, self._idle, self._pid)


_of_parents: Final[list[deque[_Line]]] = []  # kept: to be forgotten is to be closed


class _Line:
    """One connection, which libcurl makes, and makes anew where it has ended. What is set of it stays set: options that
    are set for each request cost as much as the request."""

    def __init__(self, options: Mapping[int, object]) -> None:
        self.curl = pycurl.Curl()
        self.headers = list[bytes]()  # lines of the last answer
        self._multi = pycurl.CurlMulti()  # whose loop is here, so that an interrupt ends it
        for option, value in options.items():
            if value is not None:
                self.curl.setopt(option, value)
        self.curl.setopt(pycurl.LOW_SPEED_LIMIT, 1)
        self.curl.setopt(pycurl.HEADERFUNCTION, self.headers.append)

    def perform(self) -> str | None:
        """What went wrong. Interrupts come to the main thread alone: in the others libcurl goes all its way at once."""
        if threading.current_thread() is not threading.main_thread():
            try:
                self.curl.perform()
            except pycurl.error as error:
                return _words(*error.args)
            return None
        self._multi.add_handle(self.curl)
        try:
            while self._multi.perform()[1]:
                self._multi.select(_WAIT_S)
            _, _, failed = self._multi.info_read()
            return next((_words(code, said) for _, code, said in failed), None)
        finally:
            self._multi.remove_handle(self.curl)

    def close(self) -> None:
        self._multi.close()
        self.curl.close()


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


def _close(lines: deque[_Line], pid: int) -> None:
    if pid != os.getpid():
        _of_parents.append(lines)
        return
    while lines:
        lines.pop().close()
