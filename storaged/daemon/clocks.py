"""Leases are instants: processes whose clocks differ would take each other's work."""

from __future__ import annotations

from storaged.catalog import tasks
from storaged.catalog.engine import Catalog
from storaged.clock import Clock
from storaged.config.quantities import format_duration


def skew(catalog: Catalog, clock: Clock, limit_us: int) -> str | None:
    """Why a process may not act by its clock; None: it is the catalog server's, or the server has none."""
    with catalog.read() as conn:
        there = tasks.server_us(conn)
    if there is None or abs(clock.now_us() - there) <= limit_us:
        return None
    off, limit = format_duration(abs(clock.now_us() - there)), format_duration(limit_us)
    return f"the clocks of this machine and of the catalog's server differ by {off}, more than {limit}: set them (NTP)"
