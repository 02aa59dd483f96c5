"""A connection that ends after so many seconds, whatever the other side does: a limit on each step lets whoever sends a
byte now and then hold it for ever."""

from __future__ import annotations

import os
import socket
import threading
import time
from types import TracebackType
from typing import Self


class Deadline:
    """`with Deadline(30, step_s=5) as deadline`: what `connect` returned in the block is at its end after 30 seconds,
    and a step of it after 5. Reads then find the end of the stream, writes fail; `over` tells that this is why."""

    def __init__(self, seconds: float, *, step_s: float) -> None:
        self.over = False
        self._step_s = step_s
        self._end = time.monotonic() + seconds
        self._handles: list[socket.socket] = []
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            for handle in self._handles:
                handle.close()
            self._handles.clear()

    def connect(self, host: str, port: int) -> socket.socket:
        """The first of the host's addresses that answers. Raises OSError. How long looking up its name takes is the
        system's business."""
        problem: OSError = TimeoutError("no address answered in time")
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            left = self._end - time.monotonic()
            if self.over or left <= 0:
                break
            made = socket.socket(family, kind, protocol)
            try:
                made.settimeout(min(self._step_s, left))
                made.connect(address)
                made.settimeout(self._step_s)
                self._keep(made)
            except OSError as error:
                made.close()
                problem = error
            else:
                return made
        raise problem

    def _keep(self, made: socket.socket) -> None:
        """A handle of our own, for TLS takes the other one away."""
        with self._lock:
            if self.over:
                raise TimeoutError("no address answered in time")
            self._handles.append(socket.socket(fileno=os.dup(made.fileno())))

    def _cut(self) -> None:
        with self._lock:
            self.over = True
            for handle in self._handles:
                try:
                    handle.shutdown(socket.SHUT_RDWR)
                except OSError:  # the other side was faster
                    continue
