"""Partition values in names are what Hive, Spark, Arrow and Flink mean by them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storaged.work.scan.partitions import partition_reader

PATTERN = "dt={dt}/hour={hour}"


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("dt=2026-01-31/hour=5/a.csv", {"dt": "2026-01-31", "hour": "5"}),
        ("lake/dt=2026-01-31/hour=5/x/a.csv", {"dt": "2026-01-31", "hour": "5"}),
        ("dt=2026-01-31 10%3A30%3A00/hour=a%2Fb%25/a.csv", {"dt": "2026-01-31 10:30:00", "hour": "a/b%"}),
        ("dt=2026-01-31%2010%3a30/hour=%C3%A4/a.csv", {"dt": "2026-01-31 10:30", "hour": "ä"}),
        ("dt=a+b/hour=100%/a.csv", {"dt": "a+b", "hour": "100%"}),
        ("dt=%zz/hour=%4/a.csv", {"dt": "%zz", "hour": "%4"}),
        ("dt=%FF/hour=%ED%A0%80/a.csv", {"dt": "%FF", "hour": "%ED%A0%80"}),
        ("dt=a%00b/hour=%0A/a.csv", {"dt": "a%00b", "hour": "\n"}),
        ("dt=__HIVE_DEFAULT_PARTITION__/hour=5/a.csv", {"hour": "5"}),
        ("dt=2026-01-31/hour=__HIVE_DEFAULT_PARTITION__/a.csv", {"dt": "2026-01-31"}),
        ("dt=__DEFAULT_PARTITION__/hour=5/a.csv", {"hour": "5"}),
        ("dt=/hour=5/a.csv", {"hour": "5"}),
        ("dt=%5F_HIVE_DEFAULT_PARTITION__/hour=5/a.csv", {"dt": "__HIVE_DEFAULT_PARTITION__", "hour": "5"}),
        ("dt=__HIVE_DEFAULT_PARTITION__/hour=/a.csv", None),
        ("dt=2026-01-31/a.csv", None),
        ("a.csv", None),
    ],
)
def test_values_behind_a_key_are_as_hive_writes_them(key, values):
    told = partition_reader(PATTERN)(key)
    assert (None if told is None else json.loads(told)) == values


def test_names_of_folders_that_are_no_keys_stay_as_they_are():
    told = partition_reader("{project}/v-{version}")("100%25/v-__HIVE_DEFAULT_PARTITION__/a.csv")
    assert json.loads(told or "") == {"project": "100%25", "version": "__HIVE_DEFAULT_PARTITION__"}


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), max_size=30))
def test_any_name_of_a_folder_has_a_value_that_a_database_takes(name):
    told = partition_reader("dt={dt}")(f"dt={name}/a.csv")
    for value in json.loads(told or "{}").values():
        value.encode()
        assert value == name or ("%" in name and "\0" not in value)
