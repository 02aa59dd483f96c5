"""What commands print with --json is as docs/reference/schemas says: fields stay, and keep their types."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from storaged.catalog import notices
from storaged.catalog.engine import open_catalog
from storaged.catalog.notices import Notice
from storaged.catalog.schema import access, objects
from storaged.clock import DAY, SystemClock
from tests.cli.lake import OLD, Lake
from tests.cli.shapes import Schema, differences, widened
from tests.cli.test_collections import WHOLE
from tests.cli.test_commands import WORDS
from tests.cli.test_help import leaves
from tests.cli.test_references import refs
from tests.cli.test_removable import a_delta_table
from tests.forecast.made import cooling, fill, made

SCHEMAS = Path(__file__).parents[2] / "docs/reference/schemas"
PRICES = {"hot": "standard", "warm": "standard-ia", "cold": "glacier-ir"}
MORE = (("catalog", "backups"), ("top", "--once"), ("doctor",), ("plan", "list"), ("policy", "list"))
# Schemas themselves, rows of what was asked for, bytes, and a process that does not end.
NO_SCHEMA = {("config", "schema"), ("policy", "schema"), ("sql",), ("cat",), ("run",)}
ELSEWHERE = {
    *(("systemd", "install"), ("systemd", "show"), ("catalog", "rebuild"), ("catalog", "restore")),
    *(("simulate",), ("evaluate",), ("tune",), ("quickstart",), ("notify", "test")),
    ("lifecycle", "export"),  # of buckets alone: in tests/decide
}
PATHS = {path for path, command in leaves() if not hasattr(command, "commands")} | {("plan",), ("cost",)}


def path_of(words: tuple[str, ...]) -> tuple[str, ...]:
    return words[:2] if words[:2] in PATHS else words[:1]


def file_of(path: tuple[str, ...]) -> Path:
    return SCHEMAS / f"{'-'.join(path)}.json"


def priced(lake: Lake) -> Lake:
    """The same lake with prices on its tiers."""
    text = lake.config.read_text()
    for tier, name in PRICES.items():
        text = text.replace(f"  {tier}: {{", f"  {tier}: {{prices: aws/us-east-1/{name}, ")
    lake.config.write_text(text)
    return lake


def documents(lake: Lake, tmp_path: Path) -> Iterator[tuple[tuple[str, ...], Any]]:
    """What every command prints."""
    lake.write("2026/01.csv", "2026/02.csv", "b c.csv", "d.csv")
    for words in (("init", str(tmp_path / "new.yaml")), ("catalog", "create"), ("scan",), ("plan",), ("plan",)):
        yield words, lake.good(*words, "--json").json
    for words in WORDS:
        yield words, lake.good(*words, "--json").json
        if words[:1] == ("apply",):
            for more in (("catalog", "backup"), *MORE):
                yield more, lake.ctl(*more, "--json").json
    yield ("advise",), lake.good("advise", "--atime", "--json").json
    lake.config.write_text(
        lake.config.read_text().replace("grace: 7d", "grace: 0s") + "daemon: {url: https://storaged.example}\n"
    )
    yield ("config", "show"), lake.good("config", "show", "--json").json
    lake.write("new.csv")
    lake.good("scan")
    number = str(lake.good("plan", "--json").json["plan"])
    job = str(lake.good("apply", number, "--yes", "--no-wait", "--json").json["jobs"][0])
    for verb in ("cancel", "retry", "show"):
        yield ("job", verb), lake.good("job", verb, job, "--json").json
    yield ("jobs",), lake.good("jobs", "--json").json
    for words in (("work",), ("sweep", "--yes")):
        lake.good(*words)
    lake.write("new.csv")  # over what was released
    lake.write("array.zarr/zarr.json", "array.zarr/c.csv")
    for words in (("scan",), ("overwritten",), ("status",)):
        yield words, lake.good(*words, "--json").json
    yield from documents_of_a_whole(lake)
    told = [Notice("plan", "shrink", "a plan waits", "4 objects"), Notice("damage", "1", "damage", "1 object")]
    with open_catalog(f"sqlite:///{lake.place}/catalog.db") as catalog, catalog.begin() as conn:
        notices.note(conn, told, {"ops": ["plan"]}, 1)
        notices.note(conn, told[:1], {}, 2)
    yield ("notify", "list"), lake.good("notify", "list", "--json").json
    shutil.copytree(lake.place / "cold", lake.place / "copy")
    (lake.place / "empty").mkdir()
    for place in ("copy", "empty"):
        words = ("tier", "move", "cold", (lake.place / place).as_uri(), "--dry-run")
        yield words, json.loads(lake.ctl(*words, "--json").out)
    with open_catalog(f"sqlite:///{lake.place}/catalog.db") as catalog, catalog.begin() as conn:
        today = SystemClock().now_us() // DAY
        fill(conn, made(cooling(5), 60, 140), dataset="lake", end_day=today, first_id=10_000)
    for words in (("learn", "--report"), ("learn", "--list")):
        yield words, lake.good(*words, "--json").json
    with open_catalog(f"sqlite:///{lake.place}/catalog.db") as catalog, catalog.begin() as conn:
        conn.execute(sa.delete(access).where(access.c.day.between(today - 60, today - 51)))
    yield ("learn",), lake.good("learn", "--json").json
    tier = "  hot: {"
    lake.config.write_text(
        lake.config.read_text().replace(tier, f"{tier}capacity: {{size: 64MiB, high: 85%, low: 70%}}, ")
    )
    yield ("forecast",), lake.good("forecast", "--backtest", "--json").json
    if "prices:" in lake.config.read_text():
        (lake.place / "policies" / "policy.yaml").write_text("name: a\ntarget: {dataset: lake}\nto: {tier: auto}\n")
        yield ("explain",), lake.good("explain", "lake/00001.csv", "--json").json


def documents_of_a_whole(lake: Lake) -> Iterator[tuple[tuple[str, ...], Any]]:
    """What is printed of a collection that is moved whole and back."""
    part = "lake/array.zarr/c.csv"
    (lake.place / "policies" / "whole.yaml").write_text(WHOLE)
    with open_catalog(f"sqlite:///{lake.place}/catalog.db") as catalog, catalog.begin() as conn:
        read = sa.update(objects).where(objects.c.name == "array.zarr/c.csv").values(last_read_us=OLD * 1_000_000)
        conn.execute(read)
    for words in (("collections",), ("explain", part)):
        yield words, lake.good(*words, "--json").json
    number = str(lake.good("plan", "--policy", "whole", "--json").json["plan"])
    yield ("plan", "show"), lake.good("plan", "show", number, "--json").json
    lake.good("apply", number, "--yes")
    yield ("undo",), lake.good("undo", part, "--yes", "--json").json
    lake.good("hold", part, "--reason", "audit")
    yield ("collections",), lake.good("collections", "--json").json
    refs(lake, "good.json", "2026/01.csv", "gone.csv")
    refs(lake, "bad.json")
    (lake.root / "bad.json").write_text((lake.root / "bad.json").read_text()[:-1])
    a_delta_table(lake)
    (lake.root / "bad" / "_delta_log").mkdir(parents=True)
    (lake.root / "bad" / "_delta_log" / "00000000000000000000.json").write_text("{")
    yield ("scan",), lake.good("scan", "--json").json
    yield ("removable",), lake.good("removable", "--json").json
    yield ("references",), lake.good("references", "--json").json
    yield ("explain",), lake.good("explain", "lake/2026/01.csv", "--json").json


@pytest.mark.parametrize("prices", [True, False], ids=["prices", "no-prices"])
def test_every_document_is_as_its_schema_says(
    lake: Lake, tmp_path: Path, request: pytest.FixtureRequest, *, prices: bool
) -> None:
    seen = set()
    wrong: list[str] = []
    for words, document in documents(priced(lake) if prices else lake, tmp_path):
        path = path_of(words)
        if path in NO_SCHEMA:
            continue
        seen.add(path)
        if request.config.getoption("--update-golden"):
            write(path, document)
        wrong += [f"{' '.join(words)}: {text}" for text in differences(schema_of(path), document)]
    assert not wrong, "\n".join(wrong)
    assert seen | NO_SCHEMA | ELSEWHERE == PATHS


def schema_of(path: tuple[str, ...]) -> Schema:
    schema: Schema = json.loads(file_of(path).read_text())
    return schema


def write(path: tuple[str, ...], document: Any) -> None:
    """Widen a schema by a document. What is gone is taken out by hand: somebody may have relied on it."""
    old = json.loads(file_of(path).read_text()) if file_of(path).exists() else None
    new = widened(old, document)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"storagectl {' '.join(path)} --json"}
    file_of(path).write_text(json.dumps(head | {k: v for k, v in new.items() if k not in head}, indent=1) + "\n")


def test_there_is_a_schema_for_every_command_and_no_other() -> None:
    wanted = {file_of(path).name for path in PATHS - NO_SCHEMA - ELSEWHERE} | {"error.json"}
    assert {file.name for file in SCHEMAS.iterdir()} == wanted


def test_a_field_that_is_gone_or_of_another_type_is_noticed(lake: Lake) -> None:
    lake.fill()
    document = lake.good("plan", "--json").json
    assert differences(schema_of(("plan",)), document) == []
    for field in document:
        without, other = copy.deepcopy(document), copy.deepcopy(document)
        del without[field]
        other[field] = [1.5, {}]
        assert differences(schema_of(("plan",)), without), field
        assert differences(schema_of(("plan",)), other), field
    assert differences(schema_of(("plan",)), document | {"new": 1})
    assert differences(schema_of(("plan",)), document | {"made_at": "yesterday"})


def fields(schema: Any, path: str = "") -> Iterator[tuple[str, Schema]]:
    for name, inside in schema.get("properties", {}).items():
        yield f"{path}.{name}", inside
        yield from fields(inside, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from fields(schema[name], f"{path}[]")


@pytest.mark.parametrize("file", sorted(SCHEMAS.iterdir()), ids=lambda file: file.stem)
def test_instants_and_amounts_are_written_the_same_everywhere(file: Path) -> None:
    """Instants are text with a Z, amounts are decimal text, and nothing is only ever null."""
    for name, schema in fields(json.loads(file.read_text())):
        last = name.rpartition(".")[2]
        kinds = {schema["type"]} if isinstance(schema["type"], str) else set(schema["type"])
        assert kinds != {"null"}, name
        assert not last.endswith("_us"), name
        if last.endswith("_at"):
            assert (kinds - {"null"}, schema.get("format")) == ({"string"}, "date-time"), name
        if re.fullmatch(r"spend|saving|monthly_saving|saving_12_months|payback_months|saved|total", last):
            amount = kinds - {"null"} == {"string"} and schema.get("format") == "decimal"
            assert amount or "object" in kinds, name


def test_an_error_is_a_document_of_its_own_schema(lake: Lake) -> None:
    schema = json.loads((SCHEMAS / "error.json").read_text())
    for words in (("status",), ("plan", "show", "9"), ("nonsense",), ("explain", "lake/none")):
        answer = lake.ctl(*words, "--json")
        assert differences(schema, answer.json) == [], words
        assert answer.json["error"]["exit_code"] == answer.code
    lake.config.write_text("nonsense: 1\ntiers: []\n")
    answer = lake.ctl("status", "--json")
    assert differences(schema, answer.json) == []
    assert len(answer.json["error"]["problems"]) > 1
