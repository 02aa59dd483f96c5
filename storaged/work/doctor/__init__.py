"""doctor: every difference between the catalog, the stores and the configuration, what it means and what mends it."""

from __future__ import annotations

from storaged.work.doctor.base import Finding, FindingKind, Severity
from storaged.work.doctor.mend import Mended, mend
from storaged.work.doctor.registry import CHECKS, KINDS, TRIALS, examine

__all__ = ["CHECKS", "KINDS", "TRIALS", "Finding", "FindingKind", "Mended", "Severity", "examine", "mend"]
