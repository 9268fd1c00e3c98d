"""Publish events of runs, and read them."""
