"""`python -m tests.trials [--days D] [--busy N] …`: pytest with the rest, D days later (0.25: six hours), beside N
processes that never rest.

Days need a C compiler (`cc`) and the GNU C library: the clock is shifted by a library that every process loads first,
Postgres included (see shift.c). What was compiled by Python is kept apart, since its sources' times are shifted too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_DAY_S = 86_400
_TIMEOUT_S = 1_200  # of a test that shares the machine
_RESTLESS = "import os, sys\nwhile os.getppid() == int(sys.argv[1]):\n    pass"  # until whoever started it is gone


def main() -> int:
    """The exit code of pytest."""
    parser = argparse.ArgumentParser(prog="python -m tests.trials", description=__doc__)
    parser.add_argument("--days", type=float, default=0.0)
    parser.add_argument("--busy", type=int, default=0)
    told, rest = parser.parse_known_args()
    with ExitStack() as stack:
        for _ in range(told.busy):
            stack.enter_context(_restless())
        environment = dict(os.environ)
        rest.append(f"--timeout={_TIMEOUT_S}")
        if told.days:
            environment |= stack.enter_context(_shifted(round(told.days * _DAY_S)))
        return subprocess.call([sys.executable, "-m", "pytest", *rest], env=environment)


@contextmanager
def _shifted(seconds: int) -> Iterator[dict[str, str]]:
    """The environment of processes whose clock is so many seconds ahead."""
    with tempfile.TemporaryDirectory(prefix="storaged-days-") as made:
        place = Path(made)
        place.chmod(0o755)  # Postgres runs as another user
        library = place / "shift.so"
        source = Path(__file__).with_name("shift.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, source], check=True)
        yield {
            "LD_PRELOAD": f"{library} {os.environ.get('LD_PRELOAD', '')}".strip(),
            "SHIFT_SECONDS": str(seconds),
            "PYTHONPYCACHEPREFIX": str(place / "compiled"),
        }


@contextmanager
def _restless() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", _RESTLESS, str(os.getpid())]) as process:
        try:
            yield
        finally:
            process.kill()


if __name__ == "__main__":
    sys.exit(main())
