"""The line in which a blob says whose it is and what its content was: ASCII JSON that carries a check of itself."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from storaged.digest import digest_of
from storaged.errors import VerificationFailed
from storaged.model import Origin

_ORIGIN: Final = [f.name for f in dataclasses.fields(Origin) if f.name not in ("size", "digest")]


@dataclass(frozen=True, slots=True)
class CheckedLine:
    """Such a line of one form: its first field has this name, and the form's version. `about`: what it is said of."""

    name: str
    version: int
    about: str = "its content"

    @property
    def prefix(self) -> bytes:
        """How it begins."""
        return f'{{"{self.name}":'.encode()

    def written(self, origin: Origin, fields: Mapping[str, object]) -> bytes:
        """With what else the codec says."""
        said = {
            "origin": {name: getattr(origin, name) for name in _ORIGIN},
            "content": {"attempt": origin.attempt, "size": origin.size, "xxh3_128": origin.digest},
            **fields,
        }
        return _line({self.name: self.version} | said | {"check": digest_of([_line(said)])})

    def read(self, key: str, line: bytes) -> tuple[Origin, dict[str, Any]]:
        """The origin, with size and digest of the content, and all fields. Raises VerificationFailed."""
        try:
            said = json.loads(line)
            version, check = said.pop(self.name), said.pop("check")
            if check == digest_of([_line(said)]):
                if version != self.version:
                    raise VerificationFailed(
                        f"{key}: its format version is {version}, not {self.version}", hint="upgrade storaged"
                    )
                content = said["content"]
                return Origin(**said["origin"], size=content["size"], digest=content["xxh3_128"]), said
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise self.damaged(key) from error
        raise self.damaged(key)

    def damaged(self, key: str) -> VerificationFailed:
        """For a blob that says what cannot be."""
        return VerificationFailed(
            f"{key}: what it says of {self.about} is damaged",
            hint="it was cut short, is damaged, or is no blob of ours",
        )


def _line(said: object) -> bytes:
    return json.dumps(said, separators=(",", ":")).encode()
