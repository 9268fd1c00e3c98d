"""Adapters of the port for files of threads."""
