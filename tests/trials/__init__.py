"""The tests on other days and on a busy machine: none may depend on the day, the hour or the speed."""

import os

# The part of the environment by which a process lives on the same day as the tests; see shift.c.
OTHER_DAY = "rclone asks the system itself for the time, and refuses requests of another day"
SAME_DAY = {name: os.environ[name] for name in ("LD_PRELOAD", "SHIFT_SECONDS") if "SHIFT_SECONDS" in os.environ}
