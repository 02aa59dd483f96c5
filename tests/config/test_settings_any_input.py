"""Whatever storaged.yaml holds, it loads or ConfigError says why not."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storaged.config.settings import load_settings
from storaged.errors import ConfigError
from tests.config.lake import FULL, write


def _mutated(data: st.DataObject) -> str:
    lines = FULL.splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        index = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(st.sampled_from(("drop", "double", "indent", "value", "cut", "insert"))):
            case "drop":
                lines[index] = ""
            case "double":
                lines.insert(index, lines[index])
            case "indent":
                lines[index] = f"  {lines[index]}"
            case "value":
                value = data.draw(
                    st.one_of(
                        st.text(max_size=20), st.integers().map(str), st.sampled_from(["[]", "{}", "~", "-1", "0"])
                    )
                )
                lines[index] = f"{lines[index].partition(':')[0]}: {value}"
            case "cut":
                lines[index] = lines[index][: data.draw(st.integers(0, len(lines[index])))]
            case _:
                lines.insert(index, data.draw(st.text(max_size=20)))
    return "\n".join(lines)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_mutated_file_loads_or_is_refused(tmp_path: Path, data: st.DataObject) -> None:
    """Nothing but ConfigError comes out, and each problem has a place in the file."""
    file = tmp_path / "storaged.yaml"
    file.write_bytes(_mutated(data).encode("utf-8", "surrogatepass"))
    with suppress(ConfigError):
        load_settings(file)


_TREE = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-5, 5),
        st.floats(-2, 200),
        st.text(max_size=8),
        st.sampled_from(["1d", "5%", "memory://x"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "catalog",
                    "tiers",
                    "hot",
                    "rank",
                    "url",
                    "datasets",
                    "root",
                    "tier",
                    "heat",
                    "name",
                    "limits",
                    "capacity",
                ]
            ),
            inner,
            max_size=5,
        ),
    ),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(st.sampled_from(["catalog", "state_dir", "tiers", "datasets", "heat", "limits", "workers"]), _TREE)
)
def test_a_file_of_wrong_kinds_is_refused(tmp_path: Path, tree: dict[str, Any]) -> None:
    """Lists for mappings, numbers for text, anything anywhere: problems, no crash."""
    with suppress(ConfigError):
        load_settings(write(tmp_path, yaml.safe_dump(tree, allow_unicode=True)))
