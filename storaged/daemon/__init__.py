"""The daemon: what `storaged run` is made of."""
