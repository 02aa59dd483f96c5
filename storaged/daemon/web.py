"""The daemon's web server: whether it lives, whether it acts, its metrics, and the pages of storaged.daemon.pages.
Nothing here waits for a store, and nothing changes anything but storaged.daemon.approving, where it is configured.

On this machine everybody may look, and a token is asked for pages and /metrics where one is configured. Elsewhere a
token is required to listen at all. Programs show it as a bearer's, browsers as a password of any user. Slow clients
hold a connection and no thread: waitress reads and writes for them; and no connection for long: where many are open,
whoever has been there longest without having asked gives way.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
import stat
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from waitress.server import create_server

from storaged.daemon.approving import PATH, Approving, Headers, shown_token
from storaged.daemon.pages.site import AT_ONCE, FILES, PAGES, Answer, Site, drawn
from storaged.errors import UsageError
from storaged.masking import remember

Look = Callable[[], tuple[bool, str]]  # whether all is well, and words for it

_TEXT: Final = "text/plain; charset=utf-8"
_CONNECTIONS: Final = 100  # that are kept open without a request in them
_THREADS: Final = AT_ONCE + 3  # for what answers at once there is always one
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final[Headers] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",  # addresses have names of objects in them
    "X-Content-Type-Options": "nosniff",
}


class Web:
    """An HTTP server on `listen` (host:port) in a thread of its own. `healthy` and `ready` must answer at once."""

    def __init__(
        self,
        listen: str,
        token: str | None,
        *,
        healthy: Look,
        ready: Look,
        registry: CollectorRegistry,
        site: Site,
        approving: Approving | None = None,
    ) -> None:
        """Binds. `approving` None: nobody approves anything here.

        Raises UsageError if the address is taken or not ours, or needs a token and there is none."""
        self._token = None if token is None else token.encode()
        self._healthy = healthy
        self._ready = ready
        self._registry = registry
        self._site = site
        self._approving = approving
        bound = _bound(listen)
        self.host: str = bound.getsockname()[0]
        self.port: int = bound.getsockname()[1]
        self._here = ipaddress.ip_address(self.host).is_loopback
        if not self._here and token is None:
            bound.close()
            raise UsageError(
                f"{listen} can be reached from other machines, and there is no token that they must show",
                hint="set `daemon.token_file`, or `daemon.listen` to 127.0.0.1:9464",
            )
        self._server: Any = create_server(
            self._serve,
            sockets=[bound],
            threads=_THREADS,
            ident=None,
            channel_timeout=15,  # seconds
            cleanup_interval=5,
            connection_limit=2 * _CONNECTIONS,  # beyond it none is accepted: those with requests, which end soon
            max_request_header_size=16 << 10,
            max_request_body_size=16 << 10,
            asyncore_use_poll=True,
        )
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Answer nobody any more. Open connections are closed."""
        self._stopped = True
        if self._thread.is_alive():
            self._server.task_dispatcher.shutdown()  # before the channels that its threads would write to
            self._server.pull_trigger()
            self._thread.join()
        # Only now: the trigger is a pipe, and whoever pulled it after it was closed would write into another's file.
        for channel in list(self._server.active_channels.values()):
            channel.handle_close()
        self._server.close()

    def _run(self) -> None:
        """As the server's own `run`, which cannot be told to end."""
        while self._server._map and not self._stopped:
            self._make_room()
            self._server.asyncore.loop(timeout=1, map=self._server._map, use_poll=True, count=1)

    def _make_room(self) -> None:
        """Close the oldest connections beyond so many: first those in which no whole request came, then those that do
        not take their answer. Else whoever opens many and says nothing keeps everybody else out."""
        channels = list(self._server.active_channels.values())  # in the order in which they were accepted
        idle = sorted((c for c in channels if not c.requests), key=lambda c: c.total_outbufs_len > 0)
        for channel in idle[: max(0, len(channels) - _CONNECTIONS)]:
            channel.handle_close()

    def _serve(self, environ: Mapping[str, Any], start: Callable[[str, list[tuple[str, str]]], Any]) -> Iterable[bytes]:
        (status, kind, body), own = self._answer(environ)
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), **_HEADERS, **own}
        start(status, list(headers.items()))
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def _answer(self, environ: Mapping[str, Any]) -> tuple[Answer, Headers]:
        if self._here and not _names_this_machine(environ.get("HTTP_HOST")):
            # A page of some other site may have its name lead here, and would then read the answer (DNS rebinding).
            return ("403 Forbidden", _TEXT, b"this daemon answers only to names of this machine\n"), {}
        if self._approving is not None and environ["PATH_INFO"] == PATH:
            return self._approving.answer(environ)
        answer = self._shown(environ)
        if answer[0].startswith("401"):
            scheme = "Bearer" if environ["PATH_INFO"] == "/metrics" else "Basic"
            return answer, {"WWW-Authenticate": f'{scheme} realm="storaged"'}
        return answer, {"Allow": "GET, HEAD"} if answer[0].startswith("405") else {}

    def _shown(self, environ: Mapping[str, Any]) -> Answer:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return "405 Method Not Allowed", _TEXT, b"GET and HEAD only\n"
        match environ["PATH_INFO"]:
            case "/healthz":
                return self._told(self._healthy, environ)
            case "/readyz":
                return self._told(self._ready, environ)
            case path if path in FILES:
                return "200 OK", FILES[path], drawn(path[1:])
            case "/metrics" if not self._may_see(environ):
                return "401 Unauthorized", _TEXT, b"send the token of `daemon.token_file`: Authorization: Bearer ...\n"
            case "/metrics":
                encode, kind = choose_encoder(environ.get("HTTP_ACCEPT", ""))
                return "200 OK", kind, encode(self._registry)
            case path if path in PAGES and not self._may_see(environ):
                return "401 Unauthorized", _TEXT, b"the password is the token of `daemon.token_file`, of any user\n"
            case path if found := self._site.answer(path, environ.get("QUERY_STRING", "")):
                return found
        return "404 Not Found", _TEXT, b"there is /, /healthz, /readyz and /metrics\n"

    def _told(self, look: Look, environ: Mapping[str, Any]) -> Answer:
        well, words = look()
        if not well and not self._may_see(environ):
            words = "no"  # why not may name places
        return "200 OK" if well else "503 Service Unavailable", _TEXT, f"{words}\n".encode()

    def _may_see(self, environ: Mapping[str, Any]) -> bool:
        return self._token is None or hmac.compare_digest(shown_token(environ), self._token)


def read_token(path: Path, key: str = "daemon.token_file") -> str:
    """The token in a file, without white space around it. Raises UsageError if there is none or others can read it.
    `key`: what names the file in storaged.yaml."""
    try:
        mode = path.stat().st_mode
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the token cannot be read from {path}: {error}", hint=f"see `{key}`") from error
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise UsageError(f"everybody on this machine can get at the token in {path}", hint=f"chmod 600 {path}")
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"{path} holds no token", hint="one line of ASCII: `openssl rand -hex 32` makes a good one")
    remember(token)
    return token


def _bound(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    try:
        # Passive: a name that stands for several addresses is taken at its first.
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        dual = family == socket.AF_INET6 and address[0] == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(address, family=family, dualstack_ipv6=dual)
    except OSError as error:
        raise UsageError(
            f"the daemon cannot listen on {listen}: {error.strerror or error}",
            hint="another program may have the port: change `daemon.listen`, or port 0 for any that is free",
        ) from error


def _names_this_machine(host: str | None) -> bool:
    """Whether a Host header names the machine itself. A client of HTTP/1.0 sends none, a browser always one."""
    if not host:
        return True
    name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower().rstrip(".") == "localhost"
