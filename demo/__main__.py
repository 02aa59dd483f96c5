"""`python -m demo`: build a lake and take it through everything that storaged does. Exits with 1 if a check fails."""

from __future__ import annotations

import argparse
import os
import sys
from io import TextIOWrapper
from pathlib import Path

from demo.lake import Lake, LakeError, clear
from demo.story import Demo, prepare
from demo.terminal import DemoFailed, Terminal
from demo.tiers import buckets, directories
from storaged.errors import StoragedError

DAYS, SMALL_DAYS = 365, 31


def main() -> int:
    """Run it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="Take a lake of real data through storaged.")
    parser.add_argument("--small", action="store_true", help=f"{SMALL_DAYS} days of data instead of {DAYS}")
    parser.add_argument(
        "--lake",
        type=Path,
        default=Path("demo-lake"),
        metavar="DIR",
        help="where to build it; what an earlier demo made there is removed (default: demo-lake)",
    )
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--s3", action="store_true", help="warm and cold tiers in buckets, on a server of its own")
    kinds.add_argument("--prepare", action="store_true", help="only build the lake, as docs/tutorial.md begins")
    given = parser.parse_args()
    if isinstance(sys.stdout, TextIOWrapper):  # what this locale cannot show must not end the demo
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        place = clear(given.lake)
    except (LakeError, OSError) as error:
        parser.error(str(error))
    try:
        with (buckets if given.s3 else directories)(place / "tiers") as tiers:
            os.environ.update(tiers.environment)
            lake, days = Lake(place, tiers), SMALL_DAYS if given.small else DAYS
            if given.prepare:
                prepare(lake, days=days)
            else:
                Demo(lake, Terminal(place), days=days).run()
    except (DemoFailed, StoragedError, OSError) as error:
        print(f"\nthe demo failed: {error}", flush=True)  # noqa: T201  the terminal of the demo may not be there yet
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
