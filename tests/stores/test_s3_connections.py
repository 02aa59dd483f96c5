"""What is spoken over connections to a bucket: answers of all forms, broken ones, TLS, proxies."""

from __future__ import annotations

import datetime as dt
import ipaddress
import signal
import socket
import ssl
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from storaged.stores.s3.connections import BESIDE, Answer, Broken, Connections, Request
from tests.stores.answering import Server, connected, head_of, serving

SILENT_S = 20.0


def asked(
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: bytes | memoryview | None = None,
    silent_s: float = SILENT_S,
) -> Request:
    return Request(method, target, headers, body, silent_s)


def get(connections: Connections, most: int | None = None, method: str = "GET") -> Answer:
    return connections.ask(asked(method, "/a", {"Host": "lake"}), most=most)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "data"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 \r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", b"hi"),
        (CHUNKED + b"5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n", b"hello!"),
        (CHUNKED + b"0\r\nTrailing: yes\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", b"\x1f\x8b"),
    ],
)
def test_an_answer_of_each_form_leaves_its_connection_for_the_next(answer: bytes, data: bytes) -> None:
    with connected(answer) as (connections, server):
        assert [get(connections).data for _ in range(3)] == [data] * 3
        assert server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi and more than was announced",
    ],
)
def test_a_connection_that_may_say_something_else_next_is_not_used_again(answer: bytes) -> None:
    with connected(answer) as (connections, server):
        assert [get(connections).data for _ in range(3)] == [b"hi"] * 3
        assert server.connections == 3


def test_a_body_after_the_answer_to_a_head_is_no_answer_to_the_next() -> None:
    with connected(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi") as (connections, server):
        assert get(connections, method="HEAD").data == b""
        assert get(connections).data == b"hi"
        assert server.connections == 2


def test_what_has_no_end_of_its_own_ends_with_its_connection() -> None:
    with connected(b"HTTP/1.1 200 OK\r\n\r\nall of it", once=True) as (connections, server):
        assert [get(connections, most=most).data for most in (None, 6, None)] == [b"all of it", b"all of", b"all of it"]
        assert server.connections == 3


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789",
        CHUNKED + b"5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n",
    ],
)
@pytest.mark.parametrize("most", [0, 1, 5, 9, 10, 11])
def test_no_more_is_taken_than_was_asked_for(answer: bytes, most: int) -> None:
    with connected(answer) as (connections, _):
        assert [get(connections, most=most).data for _ in range(2)] == [b"0123456789"[:most]] * 2


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "Empty reply"),
        (b"HELO mail\r\n\r\n", "HTTP/0.9"),
        (b"HTTP/1.1 -10 OK\r\n\r\n", "Unsupported"),
        (b"HTTP/1.1 20\r\n\r\n", "Unsupported"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 400_000, "libcurl"),
        (CHUNKED + b"zz\r\nhello\r\n", "not a hex digit"),
        (CHUNKED + b"-5\r\nhello\r\n\r\n", "not a hex digit"),
        (CHUNKED + b"5\r\nhello, world\r\n", "Malformed encoding"),
    ],
)
def test_what_is_no_answer_is_said(answer: bytes | None, words: str) -> None:
    with connected(answer) as (connections, _), pytest.raises(Broken, match=words):
        get(connections)


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234", CHUNKED + b"a\r\n01234", CHUNKED[:30]]
)
def test_what_breaks_off_is_never_short(answer: bytes) -> None:
    with connected(answer, once=True) as (connections, _), pytest.raises(Broken):
        get(connections)


