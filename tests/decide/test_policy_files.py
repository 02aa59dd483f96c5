"""Policy files: what they may say, and how everything that is wrong with them is told."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from storaged.config.settings import Settings
from storaged.decide.load import load_policies
from storaged.decide.policy import policy_schema
from storaged.decide.sentence import sentence
from storaged.errors import ConfigError
from storaged.model import CodecSpec, Mode
from tests.decide.seeding import policies

GOOD = """name: a
target: {dataset: "events/*", tier: hot}
when:
  idle_for: 30d
to: {tier: cold}
"""

BROKEN = [  # what replaces what in GOOD, the line of the problem, what is said, the hint
    ("idle_for: 30d", "idle_fro: 30d", 4, "when.idle_fro: unknown key `idle_fro`", "did you mean `idle_for`?"),
    ("idle_for: 30d", "idle_for: 30", 4, "30 has no unit of time", "14d"),
    ("idle_for: 30d", "idle_for: 1 month", 4, "is not a duration", "30d for a month"),
    ("idle_for: 30d", "reads_below: 2", 4, "2 is not a rate", "2/month"),
    ("idle_for: 30d", "reads_below: 2/fortnight", 4, "is not a rate", "month"),
    ("idle_for: 30d", "reads_below: 0/month", 4, "0/month is no limit", "idle_for"),
    ("idle_for: 30d", "read_share_below: 5/month", 4, "is not a share per time", "5%/month"),
    ("idle_for: 30d", "size_over: 1 parsec", 4, "is not a size", "128KiB"),
    ("idle_for: 30d", "tier_full_above: 120%", 4, "is not between 0% and 100%", ""),
    ("idle_for: 30d", "tags: {}", 4, "at least one key is needed here", ""),
    ("idle_for: 30d", "tags: {'a\"b': c}", 4, "cannot be looked up", ""),
    ("idle_for: 30d", "tags: {level: 3}", 4, "text is wanted here, not 3", "quotes"),
    ("idle_for: 30d", "partition: {dt: '<'}", 4, "nothing to compare with", "<2024-01-01"),
    ("  idle_for: 30d", "  {}", 1, "it has no conditions", "idle_for: 30d"),
    ("tier: cold", "tier: colt", 5, "to.tier: there is no tier 'colt'", "did you mean `cold`?"),
    ("tier: hot", "tier: hott", 2, "target.tier: there is no tier 'hott'", "did you mean `hot`?"),
    ("tier: cold", "tier: hot", 5, "objects in hot would stay in hot", "codec"),
    ("tier: cold", "tier: auto", 5, "`auto` goes by cost, and none of its tiers has prices", "`prices` in"),
    ("tier: cold", "tier: cold, among: [hot]", 5, "to.among: only `tier: auto` chooses a tier", "remove `among`"),
    ("tier: cold", "codec: zstd, horizon: 90d", 5, "to.horizon: only `tier: auto` chooses a tier", "`horizon`"),
    ("tier: cold", "in_place: false", 5, "this changes nothing", "tier"),
    ("tier: cold", "codec: zstd, in_place: true", 5, "in place only the storage class changes", "give `tier`"),
    ("tier: cold", "tier: cold, codec: zstd, in_place: true", 5, "in place only the storage class", "no `codec`"),
    ("tier: cold", "tier: cold, in_place: true", 5, "tier cold is not on S3", "name one that is"),
    ("tier: cold", "tier: rare, in_place: true", 5, "none of its datasets is on S3", "remove `in_place`"),
    ("tier: cold", "tier: deep, in_place: true", 5, "cannot be read under its original key", "remove `in_place`"),
    ("{tier: cold}", "{tier: rare, in_place: true}\nkeep_source: 3d", 1, "no source to keep", "remove `keep_source`"),
    (
        "{tier: cold}",
        "{tier: rare, in_place: true}\npurge_noncurrent: true",
        1,
        "no source to keep",
        "purge_noncurrent",
    ),
    ("tier: cold", "codec: auto:9", 5, "samples choose the level too", "write auto"),
    ("tier: cold", "codec: pack:9", 5, "'pack:9': packs have options", "{pack: {level: 9}}"),
    ("tier: cold", "codec: {pack: {goal: 1GiB}}", 5, "to.codec.pack.goal: unknown key `goal`", "target"),
    ("tier: cold", "codec: {pack: 256MiB}", 5, "a mapping of keys to values is wanted here", "repack_below, target"),
    ("tier: cold", "codec: {pack: {target: 1KiB}}", 5, "1024 bytes are no size of a pack", "1MiB to 64GiB"),
    ("tier: cold", "codec: {pack: {target: 1TiB}}", 5, "are no size of a pack", "1MiB to 64GiB"),
    ("tier: cold", "codec: {pack: {level: 99}}", 5, "pack has no level 99", "levels are 1 to 19"),
    ("tier: cold", "codec: {pack: {level: high}}", 5, "the level is a whole number, not 'high'", "9"),
    ("tier: cold", "codec: {pack: {largest: 12}}", 5, "12 could be a share or a size", "10% or 16MiB"),
    ("tier: cold", "codec: {pack: {largest: 26%}}", 5, "is no member of a pack", "at most a quarter"),
    ("tier: cold", "codec: {pack: {largest: 65MiB}}", 5, "is no member of a pack", "at most a quarter"),
    ("tier: cold", "codec: {pack: {largest: 0%}}", 5, "is no member of a pack", "such as 10%"),
    ("tier: cold", "codec: pack, in_place: true", 5, "in place only the storage class changes", "give `tier`"),
    ("{tier: cold}", "{codec: zstd}\ngroup_by: [dt]", 6, "group_by: only packs have groups", "`codec: pack`"),
    ("tier: cold", "codec: gzip", 5, "no codec 'gzip'", "zstd"),
    ("tier: cold", "codec: {zstd: {level: 99}}", 5, "zstd has no level 99", "levels are"),
    ("tier: cold", "codec: {zstd: {lvl: 9}}", 5, "the only option is `level`", "level"),
    ("tier: cold", "codec: {}", 5, "is no codec", "zstd"),
    ("tier: cold", "tier: cold, fidelity: table", 5, "another file of a table is made by a codec", "`codec: parquet`"),
    ("tier: cold", "tier: cold, fidelity: rows", 5, "is not one of bytes, table", ""),
    ("tier: cold", "codec: zstd, fidelity: table", 5, "zstd makes no other file of a table", "`codec: parquet`"),
    ("tier: cold", "codec: {parquet: {reencode: true}}", 5, "another file of the table is made", "`fidelity: table`"),
    ("tier: cold", "codec: {parquet: {reencode: 1}}", 5, "`reencode` is true or false, not 1", ""),
    ("tier: cold", "codec: {zstd: {reencode: true}}", 5, "the only option is `level`", "level"),
    ("tier: cold", "codec: {parquet: {lvl: 9}}", 5, "the only options are `level` and `reencode`", "level"),
    ("tier: cold", "codec: pack, fidelity: table", 5, "pack makes no other file of a table", "`codec: parquet`"),
    ("tier: cold", "tier: cold, in_place: true, fidelity: table", 5, "made by a codec", "remove `fidelity`"),
    ("{tier: cold}", "{codec: parquet, fidelity: table}\ncollections: ignore", 1, "its log names the sizes", "ignore"),
    ("{tier: cold}", "{codec: parquet, fidelity: table}\nkeep_source: 0s", 1, "all that has the old bytes", "30d"),
    ("name: a", "name: a b", 1, "'a b' cannot be a name", "letters"),
    ("name: a", "mode: active", 1, "`name` is missing", ""),
    ("name: a", "name: a\nmode: on", 2, "is not one of active, dry-run, disabled", ""),
    ("name: a", "name: a\nschedule: '0 25 * * *'", 2, "is not a schedule", "minute hour"),
    ("name: a", "name: a\nschedule: nightly", 2, "is not a schedule", "minute hour"),
    ("name: a", "name: a\nschedule: '0 2 * * 0'", 2, "numbers of weekdays", "mon, tue"),
    (
        "{tier: cold}",
        "{codec: pack}\ngroup_by: [dt]",
        6,
        "dataset events/web has no partition key 'dt'",
        "`partitions`",
    ),
    ("{tier: cold}", "{codec: pack}\ngroup_by: []", 6, "at least 1 entry is needed here", ""),
    ("{tier: cold}", "{codec: pack}\ngroup_by: [dt, dt]", 6, "a key is named twice", "once"),
    ("{tier: cold}", "{codec: pack}\ngroup_by: ['a\"b']", 6, "cannot be looked up", ""),
    ("{tier: cold}", "{codec: pack}\ngroup_by: {}", 6, "one way to group is wanted here", "depth: 2"),
    ("{tier: cold}", "{codec: pack}\ngroup_by: {depth: 0}", 6, "group_by.depth: 0 is not at least 1", ""),
    ("{tier: cold}", "{codec: pack}\ngroup_by: {depth: 2, every: 1d}", 6, "one way to group is wanted here", ""),
    ("{tier: cold}", "{codec: pack}\ngroup_by: {every: 7h}", 6, "7h is no span to group by", "6h, 1d"),
    ("{tier: cold}", "{codec: pack}\ngroup_by: {every: 36h}", 6, "1d12h is no span to group by", "whole days"),
    ("{tier: cold}", "{codec: pack}\ngroup_by: {every: 0}", 6, "0s is no span to group by", "1h"),
    ("name: a", "name: a\nrequire: {payback_within: 0d}", 2, "nothing pays back at once", "180d"),
    ("name: a", "name: a\nrequire: {payback_within: 9d, saves: 5}", 2, "unknown key `saves`", ""),
    ("name: a", "name: a\nrequire: {}", 2, "`payback_within` is missing", ""),
    ("name: a", "name: a\nlimits: {max_spend: 50 EUR}", 2, "'50 EUR' is not an amount of money", "50 USD"),
    ("name: a", "name: a\nlimits: {max_spend: 50}", 2, "text is wanted here, not 50", ""),
    ("name: a", "name: a\nlimits: {max_objects: 0}", 2, "0 is not at least 1", ""),
    ("name: a", "name: a\nkeep_source: forever", 2, "is not a duration", ""),
    ("name: a", "name: a\nallow_loss: [ack]", 2, "'ack' is nothing that can be lost", "did you mean `acl`?"),
    ("name: a", "name: a\nquiet_for: 2h", 2, "unknown key `quiet_for`", "storaged.yaml, at its top"),
    ('"events/*"', '"events/*", tags: {a: b}', 2, "target.tags: unknown key `tags`", "it stands under `when:`"),
    ('"events/*"', '"events/*", owner: ann', 2, "target.owner: unknown key `owner`", "where: owner = 'ann'"),
    ("name: a", "name: a\nreaders: raw", 2, "unknown key `readers`", "in a dataset below `datasets:`"),
    ("name: a", "name: a\ngrace: 2d", 2, "unknown key `grace`", "in a policy it is called `keep_source`"),
    ("name: a", "name: a\nignore: {tags: {a: b}}", 2, "unknown key `ignore`", ""),
    ("name: a", "name: a\nwhere: size > '1'", 2, "where, character 1: `size` is a number", ""),
    ("name: a", "name: a\nwhere: sise > 1", 2, "there is no column 'sise'", "did you mean size?"),
    ('"events/*"', "[]", 2, "is needed here", ""),
]


@pytest.mark.parametrize(("old", "new", "line", "message", "hint"), BROKEN, ids=lambda value: str(value)[:30])
def test_a_mistake_is_told_by_file_line_and_path(
    old: str, new: str, line: int, message: str, hint: str, settings: Settings, tmp_path: Path
) -> None:
    """One mistake, one problem, on its line, in plain words, with what helps."""
    assert old in GOOD
    with pytest.raises(ConfigError) as error:
        policies(tmp_path / "p", settings, GOOD.replace(old, new, 1))
    assert [(p.file, p.line) for p in error.value.problems] == [(str(tmp_path / "p/policies.yaml"), line)]
    (problem,) = error.value.problems
    assert message in str(problem)
    assert hint in (problem.hint or "")


def test_all_problems_of_all_files_are_told_at_once(settings: Settings, tmp_path: Path) -> None:
    """Also where one file is no YAML at all; nothing is loaded."""
    directory = tmp_path / "p"
    policies(directory, settings, GOOD, "fine.yaml")
    (directory / "b.yaml").write_text(GOOD.replace("name: a", "name: b").replace("30d", "30").replace("cold", "colt"))
    (directory / "c.yml").write_text(GOOD.replace("name: a", "name: [").replace("cold", "colt"))
    good = GOOD.replace("name: a", "name: d").replace("\n", "\n  ")
    (directory / "d.yaml").write_text(f"policies:\n- {good}\n- {{name: e, too: x}}\n")
    (directory / "notes.txt").write_text("no policy")
    with pytest.raises(ConfigError) as error:
        load_policies(directory, settings)
    assert {Path(p.file).name for p in error.value.problems} == {"b.yaml", "c.yml", "d.yaml"}
    assert len([p for p in error.value.problems if p.file.endswith("d.yaml")]) == 3


def test_what_is_wrong_with_conditions_hides_no_tier_and_no_name(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    for file, lines in {
        "1.yaml": ["name: a", "target: {dataset: events, tier: hoot}", "when: {idle_for: 30}", "to: {tier: colt}"],
        "2.yaml": ["name: a", "target: {dataset: events}", "where: sizee > 5", "to: {tier: cold, level: 3}"],
        "3.yaml": ["target: {dataset: events}", "when: {size_over: 1KiB}", "to: {tier: colt}"],
    }.items():
        (tmp_path / "p" / file).write_text("\n".join(lines) + "\n")
    with pytest.raises(ConfigError) as error:
        load_policies(tmp_path / "p", settings)
    assert {(Path(p.file).name, p.path) for p in error.value.problems} == {
        ("1.yaml", "when.idle_for"),
        ("1.yaml", "target.tier"),
        ("1.yaml", "to.tier"),
        ("2.yaml", "name"),
        ("2.yaml", "where"),
        ("2.yaml", "to.level"),
        ("3.yaml", "name"),
        ("3.yaml", "to.tier"),
    }


def test_two_policies_of_one_name_are_told_with_the_place_of_the_other(settings: Settings, tmp_path: Path) -> None:
    """Across files, too: plans and jobs name policies."""
    policies(tmp_path / "p", settings, "# comment\n" + GOOD, "1.yaml")
    with pytest.raises(ConfigError) as error:
        policies(tmp_path / "p", settings, "\n\n" + GOOD, "2.yaml")
    (problem,) = error.value.problems
    assert (Path(problem.file).name, problem.line, problem.message) == ("2.yaml", 3, "the name 'a' is taken")
    assert problem.hint == f"by {tmp_path / 'p' / '1.yaml'}:2"


def test_a_pattern_without_a_dataset_is_a_warning(settings: Settings, tmp_path: Path) -> None:
    """The dataset may come later; a typing error should still be seen."""
    loaded = policies(tmp_path / "p", settings, GOOD.replace('"events/*"', "[events/wep, 'events/*']"))
    (warning,) = loaded.warnings
    assert (warning.line, warning.message) == (2, "no dataset is called 'events/wep'")
    assert warning.hint == "did you mean `events/web`?"


def test_a_missing_directory_holds_no_policies_and_says_so(settings: Settings, tmp_path: Path) -> None:
    """A mistyped path in storaged.yaml is not silence."""
    loaded = load_policies(tmp_path / "nowhere", settings)
    assert len(loaded) == 0
    assert [str(warning) for warning in loaded.warnings] == [
        f"{tmp_path}/nowhere: it does not exist: there are no policies"
    ]


def test_what_was_most_likely_meant_to_be_read_and_is_not_is_a_warning(settings: Settings, tmp_path: Path) -> None:
    for name in ("A.YAML", "team/a.yml", ".git/a.yaml", "notes.txt", "team/notes.txt"):
        path = tmp_path / "policies" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(GOOD)
    loaded = load_policies(tmp_path / "policies", settings)
    assert len(loaded) == 0
    assert [(Path(w.file).name, w.hint) for w in loaded.warnings] == [
        ("A.YAML", "call it .yaml"),
        ("a.yml", "move it up"),
    ]


def test_what_is_no_file_is_named_and_not_waited_for(settings: Settings, tmp_path: Path) -> None:
    """A pipe, a link to nowhere and a folder, by the names of policies."""
    rules = tmp_path / "rules"
    rules.mkdir()
    os.mkfifo(rules / "pipe.yaml")
    (rules / "link.yml").symlink_to("nowhere")
    (rules / "folder.yaml").mkdir()
    with pytest.raises(ConfigError) as caught:
        load_policies(rules, settings)
    assert [Path(problem.file).name for problem in caught.value.problems] == ["folder.yaml", "link.yml", "pipe.yaml"]
    assert {problem.message for problem in caught.value.problems} == {"this is no file, or a link to none"}


def test_capacity_must_be_known_where_a_condition_asks_for_it(settings: Settings, tmp_path: Path) -> None:
    """A tier without capacity is never full, so the policy would never do anything."""
    full = GOOD.replace("idle_for: 30d", "tier_full_above: 80%")
    policies(tmp_path / "p", settings, full)
    with pytest.raises(ConfigError) as error:
        policies(tmp_path / "p", settings, full.replace("tier: hot", "tier: warm"))
    assert "no capacity is known of warm" in str(error.value.problems[0])


def test_require_of_a_tier_without_prices_is_a_warning(settings: Settings, tmp_path: Path) -> None:
    """It would hold everything back, which nobody wants; the prices may come later."""
    loaded = policies(tmp_path / "p", settings, GOOD + "require: {payback_within: 180d}\n")
    (warning,) = loaded.warnings
    assert (warning.line, warning.path) == (6, "require")
    assert warning.message == "tier cold has no prices, so that `require` holds all of it back"


def test_defaults_and_values_as_written(settings: Settings, tmp_path: Path) -> None:
    """Dry run unless written out; the text kept is the policy's own lines."""
    two = """# head
policies:
  - name: one
    target: {dataset: events/web}
    when: {size_under: 128KiB, age_over: 2w, format: csv}
    to: {codec: {zstd: {level: auto}}}
  # about two
  - name: two
    target: {dataset: [events/web, kept]}
    where: size > 10
    to: {tier: warm, codec: {zstd: {level: 3}}}
    mode: active
    keep_source: 0
    schedule: "30 2 * * mon-fri"
    allow_loss: [owner, acl]
"""
    one, second = policies(tmp_path / "p", settings, two)
    assert one.policy.mode is Mode.DRY_RUN
    assert one.policy.to.codec == CodecSpec("zstd")
    assert one.policy.keep_source is None
    assert list(one.policy.conditions) == ["age_over", "size_under", "format"]
    assert second.policy.to.codec == CodecSpec("zstd", 3)
    assert second.policy.keep_source == 0
    assert second.text.startswith("  - name: two\n")
    assert one.text + second.text == two.partition("policies:\n")[2]
    assert (one.line, second.line) == (3, 8)
    edited = policies(tmp_path / "p", settings, two.replace("size > 10", "size > 11"))
    assert [p.digest == q.digest for p, q in zip((one, second), edited, strict=True)] == [True, False]


