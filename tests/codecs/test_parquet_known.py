"""What is learnt of a Parquet file while its pages go by bounds what is tried in vain."""

from __future__ import annotations

import io
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from storaged.codecs.parquet import encoders
from storaged.codecs.parquet.codec import Parquet
from storaged.codecs.parquet.known import AGAIN, ALL_BUT, IN_VAIN, LARGER, LOWEST, ONCE_IN, SAME, Known, find
from storaged.codecs.parquet.pages import Codec
from storaged.codecs.parquet.thrift import Malformed
from storaged.testing.contents import BytesReader, content_of, encoded
from tests.codecs.parquet_files import written

RAW = content_of(50_000, seed=3)


def codecs(file: bytes) -> list[list[str]]:
    """Of each row group the codecs of its columns."""
    metadata = pq.read_metadata(io.BytesIO(file))
    groups = [metadata.row_group(n) for n in range(metadata.num_row_groups)]
    return [[group.column(n).compression for n in range(group.num_columns)] for group in groups]


def test_what_made_the_page_before_is_tried_first_and_then_alone() -> None:
    known = Known()
    body = encoders.made("gzip:6:8:1f8b08000000000000ff", RAW)
    first = find(Codec.GZIP, RAW, body, known.likely(Codec.GZIP, 0), known.hopeless(Codec.GZIP, 0))
    known.learn(Codec.GZIP, 0, first.recipe, first.missed)
    for column in (0, 1):
        again = find(Codec.GZIP, RAW, body, known.likely(Codec.GZIP, column), known.hopeless(Codec.GZIP, column))
        assert (again.recipe, again.missed) == (first.recipe, ())


def test_an_encoder_that_hits_elsewhere_is_not_tried_for_ever_in_a_column_that_nothing_made() -> None:
    known = Known()
    body = encoders.made("zstd:3:1:0", RAW)
    other = b"\0" + body
    known.learn(Codec.ZSTD, 0, "zstd:3:1:0", ())
    for _ in range(SAME):
        tried = find(Codec.ZSTD, RAW, body[:-1], known.likely(Codec.ZSTD, 1), known.hopeless(Codec.ZSTD, 1))
        assert tried.recipe is None
        assert "zstd:3:1:0" in tried.missed
        known.learn(Codec.ZSTD, 1, None, tried.missed)
    assert find(Codec.ZSTD, RAW, other, (), known.hopeless(Codec.ZSTD, 1)).missed == ()
    hit = find(Codec.ZSTD, RAW, body, known.likely(Codec.ZSTD, 0), known.hopeless(Codec.ZSTD, 0))
    assert hit.recipe == "zstd:3:1:0"


def test_what_a_difference_is_taken_to_is_made_once_and_may_always_hit() -> None:
    body = encoders.made("snappy:arrow", RAW)
    hopeless = frozenset(("snappy:arrow", "snappy:rust"))
    assert find(Codec.SNAPPY, RAW, body, (), hopeless).recipe == "snappy:arrow"
    missed = find(Codec.SNAPPY, RAW, body + b"\0", (), hopeless)
    assert (missed.recipe, missed.like) == (None, body)


def test_a_column_that_does_not_become_smaller_is_tried_now_and_then() -> None:
    known = Known()
    for _ in range(IN_VAIN):
        assert known.worth(Codec.SNAPPY, 0, 1_000)
        known.chunk(Codec.SNAPPY, 0, 1_000, smaller=False)
    tried = [known.worth(Codec.SNAPPY, 0, 1_000) for _ in range(3 * AGAIN)]
    assert tried == ([False] * (AGAIN - 1) + [True]) * 3
    assert known.worth(Codec.SNAPPY, 0, LARGER * 1_000 + 1)
    assert known.worth(Codec.SNAPPY, 1, 1_000)
    assert known.worth(Codec.GZIP, 0, 1_000)
    known.chunk(Codec.SNAPPY, 0, 1_000, smaller=True)
    assert known.worth(Codec.SNAPPY, 0, 1_000)


