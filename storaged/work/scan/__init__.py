"""What is there: the root's listing against the catalog, and each key that shows something else looked at again."""
