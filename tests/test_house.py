"""House rules that a machine can check: see CONTRIBUTING.md."""

from __future__ import annotations

import ast
import contextlib
import graphlib
import importlib
import inspect
import pkgutil
import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import grimp
import pytest

import storaged
from docs.generate import error_classes
from storaged import errors
from storaged.codecs.registry import CODECS, FORMS
from storaged.config.sections import HeatSource
from storaged.decide.conditions import CONDITIONS, Condition
from storaged.stores.registry import open_store
from storaged.stores.schemes import SCHEMES
from storaged.testing.codecs import CodecContract
from storaged.testing.stores import StoreContract
from storaged.work.ingest import FORMATS, LogFormat

ROOT = Path(__file__).resolve().parent.parent
CODE = ("storaged", "migrations", "docs", "demo", "benchmarks", "tests")
LONGEST = 400  # lines
LONGER = {  # why a file is longer all the same
    "tests/states/test_states.py": "one way to bring about each row of a page, and the table of them",
    "tests/catalog/test_engine.py": "every error of two database drivers",
    "tests/life/test_guards.py": "one scene per guard of the protocol, and the table of them",
    "tests/life/test_pack_guards.py": "one scene per rule of packs, and the table of them",
    "tests/life/test_machine.py": "one machine with its rules and its model",
}


def texts() -> dict[Path, str]:
    """Every text of the repository but this file, which has the words that it looks for."""
    top = [path for path in ROOT.iterdir() if path.is_file()]
    below = [path for name in (*CODE, "policies", "systemd", ".ci") for path in (ROOT / name).rglob("*")]
    found = {}
    for path in sorted({*top, *below} - {Path(__file__).resolve()}):
        if path.is_file() and path.suffix not in (".pyc", ".db"):
            with contextlib.suppress(UnicodeDecodeError):
                found[path] = path.read_text()
    assert len(found) > 100
    return found


def python_files(*directories: str) -> list[Path]:
    return sorted(path for directory in directories for path in (ROOT / directory).rglob("*.py"))


def modules() -> list[Any]:
    """Every module of the package."""
    found = pkgutil.walk_packages(storaged.__path__, "storaged.")
    return [storaged, *(importlib.import_module(m.name) for m in found if "migrations" not in m.name)]


def defined(kind: type) -> list[type]:
    """Concrete classes below `kind` that the package itself defines."""
    classes = {c for m in modules() for c in vars(m).values() if inspect.isclass(c) and issubclass(c, kind)}
    return sorted((c for c in classes if not inspect.isabstract(c) and c is not kind), key=str)


def contracts(directory: str) -> str:
    """The text of all tests of one kind of port."""
    return "\n".join(path.read_text() for path in python_files(directory))


# -- registries ------------------------------------------------------------------------------------------------------


def test_every_condition_is_registered_under_the_name_of_its_class() -> None:
    concrete = [c for c in defined(Condition) if not c.__name__.startswith("_")]
    assert set(CONDITIONS.values()) == set(concrete)
    for name, condition in CONDITIONS.items():
        assert condition.__name__ == "".join(word.capitalize() for word in name.split("_"))


def test_every_codec_is_registered_and_passes_the_contract() -> None:
    made = {
        c for m in modules() for c in vars(m).values() if inspect.isclass(c) and {"encode", "suffix"} <= set(vars(c))
    }
    assert {type(codec) for codec in CODECS.values()} == {c for c in made if not getattr(c, "_is_protocol", False)}
    tests = contracts("tests/codecs")
    for name, codec in CODECS.items():
        assert codec.name == name
        assert re.search(
            rf"class Test\w*\((Checked)?{CodecContract.__name__}\):\n    codec = {type(codec).__name__}\(", tests
        )


def test_every_form_is_registered_and_has_its_tests() -> None:
    made = {
        c for m in modules() for c in vars(m).values() if inspect.isclass(c) and {"describe", "suffix"} <= set(vars(c))
    }
    assert {type(form) for form in FORMS.values()} == {c for c in made if not getattr(c, "_is_protocol", False)}
    for name, form in FORMS.items():
        assert form.name == name
        assert (ROOT / "tests" / "codecs" / f"test_{name}.py").is_file()


