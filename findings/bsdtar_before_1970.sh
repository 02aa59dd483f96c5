#!/usr/bin/env bash
# bsdtar 3.6.2 (Debian 12, libarchive-tools 3.6.2-1+deb12u5) and GNU tar 1.34: a file's time of half a second before 1970
# is -0.5 in a pax header, as POSIX has it ("a decimal fraction"), and GNU tar writes and reads it so. bsdtar reads it as
# half a second *after*: it adds the fraction to the seconds, whatever their sign. What it writes itself is wrong the
# other way round, -1.5, which it reads as it was and GNU tar a second too early; -86400.25 becomes -86401.75. So each
# restores its own archives, and either shifts the times of the other's, without a word. Expected: one time in both.
# Exits 0 while that is so, 1 if it changed, 2 if it cannot be tried here.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cd "$place"
chmod 755 "$place"
tar --version | head -1
tar --version | grep -q "GNU tar" || { echo "the tar here is not GNU tar"; exit 2; }
for package in libarchive-tools libarchive13; do
  apt-get download -qq "$package=3.6.2-1+deb12u5" >/dev/null 2>&1 || { echo "$package 3.6.2-1+deb12u5 is not to be had"; exit 2; }
done
for package in ./*.deb; do dpkg-deb -x "$package" .; done
LD_LIBRARY_PATH=$(echo "$place"/usr/lib/*-linux-gnu*) || exit 2
export LD_LIBRARY_PATH
bsdtar=$place/usr/bin/bsdtar
"$bsdtar" --version
touch -d @-0.5 half
touch -d @-86400.25 quarter
[ "$(stat -c %.Y half)" = "-0.500000000" ] || { echo "this filesystem has no times before 1970"; exit 2; }
tar --format=pax -cf gnu.tar half quarter
"$bsdtar" --format=pax -cf bsd.tar half quarter
seen=""
for archive in gnu bsd; do
  for reader in tar "$bsdtar"; do
    rm -rf out && mkdir out
    "$reader" -xf "$archive.tar" -C out 2>/dev/null
    line="$archive.tar read by ${reader##*/}: $(stat -c %.Y out/half) $(stat -c %.Y out/quarter)"
    echo "$line"
    seen+="$line;"
  done
done
grep -aho "mtime=-[0-9.]*" gnu.tar bsd.tar | tr '\n' ' '
echo
[ "$seen" = "gnu.tar read by tar: -0.500000000 -86400.250000000;gnu.tar read by bsdtar: 0.500000000 -86399.750000000;\
bsd.tar read by tar: -1.500000000 -86401.750000000;bsd.tar read by bsdtar: -0.500000000 -86400.250000000;" ]
