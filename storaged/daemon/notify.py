"""Telling systemd how the daemon is: sd_notify(3), one datagram a message. Without systemd nothing happens."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Mapping


class Notifier:
    """Speaks to the socket that `environ` names. Nothing here raises: a daemon does not stop because nobody listens.

    `watchdog_s` is how often `watchdog` must be called (seconds): half of the time after which systemd takes the
    process for hung, as sd_watchdog_enabled(3) advises. None: nobody watches.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        path = environ.get("NOTIFY_SOCKET", "")
        # "@" stands for the NUL byte that an abstract socket's name begins with.
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self.watchdog_s = _watchdog_s(environ) if path else None

    def ready(self, status: str) -> None:
        """The daemon has started, or ended a reload."""
        self._send("READY=1", f"STATUS={_line(status)}")

    def reloading(self, monotonic_us: int) -> None:
        """A reload began; `ready` ends it. `monotonic_us` is CLOCK_MONOTONIC, by which systemd orders the messages."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={monotonic_us}")

    def status(self, text: str) -> None:
        """What the daemon is at, for `systemctl status`."""
        self._send(f"STATUS={_line(text)}")

    def watchdog(self) -> None:
        """A sign of life."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The daemon is on its way out."""
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        # ValueError: a path with a NUL, or text that is not UTF-8.
        with contextlib.suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)  # a full queue costs a message, not the caller's time
            out.sendto("\n".join(lines).encode(), self._address)


def _line(text: str) -> str:
    """In a message every line is an assignment."""
    return " ".join(text.split())


def _watchdog_s(environ: Mapping[str, str]) -> float | None:
    try:
        us, pid = int(environ.get("WATCHDOG_USEC", "0")), int(environ.get("WATCHDOG_PID", os.getpid()))
    except ValueError:
        return None
    return us / 2_000_000 if us > 0 and pid == os.getpid() else None