def test_a_pattern_takes_datasets_by_name(settings: Settings, tmp_path: Path) -> None:
    """* stands for any characters, slashes too; case matters."""
    (loaded,) = policies(tmp_path / "p", settings, GOOD)
    target = loaded.policy.target
    assert [target.takes(name) for name in ("events/web", "events/a/b", "Events/web", "events")] == [
        True,
        True,
        False,
        False,
    ]


def test_a_policy_is_said_in_one_sentence(settings: Settings, tmp_path: Path) -> None:
    """For lists and plans."""
    (loaded,) = policies(tmp_path / "p", settings, GOOD.replace("tier: cold", "tier: cold, codec: identity"))
    assert sentence(loaded.policy) == "events/* in hot: idle for 30d → cold, stored plain"


def test_the_schema_knows_every_condition_and_refuses_strangers() -> None:
    """Editors complete and check with it."""
    schema = policy_schema()
    when = schema["$defs"]["When"]
    assert when["additionalProperties"] is False
    assert "idle_for" in when["properties"]
    assert when["properties"]["idle_for"]["description"].startswith("Not read")
    assert all(re.fullmatch("#/\\$defs/\\w+", part["$ref"]) for part in schema["anyOf"])
    assert all(part["$ref"].rpartition("/")[2] in schema["$defs"] for part in schema["anyOf"])
