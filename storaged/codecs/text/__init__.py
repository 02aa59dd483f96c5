"""Delimited text that lies as a Parquet file, and comes back byte for byte."""
