"""docs/reference/*.md, generated from the code: `python -m docs.generate`. A test compares the files with the code, in
whose own descriptions stands what is said: to change a page, change those and generate it again."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import typer

from docs import musts
from docs.environment import ENVIRONMENT
from docs.tables import any_of, cell, table
from storaged import errors
from storaged.catalog.views import VIEWS
from storaged.cli.app import build
from storaged.cli.errors import EXIT_CODES
from storaged.codecs.registry import CODECS, options_of
from storaged.config.settings import settings_schema
from storaged.config.starter import starter_text
from storaged.decide.columns import COLUMNS, KEYED
from storaged.decide.kinds import KINDS
from storaged.decide.limits import LIMITS, REQUIREMENTS
from storaged.decide.packs import PACKS
from storaged.decide.policy import policy_schema
from storaged.decide.rest import REST
from storaged.decide.rooms import ROOMS
from storaged.decide.selection import GUARDS, PLACED
from storaged.decide.where import FUNCTIONS
from storaged.decide.whole import WHOLE
from storaged.stores.schemes import SCHEMES
from storaged.work.ingest import FORMATS

REPOSITORY: Final = Path(__file__).resolve().parent.parent
REFERENCE: Final = REPOSITORY / "docs" / "reference"
_NOTE: Final = "<!-- Written by `python -m docs.generate`; change the code's descriptions instead. -->"

Schema = Mapping[str, Any]


def pages() -> dict[str, str]:
    """Every page by its file name."""
    made: dict[str, Callable[[], Iterator[str]]] = {
        "cli.md": _cli,
        "configuration.md": _configuration,
        "policies.md": _policies,
        "collections.md": _collections,
        "exit-codes.md": _exit_codes,
        "views.md": _views,
        "musts.md": musts.page,
    }
    return {name: "\n".join([_NOTE, "", *page()]).rstrip("\n") + "\n" for name, page in made.items()}


# -- the command line ------------------------------------------------------------------------------------------------


def commands(command: Any = None, path: tuple[str, ...] = ("storagectl",)) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command and group of the command line, outermost first, with its whole name."""
    command = command or typer.main.get_command(build())
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*path, name))


_CLI = """\
# storagectl

`storagedctl` is the same program: systemd 261 and later ship another `storagectl`. Every command takes `--json` (one
JSON document on stdout) and `--help`. [Exit codes](exit-codes.md) tell how it ended. `TARGET` is `DATASET`,
`DATASET/NAME` or a quoted glob."""


def _cli() -> Iterator[str]:
    yield _CLI
    for path, command in commands():
        with command.make_context(path[-1], [], resilient_parsing=True) as ctx:
            yield from ["", f"{'#' * min(len(path) + 1, 3)} {' '.join(path)}", ""]
            yield from _help(command.help)
            yield from ["", "```console", f"$ {' '.join([*path, *command.collect_usage_pieces(ctx)])}", "```"]
            rows = [p.get_help_record(ctx) for p in command.get_params(ctx) if _worth_telling(p, path)]
            if rows:
                yield ""
                yield from table(("", ""), ((f"`{name}`", cell(text)) for name, text in rows))


def _worth_telling(parameter: Any, path: tuple[str, ...]) -> bool:
    return not parameter.hidden and (len(path) == 1 or not {"--json", "--help"} & set(parameter.opts))


def _help(text: str) -> Iterator[str]:
    """The help as Markdown: its examples in code blocks."""
    for n, paragraph in enumerate(inspect.cleandoc(text).split("\n\n")):
        if n:
            yield ""
        if paragraph.startswith("Example: "):
            yield from ["```sh", paragraph.removeprefix("Example: "), "```"]
        else:
            yield paragraph


# -- the two kinds of files ------------------------------------------------------------------------------------------


_CONFIGURATION = """\
# storaged.yaml

`storagectl config check` says everything that is wrong with it, by file and line; an unknown key is an error. It is
looked for in `$STORAGED_CONFIG`, the working directory, `~/.config/storaged` and `/etc/storaged`. Relative paths start
from the file's directory. `storagectl config schema` prints its JSON Schema for editors."""


