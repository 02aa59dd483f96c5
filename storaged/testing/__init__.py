"""What storaged's own tests are made of, for those who write another store or codec."""

from storaged.testing.clock import FakeClock

__all__ = ["FakeClock"]
