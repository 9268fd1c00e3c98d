"""Execution of runs. Imported only by `runstead.runtime.runs`."""
