"""``runstead demo``: a run outlives the process that executes it, for everybody to watch."""