def _configuration() -> Iterator[str]:
    schema = settings_schema()
    parts = schema["$defs"]
    yield _CONFIGURATION
    yield from _section("The file", schema, parts)
    yield from _section("tiers: NAME:", parts["TierSettings"], parts)
    yield from _section("capacity:", parts["Capacity"], parts, level=3)
    yield from _section("budget:", parts["BudgetSettings"], parts, level=3)
    yield from _section("datasets: NAME:", parts["DatasetSettings"], parts)
    yield from _section("buckets: NAME:", parts["BucketSettings"], parts)
    yield from _section("heat:", parts["HeatSource"], parts)
    yield from ["", "### Log formats", ""]
    for name, log in FORMATS.items():
        if not log.own:
            yield f"`{name}`: {_module_text('storaged.work.ingest', name)}"
    sections = {
        "limits": "Limits",
        "workers": "WorkerSettings",
        "notify": "ReceiverSettings",
        "daemon": "DaemonSettings",
    }
    for title, name in sections.items():
        yield from _section(f"{title}:", parts[name], parts)
    for name in ("Window", "Verify", "Retention", "Backup", "Approver"):
        key = f"{name.lower()}{'s' if name in ('Window', 'Approver') else ''}:"
        yield from _section(key, parts[f"{name}Settings"], parts, level=3)
    yield f"\n## Stores\n\nURLs begin with {any_of(f'{name}://' for name in SCHEMES)}."
    yield "\n## Environment\n\nPasswords never stand in the file.\n"
    yield from table(("variable", "meaning"), ((f"`{name}`", text) for name, text in ENVIRONMENT.items()))
    yield f"\n## The starter\n\n`storagectl init` writes this:\n\n```yaml\n{starter_text()}```"


_POLICIES = """\
# Policy files

Each `*.yaml` or `*.yml` in the `policies` directory itself is one policy, or several under `policies:`; of what lies in
folders there, or ends otherwise such as `.YAML`, the check says that it is not read. `storagectl policy check` says
everything that is wrong with them. Active policies are tried first, then those in dry run; the first one that matches
an object decides about it. A policy without `mode: active` is a dry run: its schedule only plans, while
`storagectl apply PLAN` does what the plan lists, whatever the mode says."""

_WHERE = f"""
## where:

SQL over the columns of one object, parsed and checked; the text itself never reaches the database. Allowed are columns,
literals, comparisons, `AND`, `OR`, `NOT`, `IN`, `LIKE`, `BETWEEN`, `IS NULL`, `CAST`, arithmetic, and the functions
{FUNCTIONS}. Columns on reads need logs that cover at least one `half_life`; without them the policy selects nothing.

Numbers are compared and reckoned with in double precision, alike on SQLite and on Postgres, and nothing that a row can
hold makes a statement fail. Division by 0 is NULL. Where a result could leave what a double holds, what goes into it
ends at 10^150, and what is nearer to 0 than 10^-150 is 0.
"""


_REST = (
    "",
    "`rest` comes after them, for policies only: what was moved is not moved back against the direction of that move",
    "before its time. People may move it: `undo`, `restage`.",
)

_ROOMS = """\
Then the `capacity` of tiers. No policy, no person and no job puts more into a tier than its size: what is there counts,
kept through graces or not, and what is promised to jobs that are not over. What a policy brings up fills a tier to its
high mark only; beyond, it would be taken out again. A policy with `tier_full_above` takes the coldest first: what was
read least, then what was read or written longest ago."""

_LIMITS = """\
Then limits. What costs nothing goes first, then the largest saving per dollar; where not all of a policy's objects have
prices, the largest saving in bytes; of a policy with `tier_full_above` the coldest:"""


