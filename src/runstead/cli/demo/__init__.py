"""``runstead demo``: demonstration of a run that survives the process that executes it."""
