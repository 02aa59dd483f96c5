"""The page about reading: each of its examples runs as it stands, on files as they are and on blobs."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import duckdb
import pytest

from tests.cli.lake import Lake

PAGE = (Path(__file__).resolve().parents[2] / "docs/reading.md").read_text()
EXAMPLES = [
    (f"{title} {number}", code)
    for title, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", body, re.MULTILINE | re.DOTALL))
]
MOVE = "name: {0}\ntarget: {{dataset: {0}}}\nwhen: {{size_over: 1B}}\nto: {{tier: cold, codec: parquet}}\n"
EVENTS = """\
COPY (SELECT 'u' || (i % 7) AS user, CASE WHEN i % 50 = 0 THEN 503 ELSE 200 END AS status, i / 8 AS seconds
FROM range(4000) t(i)) TO '{}' (FORMAT csv)"""
TRIPS = (
    "COPY (SELECT i AS trip, i / 4 AS fare FROM range(1000) t(i)) TO '{}' (FORMAT parquet, COMPRESSION uncompressed)"
)


@pytest.fixture(scope="module", params=["as it is", "moved"])
def lake(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    made = Lake(tmp_path_factory.mktemp("page"))
    made.configure(grace="0s", more="")
    text = made.config.read_text().replace("  lake:", "  events:").replace("/lake", "/events")
    trips = f'  trips: {{root: "file://{made.place}/trips", readers: storaged}}\nquiet_for: 0s\n'
    made.config.write_text(text + trips)
    (made.place / "trips").mkdir()
    duckdb.sql(TRIPS.format(made.place / "trips/2026.parquet"))
    for day in range(1, 7):
        folder = made.place / f"events/dt=2026-01-0{day}"
        folder.mkdir(parents=True)
        duckdb.sql(EVENTS.format(folder / "events.csv"))
    (made.place / "policies/policy.yaml").unlink()
    made.good("catalog", "create")
    made.good("scan")
    if request.param == "moved":
        for name in ("events", "trips"):
            (made.place / f"policies/{name}.yaml").write_text(MOVE.format(name))
        made.good("plan")
        made.good("apply", "1", "--yes")
        made.good("sweep", "--yes")
    return made


def run(*codes: str) -> dict[str, object]:
    """What the names are in the end. What other programs warn of is theirs."""
    found: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec("\n".join(codes), found)  # noqa: S102 (our own page)
    return found


def test_the_page_speaks_to_each_of_its_readers() -> None:
    assert {title.rpartition(" ")[0] for title, _ in EXAMPLES} == {"pandas", "pyarrow", "DuckDB", "Dask"}


@pytest.mark.parametrize(("title", "code"), EXAMPLES, ids=[title for title, _ in EXAMPLES])
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
