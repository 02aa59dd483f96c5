"""A Ceph cluster of one monitor, one store in memory and one radosgw, of Debian's packages, which are unpacked only.

It serves S3 on a free port of the loopback, and stands in for the test server's RGW-like personality: what can be told
to that one only (its clock, faults) is not there. Its processes end with the process that started them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from storaged.stores.access import Access
from storaged.testing.servers import ACCESS_KEY, REGION, SECRET_KEY, ServerFailed, free_port
from tests.conftest import boto3_client

PACKAGES: Final = ("radosgw", "ceph-mon", "ceph-osd")
COLD: Final = "GLACIER"  # a storage class that is a plain pool there
_START_S: Final = 120.0
# Its own child is killed when the pipe from the process that started it closes, however that ended.
_GUARD: Final = '"$@" </dev/null & read -r _; kill -9 $!'

_CONF: Final = """\
[global]
fsid = 6e1c0e4f-6f56-4d5c-9a5b-0d6f5d5a7a10
mon_host = v1:127.0.0.1:{mon}
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_cluster_mode = crc
ms_service_mode = crc
ms_client_mode = crc
ms_mon_cluster_mode = crc
ms_mon_service_mode = crc
ms_mon_client_mode = crc
ms_bind_msgr2 = false
run_dir = {place}
admin_socket = {place}/$name.sock
log_file = {place}/$name.log
mon_cluster_log_file = {place}/cluster.log
plugin_dir = {root}/usr/lib/ceph
erasure_code_dir = {lib}/ceph/erasure-code
osd_class_dir = {lib}/rados-classes
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 2000
mon_data_avail_crit = 1
mon_data = {place}/mon
osd_data = {place}/osd
osd_objectstore = memstore
memstore_device_bytes = 4294967296
public_network = 127.0.0.0/8
ms_bind_port_min = {low}
ms_bind_port_max = {high}
rgw_data = {place}/rgw
rgw_thread_pool_size = 64
rgw_dynamic_resharding = false
rgw_s3_auth_use_keystone = false
rgw_gc_obj_min_wait = 10
"""


def unpack(folder: Path) -> Path:
    """Debian's packages and what they need that this machine lacks, below FOLDER/root. Raises ServerFailed."""
    root, ready = folder / "root", folder / "ready"
    if ready.exists():
        return root
    debs = folder / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    told = _said("apt-get", "install", "--simulate", "--no-install-recommends", *PACKAGES)
    names = [line.split()[1] for line in told.splitlines() if line.startswith("Inst ")]
    _said("apt-get", "download", *names, cwd=debs)
    for deb in sorted(debs.glob("*.deb")):
        _said("dpkg", "-x", str(deb), str(root))
    ready.touch()
    return root


