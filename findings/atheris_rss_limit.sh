#!/usr/bin/env bash
# atheris 3.0.0 (libFuzzer) on Linux: a fuzzer that a large program starts ends with "out-of-memory" under -rss_limit_mb
# though its own memory is far below. Started by way of a shell it runs through, and so does one that takes no second.
# Expected: the limit is on what the fuzzer takes. What it is compared with is ru_maxrss, which Linux keeps over exec(2):
# Python's subprocess starts with vfork(2), so what is started begins with the peak of what started it; a shell between
# forks, and its child begins with nothing. So a fuzzer run from pytest is killed or not by what other tests took before.
# The same holds for whatever measures a child by ru_maxrss or wait4(2): a test that a peak did not grow can then not
# fail. VmHWM in /proc/self/status begins anew with each program.
# Exits 0 while that is so, 1 if it changed.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check atheris==3.0.0 2>/dev/null
cat > "$place/fuzz.py" <<'P'
import sys, time

import atheris


def one_input(data):
    time.sleep(0.01)


atheris.Setup(sys.argv, one_input)
atheris.Fuzz()
P
cd "$place"
"$place/venv/bin/python" - <<'P'
import resource
import subprocess
import sys
from importlib.metadata import version

fuzzer = [sys.executable, "fuzz.py", "-rss_limit_mb=600", "-runs=400", "-seed=1"]
ours = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
high = "print(next(int(l.split()[1]) // 1024 for l in open('/proc/self/status') if l.startswith('VmHWM:')))"
short = [word.replace("400", "10") for word in fuzzer]  # a tenth of a second
shell = ["sh", "-c", '"$@"; exit $?', "sh"]


def fuzzed(words):
    done = subprocess.run(words, capture_output=True, text=True)
    return done.returncode, "libFuzzer: out-of-memory" in done.stderr, "Done 400 runs" in done.stderr


def told(words):
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


small = fuzzed(fuzzer)
ballast = b"x" * (1 << 30)
at = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
found = {
    "by a small program": small,
    "by a large one": fuzzed(fuzzer),
    "by a large one, for a moment": fuzzed(short)[:2],
    "by a large one, a shell between": fuzzed(shell + fuzzer),
}
python = [sys.executable, "-c"]
peaks = {
    "ru_maxrss": told([*python, ours]),
    "with a shell between": told([*shell, *python, ours]),
    "VmHWM": told([*python, high]),
}
print(f"atheris {version('atheris')}, Python {sys.version.split()[0]}; (exit, out of memory, all runs): {found}")
print(f"MiB of an empty Python, started by one of {at}: {peaks}")
through, ended = (0, False, True), (71, True, False)
same = list(found.values()) == [through, ended, through[:2], through]
raise SystemExit(not (same and peaks["ru_maxrss"] >= 1024 > 100 > max(peaks["with a shell between"], peaks["VmHWM"])))
P
