"""Servers start, die and come back on the port they had, and end with whoever started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from botocore.exceptions import BotoCoreError

from storaged.testing.servers import (
    ENVIRONMENT,
    MotoServer,
    RcloneServer,
    ServerFailed,
    ServerMissing,
    program,
    rclone_server,
    relay,
)
from tests.conftest import boto3_client
from tests.trials import OTHER_DAY, SAME_DAY


@pytest.mark.skipif(bool(SAME_DAY), reason=OTHER_DAY)
def test_rclone_keeps_its_data_over_a_kill(tmp_path: Path) -> None:
    with rclone_server(tmp_path) as server:
        server.make_bucket("lake")
        user = boto3_client(server)
        user.put_object(Bucket="lake", Key="a/b", Body=b"x", Metadata={"k": "v"})
        server.kill()
        with pytest.raises(BotoCoreError):
            user.get_object(Bucket="lake", Key="a/b")
        server.restart()
        assert user.get_object(Bucket="lake", Key="a/b")["Body"].read() == b"x"
        user.close()
    assert (tmp_path / "lake" / "a" / "b").read_bytes() == b"x"


def test_rclone_knows_neither_versions_nor_locks(rclone: RcloneServer) -> None:
    with pytest.raises(ServerFailed):
        rclone.make_bucket("versions", versioned=True)


def test_what_is_behind_a_relay_outlives_it(moto: MotoServer, bucket: str) -> None:
    with relay(moto) as front:
        user = boto3_client(front)
        for turn in range(3):
            user.put_object(Bucket=bucket, Key=f"{turn}", Body=b"x" * 3_000_000)
            front.kill()
            with pytest.raises(BotoCoreError):
                user.head_object(Bucket=bucket, Key=f"{turn}")
            front.restart()
        assert user.list_objects_v2(Bucket=bucket)["KeyCount"] == 3
        user.close()


def test_a_server_that_cannot_start_says_why(moto: MotoServer) -> None:
    with pytest.raises(ServerFailed, match="in use"):
        MotoServer(moto.port)


def test_a_program_that_is_not_installed_is_named_with_its_package() -> None:
    with pytest.raises(ServerMissing) as caught:
        program("nonesuch", "nonesuch-bin")
    assert caught.value.hint == "pip install nonesuch-bin"


def test_servers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    source = (
        "import sys, time; from pathlib import Path; from storaged.testing.servers import rclone_server\n"
        "with rclone_server(Path(sys.argv[1])) as server:\n"
        "    print(server.port, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", source, tmp_path], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert int(owner.stdout.readline()) > 0
        below = psutil.Process(owner.pid).children(recursive=True)
        assert {"rclone"} & {process.name() for process in below}
        owner.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(below, timeout=240)
    assert not alive


def test_no_credentials_of_the_user_are_in_the_tests_environment() -> None:
    assert {name: value for name, value in os.environ.items() if name.startswith("AWS_")} == ENVIRONMENT