def test_what_one_request_set_is_taken_back_by_the_next() -> None:
    """By itself, in another thread, where libcurl waits by itself, and side by side."""
    requests: list[Request] = []
    for method, body in [("GET", b""), ("PUT", b"body"), ("HEAD", b""), ("PUT", b""), ("GET", b"")] * (BESIDE // 2):
        requests.append(asked(method, f"/{len(requests)}", {}, body))

    def serve(head: bytes) -> bytes | None:
        body = b"" if head.startswith(b"HEAD") else head.split()[1]
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(head.split()[1]) + body

    wanted = [b"" if one.method == "HEAD" else one.target.encode() for one in requests]
    sent = [(one.method, one.target, [len(one.body or b"")] * (one.method == "PUT")) for one in requests]
    with serving(serve) as server, ThreadPoolExecutor(1) as other:
        connections = Connections(f"http://127.0.0.1:{server.port}", kept=4, authorities=None)

        def each() -> list[Answer | Broken]:
            return [connections.ask(one) for one in requests]

        def all_of_them() -> list[Answer | Broken]:
            return connections.ask_all(requests)

        for ask in (each, lambda: other.submit(each).result(), all_of_them):
            server.asked.clear()
            assert [one.data for one in ask() if isinstance(one, Answer)] == wanted
            came = [(head.split()[0].decode(), head.split()[1].decode(), lengths_of(head)) for head in server.asked]
            assert sorted(came) == sorted(sent)


def lengths_of(head: bytes) -> list[int]:
    lines = head.lower().splitlines()
    return [int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length")]


def test_what_has_no_answer_leaves_those_beside_it_alone() -> None:
    def serve(head: bytes) -> bytes | None:
        if b"/silent" in head:
            return b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"
        return None if b"/bye" in head else b"HTTP/1.1 204 Done\r\n\r\n"

    words = {"/bye": "Empty reply", "/silent": "the last 1 seconds"}
    with serving(serve) as server, ThreadPoolExecutor(1) as other:
        connections = Connections(f"http://127.0.0.1:{server.port}", kept=4, authorities=None)
        wanted = ["/a", "/bye", "/b", "/silent", "/c"]
        found = connections.ask_all([asked("GET", target, {}, silent_s=1) for target in wanted])
        assert [one.status for one in found if isinstance(one, Answer)] == [204] * 3
        for target, one in zip(wanted, found, strict=True):
            assert words.get(target, "204") in str(one)
        for target, said in words.items():
            with pytest.raises(Broken, match=said):
                other.submit(connections.ask, asked("GET", target, {}, silent_s=1)).result()
        assert [one.status for one in connections.ask_all([asked("GET", "/a", {})]) if isinstance(one, Answer)] == [204]


def test_who_says_nothing_is_given_up() -> None:
    silent, words = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", "the last 1 seconds"
    with connected(silent) as (connections, _), pytest.raises(Broken, match=words):
        connections.ask(asked("GET", "/a", {}, silent_s=1))


def test_an_interrupt_ends_a_request_that_nobody_answers() -> None:
    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    later = threading.Timer(0.2, lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1))
    try:
        with connected(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n") as (connections, _):
            later.start()
            with pytest.raises(KeyboardInterrupt):
                connections.ask(asked("GET", "/a", {}, silent_s=600))
    finally:
        later.join()
        signal.signal(signal.SIGUSR1, before)


def test_a_connection_that_was_closed_meanwhile_is_made_anew() -> None:
    def serve(head: bytes) -> bytes | None:
        return None if b"/bye" in head else b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

    with serving(serve) as server:
        connections = Connections(f"http://127.0.0.1:{server.port}", kept=4, authorities=None)
        assert get(connections).data == b"hi"
        for one in server._open:
            one.shutdown(socket.SHUT_RDWR)
        assert get(connections).data == b"hi"
        assert server.connections == 2


def test_no_header_holds_another() -> None:
    with connected(b"HTTP/1.1 204 \r\n\r\n") as (connections, server):
        for value in ("a\r\nX-Other: b", "a\nb", "a\rb"):
            with pytest.raises(Broken, match="several lines"):
                connections.ask(asked("GET", "/a", {"X-One": value}))
        assert server.asked == []


@given(st.dictionaries(st.from_regex(r"[a-z][a-z-]{0,20}", fullmatch=True), st.text("aZ ,;=é\t", max_size=20)))
def test_headers_are_told_as_they_came(headers: dict[str, str]) -> None:
    told = {f"x-{name}": value.strip() for name, value in headers.items()}
    lines = "".join(f"{name.title()}: {value}\r\n" for name, value in told.items())
    with connected(f"HTTP/1.1 204 None\r\n{lines}\r\n".encode("latin-1")) as (connections, _):
        assert get(connections).headers == told


def test_what_is_told_twice_is_joined_and_what_goes_on_is_one() -> None:
    with connected(b"HTTP/1.1 204 \r\nA: one\r\nB: x\r\n  y\r\na: two\r\n\r\n") as (connections, _):
        assert get(connections).headers == {"a": "one, two", "b": "x y"}


def test_who_refuses_a_body_unread_says_why() -> None:
    listening = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        one, _ = listening.accept()
        with one:
            one.recv(1000)
            one.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\nwhy!")
        # closed with most of the body unread

    with listening:
        thread = threading.Thread(target=refuse)
        thread.start()
        connections = Connections(f"http://127.0.0.1:{listening.getsockname()[1]}", kept=4, authorities=None)
        answer = connections.ask(asked("PUT", "/a", {}, memoryview(bytes(32 << 20))))
        thread.join()
    assert (answer.status, answer.data) == (403, b"why!")


# -- TLS and proxies ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of it for 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "certificate.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return file


def of(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


def test_over_tls_who_answers_is_verified(certificate: Path) -> None:
    with serving(lambda _: HELLO, of(certificate)) as server:
        url = f"https://127.0.0.1:{server.port}"
        trusting = Connections(url, kept=4, authorities=str(certificate))
        assert [get(trusting).data for _ in range(2)] == [b"hello"] * 2
        assert server.connections == 1
        with pytest.raises(Broken, match="self-signed certificate"):
            get(Connections(url, kept=4, authorities=None))
        with pytest.raises(Broken, match=r"(?i)hostname|match|not valid"):
            get(Connections(url.replace("127.0.0.1", "localhost"), kept=4, authorities=str(certificate)))
        assert len(server.asked) == 2, "nothing was asked of who was not verified"


class Proxy(Server):
    """Makes tunnels, as proxies do for CONNECT."""

    def _converse(self, plain: socket.socket) -> None:
        with plain, ExitStack() as closing:
            head = head_of(plain)
            if head is None:
                return
            self.asked.append(head)
            host, _, port = head.split()[1].decode().partition(":")
            other = closing.enter_context(socket.create_connection((host, int(port))))
            plain.sendall(b"HTTP/1.1 200 Made\r\n\r\n")
            back = threading.Thread(target=pump, args=(other, plain), daemon=True)
            back.start()
            pump(plain, other)


def pump(one: socket.socket, other: socket.socket) -> None:
    try:
        while data := one.recv(65536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_through_a_proxy_tls_is_with_the_server_itself(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = Proxy(lambda _: None)
    monkeypatch.setenv("HTTPS_PROXY", f"http://ana:word@127.0.0.1:{proxy.port}")
    with serving(lambda _: HELLO, of(certificate)) as server:
        url = f"https://127.0.0.1:{server.port}"
        assert get(Connections(url, kept=4, authorities=str(certificate))).data == b"hello"
        assert proxy.asked[0].startswith(f"CONNECT 127.0.0.1:{server.port} ".encode())
        assert b"Proxy-Authorization" not in server.asked[0]
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert get(Connections(url, kept=4, authorities=str(certificate))).data == b"hello"
        assert proxy.connections == 1
    proxy.close()


def test_a_proxy_of_what_is_not_encrypted_is_told_the_whole_url(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda _: HELLO) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        connections = Connections("http://lake.invalid:9000", kept=4, authorities=None)
        answer = connections.ask(asked("GET", "/a?x=1", {"Host": "lake.invalid:9000"}))
        assert answer.data == b"hello"
        assert proxy.asked[0].startswith(b"GET http://lake.invalid:9000/a?x=1 HTTP/1.1\r\nHost: lake.invalid:9000\r\n")


def test_a_place_that_is_away_is_said() -> None:
    with pytest.raises(Broken):
        get(Connections("http://127.0.0.1:9", kept=4, authorities=None))