def test_every_store_is_registered_and_passes_the_contract(tmp_path: Path) -> None:
    tests = contracts("tests/stores")
    for scheme in SCHEMES:
        store = open_store(f"{scheme}://{'bucket' if scheme == 's3' else tmp_path}")
        assert f"{type(store).__name__}(" in tests, scheme
    assert f"({StoreContract.__name__})" in tests or f", {StoreContract.__name__})" in tests
    made = {
        c
        for m in modules()
        for c in vars(m).values()
        if inspect.isclass(c) and {"delete_attempt", "url"} <= set(vars(c))
    }
    for store in made:
        assert getattr(store, "_is_protocol", False) or store.__name__ in tests + contracts("storaged/stores"), store


def test_every_log_format_is_registered_documented_and_may_be_configured() -> None:
    made = {v.name for m in modules() for v in vars(m).values() if isinstance(v, LogFormat)}
    assert made == set(FORMATS)
    for name, log in FORMATS.items():
        assert importlib.import_module(f"storaged.work.ingest.{name.replace('-', '_')}").__doc__
        assert (name in get_args(HeatSource.model_fields["format"].annotation)) is not log.own


# -- imports ---------------------------------------------------------------------------------------------------------


def test_no_modules_import_each_other() -> None:
    """In a circle, however long: inside functions and for type checkers only, too."""
    graph = grimp.build_graph("storaged", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    imports = {module: {name for name in found if name != module} for module, found in imports.items()}
    assert len(imports) > 200
    assert "storaged.cli.context" in imports["storaged.cli.plan"]  # it is imported inside a function
    assert "storaged.decide.policy" in imports["storaged.decide.limits"]  # for type checkers only
    list(graphlib.TopologicalSorter(imports).static_order())  # raises CycleError, which names them


# MUST 3
def test_what_a_codec_makes_of_content_is_asked_of_the_codec() -> None:
    """Nothing outside knows one by its module: there is the port, and every codec by its name."""
    graph = grimp.build_graph("storaged", exclude_type_checking_imports=True, cache_dir=None)
    known = {"storaged.codecs", "storaged.codecs.base", "storaged.codecs.registry"}
    known.add("storaged.codecs.pack")  # the one form that is written of many objects
    outside = {module for module in graph.modules if not f"{module}.".startswith("storaged.codecs.")}
    found = {
        (m, i) for m in outside for i in graph.find_modules_directly_imported_by(m) if i.startswith("storaged.codecs")
    }
    assert ("storaged.work.rewrite.making", "storaged.codecs.registry") in found
    assert [pair for pair in found if pair[1] not in known] == []
    elsewhere = {"naming.py", "catalog/sql.py", "work/money/chargeback.py", "work/ingest/lines.py"}  # of other files
    named = set()
    for path in python_files("storaged"):
        inside = str(path.relative_to(ROOT / "storaged"))
        if not inside.startswith(("codecs/", "testing/")):
            told = {n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)}
            named |= {inside} if told & {"zstd", "inflated"} else set()
    assert named == elsewhere, "a codec is asked for by what people wrote, and what it is like is asked of it"


def test_what_is_s3s_is_asked_of_the_store() -> None:
    """Above the stores nothing knows of S3 by its modules."""
    graph = grimp.build_graph("storaged", cache_dir=None)
    above = {m for m in graph.modules if not f"{m}.".startswith(("storaged.stores.", "storaged.testing."))}
    found = {(m, i) for m in above for i in graph.find_modules_directly_imported_by(m)}
    assert ("storaged.work.rewrite.warm", "storaged.stores.schemes") in found
    assert [pair for pair in found if pair[1].startswith("storaged.stores.s3")] == []


# -- documentation in the code ---------------------------------------------------------------------------------------


def test_every_module_and_every_public_class_in_it_has_a_docstring() -> None:
    silent = []
    for path in python_files("storaged"):
        text = path.read_text()
        tree = ast.parse(text)
        if text and not ast.get_docstring(tree):
            silent.append(str(path))
        for node in tree.body:
            public = isinstance(node, ast.ClassDef) and not node.name.startswith("_")
            if public and not ast.get_docstring(node):
                silent.append(f"{path}: {node.name}")
    assert silent == []


