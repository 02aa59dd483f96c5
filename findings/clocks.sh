#!/usr/bin/env bash
# libfaketime 0.9.10 (Debian 12, 0.9.10-2.1) with an offset and FAKETIME_DONT_FAKE_MONOTONIC=1, as its manual advises where
# a monotonic clock must go on: every Python 3.11 time.sleep() fails with EINVAL, since clock_nanosleep(CLOCK_MONOTONIC,
# TIMER_ABSTIME) is given an instant from which the wall clock's offset was taken. Expected: it sleeps.
# Seen: "sleep: [Errno 22] Invalid argument". Exits 0 while that is so, 1 if it changed, 2 if it cannot be tried here.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
chmod 755 "$place"
apt-get download -qq libfaketime=0.9.10-2.1 >/dev/null 2>&1 || { echo "libfaketime 0.9.10-2.1 is not to be had"; exit 2; }
dpkg-deb -x libfaketime_*.deb .
library=$(echo "$place"/usr/lib/*/faketime/libfaketimeMT.so.1)
said=$(LD_PRELOAD=$library FAKETIME=+400d FAKETIME_DONT_FAKE_MONOTONIC=1 python3 - <<'P'
import time
try:
    time.sleep(0.1)
    print("sleep: slept")
except OSError as error:
    print(f"sleep: {error}")
P
)
python3 --version
echo "$said"
[ "$said" = "sleep: [Errno 22] Invalid argument" ]
