#!/usr/bin/env bash
# warcio 1.8.1: `warcio recompress` of a valid WARC whose records have digests. Expected: the same records, each in a gzip
# member of its own. Seen: the records are other ones. HTTP headers are parsed and written again: a space is put behind
# each colon, spaces around a value and in front of a continuation are dropped, so that the record is shorter and its
# Content-Length another one; the block digest that came with it stays, and is the old bytes'. `warcio check`, and fastwarc
# 2.0.1, which found the source in order, find the result damaged; recompress itself says "No Errors Found!" and exits 0.
# So whoever keeps the recompressed file alone has lost what a server sent, and the proof of what it was. gzip -d and a
# gzip member for each record, without parsing, changes nothing.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check warcio==1.8.1 fastwarc==2.0.1 2>/dev/null
PATH="$place/venv/bin:$PATH"
cd "$place"
python - <<'P'
import base64
import gzip
import hashlib
import subprocess
from importlib.metadata import version

from fastwarc.warc import ArchiveIterator


def digest(data: bytes) -> str:
    return "sha1:" + base64.b32encode(hashlib.sha1(data).digest()).decode()


PAYLOAD = b"hello"
BLOCK = b"HTTP/1.1 200 OK\r\nContent-Type:text/plain\r\nX-Trace:   a; b  \r\nContent-Length: 5\r\n\r\n" + PAYLOAD
headers = {
    "WARC-Type": "response",
    "WARC-Record-ID": "<urn:uuid:12345678-1234-1234-1234-123456789012>",
    "WARC-Date": "2026-01-01T00:00:00Z",
    "WARC-Target-URI": "http://example.org/",
    "WARC-Block-Digest": digest(BLOCK),
    "WARC-Payload-Digest": digest(PAYLOAD),
    "Content-Type": "application/http; msgtype=response",
    "Content-Length": str(len(BLOCK)),
}
head = "WARC/1.0\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
with open("a.warc", "wb") as file:
    file.write(head.encode() + BLOCK + b"\r\n\r\n")


def ran(*words: str) -> tuple[int, str]:
    done = subprocess.run(["warcio", *words], capture_output=True, text=True)
    return done.returncode, done.stdout.strip().splitlines()[-1].strip()


def proven(path: str) -> bool:
    with open(path, "rb") as file:
        return all(record.verify_block_digest() for record in ArchiveIterator(file, parse_http=False))


before = ran("check", "-v", "a.warc"), proven("a.warc")
said = ran("recompress", "a.warc", "b.warc.gz")
after = ran("check", "-v", "b.warc.gz"), proven("b.warc.gz")
with gzip.open("b.warc.gz") as file:
    made = file.read()
block = made.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n\r\n")
print(f"warcio {version('warcio')}, fastwarc {version('fastwarc')}: before {before}; recompress {said}; after {after}")
print(f"{len(BLOCK)} bytes of block became {len(block)}: {block}")
kept = digest(BLOCK).encode() in made and digest(block).encode() not in made
same = before == ((0, "digest pass"), True) and said == (0, "No Errors Found!")
raise SystemExit(not (same and after[0][0] == 1 and "block digest failed" in after[0][1] and not after[1] and kept and len(block) < len(BLOCK)))
P
