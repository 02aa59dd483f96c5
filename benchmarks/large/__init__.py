"""A catalog of millions of objects, and what the daemon and its user wait for on it: `make bench-large`."""
