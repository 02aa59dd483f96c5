"""The S3 server of the tests as a process: moto's application behind `Semantics`, faults and a log of requests.

`python -m storaged.testing.s3_server PORT [rgw]` serves http://127.0.0.1:PORT until it is killed; its data is in
memory. `rgw`: with the answers of the Ceph Object Gateway where they differ (storaged.testing.s3_rgw).
Path-style addresses only; any credentials will do. Requests run one by one. Commands are JSON under /_control/:

    GET, POST, DELETE /_control/faults     what was injected; inject one (ServerFault's fields); forget all
    GET, DELETE       /_control/log        the requests since the last DELETE, at most 100,000; forget them
    POST              /_control/restores   {"bucket": …}: what is being restored there becomes readable
    POST              /_control/time       {"now_us": …}: the server's clock goes on from there; null: the machine's
    POST              /_control/drop       {"bucket": …}: the bucket is gone, with all that was in it
"""

from __future__ import annotations

import datetime as dt
import io
import json
import os
import socket
import struct
import sys
import threading
import time
import traceback
from collections import deque
from dataclasses import asdict
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final, cast

from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server
from werkzeug.test import run_wsgi_app

from storaged.testing.s3_faults import CUT, ERROR_IN_200, RESET, STALL, FaultPlan, ServerFault, error_xml
from storaged.testing.s3_requests import Answer, Request, decode_chunks, parse_query
from storaged.testing.s3_rgw import RgwSemantics
from storaged.testing.s3_semantics import Semantics, refusal

CONTROL: Final = "_control"
S3: Final = "s3"
PERSONALITIES: Final = {S3: Semantics, "rgw": RgwSemantics}
_LOGGED: Final = ("if-", "x-amz-", "range", "content-type", "content-md5", "user-agent")


class Dropped(ConnectionError):
    """The connection was reset on purpose."""


class Server:
    """What all connections share."""

    def __init__(self, personality: str = S3) -> None:
        self.semantics = PERSONALITIES[personality]()
        self.plan = FaultPlan()
        self.log: deque[dict[str, Any]] = deque(maxlen=100_000)
        self._app = create_backend_app("s3")
        self._lock = threading.Lock()

    def answer(self, request: Request, environ: dict[str, Any]) -> tuple[Answer, ServerFault | None]:
        """Carry out one request, unless a fault forbids it. The fault that befell it, if any."""
        with self._lock:
            fault = self.plan.due(request.operation, request.name)
        answer = self._injected(request, fault)
        if answer is None:
            with self._lock:
                answer = self._carry_out(request, environ)
            if fault is not None and fault.late:
                answer = _as_told(request, fault)
        self._note(request, answer.status, fault)
        return answer, fault

    def command(self, request: Request) -> Any:
        """Carry out a test's command. Its answer, as JSON."""
        told = json.loads(request.body) if request.body else {}
        with self._lock:
            match request.method, request.key:
                case "GET", "faults":
                    return [asdict(fault) for fault in self.plan.faults]
                case "POST", "faults":
                    return self.plan.add(told)
                case "DELETE", "faults":
                    return self.plan.faults.clear()
                case "GET", "log":
                    return list(self.log)
                case "DELETE", "log":
                    return self.log.clear()
                case "POST", "restores":
                    return self.semantics.finish_restores(told["bucket"])
                case "POST", "time":
                    return self.semantics.set_time(told["now_us"])
                case "POST", "drop":
                    return self.semantics.drop(told["bucket"])
        raise ValueError(f"no such command: {request.method} {request.key}")

    def _injected(self, request: Request, fault: ServerFault | None) -> Answer | None:
        if fault is None or fault.answer == CUT or fault.late:
            return None
        if fault.answer == STALL:
            time.sleep(fault.seconds)  # noqa: TID251 (a slow server is slow in real time)
            return None
        return _as_told(request, fault)

    def _carry_out(self, request: Request, environ: dict[str, Any]) -> Answer:
        for name, value in self.semantics.heard(request).items():
            request.headers.pop(name, None)
            environ.pop(_environ(name), None)
            if value is not None:
                request.headers[name] = environ[_environ(name)] = value
        answer = self.semantics.before(request)
        if answer is None:
            answer = self._moto(request, environ)
        self.semantics.after(request, answer)
        return answer

    def _moto(self, request: Request, environ: dict[str, Any]) -> Answer:
        try:
            chunks, status, headers = run_wsgi_app(self._app, environ, buffered=True)
        except Exception:  # noqa: BLE001 (a bug of moto is an answer of this server)
            traceback.print_exc()
            return refusal(request, "InternalError", traceback.format_exc(limit=1))
        kept = [(name, value) for name, value in headers.items() if name.lower() != "connection"]
        return Answer(int(status.split(None, 1)[0]), kept, b"".join(chunks))

    def _note(self, request: Request, status: int, fault: ServerFault | None) -> None:
        wanted = {name: value for name, value in request.headers.items() if name.startswith(_LOGGED)}
        self.log.append(
            {
                "operation": request.operation,
                "method": request.method,
                "bucket": request.bucket,
                "key": request.key,
                "query": request.query,
                "headers": wanted,
                "size": len(request.body),
                "status": status,
                "fault": fault.answer if fault is not None else None,
            }
        )


