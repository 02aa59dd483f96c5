#!/usr/bin/env bash
# rsync 3.5.0 (Debian 12, 3.5.0+ds1-0+deb12u1), -a --remove-source-files, as files are moved with it, where the other side
# has a file of that name. Expected: only what was transferred is removed, "successfully duplicated" in its manual. Seen: a
# file that was not transferred, since the other side's has its size and its time, is removed as well, though nobody
# compared a byte; and its time is compared in whole seconds, so a counter that was written anew within the second, with
# as many digits, is gone: the other side keeps the old one, the exit code is 0 and -v names no file. With --size-only the
# same of any time. What is left out by --ignore-existing, or by -u as an older one, stays. With --checksum, or
# --modify-window=-1 where the fractions differ, it is transferred first.
# Exits 0 while that is so, 1 if it changed, 2 if it cannot be tried here.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
chmod 755 "$place"
apt-get download -qq rsync=3.5.0+ds1-0+deb12u1 libpopt0 libxxhash0 >/dev/null 2>&1 \
  || { echo "rsync 3.5.0 is not to be had"; exit 2; }
for package in *.deb; do dpkg-deb -x "$package" .; done
LD_LIBRARY_PATH=$(echo "$place"/usr/lib/*-linux-gnu*)
export LD_LIBRARY_PATH
told=$(usr/bin/rsync --version)
echo "${told%%$'\n'*}"
changed=0
moved() { # what is expected, the newer file's time, rsync's options
  rm -rf from to
  mkdir from to
  echo 0041 >to/counter
  echo 0042 >from/counter
  touch -d "2024-05-06 07:08:09.1" to/counter
  touch -d "$2" from/counter
  usr/bin/rsync -a --remove-source-files "${@:3}" from/ to/
  seen="source: $(cat from/counter 2>/dev/null || echo gone), other side: $(cat to/counter)"
  echo "$2 ${*:3}: $seen"
  [ "$seen" = "$1" ] || changed=1
}
moved "source: gone, other side: 0041" "2024-05-06 07:08:09.9"
moved "source: gone, other side: 0041" "2025-01-01" --size-only
moved "source: gone, other side: 0042" "2024-05-06 07:08:10.0"
moved "source: gone, other side: 0042" "2024-05-06 07:08:09.9" --modify-window=-1
moved "source: gone, other side: 0042" "2024-05-06 07:08:09.9" --checksum
moved "source: 0042, other side: 0041" "2024-05-06 07:08:08.9" --update
moved "source: 0042, other side: 0041" "2024-05-06 07:08:09.9" --ignore-existing
exit $changed
