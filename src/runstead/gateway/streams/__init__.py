"""Readers of runs and threads, in the forms in which clients stream them."""
