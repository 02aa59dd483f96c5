"""The daemon's pages, asked over real sockets: who may see what, and that nobody can hold them up."""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter

from storaged.catalog.engine import create_catalog
from storaged.daemon.pages.site import PAGES, Site
from storaged.daemon.web import Web, read_token
from storaged.errors import UsageError
from tests.watching.scene import seeded
from tests.watching.test_site import site_of

TOKEN = "letmein-0123456789"  # noqa: S105
POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
Started = Callable[..., Web]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The pages over a catalog with one of everything."""
    place = tmp_path_factory.mktemp("scene")
    with create_catalog(f"sqlite:///{place}/catalog.db") as catalog:
        yield site_of(seeded(catalog, place))


@pytest.fixture
def started(site: Site) -> Iterator[Started]:
    """Starts servers, and stops them after the test."""
    running: list[Web] = []

    def start(listen: str = "127.0.0.1:0", token: str | None = None, *, well: bool = True, words: str = "ok") -> Web:
        registry = CollectorRegistry()
        Counter("storaged_things", "Things.", registry=registry).inc()
        web = Web(
            listen, token, healthy=lambda: (True, "ok"), ready=lambda: (well, words), registry=registry, site=site
        )
        running.append(web)
        web.start()
        return web

    yield start
    for web in running:
        web.stop()


def ask(web: Web, path: str, method: str = "GET", **headers: str) -> tuple[int, str, http.client.HTTPMessage]:
    host = "127.0.0.1" if web.host == "0.0.0.0" else web.host  # noqa: S104
    connection = http.client.HTTPConnection(host, web.port, timeout=20)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers
    finally:
        connection.close()


def test_the_pages_answer(started: Started) -> None:
    web = started()
    assert ask(web, "/healthz")[:2] == (200, "ok\n")
    assert ask(web, "/readyz")[:2] == (200, "ok\n")
    status, text, headers = ask(web, "/metrics")
    assert (status, "storaged_things_total 1.0\n" in text) == (200, True)
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    with urllib.request.urlopen(f"http://127.0.0.1:{web.port}/", timeout=20) as page:
        assert b'href="/metrics"' in page.read()
        assert page.headers["Content-Security-Policy"] == POLICY
        assert page.headers["Referrer-Policy"] == "no-referrer"


def test_metrics_come_in_the_format_that_is_asked_for(started: Started) -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"
    _, text, headers = ask(started(), "/metrics", Accept=accept)
    assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")


def test_a_daemon_that_is_not_ready_says_why_and_lives(started: Started) -> None:
    web = started(well=False, words="the catalog is behind")
    assert ask(web, "/readyz")[:2] == (503, "the catalog is behind\n")
    assert ask(web, "/healthz")[0] == 200


def test_head_has_the_headers_and_no_body(started: Started) -> None:
    web = started()
    for path in ("/", "/style.css", "/healthz", "/readyz", "/metrics"):
        status, text, headers = ask(web, path, "HEAD")
        assert (status, text) == (200, "")
        assert headers["Content-Length"] == str(len(ask(web, path)[1].encode()))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
def test_nothing_can_be_done_here(started: Started, method: str) -> None:
    status, _, headers = ask(started(), "/metrics", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/nothing", "/metrics/", "/healthz/../metrics", "/%2e%2e/etc/passwd"])
def test_there_is_nothing_else(started: Started, path: str) -> None:
    assert ask(started(), path)[0] == 404


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:9464", "127.0.0.1", "127.0.0.2:80", "[::1]:9464", "localhost."]
)
def test_names_of_this_machine_are_answered(started: Started, host: str) -> None:
    assert ask(started(), "/metrics", Host=host)[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9464", "localhost.evil.example", "10.0.0.1", "[::2]", "[", "@"]
)
def test_a_page_whose_name_was_made_to_lead_here_learns_nothing(started: Started, host: str) -> None:
    for path in ("/", "/healthz", "/readyz", "/metrics"):
        assert ask(started(), path, Host=host)[0] == 403


@pytest.mark.parametrize(
    "shown",
    [None, "", TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer \xe9"],
)
def test_without_the_token_metrics_are_not_shown(started: Started, shown: str | None) -> None:
    headers = {} if shown is None else {"Authorization": shown}
    status, text, told = ask(started(token=TOKEN), "/metrics", **headers)
    assert (status, told["WWW-Authenticate"]) == (401, 'Bearer realm="storaged"')
    assert "storaged_things" not in text
    assert TOKEN not in text


def test_pages_are_asked_for_with_the_token_as_a_browsers_password(started: Started) -> None:
    web = started(token=TOKEN)
    assert ask(web, "/style.css")[0] == ask(web, "/icon.svg")[0] == 200, "they tell nothing"
    for path in PAGES:
        status, text, told = ask(web, path)
        assert (status, told["WWW-Authenticate"]) == (401, 'Basic realm="storaged"')
        assert "<" not in text
    for user in (b"", b"ann", b"\xe9"):
        shown = base64.b64encode(user + b":" + TOKEN.encode()).decode()
        assert ask(web, "/", Authorization=f"Basic {shown}")[0] == 200
        assert ask(web, "/metrics", Authorization=f"basic {shown}")[0] == 200
    assert ask(web, "/", Authorization=f"Bearer {TOKEN}")[0] == 200
    for wrong in (TOKEN.encode(), b"", b"ann:", TOKEN.encode() + b":", b"ann:" + TOKEN.encode() + b":"):
        assert ask(web, "/", Authorization=f"Basic {base64.b64encode(wrong).decode()}")[0] == 401


def test_with_the_token_they_are_and_probes_need_none(started: Started) -> None:
    web = started(token=TOKEN, well=False, words="tier at /srv/secret is away")
    assert ask(web, "/metrics", Authorization=f"Bearer {TOKEN}")[0] == 200
    assert ask(web, "/metrics", Authorization=f"bearer {TOKEN}")[0] == 200
    assert ask(web, "/healthz")[0] == 200
    assert ask(web, "/readyz")[:2] == (503, "no\n")  # why not is for those who have the token
    assert "secret" in ask(web, "/readyz", Authorization=f"Bearer {TOKEN}")[1]


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0"])
def test_what_other_machines_can_reach_needs_a_token_and_then_answers_to_any_name(
    started: Started, listen: str
) -> None:
    with pytest.raises(UsageError, match="no token") as refused:
        started(listen)
    assert "token_file" in str(refused.value.hint)
    web = started(listen, TOKEN)
    assert ask(web, "/healthz", Host="lake-1.example.org")[0] == 200
    assert ask(web, "/metrics", Host="lake-1.example.org")[0] == 401


def test_both_families_are_answered_where_all_addresses_are_listened_on(started: Started) -> None:
    web = started("[::]:0", TOKEN)
    for address in ("127.0.0.1", "::1"):
        with socket.create_connection((address, web.port), timeout=20):
            pass


def test_a_port_that_is_taken_is_a_plain_error(started: Started) -> None:
    web = started()
    with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{web.port}") as refused:
        started(f"127.0.0.1:{web.port}")
    assert "daemon.listen" in str(refused.value.hint)


@pytest.mark.parametrize("listen", ["no-such-host.invalid:80", "203.0.113.7:80"], ids=["no name", "not our address"])
def test_an_address_that_is_not_ours_is_a_plain_error(started: Started, listen: str) -> None:
    with pytest.raises(UsageError, match="cannot listen"):
        started(listen, TOKEN)


def test_after_a_stop_the_port_is_free_again(started: Started) -> None:
    web = started()
    idle = socket.create_connection(("127.0.0.1", web.port), timeout=20)
    assert ask(web, "/healthz")[0] == 200
    web.stop()
    assert idle.recv(1) == b""
    idle.close()
    again = started(f"127.0.0.1:{web.port}")
    assert ask(again, "/healthz")[0] == 200


def test_a_server_that_never_started_can_be_stopped(site: Site) -> None:
    def no() -> tuple[bool, str]:
        return False, "no"

    web = Web("127.0.0.1:0", None, healthy=no, ready=no, registry=CollectorRegistry(), site=site)
    web.stop()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", web.port), timeout=20).close()


def test_clients_that_send_or_read_slowly_hold_nobody_up(started: Started) -> None:
    web = started()
    slow = [socket.create_connection(("127.0.0.1", web.port), timeout=20) for _ in range(50)]
    try:
        for n, client in enumerate(slow):
            client.sendall(
                b"GET /metrics HTTP/1.1\r\nHost: lo" if n % 2 else b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
            )
        assert ask(web, "/healthz")[0] == 200
        for n, client in enumerate(slow):
            client.sendall(b"calhost\r\n\r\n" if n % 2 else b"")
            assert client.recv(15).startswith(b"HTTP/1.1 200 OK")
    finally:
        for client in slow:
            client.close()


HALF = {
    "nothing": b"",
    "half a header": b"GET /healthz HTTP/1.1\r\nHost: lo",
    "no body": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx",
    "half a chunk": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nx",
    "waits to go on": b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
    "answered and silent": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


def patient(web: Web) -> Web:
    """So that nothing is closed because of the time, which would help in the end without any other means."""
    web._server.adj.channel_timeout = 100_000
    return web


@pytest.mark.parametrize("sent", HALF.values(), ids=list(HALF))
def test_connections_that_are_left_half_open_keep_nobody_out(started: Started, sent: bytes) -> None:
    web = patient(started())
    held = []
    try:
        for _ in range(5):
            for _ in range(60):
                held.append(socket.create_connection(("127.0.0.1", web.port), timeout=20))
                held[-1].sendall(sent)
            assert ask(web, "/healthz")[:2] == (200, "ok\n")
        closed = [c for c in held if _was_closed(c)]
        assert len(closed) >= 190  # of 300: the oldest gave way, and it was not their time that ran out
    finally:
        for client in held:
            client.close()


def _was_closed(client: socket.socket) -> bool:
    client.settimeout(0.01)
    try:
        while client.recv(4_096):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def test_who_sends_a_byte_now_and_then_keeps_nobody_out_either(started: Started) -> None:
    web = patient(started())
    held: list[socket.socket] = []

    def flood() -> None:
        for _ in range(400):
            held.append(socket.create_connection(("127.0.0.1", web.port), timeout=20))
            for one in held[-50:]:
                with contextlib.suppress(OSError):  # it gave way
                    one.sendall(b"G")

    attacker = threading.Thread(target=flood)
    attacker.start()
    try:
        assert [ask(web, "/healthz")[0] for _ in range(50)] == [200] * 50
        attacker.join()
        assert ask(web, "/healthz")[0] == 200
    finally:
        attacker.join()
        for client in held:
            client.close()


def test_many_clients_at_once_are_all_answered(started: Started) -> None:
    web = started()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: ask(web, "/metrics")[:2], range(200)))
    assert len(set(answers)) == 1
    assert answers[0][0] == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET " + b"/" * 40_000 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_and_the_next_client_answered(started: Started, sent: bytes) -> None:
    web = started()
    with socket.create_connection(("127.0.0.1", web.port), timeout=20) as client:
        client.sendall(sent)
        assert b" 200 " not in client.recv(100)
    assert ask(web, "/healthz")[0] == 200


def test_stopping_while_clients_ask_ends_the_thread(started: Started) -> None:
    web = started()
    failed = threading.Event()

    def client() -> None:
        while not failed.is_set():
            try:
                ask(web, "/metrics")
            except (OSError, http.client.HTTPException):
                failed.set()

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    web.stop()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert failed.is_set()


def test_a_token_is_read_without_its_line_end(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    assert read_token(path) == TOKEN


@pytest.mark.parametrize("text", ["", " \n", "two words", "n\xf6t ascii", "two\nlines"])
def test_a_file_without_a_token_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(UsageError, match="no token"):
        read_token(path)


def test_a_token_that_everybody_can_read_or_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "token"
    with pytest.raises(UsageError, match="cannot be read"):
        read_token(path)
    path.write_bytes(b"\xff\xfe")
    path.chmod(0o600)
    with pytest.raises(UsageError, match="cannot be read"):
        read_token(path)
    path.write_text(TOKEN)
    for mode in (0o644, 0o602):
        path.chmod(mode)
        with pytest.raises(UsageError, match="everybody") as refused:
            read_token(path)
        assert "chmod 600" in str(refused.value.hint)
