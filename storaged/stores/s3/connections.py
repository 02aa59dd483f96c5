"""HTTP/1.1 to one place: connections that urllib3 makes (through proxies, over TLS), and requests spoken over them.

A request through urllib3 and http.client takes 230 µs of the processor without its signature, most of it to read
headers as if they were those of a mail; here it takes 60.
"""

from __future__ import annotations

import contextlib
import weakref
from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple, cast
from urllib.parse import urlsplit

import urllib3
from botocore.utils import get_environ_proxies
from urllib3.connection import HTTPConnection

_CONNECT_S: Final = 10
_PIECE: Final = 1 << 20  # bytes that are sent within one timeout
_BUFFER: Final = 1 << 16
_LINE: Final = 1 << 16  # bytes of a line of an answer
_HEADERS: Final = 1 << 18  # bytes of all headers of one
_BODILESS: Final = frozenset({204, 304})


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
        place = urlsplit(url)
        options = {"ca_certs": authorities} if place.scheme == "https" and authorities else {}
        proxy = get_environ_proxies(url).get(place.scheme)
        self._pool: urllib3.HTTPConnectionPool = (
            urllib3.proxy_from_url(proxy, **options).connection_from_url(url)
            if proxy
            else urllib3.connection_from_url(url, **options)
        )
        self._tunnel = bool(proxy) and place.scheme == "https"
        # a proxy of what is not encrypted is told the whole URL, and by itself who asks
        self._before = f"{place.scheme}://{place.netloc}" if proxy and not self._tunnel else ""
        self._more = dict(self._pool.proxy_headers) if self._before else {}
        self._kept = kept
        self._idle: deque[_Line] = deque()
        weakref.finalize(self, _close, self._idle)

    def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: memoryview | None = None,
        *,
        silent_s: float,
        most: int | None = None,
    ) -> Answer:
        """One request, and its answer. `silent_s`: seconds that nothing may come or go; `most`: bytes of the answer
        that are read. Raises Broken."""
        try:
            line = self._line()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Broken(str(error)) from error
        again = False
        try:
            line.silent(silent_s)
            whole = line.send(method, self._before + target, {**headers, **self._more}, body)
            answer, more = line.receive(method, most)
            again = whole and more
        except TimeoutError as error:
            raise Broken(f"nothing came for {silent_s:g} seconds") from error
        except (OSError, ValueError) as error:
            raise Broken(str(error)) from error
        finally:
            if again and len(self._idle) < self._kept:
                self._idle.append(line)
            else:
                line.close()
        return answer

    def _line(self) -> _Line:
        with contextlib.suppress(IndexError):
            while True:
                line = self._idle.pop()
                if line.connection.is_connected:
                    return line
                line.close()
        made = cast("HTTPConnection", self._pool._new_conn())
        made.timeout = _CONNECT_S
        try:
            if self._tunnel:
                self._pool._prepare_proxy(made)
            else:
                made.connect()
            return _Line(made)
        except BaseException:
            made.close()
            raise