def _said(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    if done.returncode:
        raise ServerFailed(f"{' '.join(command[:3])} …: {done.stderr.strip()}")
    return done.stdout


class Cluster:
    """One that runs. Its processes end with `close`, and with this process."""

    def __init__(self, root: Path) -> None:
        self.port = 0
        self._root = root
        self._place = Path(tempfile.mkdtemp(prefix="rgw-"))  # short: sockets lie in it
        self._running: list[subprocess.Popen[bytes]] = []
        lib = root / "usr/lib/x86_64-linux-gnu"
        parts = (lib, root / "lib/x86_64-linux-gnu", lib / "ceph", root / "usr/lib/ceph")
        self._environment = {
            "PATH": f"{root}/usr/bin:{os.environ['PATH']}",
            "LD_LIBRARY_PATH": ":".join(map(str, parts)),
            "PYTHONPATH": f"{root}/usr/lib/python3/dist-packages",
            "CEPH_CONF": str(self._place / "ceph.conf"),
        }
        low = 32_000 - 200
        conf = _CONF.format(place=self._place, root=root, lib=lib, mon=free_port(), low=low, high=low + 99)
        (self._place / "ceph.conf").write_text(conf)
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        for name in ("mon", "osd", "rgw"):
            (self._place / name).mkdir()
        place, mon = self._place, self._conf("mon_host").removeprefix("v1:")
        fsid = self._conf("fsid")
        self.run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"[v1:{mon}]", f"{place}/monmap")
        self.run("ceph-authtool", "--create-keyring", f"{place}/keyring", "--gen-key", "-n", "mon.")
        self.run("ceph-mon", "--mkfs", "-i", "a", "--monmap", f"{place}/monmap", "--keyring", f"{place}/keyring")
        self._spawn("ceph-mon", "-i", "a", "-f")
        self._until(lambda: self._ceph("mon", "stat"))
        uuid = "1d0f7f4e-7f9f-4d22-8a53-4b1d9c5b9d11"
        self._until(lambda: self._ceph("osd", "new", uuid) is not None)  # a monitor that begins refuses it at times
        self.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", uuid)
        self._ceph("osd", "crush", "add", "osd.0", "1.0", "root=default")
        self._spawn("ceph-osd", "-i", "0", "-f")
        self._until(lambda: "1 up" in self._ceph("osd", "stat"))
        admin = ("radosgw-admin", "--no-mon-config")
        keys = ("--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY)
        self.run(*admin, "user", "create", "--uid", "tester", "--display-name", "tester", *keys)
        for what, kind in (("zonegroup", "--rgw-zonegroup"), ("zone", "--rgw-zone")):
            told = (*admin, what, "placement", "add", kind, "default", "--placement-id", "default-placement")
            pool = () if what == "zonegroup" else ("--data-pool", "default.rgw.cold.data")
            self.run(*told, "--storage-class", COLD, *pool)
        self.port = free_port()
        front = f"--rgw-frontends=beast endpoint=127.0.0.1:{self.port}"
        self._spawn("radosgw", "-n", "client.rgw", "-f", "--no-mon-config", front)
        self._until(self._serves)

    def _conf(self, name: str) -> str:
        lines = (self._place / "ceph.conf").read_text().splitlines()
        return next(line.partition("=")[2].strip() for line in lines if line.startswith(f"{name} ="))

    def run(self, *command: str) -> str:
        """What a program of Ceph's says. Raises ServerFailed."""
        try:
            done = subprocess.run(
                command, env=self._environment, capture_output=True, text=True, check=False, timeout=_START_S
            )
        except subprocess.TimeoutExpired as error:
            raise ServerFailed(f"{' '.join(command)} does not end") from error
        if done.returncode:
            raise ServerFailed(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout + done.stderr

    def _ceph(self, *command: str) -> str:
        return self.run("/usr/bin/python3", f"{self._root}/usr/bin/ceph", *command)

    def _spawn(self, *command: str) -> None:
        with (self._place / f"{command[0]}.out").open("wb") as log:
            self._running.append(
                subprocess.Popen(
                    ["/bin/sh", "-c", _GUARD, "sh", *command],
                    env=self._environment,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def _serves(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=5).close()
        except urllib.error.HTTPError:
            return True
        return True

    def _until(self, ready: object) -> None:
        assert callable(ready)
        deadline = time.monotonic() + _START_S
        while True:
            for one in self._running:
                if one.poll() is not None:
                    raise ServerFailed(f"{one.args}: ended with {one.returncode}: {self._last_words()}")
            with contextlib.suppress(OSError, ServerFailed):
                if ready():
                    return
            if time.monotonic() > deadline:
                raise ServerFailed("the cluster does not start")
            time.sleep(0.2)

    def _last_words(self) -> str:
        told = [*self._place.glob("*.out"), *self._place.glob("*.log")]
        return "\n".join(line for file in told for line in file.read_text(errors="replace").splitlines()[-5:])

    def close(self) -> None:
        """Kill it and forget its data."""
        for one in reversed(self._running):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(one.pid, signal.SIGKILL)
            assert one.stdin is not None
            one.stdin.close()
            one.wait()
        self._running.clear()
        shutil.rmtree(self._place, ignore_errors=True)

    # -- as the server of the tests ----------------------------------------------------------------------------------

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def access(self) -> Access:
        """How storaged is to reach a bucket there."""
        return Access(endpoint=self.endpoint, region=REGION, path_style=True)

    @cached_property
    def user(self) -> Any:
        """A client of boto3."""
        return boto3_client(self)  # type: ignore[arg-type]  # all it takes is the endpoint

    def make_bucket(self, name: str) -> None:
        """A fresh one."""
        self.user.create_bucket(Bucket=name)

    def set_versioning(self, bucket: str, status: str) -> None:
        """`Enabled` or `Suspended`."""
        self.user.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})

    def drop_bucket(self, name: str) -> None:
        """With all that is in it, if it is there."""
        if name in (bucket["Name"] for bucket in self.user.list_buckets()["Buckets"]):
            self.run("radosgw-admin", "--no-mon-config", "bucket", "rm", "--bucket", name, "--purge-objects")

    def clear_log(self) -> None:
        """It has none."""

    def forget(self, bucket: str) -> None:
        """All that is kept of it is in it."""
        self.drop_bucket(bucket)
