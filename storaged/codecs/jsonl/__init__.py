"""Lines of JSON objects that lie as a Parquet file, and come back byte for byte."""
