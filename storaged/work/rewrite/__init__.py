"""From a saved plan or a person's word to a new place: jobs, the worker that stages, proves and swaps, and undo."""
