"""A policy as S3 lifecycle rules: taken by a server as they are, and refused where they would move more."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from storaged.catalog import collections
from storaged.catalog.engine import Catalog, open_catalog
from storaged.catalog.schema import datasets, objects
from storaged.cli.app import run
from storaged.config.settings import Settings, load_settings
from storaged.decide.kinds import whole
from storaged.decide.lifecycle import lifecycle, looked_at, refusals
from storaged.decide.policy import LoadedPolicy
from storaged.stores.locks import FOREVER
from storaged.work.plan.lifecycle import root_facts
from tests.decide.seeding import NOW, Seeder, policies, register

SETTINGS = """\
catalog: sqlite:///catalog.db
tiers:
  standard: {rank: 0, url: s3://tiers/standard}
  rare: {rank: 1, url: s3://tiers/rare, storage_class: STANDARD_IA}
  instant: {rank: 2, url: s3://tiers/instant, storage_class: GLACIER_IR}
datasets:
  web: {root: s3://lake/web, tags: {team: growth}}
  app: {root: s3://lake/app}
  all: {root: s3://other}
  here: {root: memory://here}
"""
POLICY = """\
name: down
target: {dataset: [web, app, here]}
when: {age_over: 45d, size_over: 1MiB}
to: {tier: instant, in_place: true}
mode: active
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "storaged.yaml").write_text(SETTINGS)
    return load_settings(tmp_path / "storaged.yaml")


@pytest.fixture
def lake(tmp_path: Path, settings: Settings, sqlite_template: Path) -> Iterator[Catalog]:
    """A catalog of these datasets, scanned, with an object in each."""
    shutil.copyfile(sqlite_template, tmp_path / "catalog.db")
    with open_catalog(f"sqlite:///{tmp_path}/catalog.db") as catalog:
        register(catalog, settings)
        with catalog.begin() as conn:
            conn.execute(sa.update(datasets).values(scanned_us=NOW))
            seeder = Seeder(conn)
            for name in ("web", "app", "all"):
                seeder.object(name, "a.csv", tier="standard")
        yield catalog


def one(settings: Settings, text: str) -> LoadedPolicy:
    (loaded,) = policies(settings.file.parent / "policies", settings, text)
    return loaded


def told(catalog: Catalog, settings: Settings, text: str) -> tuple[LoadedPolicy, dict[str, Any], list[str]]:
    """The policy, what the catalog has of its roots, and why it is refused."""
    loaded = one(settings, text)
    facts = root_facts(catalog, looked_at(loaded, settings), str(loaded.policy.to.tier), NOW)
    return loaded, facts, [problem.message for problem in refusals(loaded, settings, facts)]


def test_a_server_takes_the_rules_as_they_are(lake: Catalog, settings: Settings, bucket: str, s3_user: Any) -> None:
    """Its client finds nothing wrong with them, and what was put is what the bucket has, but for the sizes, which this
    server forgets."""
    loaded, facts, refused = told(lake, settings, POLICY)
    assert refused == []
    made = lifecycle(loaded, settings, facts)
    assert list(made.rules) == ["lake"]
    s3_user.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": made.rules["lake"]})
    rules = s3_user.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    for found, rule in zip(rules, made.rules["lake"], strict=True):
        assert rule["Filter"]["And"].pop("ObjectSizeGreaterThan") == 1 << 20
        found["Filter"]["And"].pop("ObjectSizeGreaterThan", None)
        assert found == rule
    assert rules[0] == {
        "ID": "storaged down web",
        "Status": "Enabled",
        "Filter": {"And": {"Prefix": "web/"}},
        "Transitions": [{"Days": 45, "StorageClass": "GLACIER_IR"}],
    }
    assert any(words.startswith("guards: ") for words in made.unsaid)
    assert not any(words.startswith(("days: ", "size: ", "mode ")) for words in made.unsaid)


LATER = [
    (
        "target: {dataset: all}\nwhen: {age_over: 5d}\nto: {tier: rare, in_place: true}\n",
        30,
        "days: whole ones, at least 30",
    ),
    ("target: {dataset: all}\nwhen: {age_over: 36h}\nto: {tier: instant, in_place: true}\n", 2, "days: whole ones"),
    (
        "target: {dataset: all}\nwhen: {size_under: 9MiB}\nto: {tier: instant, in_place: true}\n",
        1,
        "age: S3 counts",
    ),
    (
        "target: {dataset: all}\nwhen: {age_over: 99d}\nto: {tier: instant, in_place: true}\n"
        "limits: {max_objects: 5}\nschedule: 0 3 * * *\n",
        99,
        "limits (max_objects)",
    ),
    ("target: {dataset: '*'}\nwhen: {tags: {team: growth}}\nto: {tier: instant, in_place: true}\n", 1, "disabled"),
]


def test_what_makes_it_later_or_less_is_said(lake: Catalog, settings: Settings) -> None:
    """A dry run is a rule that is disabled; tags of datasets choose these."""
    for text, days, words in LATER:
        loaded, facts, refused = told(lake, settings, f"name: p\n{text}")
        made = lifecycle(loaded, settings, facts)
        ((rule,),) = made.rules.values()
        assert refused == []
        assert rule["Transitions"][0]["Days"] == days
        assert rule["Status"] == "Disabled"
        prefix = "web/" if "growth" in text else ""
        assert rule["Filter"] == ({"ObjectSizeLessThan": 9 << 20} if "under" in text else {"Prefix": prefix})
        assert any(said.startswith("size: ") for said in made.unsaid) is ("under" not in text)
        assert any(words in said for said in made.unsaid), made.unsaid


MORE = [
    ("when: {idle_for: 45d}\nto: {tier: instant, in_place: true}", "idle is not old"),
    ("when: {reads_below: 1/week}\nto: {tier: instant, in_place: true}", "knows no reads"),
    ("when: {format: csv}\nto: {tier: instant, in_place: true}", "does not know it"),
    ("where: size > 5\nto: {tier: instant, in_place: true}", "`where`"),
    ("when: {age_over: 9d}\nto: {tier: instant, in_place: true}\nrequire: {payback_within: 1d}", "`require`"),
    ("when: {age_over: 9d}\nto: {tier: instant, in_place: true}\nlimits: {max_spend: 5 USD}", "what may be spent"),
    ("when: {age_over: 9d}\nto: {tier: instant}", "changes the storage class in place"),
    ("when: {age_over: 9d}\nto: {codec: zstd}", "changes the storage class in place"),
]


def test_what_would_move_more_is_refused(lake: Catalog, settings: Settings) -> None:
    for text, words in MORE:
        _, _, refused = told(lake, settings, f"name: p\ntarget: {{dataset: [web, app]}}\n{text}\n")
        assert len(refused) == 1
        assert words in refused[0]


def test_what_guards_hold_is_refused(lake: Catalog, settings: Settings) -> None:
    """Holds, pins, locks, collections, versions, and objects of classes that the policy does not look at."""
    assert told(lake, settings, POLICY)[2] == []
    with lake.begin() as conn:
        seeder = Seeder(conn)
        app = sa.and_(objects.c.dataset_id == seeder.datasets["app"])
        conn.execute(sa.update(objects).where(app).values(hold="court", locked_until_us=FOREVER, pin_tier_id=1))
        conn.execute(sa.update(datasets).where(datasets.c.name == "web").values(versioning="enabled"))
        one = whole("", "delta", "_delta_log/00000000000000000000.json")
        collections.replace(conn, seeder.datasets["web"], [one], now_us=NOW)
    refused = told(lake, settings, POLICY)[2]
    assert [words.split(" ", 1)[0] for words in refused] == ["web", "web", "app", "app", "app"]
    assert "keeps versions" in refused[0]
    assert "parts of collections" in refused[1]
    whole_of = POLICY.replace("mode: active", "collections: ignore").replace("[web, app, here]", "web")
    assert ["keeps versions" in words for words in told(lake, settings, whole_of)[2]] == [True]
    with lake.begin() as conn:
        conn.execute(sa.update(objects).values(raw_class="STANDARD_IA", tier_id=Seeder(conn).tiers["rare"]))
    tier = POLICY.replace("[web, app, here]", "all, tier: standard")
    (words,) = told(lake, settings, tier)[2]
    assert "1 objects of class STANDARD_IA, which a rule to GLACIER_IR would take too" in words
    assert told(lake, settings, tier.replace("tier: standard", "tier: rare"))[2] == []
    (words,) = told(lake, settings, POLICY.replace("when: {", "when: {tags: {team: none}, "))[2]
    assert "none of its datasets is in a bucket" in words
    with lake.begin() as conn:
        conn.execute(sa.update(datasets).values(scanned_us=None))
    assert "was never scanned" in told(lake, settings, tier)[2][0]


def test_the_command_prints_rules_and_says_the_rest(
    lake: Catalog, settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stdout is for the store's own tool, stderr for people; with --json both are one document."""
    monkeypatch.chdir(settings.file.parent)
    monkeypatch.delenv("STORAGED_CONFIG", raising=False)
    one(settings, POLICY.replace("[web, app, here]", "'*'"))
    command = ["lifecycle", "export", "down"]
    assert run(command) == 2
    assert "--bucket" in capsys.readouterr().err
    assert run([*command, "--bucket", "other"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["Rules"][0]["Filter"] == {"ObjectSizeGreaterThan": 1 << 20}
    assert "not said: guards" in told.err
    assert "replaces all rules" in told.err
    assert run([*command, "--bucket", "lake", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["bucket"], len(document["configuration"]["Rules"])) == ("lake", 2)
    assert run([*command, "--bucket", "lak"]) == 2
    assert "did you mean `lake`?" in capsys.readouterr().err
    assert run(["lifecycle", "export", "dwn"]) == 2
    assert "did you mean `down`?" in capsys.readouterr().err
    one(settings, POLICY.replace("age_over", "idle_for"))
    assert run(command) == 2
    assert "policies.yaml:3 at when.idle_for" in capsys.readouterr().err
