"""A server that answers what a test says, byte by byte."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from storaged.stores.s3.connections import Connections

Serve = Callable[[bytes], bytes | None]  # from the head of a request to all that is answered; None: hang up


class Server:
    """Answers what a function says, and keeps what it was asked."""

    def __init__(self, serve: Serve, tls: ssl.SSLContext | None = None, *, once: bool = False) -> None:
        self.asked: list[bytes] = []
        self.connections = 0
        self._serve = serve
        self._tls = tls
        self._once = once  # one answer a connection, which then ends
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(one)
            threading.Thread(target=self._converse, args=(one,), daemon=True).start()

    def _converse(self, plain: socket.socket) -> None:
        try:
            one = self._tls.wrap_socket(plain, server_side=True) if self._tls else plain
            with one:
                while (head := head_of(one)) is not None:
                    self.asked.append(head)
                    if (answer := self._serve(head)) is None:
                        return
                    one.sendall(answer)
                    if self._once:
                        return
        except OSError:
            plain.close()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for one in self._open:
            one.close()


def head_of(one: socket.socket) -> bytes | None:
    """Up to the empty line. What it announces is read and left out."""
    came = b""
    while b"\r\n\r\n" not in came:
        if not (more := one.recv(65536)):
            return None
        came += more
    head, _, body = came.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            left = int(line.partition(b":")[2]) - len(body)
            while left > 0 and (more := one.recv(min(left, 65536))):
                left -= len(more)
    return head


@contextmanager
def serving(serve: Serve, tls: ssl.SSLContext | None = None, *, once: bool = False) -> Iterator[Server]:
    server = Server(serve, tls, once=once)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def connected(answer: bytes | None, *, once: bool = False) -> Iterator[tuple[Connections, Server]]:
    with serving(lambda _: answer, once=once) as server:
        yield Connections(f"http://127.0.0.1:{server.port}", kept=4, authorities=None), server
