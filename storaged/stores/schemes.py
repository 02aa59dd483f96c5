"""The schemes of URLs that stores are opened for; for who reads a configuration without opening any."""

from __future__ import annotations

from typing import Final

SCHEMES: Final = ("file", "s3")
SCHEMES_HINT: Final = f"there are {' and '.join(f'{scheme}://' for scheme in SCHEMES)}"
