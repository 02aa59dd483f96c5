"""The documentation says what the code does: the reference is current, names exist, examples load, links lead on."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from docs import environment, generate, musts
from storaged.catalog.engine import Catalog
from storaged.catalog.views import VIEWS
from storaged.cli.errors import EXIT_CODES
from storaged.config.settings import load_settings
from storaged.decide.conditions import CONDITIONS
from storaged.decide.load import load_policies
from storaged.decide.planner import HELD
from storaged.testing import FakeClock
from storaged.work import targets
from storaged.work.context import Context
from storaged.work.release.sweep import sweep
from storaged.work.rewrite.returns import restage
from storaged.work.rewrite.worker import Worker
from storaged.work.scan.run import scan

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SOURCES = sorted((ROOT / "storaged").rglob("*.py"))
REFERENCE = {page.name: page.read_text() for page in generate.REFERENCE.glob("*.md")}
COMMANDS: dict[tuple[str, ...], Any] = dict(generate.commands())

BASE = """\
tiers:
  hot: {rank: 0, url: file:///srv/tiers/hot, capacity: {size: 1TiB, high: 85%, low: 70%}}
  warm: {rank: 1, url: file:///srv/tiers/warm, prices: aws/us-east-1/standard}
  cold: {rank: 2, url: file:///srv/tiers/cold, prices: aws/us-east-1/glacier-ir}
"""


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)


def blocks(page: Path, *languages: str) -> Iterator[str]:
    """A page's code blocks of these languages."""
    for language, body in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), flags=re.S | re.M):
        if language in languages:
            yield body


# -- the reference ---------------------------------------------------------------------------------------------------


def test_the_reference_is_what_the_code_says() -> None:
    pages = generate.pages()
    stale = [name for name, text in pages.items() if REFERENCE.get(name) != text]
    assert stale == [], "run `make docs`"
    assert set(REFERENCE) == set(pages)


def test_every_command_and_option_is_documented() -> None:
    for path, command in COMMANDS.items():
        [section] = re.findall(rf"^##+ {' '.join(path)}\n(.*?)(?=^##|\Z)", REFERENCE["cli.md"], flags=re.S | re.M)
        for parameter in command.params:
            told = parameter.metavar if parameter.param_type_name == "argument" else parameter.opts[-1]
            assert told == "--json" or str(told) in section, (path, told)


def test_every_key_of_the_files_is_documented() -> None:
    parts = generate.settings_schema()["$defs"] | {"Settings": generate.settings_schema()}
    for part in parts.values():
        for key, field in part.get("properties", {}).items():
            assert f"| `{key}` |" in REFERENCE["configuration.md"]
            assert generate._description(field, parts), key
    for part in generate.policy_schema()["$defs"].values():
        for key in part.get("properties", {}):
            assert key == "policies" or f"| `{key}` |" in REFERENCE["policies.md"]


def test_every_condition_guard_view_and_exit_code_is_documented() -> None:
    for name, condition in CONDITIONS.items():
        assert condition.__doc__
        assert f"| `{name}` |" in REFERENCE["policies.md"]
    assert all(f"| `{name}` |" in REFERENCE["policies.md"] for name in HELD)
    assert all(f"## {view}\n" in REFERENCE["views.md"] for view in VIEWS)
    assert all(f"| {code} |" in REFERENCE["exit-codes.md"] for code in EXIT_CODES)
    assert all(f"| `{c.__name__}` | {c.exit_code} |" in REFERENCE["exit-codes.md"] for c in generate.error_classes())


def test_every_environment_variable_is_documented() -> None:
    used = {name for path in SOURCES for name in re.findall(r"\bSTORAGED_[A-Z_]*[A-Z]\b", path.read_text())}
    assert used == {name for name in environment.ENVIRONMENT if name.startswith("STORAGED_")}


# -- examples --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_examples_of_configuration_and_policies_load(page: Path, tmp_path: Path) -> None:
    examples = list(blocks(page, "yaml"))
    own = next((body for body in examples if body.startswith("# storaged.yaml\n")), BASE)
    for body in examples:
        document: Any = yaml.safe_load(body)
        config = tmp_path / "storaged.yaml"
        if "target" in document or isinstance(document.get("policies"), list):
            config.write_text(own)
            (tmp_path / "policies").mkdir(exist_ok=True)
            (tmp_path / "policies" / "example.yaml").write_text(body)
            assert len(load_policies(tmp_path / "policies", load_settings(config)))
        else:
            config.write_text(body if "tiers" in document else BASE + body)
            assert load_settings(config).tiers


def test_the_example_of_reading_back_runs(
    tmp_path: Path,
    catalog: Catalog,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = tmp_path / "flights" / "dt=2013-01-01"
    root.mkdir(parents=True)
    (root / "flights.csv").write_text("origin,dep_delay,distance\n" + "JFK,10,1000\nJFK,20,3000\n" * 1_000)
    config = tmp_path / "storaged.yaml"
    for tier in ("hot", "warm", "cold"):
        (tmp_path / tier).mkdir()
    config.write_text(
        BASE.replace("file:///srv/tiers", f"file://{tmp_path}")
        + f"datasets: {{flights: {{root: 'file://{tmp_path}/flights', readers: storaged}}}}\ncatalog: {catalog.url}\n"
    )
    (tmp_path / "state").mkdir()
    context = Context(load_settings(config), catalog, clock, actor="test")
    context.register()
    scan(context, "flights")
    restage(context, targets.pages(context, "flights"), "cold", reason="test")
    with Worker(context) as worker:
        assert worker.run().done == 1
    clock.advance(8 * 86_400)
    assert sweep(context).sources == 1
    monkeypatch.setenv("STORAGED_CONFIG", str(config))
    [example] = blocks(ROOT / "README.md", "python")
    exec(compile(example, "README.md", "exec"), {})  # noqa: S102  our own example
    assert re.search(r"JFK +15\.0 +2000\.0", capsys.readouterr().out)


def quoted_commands() -> Iterator[tuple[str, str]]:
    """Every `storagectl …` in code blocks and backticks of the docs, and in messages and docstrings of the code."""
    for page in PAGES:
        text = page.read_text().replace("\\\n", " ")
        for line in re.findall(r"^\s*(?:\$ )?(storagectl .*)$", text, flags=re.M):
            yield named(page), line.split(" | ")[0]
        for inline in re.findall(r"`(storagectl [^`]+)`", prose(page)):
            yield named(page), inline
    for path in SOURCES:
        for inline in re.findall(r"`(storagectl [^`]+)`", path.read_text()):
            yield named(path), inline


def test_every_command_that_is_mentioned_exists_with_its_options() -> None:
    checked = 0
    for where, line in quoted_commands():
        if "[OPTIONS]" in line:  # a line of usage
            continue
        words = shlex.split(re.sub(r"\{[^}]*\}|[…\[\]]", "x", " ".join(line.split())), comments=True)
        path = ["storagectl"]
        for word in words[1:]:
            if (*path, word) in COMMANDS:
                path.append(word)
            elif not word.startswith("-"):
                break
        command = COMMANDS[tuple(path)]
        assert len(path) > 1 or len(words) == 1 or words[1].startswith("-") or words[1] == "x", f"{where}: {line}"
        known = {o for p in [*command.params, *COMMANDS[("storagectl",)].params] for o in (*p.opts, *p.secondary_opts)}
        for word in words[1:]:
            if re.fullmatch("--?[a-z][a-z-]*", word):
                assert word in known | {"--help", "-h"}, f"{where}: {line}: {word}"
        checked += 1
    assert checked > 100


# -- names and links -------------------------------------------------------------------------------------------------


@cache
def definitions(path: Path) -> frozenset[str]:
    """Names of functions, methods (`Class.method`) and classes in a file."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found.update(f"{node.name}.{n.name}" for n in node.body if isinstance(n, ast.FunctionDef))
    return frozenset(found)


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_file_and_name_that_is_mentioned_exists(page: Path) -> None:
    text = page.read_text()
    for path, name in re.findall(r"`((?:storaged|tests|migrations)/[\w/]+\.py)(?:::([\w.:]+))?`", text):
        assert (ROOT / path).is_file(), path
        assert not name or name.replace("::", ".") in definitions(ROOT / path), f"{path}::{name}"
    for path in re.findall(r"`((?:storaged|tests|migrations|policies|docs|demo|benchmarks)/(?:\w+/)*)`", text):
        assert (ROOT / path).is_dir(), path


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ (.*)$", prose(page), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match("https?://", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def test_every_target_of_make_that_is_mentioned_exists() -> None:
    made = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.M))
    told = {t for page in PAGES for t in re.findall(r"(?:^|`)make (\w+)", page.read_text(), flags=re.M)}
    assert {"demo", "test", "docs"} <= told <= made


def test_every_must_has_tests_that_try_to_break_it() -> None:
    found = musts.tests()
    numbers = [key for key in musts.titles() if key.isdigit()]
    assert numbers == [str(n) for n in range(1, 18)]
    assert [key for key in numbers if not found[key]] == []


@pytest.mark.parametrize(("nth", "container"), [(0, "storaged"), (1, "storaged.work")])
def test_the_floors_are_those_that_the_linter_checks(nth: int, container: str) -> None:
    text = (ROOT / "docs" / "design.md").read_text()
    [section] = re.findall(r"^## Floors\n(.*?)^## ", text, flags=re.S | re.M)
    drawn = re.findall(r"^```\n(.*?)^```", section, flags=re.S | re.M)[nth]
    floors = [re.split("  +", line)[0] for line in drawn.splitlines()]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [c["layers"] for c in contracts if c["containers"] == [container]]
    assert floors == layers


def test_records_are_numbered_without_a_gap_and_have_their_parts() -> None:
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))
    for number, record in enumerate(records, start=1):
        text = record.read_text()
        assert text.startswith(f"# {number:04}: ")
        assert record.name.startswith(f"{number:04}-")
        assert re.findall(r"^## (.*)$", text, flags=re.M) == ["Context", "Decision", "Consequences"]


def test_the_length_of_a_month_stands_in_the_glossary_alone() -> None:
    found = [named(page) for page in PAGES if "30.4375" in page.read_text() and "adr" not in page.parts]
    assert found == ["docs/glossary.md"]


def test_the_glossary_explains_each_word_once() -> None:
    rows = re.findall(r"^\| ([^|]+?) \| ", (ROOT / "docs" / "glossary.md").read_text(), flags=re.M)
    words = [w.strip(" °") for row in rows for w in row.split(",") if row not in ("word", "---")]
    twice = {w for w in words if words.count(w) > 1}
    assert twice <= {"plan"}, "plan is a thing and a doing"
    assert len(words) > 50