def _environ(header: str) -> str:
    return f"HTTP_{header.upper().replace('-', '_')}"


def _as_told(request: Request, fault: ServerFault) -> Answer:
    if fault.answer == RESET:
        return Answer(0, [])
    if fault.answer == ERROR_IN_200:
        body = error_xml("InternalError", "We encountered an internal error. Please try again.", f"/{request.name}")
        return Answer(200, [("Content-Type", "application/xml")], body)
    return refusal(request, fault.answer, f"{fault.answer}, as the test wished")


class Handler(MotoRequestHandler):
    """HTTP/1.1 with connections that are kept, which werkzeug's own handler closes after each request."""

    disable_nagle_algorithm = True
    protocol_version = "HTTP/1.1"
    rbufsize = 1 << 20

    def run_wsgi(self) -> None:
        """Read one request whole, answer it in one write."""
        if self.headers.get("Expect", "").lower().strip() == "100-continue":
            self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self.environ = environ = self.make_environ()
        headers = {name.lower(): value for name, value in self.headers.items()}
        chunked = "chunked" in headers.pop("transfer-encoding", "").lower()
        length = int(headers.get("content-length") or 0)
        body = environ["wsgi.input"].read(-1 if chunked else length) if chunked or length else b""
        if not chunked and len(body) < length:
            self.close_connection = True  # the client went away in the middle: nothing happened
            return
        encoded = headers.get("content-encoding")
        body = decode_chunks(headers, body)
        path, _, query = self.path.partition("?")
        request = Request(self.command, path, parse_query(query), headers, body)
        if encoded != headers.get("content-encoding"):
            environ.pop("HTTP_CONTENT_ENCODING", None)
            if "content-encoding" in headers:
                environ["HTTP_CONTENT_ENCODING"] = headers["content-encoding"]
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        environ.pop("wsgi.input_terminated", None)
        # Flask's routes match no line ends; moto takes the key from RAW_URI.
        routed = environ["PATH_INFO"].replace("\n", "_")
        environ |= {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body)), "PATH_INFO": routed}
        if "x-amz-content-sha256" in headers:
            environ["HTTP_X_AMZ_CONTENT_SHA256"] = headers["x-amz-content-sha256"]
        self._serve(request, environ)

    def _serve(self, request: Request, environ: dict[str, Any]) -> None:
        server = cast("Server", self.server.app)
        fault = None
        if request.bucket == CONTROL:
            answer = self._command(server, request)
        else:
            answer, fault = server.answer(request, environ)
        if fault is not None and fault.answer == RESET:
            self._reset()
            return
        whole = self._head(answer, bodiless=self.command == "HEAD")
        if self.command != "HEAD":
            whole += answer.body
        if fault is not None and fault.answer == CUT:
            self.wfile.write(whole[: len(whole) - (len(answer.body) + 1) // 2])
            self._reset()
            return
        self.wfile.write(whole)

    def _command(self, server: Server, request: Request) -> Answer:
        try:
            status, said = 200, server.command(request)
        except Exception as error:  # noqa: BLE001 (whatever is wrong with a command, the test is told)
            status, said = 400, f"{type(error).__name__}: {error}"
        return Answer(status, [("Content-Type", "application/json")], json.dumps(said).encode())

    def _head(self, answer: Answer, *, bodiless: bool) -> bytes:
        server = cast("Server", self.server.app)
        lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
        told = False
        for name, value in answer.headers:
            if name.lower() == "content-length":
                told = True
                value = value if bodiless else str(len(answer.body))
            lines.append(f"{name}: {value}")
        if not told and answer.status != 204:
            lines.append(f"Content-Length: {len(answer.body)}")
        date = formatdate(server.semantics.now().replace(tzinfo=dt.UTC).timestamp(), usegmt=True)
        lines += [f"Date: {date}", "Server: AmazonS3", "", ""]
        return "\r\n".join(lines).encode("latin-1")

    def _reset(self) -> None:
        """Not even an orderly end: the client sees ECONNRESET."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
        raise Dropped

    def finish(self) -> None:
        """Nothing is left to flush where the connection was reset."""
        if self.connection.fileno() >= 0:
            super().finish()

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 (werkzeug's name)
        """Only what is wrong."""
        if type == "error":
            print(message % args, file=sys.stderr, flush=True)  # noqa: T201 (a server's log)


def main() -> None:
    """Serve until killed."""
    import warnings

    warnings.simplefilter("ignore")  # of moto, about buffers that end with the process
    app: Any = Server(*sys.argv[2:3])  # not WSGI: our handler calls what it needs
    make_server("127.0.0.1", int(sys.argv[1]), app, threaded=True, request_handler=Handler).serve_forever()


if __name__ == "__main__":
    main()
