"""The page about reading: each of its examples runs as it stands, on files as they are and on blobs. Those that need
what the tests' environment has not are run by `make readers`."""

from __future__ import annotations

import pytest

from tests.cli.lake import Lake
from tests.codecs.tensor_files import weights
from tests.filesystem.page import EXAMPLES, FORMS, lake_of, reader_of, run
from tests.readers.table import PAGE_APART

HERE = [(title, code) for title, code in EXAMPLES if reader_of(title) not in PAGE_APART]


@pytest.fixture(scope="module", params=FORMS)
def lake(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return lake_of(request.param, tmp_path_factory.mktemp("page"))


def test_the_page_speaks_to_each_of_its_readers() -> None:
    assert {reader_of(title) for title, _ in EXAMPLES} == {
        "pandas",
        "pyarrow",
        "DuckDB",
        "Dask",
        "Weights",
        *PAGE_APART,
    }


@pytest.mark.parametrize(("title", "code"), HERE, ids=[title for title, _ in HERE])
def test_an_example_runs_as_it_stands(lake: Lake, title: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGED_CONFIG", str(lake.config))
    run(code)


def test_what_the_examples_find_is_what_is_there(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that give numbers."""
    monkeypatch.setenv("STORAGED_CONFIG", str(lake.config))
    code = dict(EXAMPLES)
    found = run(*(code[example] for example in ("pandas 1", "pyarrow 0", "DuckDB 0")))
    assert len(found["errors"]) == 6 * 80  # type: ignore[arg-type]
    assert found["recent"].num_rows == 4_000  # type: ignore[attr-defined]
    assert found["worst"].fetchall() == [(200, 3 * 3_920), (503, 3 * 80)]  # type: ignore[attr-defined]
    assert found["two"] == [(8_000,)]


def test_safetensors_finds_what_storaged_tensors_finds(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGED_CONFIG", str(lake.config))
    code = dict(EXAMPLES)
    ours, theirs = (run(code[f"Weights {n}"])["query"] for n in (0, 1))
    assert ours.shape == (200, 100)  # type: ignore[attr-defined]
    assert ours.tobytes() == theirs.tobytes() == weights(20_000).tobytes()  # type: ignore[attr-defined]
