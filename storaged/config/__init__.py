"""storaged.yaml: read it, check it, and say everything that is wrong with it, by file, line and YAML path."""
