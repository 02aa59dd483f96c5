"""The help is complete, the same everywhere, and quick."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import typer

from storaged import __version__, errors
from storaged.cli.app import asked, build
from storaged.cli.errors import EXIT_CODES
from tests.cli.conftest import Golden
from tests.cli.lake import PROGRAM, Lake


def leaves(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group, with its path."""
    command = command or typer.main.get_command(build())
    if path:
        yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from leaves(inner, (*path, name))


def clean(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program that knows nothing of the tester's terminal or continuous integration."""
    env = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "COLUMNS": "100", "LC_ALL": "C.UTF-8", **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_the_help_of_every_command_is_as_reviewed(golden: Golden) -> None:
    paths = [()] + [path for path, _ in leaves()]
    script = f"from storaged.cli.app import run\nfor p in {paths!r}: run([*p, '--help'])"
    done = clean(sys.executable, "-c", script)
    assert done.returncode == 0, done.stderr
    golden("help", "\n".join(line.rstrip() for line in done.stdout.splitlines()) + "\n")


def test_options_before_a_command_are_those_that_do_not_hide_it() -> None:
    """So that only what is asked for is loaded, whatever stands before it."""
    known = typer.main.get_command(build("version")).params
    ours = [p for p in known if "--version" not in p.opts and not p.opts[0].endswith("-completion")]
    words = [[name, *(() if p.is_flag else ("status",))] for p in ours for name in p.opts]
    assert len(words) == 7
    for before in words:
        assert asked([*before, "version"]) == "version"
    assert asked(["--config", "version"]) is None
    assert asked(["--unknown", "version"]) is None


def test_every_command_tells_an_example_and_every_option_what_it_is_for() -> None:
    for path, command in leaves():
        if not hasattr(command, "commands") or command.invoke_without_command:
            assert f"Example: storagectl {' '.join(path)}" in command.help, path
        for parameter in command.params:
            assert parameter.help, (path, parameter.name)


def test_every_command_takes_json_after_its_name() -> None:
    for path, command in leaves():
        if not hasattr(command, "commands") or command.invoke_without_command:
            assert any("--json" in p.opts for p in command.params), path


def test_every_error_has_an_exit_code_that_the_help_explains() -> None:
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, errors.StoragedError)]
    assert len(kinds) > 20
    assert {k.exit_code for k in kinds} <= set(EXIT_CODES)
    shown = clean(*PROGRAM, "--help").stdout
    assert all(f"{code:>4}  {meaning}" in shown for code, meaning in EXIT_CODES.items())


def test_help_and_version_load_neither_catalog_nor_duckdb_nor_arrow() -> None:
    script = (
        "import json, sys\n"
        "from storaged.cli.app import run\n"
        "code = run([sys.argv[1]])\n"
        "heavy = {'duckdb', 'pyarrow', 'sqlalchemy', 'pandas', 'psycopg', 'pydantic', 'yaml'}\n"
        "print(json.dumps([code, sorted(heavy & set(sys.modules))]))\n"
    )
    for option in ("--help", "--version"):
        done = clean(sys.executable, "-c", script, option)
        assert json.loads(done.stdout.splitlines()[-1]) == [0, []], done.stderr


def test_status_loads_neither_planner_nor_schedules_nor_patterns_nor_anything_of_postgres(lake: Lake) -> None:
    lake.make_catalog()
    script = (
        "import gc, json, sys\n"
        "from storaged.cli import main\n"
        "sys.argv[1:] = ['--config', sys.argv[1], 'status', '--json']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as ended:\n"
        "    heavy = {'duckdb', 'pyarrow', 'psycopg', 'sqlalchemy.dialects.postgresql', 'storaged.decide.planner'}\n"
        "    heavy |= {'apscheduler', 'storaged.decide.finder', 'storaged.stores.memory'}\n"
        "    from pydantic.plugin import _loader\n"
        "    plugins = _loader._plugins  # None: never looked for\n"
        "    print(json.dumps([ended.code, sorted(heavy & set(sys.modules)), gc.get_threshold()[0], plugins]))\n"
    )
    done = clean(sys.executable, "-c", script, str(lake.config))
    assert json.loads(done.stdout.splitlines()[-1]) == [0, [], 50_000, None], done.stderr


def test_what_plans_and_explains_loads_no_codec_that_it_does_not_name(lake: Lake) -> None:
    lake.make_catalog()
    script = (
        "import json, sys\n"
        "from storaged.cli import main\n"
        "sys.argv[1:] = ['--config', sys.argv[1], 'plan', '--json']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit:\n"
        "    heavy = {'duckdb', 'pyarrow', 'numpy', 'storaged.codecs.parquet', 'storaged.codecs.tensor'}\n"
        "    loaded = 'storaged.decide.leaving' in sys.modules\n"
        "    print(json.dumps([loaded, sorted(heavy & set(sys.modules))]))\n"
    )
    done = clean(sys.executable, "-c", script, str(lake.config))
    assert json.loads(done.stdout.splitlines()[-1]) == [True, []], done.stderr


def test_version_is_the_packages() -> None:
    assert clean(*PROGRAM, "--version").stdout == f"storaged {__version__}\n"


def test_without_a_command_the_help_is_shown() -> None:
    done = clean(*PROGRAM)
    assert done.returncode == 0
    assert "Usage: storagectl" in done.stdout


def test_help_has_no_colour_codes_when_it_is_piped() -> None:
    assert "\x1b" not in clean(*PROGRAM, "--help", TERM="xterm-256color").stdout
