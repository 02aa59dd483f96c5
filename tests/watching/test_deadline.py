"""No receiver holds a delivery for as long as it likes."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from storaged.config.notify import ReceiverSettings
from storaged.daemon.receivers import send
from storaged.testing.clock import START_US as NOW
from tests.watching.test_notices import DELIVERY, mail


@contextmanager
def trickling() -> Iterator[int]:
    """The port of a server that says a letter now and then, and no whole line, until its client goes away."""
    over = threading.Event()

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                while not over.wait(0.05):
                    self.request.sendall(b"2")

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = True

    server = Server(("127.0.0.1", 0), Handler)
    serving = threading.Thread(target=server.serve_forever, args=(0.01,))
    serving.start()
    try:
        yield server.server_address[1]
    finally:
        over.set()
        server.shutdown()
        serving.join()
        server.server_close()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", ["http", "mail"])
def test_who_answers_letter_by_letter_holds_a_delivery_no_longer_than_all_of_it_may_take(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storaged.daemon.receivers.WHOLE_S", 0.4)
    with trickling() as port:
        url = f"http://127.0.0.1:{port}/"
        receiver = ReceiverSettings(name="ops", url=url) if how == "http" else mail(f"127.0.0.1:{port}")
        assert "it was not done after" in str(send(receiver, DELIVERY, {}, NOW))
