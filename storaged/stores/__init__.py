"""Where bytes live: the port (base), its implementations, and what can be wrapped around them."""
