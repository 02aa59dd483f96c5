"""The codec whose blobs are Parquet files."""
