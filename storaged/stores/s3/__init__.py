"""Object stores that speak the S3 protocol."""