def _policies() -> Iterator[str]:
    schema = policy_schema()
    parts = schema["$defs"]
    yield _POLICIES
    yield from _section("A policy", parts["Policy"], parts)
    yield from _section("target:", parts["Target"], parts)
    yield from _section("when:", parts["When"], parts)
    yield _WHERE
    rows = [(f"`{name}`", column.kind.value, column.meaning) for name, column in COLUMNS.items()]
    rows += [(f"`{name}->>'KEY'`", "text", f"a key of the {name}") for name in KEYED]
    yield from table(("column", "kind", "meaning"), rows)
    yield from _section("to:", parts["To"], parts)
    yield f"\nCodecs: {', '.join(_codec(name) for name in CODECS)}."
    yield from _section("codec: with options", parts["PackForm"], parts)
    yield from _section("codec: {pack: …}", parts["PackOptions"], parts)
    yield from _section("group_by: {…}", parts["GroupRule"], parts)
    yield "\nOr a list of partition keys, such as `[dt, hour]`. More of packs: [packs](../packs.md)."
    yield from _section("require:", parts["Require"], parts)
    yield from _section("limits: of a policy", parts["PolicyLimits"], parts)
    yield from ["", "## What holds an object back", ""]
    yield from ["A plan lists these too, with the reason. Guards, in this order:", ""]
    yield from table(
        ("held by", "why"), ((f"`{name}`", text) for name, text in {**GUARDS, **REST, **PLACED, **WHOLE}.items())
    )
    yield from _REST
    yield from ["", "Of packs ([packs](../packs.md)):", ""]
    yield from table(("held by", "why"), ((f"`{name}`", text) for name, text in PACKS.items()))
    yield from ["", "Then money ([how plans count it](../adr/0016-money-in-plans.md)):", ""]
    yield from table(("held by", "why"), ((f"`{name}`", text) for name, text in REQUIREMENTS.items()))
    yield from ["", _ROOMS, ""]
    yield from table(("held by", "why"), ((f"`{name}`", text) for name, text in ROOMS.items()))
    yield from ["", _LIMITS, ""]
    yield from table(("held by", "why"), ((f"`{name}`", text) for name, text in LIMITS.items()))
    yield from ["", "## Examples", ""]
    for path in sorted((REPOSITORY / "policies").glob("*.yaml")):
        yield from [
            f"[{path.name}](../../policies/{path.name})",
            "",
            "```yaml",
            path.read_text().rstrip("\n"),
            "```",
            "",
        ]


_COLLECTIONS = """\
# Kinds of collections

What they are and how they are found: [collections](../collections.md). A line of evidence is enough; all names in it
must be there. `*` is any text within a name, `#` digits, `{zeros}` and `{one}` the first two numbers of a series,
`{hex40}` so many hexadecimal digits, `{uuid}` a UUID, a last `**` anything below. Where a part stands in `<>`, these
are the files in a folder whose names begin so. *Seen* was run to see it, *through storaged* to read all of it.
"""


def _collections() -> Iterator[str]:
    yield _COLLECTIONS
    rows = (
        (
            f"`{kind.name}`",
            kind.what,
            "<br>".join(" and ".join(f"`{name}`" for name in one.split(" + ")) for one in kind.evidence),
            kind.seen or "documented",
            kind.through,
        )
        for kind in KINDS
    )
    yield from table(("kind", "what it is", "evidence", "seen", "through storaged"), rows)


def _codec(name: str) -> str:
    levels, others = CODECS[name].levels, "".join(f"; `{option}: true`" for option in options_of(name))
    told = f" (levels {levels[0]} to {levels[-1]}; left out: the codec chooses{others})" if levels else ""
    return f"`{name}`{told}"


def _section(title: str, schema: Schema, parts: Schema, level: int = 2) -> Iterator[str]:
    """One mapping of a file as a table of its keys."""
    yield from ["", f"{'#' * level} {title}", "", cell(schema["description"]), ""]
    required = schema.get("required", ())
    rows = [
        (
            f"`{key}`",
            _value(field, parts),
            "**required**" if key in required else _default(field),
            cell(_description(field, parts)),
        )
        for key, field in schema["properties"].items()
    ]
    yield from table(("key", "value", "default", "meaning"), rows)


