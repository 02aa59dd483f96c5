"""What storaged's own tests are made of, for those who write another store or codec.

The contracts need pytest and are imported by their own names: storaged.testing.stores.StoreContract and
storaged.testing.codecs.CodecContract; what goes into codecs is made by storaged.testing.contents. Importing this lets
`memory://` be opened, which a configuration cannot.
"""

from storaged.stores.registry import allow_memory
from storaged.testing.clock import FakeClock
from storaged.testing.faults import Crash, Fault, Faults, FaultyStore

allow_memory()

__all__ = ["Crash", "FakeClock", "Fault", "Faults", "FaultyStore"]
