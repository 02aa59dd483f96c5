"""The examples of the page about reading, and the lake that they read."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Final

import duckdb

from tests.cli.lake import Lake
from tests.codecs.tensor_files import bfloat16, safetensors, weights

PAGE: Final = (Path(__file__).resolve().parents[2] / "docs/reading.md").read_text()
EXAMPLES: Final = [
    (f"{title} {number}", code)
    for title, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", body, re.MULTILINE | re.DOTALL))
]
FORMS: Final = ("as it is", "moved")
MOVE = "name: {0}\ntarget: {{dataset: {0}}}\nwhen: {{size_over: 1B}}\nto: {{tier: cold, codec: {1}}}\n"
EVENTS = """\
COPY (SELECT 'u' || (i % 7) AS user, CASE WHEN i % 50 = 0 THEN 503 ELSE 200 END AS status, i / 8 AS seconds
FROM range(4000) t(i)) TO '{}' (FORMAT csv)"""
WEIGHTS = safetensors(
    {"query": ("F32", (200, 100), weights(20_000).tobytes()), "bias": ("BF16", (900,), bfloat16(weights(900)))}
)
TRIPS = (
    "COPY (SELECT i AS trip, i / 4 AS fare FROM range(1000) t(i)) TO '{}' (FORMAT parquet, COMPRESSION uncompressed)"
)


def lake_of(form: str, place: Path) -> Lake:
    """With what the page says that there is, in one of the FORMS."""
    made = Lake(place)
    made.configure(grace="0s", more="")
    text = made.config.read_text().replace("  lake:", "  events:").replace("/lake", "/events")
    more = [f'  {name}: {{root: "file://{made.place}/{name}", readers: storaged}}\n' for name in ("trips", "run")]
    made.config.write_text(text + "".join(more) + "quiet_for: 0s\n")
    for name in ("trips", "run"):
        (made.place / name).mkdir()
    (made.place / "run/step-900.safetensors").write_bytes(WEIGHTS)
    duckdb.sql(TRIPS.format(made.place / "trips/2026.parquet"))
    for day in range(1, 7):
        folder = made.place / f"events/dt=2026-01-0{day}"
        folder.mkdir(parents=True)
        duckdb.sql(EVENTS.format(folder / "events.csv"))
    (made.place / "policies/policy.yaml").unlink()
    made.make_catalog()
    made.good("scan")
    if form == "moved":
        for name, codec in (("events", "parquet"), ("trips", "parquet"), ("run", "tensor")):
            (made.place / f"policies/{name}.yaml").write_text(MOVE.format(name, codec))
        made.good("plan")
        made.good("apply", "1", "--yes")
        made.good("sweep", "--yes")
    return made


def reader_of(title: str) -> str:
    """Whom it speaks to."""
    return title.rpartition(" ")[0]


def run(*codes: str) -> dict[str, object]:
    """What the names are in the end. What other programs warn of is theirs."""
    found: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec("\n".join(codes), found)  # noqa: S102 (our own page)
    return found