class _Line:
    """One connection."""

    def __init__(self, connection: HTTPConnection) -> None:
        self.connection = connection
        self._socket = connection.sock
        self._came = b""  # and is not taken yet
        self._silent_s: float | None = None

    def close(self) -> None:
        self.connection.close()

    def silent(self, seconds: float) -> None:
        """How long nothing may come or go."""
        if seconds != self._silent_s:
            self._socket.settimeout(seconds)
            self._silent_s = seconds

    def send(self, method: str, target: str, headers: Mapping[str, str], body: memoryview | None) -> bool:
        """Whether all of it went. Raises OSError, ValueError for what would be no header."""
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        lines.append("Accept-Encoding: identity")
        if body is not None:
            lines.append(f"Content-Length: {body.nbytes}")
        head = "\r\n".join([*lines, "", ""])
        if head.count("\r") != len(lines) + 1 or head.count("\n") != len(lines) + 1:
            raise ValueError("a header of several lines")
        data = head.encode("latin-1")
        try:
            self._socket.sendall(data)
            if body is not None:
                for start in range(0, body.nbytes, _PIECE):
                    self._socket.sendall(body[start : start + _PIECE])
        except (BrokenPipeError, ConnectionResetError):
            return False  # who refuses what comes need not read all of it; the answer says why
        return True

    def receive(self, method: str, most: int | None) -> tuple[Answer, bool]:
        """The answer, and whether another one may come. Raises OSError, ValueError."""
        status = 100
        while status < 200:  # what is said before the answer
            said, *lines = self._until(b"\r\n\r\n", _HEADERS).split("\r\n")
            version, _, rest = said.partition(" ")
            if not (version.startswith("HTTP/1.") and rest[:3].isdecimal() and len(rest[:3]) == 3):
                raise ValueError(f"no answer of HTTP but {said[:80]!r}")
            status = int(rest[:3])
        headers = _headers(lines)
        told = headers.get("connection", "").lower()
        kept = "close" not in told if version == "HTTP/1.1" else "keep-alive" in told
        data, ended = self._body(method, status, headers, most)
        return Answer(status, headers, data), kept and ended and not self._came

    def _body(self, method: str, status: int, headers: Mapping[str, str], most: int | None) -> tuple[bytes, bool]:
        """What the answer brings, and whether that was all and more may come after it."""
        if method == "HEAD" or status in _BODILESS:
            return b"", True
        if "chunked" in headers.get("transfer-encoding", "").lower():
            return self._chunks(most)
        length = headers.get("content-length")
        if length is None:
            return self._rest(most), False
        if not length.isdecimal():
            raise ValueError(f"no length of an answer: {length[:80]!r}")
        size = int(length)
        wanted = size if most is None else min(size, most)
        return self._take(wanted), wanted == size

    def _chunks(self, most: int | None) -> tuple[bytes, bool]:
        pieces: list[bytes] = []
        size = 0
        while True:
            length = int(self._until(b"\r\n", _LINE).partition(";")[0], 16)
            if length < 0:
                raise ValueError("no length of a piece of the answer")
            if length == 0:
                while self._until(b"\r\n", _LINE):  # headers that come after it
                    pass
                return b"".join(pieces), True
            wanted = length if most is None else min(length, most - size)
            pieces.append(self._take(wanted))
            size += wanted
            if wanted < length or size == most:
                return b"".join(pieces), False
            if self._take(2) != b"\r\n":
                raise ValueError("a piece of the answer has no end")

    def _until(self, end: bytes, most: int) -> str:
        """What comes before `end`, which is taken too."""
        while (found := self._came.find(end)) < 0:
            if len(self._came) > most:
                raise ValueError("its headers do not end")
            if not (more := self._socket.recv(_BUFFER)):
                raise ValueError("the connection was closed before an answer")
            self._came += more
        text, self._came = self._came[:found], self._came[found + len(end) :]
        return text.decode("latin-1")

    def _take(self, size: int) -> bytes:
        """So many bytes of what comes."""
        data = self._rest(size)
        if len(data) != size:
            raise ValueError(f"{len(data)} of {size} bytes came")
        return data

    def _rest(self, most: int | None) -> bytes:
        """What comes until the connection ends, up to `most` bytes."""
        pieces = [self._came if most is None else self._came[:most]]
        size = len(pieces[0])
        self._came = self._came[size:]
        while most is None or size < most:
            more = self._socket.recv(_PIECE if most is None else min(most - size, _PIECE))
            if not more:
                break
            pieces.append(more)
            size += len(more)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _headers(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        if line[:1] in (" ", "\t"):  # goes on
            found[name] = f"{found.get(name, '')} {line.strip()}"
            continue
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip()
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _close(lines: deque[_Line]) -> None:
    while lines:
        lines.pop().close()
