"""Manifests of Icechunk repositories: those that its library wrote, and others like them."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterable
from typing import Final

import zstandard

HEAD: Final = b"ICE\xf0\x9f\xa7\x8aCHUNK" + b"tests".ljust(24)
KEY: Final = "notes/repo/manifests/2XHBM1ER9GCPR05DQMB0"

# By icechunk 1.1.21: virtual chunks in file:///tmp/w/d/0.bin and 1.bin.
VERSION_1: Final = base64.b64decode(
    "SUNF8J+nikNIVU5LaWMtMC4zLjI0ICAgICAgICAgICAgICAgAQIBKLUv/QBYJQQAMgcYI5A7c6u7u7vr1HDRRn4Y/1frYstQkyH/dZuu4G9tcK"
    "9R250CX1UDyII9DogHeZinVbb3XiJCwSQXTCh8OnXHAXcNxpZVXDJSd5IO3Rk2H00nYFmXxvE8OnWp0WeTa3EqDQBgyBMAAAg7hYPJlhDiN+TY"
    "2URMN1XjbQkywL2eVukB"
)
# By icechunk 2.0.0a4: 60 virtual chunks in s3://bucket/NN/data.nc.
VERSION_2: Final = base64.b64decode(
    "SUNF8J+nikNIVU5LaWMtMi4wLjAtYWxwaGEuNCAgICAgICAgAgIBKLUv/QBYdRMAJm15QPCWtRkUoHrljZlKWRxG7595puLm4Y+fTucKo2uGnU"
    "06ubCS8IZ+VNy00+3tLtm2usJLu2RCbJLmY7tXyHY3SQFmAGsAZwCjfkZN2cvt2ez17Ck5BTtV4hTPqSKrXqtCrNJZBeSV96rDK5xXO17tZtVm"
    "rZiVY1bQrQi3Zm7luLU7h5eICMnBiHkxI8a9rKWu3qKXIPSokYQVw8YJlh9IPGRFfaX3lfUoamg+/BXnbrvrcD/XkMv5BhoVGUbYjCgR09liNi"
    "ZQ0LQgEYtpoLE4yzCXoaElMV/u4j5nsuhblGIRjkVHHrU8EvFo51GQSa5JICblTOJx6SUOl24u6bgktMllU82mG5uMfFLwSeYTjU9Ao1ijYEbJ"
    "CLiYK8hFeX2BbmbkDD4cbyBb8ZZZ7g5oUP5Bzcch2HQe4SZzCbhdyyfkgk5BR+s57Lt5BdnLLcyeeL9AA7pLbecYbDPPcHMCewwn9C/nc5muhv"
    "PZB3OarInrtdmQ22g8v9VqjrMx+Qb/fd9LJPte6fpo5uMk2pDOS7UhmZtsQy0/3YKOwn0993JflZundF+Vl6u+Kt5XMqDZzlu0mQOoUYE9gE3o"
    "rpvPBeBwPiAHcwI62RTXV74hLyDjOcus5gZoUr6/arsfsP0cwS3nCQKAg6gxbCVEVX1K7QawoyStARJAYCAIQUOgLiRCIvyJAPkBQKAeKoMZVn"
    "74Fs50P8xU/OamAPZyIp4b1TkQxw3UGPNXO81OgvI3x8B9C/AMVtl1rVwLbdSmr8eVjo9F3uOOh8KPoVvk3hPWHlo6WNY9DcC7oQ5HEs2R+WzI"
    "NTowCFZXTonBfw=="
)

# By icechunk 2.3.0: the file `repo` with containers `forecasts` in s3://archive/forecasts/, `notes` in file:///tmp/w/d/,
# and one without a name; and what it wrote as `config.yaml` of the same in version 1, but for what is not looked at.
REPOSITORY: Final = base64.b64decode(
    "SUNF8J+nikNIVU5LaWMtMi4zLjAgICAgICAgICAgICAgICAgAgYBKLUv/WAIBc0cAFZ5sEMAdZoOWDcDq7bTGlHlSwxKmVPLaF+MiIr9EPb/23"
    "5r221ZXvJN9mZ/SHmY2ZiqV+/nHmiHsjw4NCoWHl6/HdGoEZkClgCaAKQAcsqW9XblcL7p/NH50l8WRO8S0j4NNiZ/Y4+Aoa/SzwvFdwys9NrH"
    "TJlFGG8bo7Exe213JLq+SwO3Tyqt7cptND4UZ9faxUnjs91pUOZpUN4KuXc75rZvCOZhGs1s1+w+0Oyy+HpKbcp/ivF/+ica/zTkn5D8G+rfzP"
    "g3Nf4NkOieW/9VnnLPq3d+cuoA7uAeUBY3/FcJb4ZqGrzt6BaadMJrtXt3Ssphsy+B5dqeYemaE9P1LfYd4DTy05V7Wu3eG5y/poQad10uLfa2"
    "9pTwdrdKGSmZ2WJe4QfhBP9NHr06it84jON4xv+De2AQt3CTY5BqXPfk1bpt6zY55WbfrYVafPBCDN7eusa+EOO6p8FJ5ZVY2+71B9rZ3d6O9i"
    "YvRVH8SyxdAxpI2/t8KChCmDYu3fJwFLGK81eiDnMYxBa3cIcbYQxM4RSCc37Za2HsSj9Xy8gsVlhZ1QuKBikqYQhMgFkuvUJhZgXM+dbXhux7"
    "GoxU69C5+YVdMxe33eu6XFqTn8p6DhMeNXpIlgFmlsFZRWV/lp3FBYqpBysygKA5IENQ37IrK43R4Ns6C4qdxdsQ5F7tW2zS2Pa9DXa99oEqnb"
    "k931ro2pddyL2OlX7O3ZsF////U8Kt5NOpl/wd5XtnK8o4/EtpfVb+J3ByCusSUiVU6ZWWcs3h/wET/yHU1NTUTGgXIUZOdDQ+dKQE+C/gnldP"
    "eefTHVxAteMT9eklsEWFDpwP/l/dpLNiWSvMTxG5OHl0TxRCOnIN9/AIk8pU8g8TzPQyMZCI/OT0M+WrzT27dfNRruttR6VMV+7X9kdOuFmWla"
    "TAix9f8SJWJQJF1uAXHFeo0ZxSiBljSkIZkZmpxkACQ4iRVQcRILlyimomaFPYOAjNYhdrUxqus+XXZPdbcpWJ/VX0mO0LPxBlQoQO8lpkwj8g"
    "+B7nJyLX9XGxY3PHKFhPXmTjElV87zj1APbwYys9pxluoi6bboFfxvc7o1g4LFSMyzkJ2vOK+xRzEUo+Q3EwDqWJRJoH9/mSJCi4iQQqREk7EA"
    "r27DEehTGFgnAwsQ973PEdnfsQ9/ne0U+VVyCygMpAFYBni2KAO9Yz3WI8rqBneBzzWnqO35MWk8AfVbRLAw=="
)
CONFIG: Final = b"""\
compression: null
virtual_chunk_containers:
  s3://plain/:
    name: null
    url_prefix: s3://plain/
    store: !s3
      region: eu-west-1
  file:///tmp/w/d/:
    name: notes
    url_prefix: file:///tmp/w/d/
    store: !local_file_system /tmp/w/d/
  s3://archive/forecasts/:
    name: forecasts
    url_prefix: s3://archive/forecasts/
    store: !s3
      region: eu-west-1
