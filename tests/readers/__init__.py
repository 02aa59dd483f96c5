"""Others read our blobs: which, in which version, and how much of them."""
