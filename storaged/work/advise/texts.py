"""Policies as text, read as files of policies are."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from storaged.config.settings import Settings
from storaged.decide.load import load_policies
from storaged.decide.policy import LoadedPolicy


def loaded(texts: Mapping[Path, str], settings: Settings) -> Iterator[LoadedPolicy]:
    """The policies of these files, which need not be there. Raises ConfigError for what is wrong with them."""
    with tempfile.TemporaryDirectory() as directory:
        for path, text in texts.items():
            (Path(directory) / path.name).write_text(text, "utf-8")
        places = {path.name: str(path) for path in texts}
        for policy in load_policies(Path(directory), settings):
            yield replace(policy, file=places[Path(policy.file).name])


def word(text: str) -> str:
    """A text as YAML has it, in quotes where it could be read as something else."""
    plain = re.fullmatch("[A-Za-z_][A-Za-z0-9_.-]*", text) and text.lower() not in ("true", "false", "null")
    return text if plain else json.dumps(text)


def words(texts: list[str]) -> str:
    """A list of texts; a single one by itself."""
    return word(texts[0]) if len(texts) == 1 else f"[{', '.join(map(word, texts))}]"
