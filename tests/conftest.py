"""Every catalog test runs on SQLite and on Postgres, each on a fresh database copied from a migrated one."""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings

from storaged import masking
from storaged.catalog.engine import Catalog, create_catalog, open_catalog
from storaged.cli import collect_less
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
from tests import memory, statements
from tests.laws import LONG, at_once
from tests.postgres import PostgresServer
from tests.trials import OTHER_DAY, SAME_DAY

pytest_plugins = ("tests.thinning", "tests.watchdog")

DIALECTS = ("sqlite", "postgres")
FIRST = (  # half a minute or more a test
    *("test_machine.py", "test_demo.py", "test_s3_machine.py", "test_many_daemons.py", "test_chaos.py"),
    *("test_night.py", "test_kill.py", "test_s3_kill.py", "test_pack_kill.py", "test_s3_trouble.py", "test_pages.py"),
)
_numbers = itertools.count(1)  # of buckets in this process

pytest.register_assert_rewrite(*(f"storaged.testing.{name}" for name in ("stores", "reading", "ports", "codecs")))

# How long one example takes is the machine's affair. To make one small that fails takes minutes: the campaign does so,
# and who asks for it.
FOUND = tuple(phase for phase in Phase if phase not in (Phase.shrink, Phase.explain))
settings.register_profile("shrinks", deadline=None, max_examples=at_once(100))
settings.register_profile("any machine", settings.get_profile("shrinks"), phases=tuple(Phase) if LONG else FOUND)
settings.load_profile("any machine")

statements.share()
collect_less()
gc.disable()  # until all tests are collected: of what is made up to then nearly everything stays

# No test may work with the credentials or the endpoint of the user who runs it.
for _name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[_name]
os.environ.update(ENVIRONMENT)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Golden files are written anew on request, to be read in the diff."""
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest come first, whatever the order of the others: begun at the end, one of them keeps a single core busy
    for minutes."""
    items.sort(key=lambda item: item.path.name not in FIRST)


def pytest_collection_finish() -> None:
    """What was imported stays to the end: to look for garbage in it again and again takes a tenth of all time."""
    gc.enable()
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Modules count what is left of them at the end of the process."""
    gc.unfreeze()


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


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process hides each secret that it has seen, from then on; a test that comes later has not seen it."""
    monkeypatch.setattr(masking, "_known", set())


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The Postgres server of this test process. A machine where it cannot start fails the tests, it skips none."""
    server = PostgresServer(memory.base())
    try:
        server.start()
        try:
            server.execute("CREATE DATABASE migrated")
            create_catalog(server.url("migrated")).close()
            yield server
        finally:
            server.stop()
    finally:
        server.remove()


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
        server = request.getfixturevalue("postgres")
        name = server.make_database()
        yield server.url(name)
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def memory_place() -> Iterator[Path]:
    """A directory in memory, for tests whose worlds come and go by the dozen."""
    with memory.directory() as place:
        yield place


@pytest.fixture
def catalog_url(dialect: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a fresh catalog, to be opened by the test."""
    if dialect == "sqlite":
        with memory.directory() as place:
            shutil.copyfile(request.getfixturevalue("sqlite_template"), place / "catalog.db")
            yield f"sqlite:///{place / 'catalog.db'}"
    else:
        server = request.getfixturevalue("postgres")
        name = server.lend()
        yield server.url(name)
        server.take_back(name)


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


def boto3_client(server: S3Server) -> Any:
    """To be closed by the test."""
    import boto3
    from botocore.config import Config

    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    return boto3.client("s3", endpoint_url=server.endpoint, config=config)