def _description(field: Schema, parts: Schema) -> str:
    """The field's own, else that of its type."""
    told = [field, *field.get("anyOf", ()), _referred(field, parts)]
    return next((str(t["description"]) for t in told if "description" in t), "")


def _referred(field: Schema, parts: Schema) -> Schema:
    """What a field refers to; itself if it refers to nothing."""
    for choice in (field, *field.get("anyOf", ())):
        if "$ref" in choice:
            found: Schema = parts[choice["$ref"].rpartition("/")[2]]
            return found
    return field


def _value(field: Schema, parts: Schema) -> str:
    """What may stand there, in words."""
    choices = [c for c in (*field.get("anyOf", ()), *field.get("oneOf", ())) if c.get("type") != "null"]
    if len(choices) == 1:
        return _value(choices[0], parts)
    if field.get("examples"):
        return f"such as {', '.join(f'`{example}`' for example in field['examples'])}"
    if "$ref" in field:
        part = _referred(field, parts)
        return any_of(part["enum"]) if "enum" in part else "a mapping, below"
    if choices:
        return " or ".join(dict.fromkeys(_value(choice, parts) for choice in choices))
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return any_of(field["enum"])
    match field.get("type"):
        case "array":
            return (
                f"a list of {_value(field['items'], parts)}s"
                if "type" in field["items"]
                else "a list of mappings, below"
            )
        case "object" if "additionalProperties" in field and field["additionalProperties"] is not False:
            inner = _value(field["additionalProperties"], parts)
            return "mappings by name, below" if inner.startswith("a mapping") else f"a mapping of text to {inner}"
        case "object":
            [(key, inner)] = field["properties"].items()
            return f"`{{{key}: …}}`" if "properties" in inner else f"{key}"
        case "integer":
            return "a whole number"
        case "number":
            return "a number"
        case "string":
            return "an instant (ISO 8601)" if field.get("format") == "date-time" else "text"
    return "-"


def _default(field: Schema) -> str:
    value = field.get("default")
    return "" if value is None or value in ("", [], {}) or isinstance(value, dict) else f"`{value}`"


def _module_text(package: str, name: str) -> str:
    """The docstring of the module that a registered thing has of its own."""
    return inspect.cleandoc(import_module(f"{package}.{name.replace('-', '_')}").__doc__ or "")


# -- errors and views ------------------------------------------------------------------------------------------------


def error_classes() -> list[type[errors.StoragedError]]:
    """Every error class of storaged.errors, in the order of its file."""
    return [c for c in vars(errors).values() if inspect.isclass(c) and issubclass(c, errors.StoragedError)]


_TREE = """
## The tree of errors

With `--json` an error is `{"error": {"kind", "message", "hint", "exit_code"}}`, where `kind` is a name of this tree;
`problems` lists what is wrong in a file, each with file, line and path.
"""


def _exit_codes() -> Iterator[str]:
    yield "# Exit codes and errors\n"
    yield from table(("code", "meaning"), ((f"{code}", cell(text)) for code, text in EXIT_CODES.items()))
    yield _TREE
    tree = inspect.cleandoc(errors.__doc__ or "").split("\n", 2)[2]
    yield from ["```text", tree, "```", ""]
    rows = [(f"`{c.__name__}`", str(c.exit_code), cell(c.__doc__ or "")) for c in error_classes()]
    yield from table(("error", "exit", "meaning"), rows)


_VIEWS = """\
# Views

`storagectl sql` and dashboards read these; they outlive changes of the tables. Sizes are bytes. Instants are ISO 8601
text in UTC on SQLite and `timestamptz` on Postgres."""


def _views() -> Iterator[str]:
    yield _VIEWS
    for name, (about, columns) in VIEWS.items():
        yield from ["", f"## {name}", "", about, ""]
        yield from table(("column", "meaning"), ((f"`{column}`", cell(text)) for column, text in columns))


# -- Markdown --------------------------------------------------------------------------------------------------------


def main() -> None:
    """Write every page."""
    REFERENCE.mkdir(exist_ok=True)
    for name, text in pages().items():
        (REFERENCE / name).write_text(text)


if __name__ == "__main__":
    main()