manifest: null
"""


def manifest(locations: Iterable[str], version: int = 1, *, pack: Callable[[bytes], bytes] | None = None) -> bytes:
    """One of one array, with a virtual chunk at each of these. `pack` compresses each, without a dictionary."""
    made = bytearray(4)

    def table(field: int) -> int:
        """A table of which only this field is there, a pointer: where that is."""
        fields = len(made)
        made.extend(struct.pack(f"<HH{field + 1}H", 6 + 2 * field, 8, *[0] * field, 4))
        made.extend(bytes(-len(made) % 4))
        made.extend(struct.pack("<iI", len(made) - fields, 0))
        return len(made) - 4

    def point(at: int, to: int) -> None:
        struct.pack_into("<I", made, at, to - at)

    def vector(count: int) -> list[int]:
        made.extend(struct.pack(f"<{count + 1}I", count, *[0] * count))
        return list(range(len(made) - 4 * count, len(made), 4))

    arrays = table(1)
    point(0, arrays - 4)
    point(arrays, len(made))
    [first] = vector(1)
    chunks = table(1)
    point(first, chunks - 4)
    point(chunks, len(made))
    told = [location.encode() if pack is None else pack(location.encode()) for location in locations]
    for at, text in zip(vector(len(told)), told, strict=True):
        location = table(5 if pack is None else 8)
        point(at, location - 4)
        point(location, len(made))
        made.extend(struct.pack("<I", len(text)) + text + bytes(4 - len(text) % 4))
    return HEAD + bytes([version, 2, 1]) + zstandard.compress(bytes(made))
