"""Codecs: how a blob encodes an object's content."""