def test_no_two_classes_above_codecs_and_stores_share_a_name() -> None:
    """One word, one meaning. What codecs and stores call their own parts is theirs: each reads one format."""
    homes: dict[str, list[str]] = {}
    for path in python_files("storaged"):
        inside = str(path.relative_to(ROOT / "storaged"))
        if not inside.startswith(("codecs/", "stores/", "testing/")):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    homes.setdefault(node.name, []).append(inside)
    assert len(homes) > 200
    assert {name: found for name, found in homes.items() if len(found) > 1} == {}


def test_every_error_stands_in_the_tree_with_its_parent_and_exit_code() -> None:
    tree = inspect.cleandoc(errors.__doc__ or "")
    drawn: dict[str, tuple[str, int]] = {}  # by name: parent, exit code
    parents = ["", "", ""]
    codes = [1, 1, 1]
    for line in tree.splitlines()[2:]:
        depth = 0 if line[0] == "S" else 1 if line[0] == "├" or line[0] == "└" else 2
        names = re.findall(r"\b[A-Z]\w+(?=\(|  | · |$| \()", line.split("   ", 1)[0] + "  ")
        code = re.search(r"exit (\d+)", line)
        codes[depth] = int(code[1]) if code else codes[depth - 1]
        parents[depth] = names[0]
        for name in names:
            drawn[name] = (parents[depth - 1] if depth else "StoragedError", codes[depth])
    for error in error_classes():
        parent = error.__mro__[1].__name__ if error is not errors.StoragedError else "StoragedError"
        assert drawn[error.__name__] == (parent, error.exit_code), error
        assert error.__doc__
    assert set(drawn) == {e.__name__ for e in error_classes()}


# -- files -----------------------------------------------------------------------------------------------------------


def test_no_file_is_long_without_a_reason() -> None:
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in python_files(*CODE)}
    long = {name for name, lines in lengths.items() if lines > LONGEST}
    assert long - set(LONGER) == set(), "split it, or say why not"
    assert all(lengths[name] > LONGEST for name in LONGER), "take it off the list"


def test_no_file_is_named_for_nothing() -> None:
    assert [p for p in python_files(*CODE) if re.search("util|manager|helper|misc|common", p.stem)] == []


def test_nothing_names_the_machine_it_was_written_on_or_a_registry() -> None:
    machine = r"(?<![\w.}/])/(work|root)/|/tmp/brief"
    hosts = r"pypi\.org|pythonhosted\.org|npmjs\.org|anaconda\.org"
    assert [f"{p}: {m[0]}" for p, text in texts().items() if (m := re.search(f"{machine}|{hosts}", text))] == []


def test_nothing_is_left_for_later() -> None:
    words = r"\b(TODO|FIXME|XXX|NotImplementedError)\b"
    assert [f"{p}: {m[0]}" for p, text in texts().items() if (m := re.search(words, text))] == []


def test_every_exception_from_a_linter_has_its_reason_beside_it() -> None:
    bare = []
    for path in python_files("storaged", "docs", "demo"):
        found = re.findall(
            r"# (noqa: \w+|type: ignore\[[\w, -]+\]|noqa|type: ignore|pragma: no cover)(.*)", path.read_text()
        )
        reasoned = {rule for rule, reason in found if reason.strip()}  # once in a file will do
        bare += [f"{path}: {rule}" for rule in {rule for rule, _ in found} - reasoned]
    assert bare == []


def test_the_package_list_is_what_there_is() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(project["tool"]["setuptools"]["packages"])
    there = {".".join(p.parent.relative_to(ROOT).parts) for p in python_files("storaged")}
    moved = {f"storaged.{'.'.join(p.parent.relative_to(ROOT).parts)}" for p in python_files("migrations")}
    assert listed == there | moved
    assert project["project"]["version"] == storaged.__version__


# -- tests -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", python_files("tests"), ids=lambda p: str(p.relative_to(ROOT)))
def test_tests_use_the_real_thing_and_no_mocks(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(str(node.module))
    assert not {m for m in imported if m.split(".")[-1] == "mock" or m in ("pytest_mock", "mock")}
    if path.name.startswith("test_"):
        real = ("storaged", "tests", "docs", "demo", "benchmarks")
        runs_a_program = "subprocess" in imported and re.search('"-[mc]"', path.read_text())
        assert runs_a_program or {m for m in imported if m.split(".")[0] in real}, "what does it test?"
