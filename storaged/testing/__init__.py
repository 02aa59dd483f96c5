"""What storaged's own tests are made of, for those who write another store or codec.

The contracts need pytest and are imported by their own names: storaged.testing.stores.StoreContract and
storaged.testing.codecs.CodecContract.
"""

from storaged.testing.clock import FakeClock
from storaged.testing.faults import Crash, Fault, Faults, FaultyStore

__all__ = ["Crash", "FakeClock", "Fault", "Faults", "FaultyStore"]
