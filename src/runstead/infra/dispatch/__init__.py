"""Dispatchers: they bring waiting runs to workers."""
