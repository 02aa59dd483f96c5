"""Delimited text as Parquet files of typed columns: what every codec must do, and what only texts have."""

from __future__ import annotations

from storaged.codecs.parquet.codec import Parquet
from storaged.testing.codecs import CheckedCodecContract
from storaged.testing.contents import MIB
from tests.codecs.text_files import text_of


class TestText(CheckedCodecContract):
    codec = Parquet()
    sampled = 2 * MIB
    endless = ("tests.codecs.text_files", "Lines")
    memory = 500 * MIB  # two blocks of a text, each several times: its fields, its columns, its text again

    def taken(self, data: bytes) -> bytes:
        return text_of(data)