def test_chunks_that_would_save_little_stay_as_they_are() -> None:
    """Bytes at random, which nothing makes smaller."""
    chance = random.Random(4)
    made = pa.table(
        {
            "noise": [chance.randbytes(400) for _ in range(8_000)],
            "words": [f"{n * 7919 % 10_007} and some more words of it" for n in range(8_000)],
        }
    )
    content = written(made, compression="snappy", use_dictionary=False, row_group_size=2_000)
    _, blob = encoded(Parquet(), content)
    assert codecs(blob) == [["SNAPPY", "ZSTD"]] * 4
    assert Parquet().open(BytesReader(blob)).read_at(0, len(content)) == content


def test_a_column_that_becomes_smaller_later_on_is_found() -> None:
    """Its first row groups are noise, its others words."""
    chance = random.Random(5)
    noise = [chance.randbytes(400) for _ in range(6_000)]
    words = [f"{n * 7919 % 10_007} and some more words of it".encode() for n in range(40_000)]
    made = pa.table({"c": pa.array(noise + words, pa.binary())})
    content = written(made, compression="snappy", use_dictionary=False, row_group_size=1_000)
    _, blob = encoded(Parquet(), content)
    found = [codec for [codec] in codecs(blob)]
    assert found[:6] == ["SNAPPY"] * 6
    assert "ZSTD" in found[6 : 6 + AGAIN]
    assert set(found[6 + AGAIN :]) == {"ZSTD"}
    assert Parquet().open(BytesReader(blob)).read_at(0, len(content)) == content


def test_a_level_that_is_enough_is_tried_beside_the_one_that_was_asked_for_now_and_then() -> None:
    """For each column and encoding by itself."""
    known, holds = Known(), (0, 8)
    for _ in range(2):  # of nothing learnt, nothing follows
        assert known.levels(0, holds, 9) == (LOWEST, 9)
    assert not known.told(0, holds, 9)
    known.enough(0, holds, LOWEST)
    assert known.told(0, holds, 9)
    assert [known.levels(0, holds, 9) for _ in range(2, ONCE_IN)] == [(LOWEST,)] * (ONCE_IN - 3) + [(LOWEST, 9)]
    known.enough(0, holds, 9)
    assert known.levels(0, holds, 9) == (9,)
    assert known.levels(1, holds, 9) == known.levels(0, (2, 0), 9) == (LOWEST, 9)
    assert known.levels(1, holds, LOWEST) == (LOWEST,)
    assert known.told(2, holds, LOWEST)


def test_pages_get_the_lowest_level_where_no_other_makes_them_smaller() -> None:
    """Digits at random, in which level 1 finds less that is not worth it, and times, in which it misses much."""
    chance = random.Random(6)
    digits = [f"{chance.getrandbits(64):016x}" for _ in range(20_000)]
    times = [n * 1_000_003 + chance.randrange(50) for n in range(20_000)]
    made = pa.table({"digits": digits, "times": times})
    content = written(made, compression="snappy", use_dictionary=False, data_page_size=32 * 1024)
    sizes = {level: [] for level in (LOWEST, 4)}
    for level, found in sizes.items():
        _, blob = encoded(Parquet(), content, level=level)
        group = pq.read_metadata(io.BytesIO(blob)).row_group(0)
        found += [group.column(n).total_compressed_size for n in range(2)]
        assert Parquet().open(BytesReader(blob)).read_at(0, len(content)) == content
    assert sizes[4][0] == sizes[LOWEST][0]
    assert sizes[4][1] < sizes[LOWEST][1] * (1 - 1 / ALL_BUT)


@pytest.mark.parametrize(
    "recipe", ["zstd:-7:1:0", "zstd:23:1:0", "zstd:3", "gzip:6", f"gzip:{2**70}:8:00", "brotli:x", "lzo", ""]
)
def test_a_recipe_that_no_blob_has_is_malformed(recipe: str) -> None:
    with pytest.raises(Malformed, match="no recipe"):
        encoders.made(recipe, b"content")
