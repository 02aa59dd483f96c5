"""An S3 server that answers every request alike: for answers that no server of the tests gives."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from storaged.stores.access import Access
from storaged.stores.s3.session import S3Session

SPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


@contextmanager
def answering(body: str = "", *, status: int = 200, headers: Mapping[str, str] | None = None) -> Iterator[S3Session]:
    """A session on a bucket whose server says this, whatever it is asked."""
    data = body.encode()

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        server.daemon_threads = True
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield S3Session("s3://lake", Access(f"http://127.0.0.1:{server.server_port}", "us-east-1", path_style=True))
        finally:
            server.shutdown()
            serving.join()


def page(*keys: str, more: str = "", encoded: bool = True, told: str = "", prefixes: str = "") -> str:
    """An answer to ListObjectsV2: keys as they are written in it, and what else it says."""
    contents = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-11-23T12:00:00.999Z</LastModified>"
        f"<ETag>&quot;abc&quot;</ETag><Size>3</Size>{told}</Contents>"
        for key in keys
    )
    kind = "<EncodingType>url</EncodingType>" if encoded else ""
    return f"<ListBucketResult {SPACE}>{kind}{more}{contents}{prefixes}</ListBucketResult>"
