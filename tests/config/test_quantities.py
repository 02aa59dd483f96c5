"""Sizes, durations, rates and percentages: what is read, what is refused, and with which words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from storaged.config.quantities import (
    LONGEST_DURATION,
    BadValueError,
    Duration,
    Percent,
    Rate,
    ShareRate,
    Size,
    format_duration,
    parse_duration,
    parse_percent,
    parse_size,
)

HOUR = 3_600_000_000
DAY = 24 * HOUR


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("128KiB", 131_072),
        ("1TiB", 2**40),
        ("1GB", 10**9),
        ("1gb", 10**9),
        ("1 GiB", 2**30),
        ("1.5K", 1500),
        ("7B", 7),
        (0, 0),
        (42, 42),
    ],
)
def test_sizes_are_bytes(text: object, size: int) -> None:
    """KiB is 1024, KB is 1000, case and one space do not matter, and a whole number is bytes."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "1", "5x", "1Mbit", "1 GiB or so", "-1KiB", "1e3", "1.", True, 1.5, None, [1]])
def test_what_is_no_size_is_refused_with_an_example(text: object) -> None:
    """Bits, signs, bare text digits and trailing words are no sizes."""
    with pytest.raises(BadValueError) as caught:
        parse_size(text)
    assert "128KiB" in str(caught.value.hint)


@pytest.mark.parametrize("text", [-1, 2**63, "8EiB", "999999999999999999E"])
def test_sizes_fit_a_catalog_column(text: object) -> None:
    """Negative sizes and those of 2**63 bytes and more are out of range."""
    with pytest.raises(BadValueError, match="out of range"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("14d", 14 * DAY),
        ("1h", HOUR),
        ("30m", HOUR // 2),
        ("90s", 90_000_000),
        ("250ms", 250_000),
        ("2w", 14 * DAY),
        ("1d12h", 36 * HOUR),
        ("5us", 5),
        (0, 0),
        ("0", 0),
        ("36525d", LONGEST_DURATION),
    ],
)
def test_durations_are_microseconds(text: object, us: int) -> None:
    """m is minutes, units may follow one another, and 0 needs no unit."""
    assert parse_duration(text) == us


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (7, "no unit", "1h30m"),
        (1.5, "no unit", "1h30m"),
        ("7", "not a duration", "1h30m"),
        ("1h1d", "not a duration", "largest first"),
        ("1.5h", "not a duration", "whole numbers"),
        ("14 days", "not a duration", "14d"),
        ("-1d", "not a duration", "14d"),
        ("", "not a duration", "14d"),
        ("1:30", "not a duration", "1h30m"),
        ("\u0661d", "not a duration", "14d"),
        ("3mo", "not a duration", "30d for a month"),
        ("1M", "not a duration", "30d for a month"),
        ("2 months", "not a duration", "30d for a month"),
        ("1y", "not a duration", "365d for a year"),
        ("36526d", "too long", "36525d"),
        (True, "not a duration", "14d"),
        (False, "not a duration", "14d"),
        (["1d"], "not a duration", "14d"),
    ],
)
def test_what_is_no_duration_is_refused_with_an_example(text: object, message: str, hint: str) -> None:
    """Bare numbers, fractions, wrong order and months each get the hint that mends them."""
    with pytest.raises(BadValueError, match=message) as caught:
        parse_duration(text)
    assert hint in str(caught.value.hint)


@given(st.integers(0, LONGEST_DURATION))
def test_a_formatted_duration_reads_back_as_itself(us: int) -> None:
    """format_duration and parse_duration are inverse."""
    assert parse_duration(format_duration(us)) == us


def test_durations_are_shown_as_people_write_them() -> None:
    """Days, not weeks; no units that are zero; a sign where time runs backwards."""
    assert [format_duration(us) for us in (14 * DAY, HOUR + HOUR // 2, 0, 1_500, -DAY)] == [
        "14d",
        "1h30m",
        "0s",
        "1ms500us",
        "-1d",
    ]


@pytest.mark.parametrize(
    ("text", "share"), [("20%", 0.2), ("0.5%", 0.005), ("100 %", 1.0), (20, 0.2), (0, 0.0), (2.5, 0.025)]
)
def test_percentages_are_shares(text: object, share: float) -> None:
    """With or without the sign, 20 is a fifth."""
    assert parse_percent(text) == pytest.approx(share)


def test_a_bare_fraction_is_refused_as_ambiguous() -> None:
    """0.9 without a sign may be 90% or 0.9%: whoever wrote it must say."""
    with pytest.raises(BadValueError, match=re.escape("0.9 could be meant as 0.9% or as 90%")):
        parse_percent(0.9)


@pytest.mark.parametrize("text", ["x", "20", "%", 101, -1, "101%", True, "1e1%", None])
def test_what_is_no_percentage_is_refused(text: object) -> None:
    """Only 0 to 100 with plain digits."""
    with pytest.raises(BadValueError) as caught:
        parse_percent(text)
    assert "20%" in str(caught.value.hint)


def test_rates_are_per_day_of_a_julian_calendar() -> None:
    """A month is 30.4375 days, a week 7, a year 365.25; a share rate counts 100% as 1."""
    assert Rate.parse("2/month").per_day == pytest.approx(2 / 30.4375)
    assert Rate.parse("10/day").per_day == 10
    assert Rate.parse("7/week").per_day == pytest.approx(1)
    assert Rate.parse("365.25/year").per_day == pytest.approx(1)
    assert ShareRate.parse("5%/month").per_day == pytest.approx(0.05 / 30.4375)


def test_a_rate_shows_itself_as_it_was_written() -> None:
    """Plans quote the policy; a rate of ours reads back."""
    assert str(Rate.parse("2/month")) == "2/month"
    assert Rate.parse(str(Rate(0.5))) == Rate(0.5)
    assert ShareRate.parse(str(ShareRate(0.05))) == ShareRate(0.05)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Rate, "2"),
        (Rate, "2/mon"),
        (Rate, "5%/month"),
        (Rate, "-1/day"),
        (Rate, 2),
        (ShareRate, "5/month"),
        (ShareRate, None),
    ],
)
def test_what_is_no_rate_is_refused_with_an_example(kind: type[Rate], text: object) -> None:
    """The period is spelled out, and only a share has a % sign."""
    with pytest.raises(BadValueError) as caught:
        kind.parse(text)
    assert kind.EXAMPLES[0] in str(caught.value.hint)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.lists(st.text())))
def test_no_input_breaks_a_parser(value: object) -> None:
    """Whatever comes in, either a quantity or BadValueError comes out."""
    parsers: list[Callable[[object], object]] = [parse_size, parse_duration, parse_percent, Rate.parse, ShareRate.parse]
    for parse in parsers:
        with suppress(BadValueError):
            assert parse(value) is not None


@pytest.mark.parametrize("kind", [Size, Duration, Percent, Rate, ShareRate])
def test_the_schema_of_a_quantity_tells_editors_its_form(kind: Any) -> None:
    """A description, examples that are read, and a pattern that they match."""
    adapter: TypeAdapter[object] = TypeAdapter(kind)
    schema = adapter.json_schema()
    pattern = next(form["pattern"] for form in schema.get("anyOf", [schema]) if "pattern" in form)
    assert schema["description"]
    assert len(schema["examples"]) >= 2
    for example in schema["examples"]:
        adapter.validate_json(json.dumps(example), strict=True)
        assert not isinstance(example, str) or re.search(pattern, example)
    assert not re.search(pattern, "nonsense")
    assert not re.search(pattern, "")
