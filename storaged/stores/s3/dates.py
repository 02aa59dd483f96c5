"""Times as HTTP writes them."""

from __future__ import annotations

import datetime as dt
from email.utils import parsedate_to_datetime
from functools import lru_cache


@lru_cache(maxsize=1_000)  # each answer tells one, of the second in which it is given
def http_date(written: str) -> dt.datetime | None:
    """An aware time; None for what is none."""
    try:
        found = parsedate_to_datetime(written)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)
