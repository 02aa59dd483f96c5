"""sd_notify(3), heard on a real socket as systemd would."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from storaged.daemon.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def listening(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A socket like systemd's and the name that $NOTIFY_SOCKET has for it."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@storaged-test-{os.getpid()}-{tmp_path.name}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(name.replace("@", "\0", 1) if request.param == "abstract" else name)
        ear.settimeout(5)
        yield ear, name


def test_each_message_is_one_datagram_of_assignments(listening: tuple[socket.socket, str]) -> None:
    """Ready, reload, status, sign of life, stop: on a path and on an abstract socket."""
    ear, name = listening
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready("leads: 0 jobs")
    notifier.reloading(123_456)
    notifier.status("at rest, ünd well")
    notifier.watchdog()
    notifier.stopping()
    assert [ear.recv(4096).decode() for _ in range(5)] == [
        "READY=1\nSTATUS=leads: 0 jobs",
        "RELOADING=1\nMONOTONIC_USEC=123456",
        "STATUS=at rest, ünd well",
        "WATCHDOG=1",
        "STOPPING=1",
    ]


def test_no_text_can_forge_a_message(listening: tuple[socket.socket, str]) -> None:
    """A status of several lines is one line."""
    ear, name = listening
    Notifier({"NOTIFY_SOCKET": name}).status("broken\nSTOPPING=1\r\n\x0bMAINPID=1")
    assert ear.recv(4096).decode() == "STATUS=broken STOPPING=1 MAINPID=1"


@pytest.mark.parametrize("name", ["", "/nowhere/at/all", "@nobody-listens", "relative\0name", "x" * 200, "vsock:2:1"])
def test_a_socket_that_is_not_there_stops_nothing(name: str) -> None:
    """Every way not to be heard is silent."""
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready("here")
    notifier.status("lone surrogate \ud800")
    notifier.watchdog()


def test_a_full_queue_does_not_block(tmp_path: Path) -> None:
    """Nobody reads: the messages that do not fit are lost, and the caller goes on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")})
        for _ in range(5_000):
            notifier.watchdog()
        ear.setblocking(False)
        heard = 0
        with suppress(BlockingIOError):
            while ear.recv(4096):
                heard += 1
    assert 0 < heard < 5_000


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"WATCHDOG_USEC": "180000000"}, 90.0),
        ({"WATCHDOG_USEC": "180000000", "WATCHDOG_PID": str(os.getpid())}, 90.0),
        ({"WATCHDOG_USEC": "180000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "180000000", "WATCHDOG_PID": "me"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_twice_in_its_time_if_it_is_ours(environ: dict[str, str], expected: float | None) -> None:
    """Half of WATCHDOG_USEC, unless another process is meant or nothing is said."""
    assert Notifier({"NOTIFY_SOCKET": "@x", **environ}).watchdog_s == expected


def test_without_a_socket_nobody_watches() -> None:
    """A child may inherit the variables of the watchdog; without a socket it has nobody to tell."""
    assert Notifier({"WATCHDOG_USEC": "180000000"}).watchdog_s is None
