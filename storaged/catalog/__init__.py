"""The catalog: what storaged knows, in SQLite or Postgres."""
